// Who did what, when and why.

import { html } from "../base/view.js";
import { t, term } from "../base/words.js";
import { query } from "../base/api.js";
import { shortId } from "../base/format.js";
import { useData } from "../base/data.js";
import { Link, place, setQuery } from "../base/router.js";
import { Card, Empty, Field, Id, PageHead, Pager, Select, Shown, Time } from "../parts/basics.js";
import { TimeInput, Typed } from "../parts/filters.js";

const ACTIONS = [
  "replay",
  "cancel",
  "resolve",
  "pause",
  "resume",
  "bulk_start",
  "bulk_abort",
  "erase",
  "rejected_resubmit",
  "rejected_discard",
];

/** What was acted on, with the way to it. */
function Subject({ of }) {
  if (of.call) return html`<${Id} id=${of.call} />`;
  if (!of.subject) return "–";
  if (of.action.startsWith("bulk_"))
    return html`
      <span class="id">
        <${Link} href=${`/bulk/${of.subject}`} title=${of.subject}><code>${shortId(of.subject)}</code><//>
      </span>
    `;
  if (["pause", "resume"].includes(of.action))
    return html`<${Link} href=${`/endpoints/${of.subject}`}>${of.subject}<//>`;
  return of.subject;
}

export function Audit() {
  const parameters = place.value.query;
  const value = (name) => parameters.get(name) ?? "";
  const asked = Object.fromEntries(["actor", "action", "from", "to"].map((name) => [name, value(name)]));
  const cursor = value("cursor");
  const entries = useData(`/v1/audit${query({ ...asked, cursor, limit: 50 })}`, { every: cursor ? 0 : 10000 });
  const change = (changes) => setQuery({ ...changes, cursor: "" });
  const actions = [
    ...new Set([...ACTIONS, value("action"), ...(entries.data?.entries ?? []).map((one) => one.action)]),
  ].filter(Boolean);
  return html`
    <${PageHead} title=${t("nav.audit")} sub=${t("audit.sub")} />
    <${Card} flush>
      <form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
        <div class="filter-grid">
          <${Field} label=${t("actor")}>
            ${(id) => html`
              <${Typed} id=${id} name="actor" value=${value("actor")} onValue=${(actor) => change({ actor })} />
            `}
          <//>
          <${Field} label=${t("audit.action")}>
            ${(id) => html`
              <${Select}
                id=${id}
                name="action"
                value=${value("action")}
                onChange=${(action) => change({ action })}
                options=${[["", t("audit.action.any")], ...actions.map((name) => [name, term("action", name)])]}
              />
            `}
          <//>
          <${Field} label=${t("audit.from")}>
            ${(id) => html`
              <${TimeInput} id=${id} name="from" value=${value("from")} onValue=${(from) => change({ from })} />
            `}
          <//>
          <${Field} label=${t("audit.to")}>
            ${(id) => html`<${TimeInput} id=${id} name="to" value=${value("to")} onValue=${(to) => change({ to })} />`}
          <//>
        </div>
      </form>
      <${Shown}
        from=${entries}
        rows=${8}
        isEmpty=${(data) => data.entries.length === 0}
        empty=${html`<${Empty} title=${t("audit.none")}>${t("audit.none.hint")}<//>`}
      >
        ${(data) => html`
          <table class="table stack">
            <thead>
              <tr>
                <th>${t("audit.at")}</th>
                <th>${t("actor")}</th>
                <th>${t("audit.action")}</th>
                <th>${t("audit.subject")}</th>
                <th>${t("note")}</th>
                <th>${t("audit.detail")}</th>
              </tr>
            </thead>
            <tbody>
              ${data.entries.map((one) => html`
                <tr key=${one.id}>
                  <td class="nowrap" data-label=${t("audit.at")}><${Time} at=${one.at} /></td>
                  <td data-label=${t("actor")}><strong>${one.actor}</strong></td>
                  <td data-label=${t("audit.action")}>${term("action", one.action)}</td>
                  <td data-label=${t("audit.subject")}><${Subject} of=${one} /></td>
                  <td class="wrap" data-label=${t("note")}>${one.note || html`<span class="faint">–</span>`}</td>
                  <td class="wrap faint" data-label=${t("audit.detail")}>${one.detail ?? ""}</td>
                </tr>
              `)}
            </tbody>
          </table>
        `}
      <//>
      <${Pager}
        hasNext=${Boolean(entries.data?.next_cursor)}
        hasBack=${Boolean(cursor)}
        onNext=${() => setQuery({ cursor: entries.data.next_cursor })}
        onBack=${() => setQuery({ cursor: "" })}
      />
    <//>
  `;
}
