// One endpoint: how it does, what holds it, what rules would say.

import { html, useState } from "../base/view.js";
import { t, term } from "../base/words.js";
import { may, post } from "../base/api.js";
import { compact, duration, number, share } from "../base/format.js";
import { useAction, useData } from "../base/data.js";
import { Link } from "../base/router.js";
import {
  Badge,
  Bar,
  Card,
  Dialog,
  Empty,
  Facts,
  Failure,
  Field,
  Icon,
  PageHead,
  Shown,
  Time,
  say,
} from "../parts/basics.js";
import { Bars } from "../parts/chart.js";
import { HistoryCharts } from "../parts/history.js";
import { TryRules } from "../parts/try-rules.js";
import { stateOf } from "./endpoints.js";

const VERDICTS = ["success", "transient", "limited", "ambiguous", "pending", "rejected"];
const TONES = {
  success: "good",
  transient: "warn",
  limited: "info",
  ambiguous: "busy",
  pending: "info",
  rejected: "bad",
};

/** An error by its status, or by its kind where no answer came. */
const errorName = (name) => (/^\d+$/.test(name) ? `HTTP ${name}` : term("error", name));

/** `{"10": n, "50": n}` as rows, each bucket up to its bound. */
function latencyRows(buckets) {
  const bounds = Object.entries(buckets ?? {}).sort(([a], [b]) =>
    a === "inf" || a === "+Inf" ? 1 : b === "inf" || b === "+Inf" ? -1 : Number(a) - Number(b),
  );
  // What is empty before the first and after the last attempt says nothing.
  const first = bounds.findIndex(([, value]) => value > 0);
  const last = bounds.findLastIndex(([, value]) => value > 0);
  return bounds
    .slice(Math.max(0, first - 1), last + 2)
    .map(([bound, value]) => ({
      name: bound,
      shown: Number.isFinite(Number(bound)) ? `≤ ${duration(Number(bound))}` : t("endpoint.slower"),
      value,
      text: compact(value),
      tone: "accent",
    }));
}

function Providers({ providers }) {
  return html`
    <${Card} title=${t("endpoint.providers")} flush>
      <table class="table stack">
        <thead>
          <tr>
            <th>${t("provider")}</th>
            <th>${t("breaker")}</th>
            <th>${t("provider.share")}</th>
            <th>${t("endpoint.success")}</th>
            <th class="num">p50</th>
            <th class="num">p99</th>
            <th class="num">${t("provider.cost")}</th>
            <th class="num">${t("provider.total")}</th>
            <th>${t("endpoint.errors")}</th>
          </tr>
        </thead>
        <tbody>
          ${providers.map((one) => html`
            <tr key=${one.name}>
              <td class="cell-main">
                <strong>${one.name}</strong>
                <span class="sub">${t("provider.weight", { n: one.weight })}</span>
                ${one.base_url ? html`<code class="sub break">${one.base_url}</code>` : null}
              </td>
              <td data-label=${t("breaker")}><${Badge} kind="breaker" name=${one.breaker ?? "closed"} /></td>
              <td data-label=${t("provider.share")}>
                <span class="with-bar">
                  <${Bar} value=${one.share ?? 0} max=${1} label=${share(one.share)} />
                  <span>${share(one.share, 0)}</span>
                </span>
              </td>
              <td data-label=${t("endpoint.success")}>
                <span class="with-bar">
                  <${Bar}
                    value=${one.success_rate ?? 0}
                    max=${1}
                    tone=${(one.success_rate ?? 1) >= 0.95 ? "good" : "warn"}
                    label=${share(one.success_rate)}
                  />
                  <span>${share(one.success_rate)}</span>
                </span>
              </td>
              <td class="num" data-label="p50">${duration(one.latency_p50_ms)}</td>
              <td class="num" data-label="p99">${duration(one.latency_p99_ms)}</td>
              <td class="num" data-label=${t("provider.cost")}>${one.cost ?? "–"}</td>
              <td class="num" data-label=${t("provider.total")}>
                ${one.cost_total === undefined || one.cost_total === null ? "–" : number(Math.round(one.cost_total * 100) / 100)}
              </td>
              <td data-label=${t("endpoint.errors")}>
                ${Object.entries(one.errors ?? {})
                    .sort((a, b) => b[1] - a[1])
                    .slice(0, 3)
                    .map(([name, count]) => `${errorName(name)} × ${number(count)}`)
                    .join(", ") ||
                  html`<span class="faint">–</span>`}
              </td>
            </tr>
          `)}
        </tbody>
      </table>
    <//>
  `;
}

