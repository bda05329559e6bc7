// The third-party interfaces, as they do now.

import { html } from "../base/view.js";
import { t } from "../base/words.js";
import { duration, number, share } from "../base/format.js";
import { useData } from "../base/data.js";
import { Link, go } from "../base/router.js";
import { Badge, Bar, Card, Empty, PageHead, Shown, Time } from "../parts/basics.js";

/** What holds it, where nothing goes out; else how it goes. */
export const stateOf = (one) => (one.state === "held" ? one.hold.kind : one.state);

function Success({ value }) {
  if (value === null || value === undefined) return html`<span class="faint">–</span>`;
  const tone = value >= 0.98 ? "good" : value >= 0.9 ? "warn" : "bad";
  return html`
    <span class="with-bar">
      <${Bar} value=${value} max=${1} tone=${tone} label=${share(value)} />
      <span>${share(value)}</span>
    </span>
  `;
}

/** A changed file that is not in force, and why. */
function Refused({ of }) {
  if (!of) return null;
  return html`
    <div class="notice tone-warn" role="status">
      <div>
        <strong>${t("endpoints.refused")}</strong> <${Time} at=${of.at} ago />
        <pre class="refused">${Array.isArray(of.faults) ? of.faults.join("\n") : of.faults}</pre>
      </div>
    </div>
  `;
}

export function Endpoints() {
  const endpoints = useData("/v1/endpoints", { every: 3000 });
  const open = (event, name) => event.target.closest("a") || go(`/endpoints/${name}`);
  return html`
    <${PageHead} title=${t("nav.endpoints")} sub=${t("endpoints.sub")} />
    <${Card} flush>
      <${Shown}
        from=${endpoints}
        rows=${6}
        isEmpty=${(data) => data.endpoints.length === 0}
        empty=${html`<${Empty} title=${t("endpoints.none")} />`}
      >
        ${(data) => html`
          <${Refused} of=${data.configuration?.refused} />
          <table class="table stack">
            <thead>
              <tr>
                <th>${t("endpoint")}</th>
                <th>${t("state")}</th>
                <th class="num">${t("endpoint.due")}</th>
                <th class="num">${t("endpoint.scheduled")}</th>
                <th class="num">${t("endpoint.running")}</th>
                <th>${t("endpoint.success")}</th>
                <th class="num">p50</th>
                <th class="num">p99</th>
                <th>${t("endpoint.providers")}</th>
              </tr>
            </thead>
            <tbody>
              ${data.endpoints.map((one) => html`
                <tr key=${one.name} class="row-link" onClick=${(event) => open(event, one.name)}>
                  <td class="cell-main">
                    <${Link} href=${`/endpoints/${one.name}`}><strong>${one.name}</strong><//>
                    ${one.dry_run ? html` <span class="chip">${t("dry_run")}</span>` : null}
                    <span class="sub cut">${one.base_url ?? ""}</span>
                  </td>
                  <td data-label=${t("state")}>
                    <${Badge} kind="state" name=${stateOf(one)} />
                    ${one.hold?.note ? html`<span class="sub">${one.hold.note}</span>` : null}
                  </td>
                  <td class="num" data-label=${t("endpoint.due")}>${number(one.backlog?.due ?? 0)}</td>
                  <td class="num" data-label=${t("endpoint.scheduled")}>${number(one.backlog?.scheduled ?? 0)}</td>
                  <td class="num" data-label=${t("endpoint.running")}>
                    ${one.running === undefined ? "–" : `${number(one.running)}`}
                  </td>
                  <td data-label=${t("endpoint.success")}><${Success} value=${one.recent?.success_rate} /></td>
                  <td class="num" data-label="p50">${duration(one.recent?.latency_p50_ms)}</td>
                  <td class="num" data-label="p99">${duration(one.recent?.latency_p99_ms)}</td>
                  <td data-label=${t("endpoint.providers")}>
                    ${one.providers?.length
                      ? one.providers.map((provider) => html`
                        <span key=${provider.name} class=${`chip ${provider.breaker === "open" ? "chip-bad" : ""}`}>
                          ${provider.name}
                        </span>
                        ${" "}
                      `)
                      : html`<span class="faint">–</span>`}
                  </td>
                </tr>
              `)}
            </tbody>
          </table>
        `}
      <//>
    <//>
  `;
}