function Hold({ hold, breaker }) {
  if (!hold && (!breaker || breaker.state === "closed")) return null;
  if (!hold)
    return html`
      <div class="notice tone-warn" role="status">
        <div><strong>${t(`breaker.is.${breaker.state}`)}</strong><p>${t("breaker.hint")}</p></div>
      </div>
    `;
  const tone = hold.kind === "breaker" ? "bad" : hold.kind === "limited" ? "info" : "warn";
  return html`
    <div class=${`notice tone-${tone}`} role="status">
      <div>
        <strong>${t(`hold.${hold.kind}`)}</strong>
        <p>
          ${t(`hold.${hold.kind}.hint`)}
          ${" "}
          ${hold.by ? t("hold.by", { name: hold.by }) : ""}
          ${" "}
          ${hold.since ? html`<${Time} at=${hold.since} ago />` : null}
          ${hold.until ? html` · ${t("hold.until")} <${Time} at=${hold.until} ago />` : null}
        </p>
        ${hold.note ? html`<blockquote>${hold.note}</blockquote>` : null}
      </div>
    </div>
  `;
}

function PauseDialog({ name, action, onClose, onDone }) {
  const [note, setNote] = useState("");
  const acting = useAction(async () => {
    const endpoint = await post(`/v1/endpoints/${encodeURIComponent(name)}/${action}`, { note });
    say(t(`endpoint.${action}.done`, { name }));
    onDone(endpoint);
  });
  return html`
    <${Dialog}
      title=${t(`endpoint.${action}`)}
      onClose=${onClose}
      onSubmit=${() => acting.run()}
      foot=${html`
        <button type="submit" class="button primary" disabled=${acting.busy}>${t(`endpoint.${action}`)}</button>
      `}
    >
      <p>${t(`endpoint.${action}.sure`)}</p>
      <${Field} wide label=${t("note")} hint=${t("note.hint")}>
        ${(id) => html`
          <input
            id=${id}
            name="note"
            maxlength="1000"
            value=${note}
            onInput=${(event) => setNote(event.target.value)}
          />
        `}
      <//>
      <${Failure} error=${acting.error} />
    <//>
  `;
}

function Live({ of }) {
  const recent = of.recent;
  const tiles = [
    [t("endpoint.due"), number(of.backlog?.due ?? 0)],
    [t("endpoint.scheduled"), number(of.backlog?.scheduled ?? 0)],
    [t("endpoint.running"), of.running === undefined ? "–" : number(of.running)],
    [t("endpoint.success"), share(recent?.success_rate)],
    ["p50", duration(recent?.latency_p50_ms)],
    ["p99", duration(recent?.latency_p99_ms)],
    [t("history.attempts"), recent ? compact(recent.attempts) : "–"],
  ];
  return html`
    <ul class="tiles small-tiles">
      ${tiles.map(([name, value]) => html`
        <li key=${name} class="tile">
          <span class="tile-name">${name}</span>
          <span class="tile-number">${value}</span>
        </li>
      `)}
    </ul>
  `;
}

function Recent({ recent }) {
  if (!recent) return null;
  const span = recent.window_s ? t("endpoint.window", { time: duration(recent.window_s * 1000) }) : null;
  const verdicts = VERDICTS.filter((name) => recent.by_verdict?.[name]).map((name) => ({
    name,
    shown: term("verdict", name),
    value: recent.by_verdict[name],
    text: number(recent.by_verdict[name]),
    tone: TONES[name],
  }));
  const errors = Object.entries(recent.errors ?? {})
    .sort((a, b) => b[1] - a[1])
    .slice(0, 10)
    .map(([name, value]) => ({ name, shown: errorName(name), value, text: number(value), tone: "bad" }));
  const more = html`<span class="faint">${span}</span>`;
  return html`
    <div class="grid-third">
      <${Card} title=${t("endpoint.latency")} more=${more}>
        <${Bars} rows=${latencyRows(recent.latency_buckets)} label=${t("endpoint.latency")} />
      <//>
      <${Card} title=${t("endpoint.verdicts")} more=${more}>
        <${Bars} rows=${verdicts} label=${t("endpoint.verdicts")} />
      <//>
      <${Card} title=${t("endpoint.errors")} more=${more}>
        <${Bars} rows=${errors} label=${t("endpoint.errors")} empty=${t("endpoint.errors.none")} />
      <//>
    </div>
  `;
}

const breakerWords = (breaker) =>
  breaker
    ? t("endpoint.breaker.of", {
        rate: share(breaker.failure_rate),
        calls: breaker.min_calls,
        window: duration(breaker.window_ms),
        pause: duration(breaker.open_for_ms),
      })
    : t("endpoint.breaker.none");

/** How the third party is asked what became of an attempt. */
function ConfirmStep({ of }) {
  return html`
    <code class="break"><span class="method">${of.method}</span> ${of.path}</code>
    <p class="faint small">${t("endpoint.confirm.of", { after: duration(of.after_ms), times: of.times })}</p>
    <ul>
      ${of.rules.map((rule, at) => html`
        <li key=${at}><code class="break">${rule.when}</code> → ${term("answer", rule.answer)}</li>
      `)}
    </ul>
  `;
}

function overallWords(timeout) {
  const ceiling = duration(timeout.overall_ms);
  return timeout.adaptive_floor_ms ? t("endpoint.adaptive", { ceiling }) : ceiling;
}

function Settings({ of }) {
  return html`
    <${Card} title=${t("endpoint.settings")}>
      <${Facts}
        of=${[
          [t("endpoint.url"), of.base_url ? html`<code class="break">${of.base_url}</code>` : null],
          [
            t("ladder"),
            html`
              <span class="tags">
                ${(of.ladder ?? []).map((delay, at) => html`<span key=${at} class="chip">${delay}</span>`)}
              </span>
            `,
          ],
          [
            t("endpoint.timeouts"),
            of.timeout
              ? t("endpoint.timeouts.of", {
                  connect: duration(of.timeout.connect_ms),
                  read: duration(of.timeout.read_ms),
                  overall: overallWords(of.timeout),
                })
              : null,
          ],
          [t("endpoint.concurrency"), of.concurrency && number(of.concurrency)],
          [t("endpoint.rate_limit"), typeof of.rate_limit === "object" ? null : of.rate_limit],
          [t("endpoint.on_ambiguous"), of.on_ambiguous && term("on_ambiguous", of.on_ambiguous)],
          [t("endpoint.idempotency"), of.idempotency_header && html`<code>${of.idempotency_header}</code>`],
          [t("endpoint.window.key"), of.idempotency_window_ms && duration(of.idempotency_window_ms)],
          [t("endpoint.lease"), of.lease_ms && duration(of.lease_ms)],
          [t("breaker"), breakerWords(of.breaker)],
          [t("endpoint.confirm"), of.confirm && html`<${ConfirmStep} of=${of.confirm} />`],
          [t("endpoint.strategy"), of.providers?.length ? term("strategy", of.strategy) : null],
          [t("headers"), of.headers?.length ? of.headers.join(", ") : null],
          [t("endpoint.lane"), of.lane],
        ]}
      />
    <//>
  `;
}

export function EndpointPage({ name }) {
  const path = `/v1/endpoints/${encodeURIComponent(name)}`;
  const endpoint = useData(path, { every: 3000 });
  const [doing, setDoing] = useState(null);
  const now = endpoint.data;
  const paused = now?.hold?.kind === "paused";
  const action = paused ? "resume" : "pause";
  const done = (changed) => {
    setDoing(null);
    if (changed?.name) endpoint.replace(changed);
    else endpoint.reload();
  };
  return html`
    <${PageHead}
      title=${name}
      sub=${now
        ? html`
          <${Badge} kind="state" name=${stateOf(now)} />
          ${now.dry_run ? html` <span class="chip">${t("dry_run")}</span>` : null}
        `
        : null}
    >
      <${Link} class="button quiet" href=${`/calls?endpoint=${encodeURIComponent(name)}`}>${t("endpoint.calls")}<//>
      ${now && may("operate")
        ? html`
          <button type="button" class="button" id="pause" onClick=${() => setDoing(action)}>
            <${Icon} name=${paused ? "play" : "pause"} />
            ${t(`endpoint.${action}`)}
          </button>
        `
        : null}
    <//>
    <${Shown} from=${endpoint} rows=${8}>
      ${(data) => html`
        <${Hold} hold=${data.hold} breaker=${data.breaker} />
        <${Live} of=${data} />
        <${Card} title=${t("overview.history")}><${HistoryCharts} minutes="60" endpoint=${name} /><//>
        ${data.recent
          ? html`<${Recent} recent=${data.recent} />`
          : html`<${Card}><${Empty} title=${t("endpoint.recent.none")} /><//>`}
        ${data.providers?.length ? html`<${Providers} providers=${data.providers} />` : null}
        <div class="grid-half"><${Settings} of=${data} /><${TryRules} name=${name} rules=${data.rules ?? []} /></div>
      `}
    <//>
    ${doing
      ? html`<${PauseDialog} name=${name} action=${doing} onClose=${() => setDoing(null)} onDone=${done} />`
      : null}
  `;
}
