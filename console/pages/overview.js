// Everything at a glance, and what needs a person now.

import { html, useMemo } from "../base/view.js";
import { language, t, term } from "../base/words.js";
import { compact, duration, number, share } from "../base/format.js";
import { useData } from "../base/data.js";
import { stats, useMoves } from "../base/live.js";
import { Link, place, setQuery } from "../base/router.js";
import { query } from "../base/api.js";
import { Badge, Bar, Card, Empty, Failure, Icon, Loading, PageHead, Select, Shown, Time } from "../parts/basics.js";
import { HistoryCharts } from "../parts/history.js";
import { stateOf } from "./endpoints.js";

const TILES = ["review", "scheduled", "running", "succeeded", "resolved", "cancelled", "superseded"];

function Tiles({ calls }) {
  return html`
    <ul class="tiles">
      ${TILES.map((status) => html`
        <li key=${status}>
          <${Link} href=${status === "review" ? "/review" : `/calls?status=${status}`} class=${`tile tile-${status}`}>
            <span class="tile-name"><${Badge} kind="status" name=${status} /></span>
            <span class="tile-number">${calls ? number(calls[status] ?? 0) : "–"}</span>
          <//>
        </li>
      `)}
    </ul>
  `;
}

function Needs({ rejected }) {
  const groups = useData("/v1/groups?status=review", { every: 10000 });
  useMoves(groups.reload, 3000);
  const waiting = rejected.data?.count ?? 0;
  const more = html`<${Link} href="/review">${t("overview.all.review")}<//>`;
  return html`
    <${Card} title=${t("overview.needs")} more=${more} flush>
      ${waiting > 0
        ? html`
          <${Link} class="need need-rejected" href="/rejected">
            <span class="need-count">${compact(waiting)}</span>
            <span class="need-what">${t("overview.rejected", { n: waiting })}</span>
            <${Icon} name="right" />
          <//>
        `
        : null}
      <${Shown}
        from=${groups}
        rows=${3}
        isEmpty=${(data) => data.groups.length === 0}
        empty=${waiting ? null : html`<${Empty} title=${t("overview.calm")}>${t("overview.calm.hint")}<//>`}
      >
        ${(data) => html`
          <ul class="needs">
            ${data.groups.slice(0, 6).map((group) => html`
              <li key=${group.example}>
                <${Link}
                  class="need"
                  href=${`/review${query({ endpoint: group.endpoint, reason: group.review_reason })}`}
                >
                  <span class="need-count">${compact(group.count)}</span>
                  <span class="need-what">
                    <strong>${group.endpoint}</strong> · ${term("reason", group.review_reason)}
                    <span class="need-error">${group.error || t("error.none")}</span>
                  </span>
                  <span class="faint need-when"><${Time} at=${group.last_at} only /></span>
                <//>
              </li>
            `)}
          </ul>
        `}
      <//>
    <//>
  `;
}

function Endpoints() {
  const endpoints = useData("/v1/endpoints", { every: 5000 });
  return html`
    <${Card}
      title=${t("nav.endpoints")}
      more=${html`<${Link} href="/endpoints">${t("overview.all.endpoints")}<//>`}
      flush
    >
      <${Shown}
        from=${endpoints}
        isEmpty=${(data) => data.endpoints.length === 0}
        empty=${html`<${Empty} title=${t("endpoints.none")} />`}
      >
        ${(data) => html`
          <table class="table">
            <thead>
              <tr>
                <th>${t("endpoint")}</th>
                <th>${t("state")}</th>
                <th class="num">${t("endpoint.due")}</th>
                <th class="num hide-narrow">${t("endpoint.success")}</th>
                <th class="num hide-narrow">p99</th>
              </tr>
            </thead>
            <tbody>
              ${[...data.endpoints]
                .sort((a, b) => (b.backlog?.due ?? 0) - (a.backlog?.due ?? 0))
                .slice(0, 8)
                .map((one) => html`
                <tr key=${one.name}>
                  <td>
                    <${Link} href=${`/endpoints/${one.name}`}>${one.name}<//>
                    ${one.dry_run ? html` <span class="chip">${t("dry_run")}</span>` : null}
                  </td>
                  <td><${Badge} kind="state" name=${stateOf(one)} /></td>
                  <td class="num">
                    ${number(one.backlog?.due ?? 0)}
                    <span class="faint"> / ${number(one.backlog?.scheduled ?? 0)}</span>
                  </td>
                  <td class="num hide-narrow">${share(one.recent?.success_rate)}</td>
                  <td class="num hide-narrow">${duration(one.recent?.latency_p99_ms)}</td>
                </tr>
              `)}
            </tbody>
          </table>
        `}
      <//>
    <//>
  `;
}

const UNITS = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };
const seconds = (text) =>
  [...text.matchAll(/(\d+)(ms|s|m|h|d)/g)].reduce((sum, [, count, unit]) => sum + count * UNITS[unit], 0);

/** `redial.delay.10s` is the tier 10s, `redial.due.sms` the lane sms. */
function sorted(depths) {
  const tiers = [];
  const lanes = [];
  for (const [queue, depth] of Object.entries(depths ?? {})) {
    const tier = /\.delay\.([^.]+)$/.exec(queue);
    const lane = /\.due\.([^.]+)$/.exec(queue);
    if (tier) tiers.push({ name: tier[1], depth, queue });
    else if (lane) lanes.push({ name: lane[1], depth, queue });
  }
  tiers.sort((a, b) => seconds(a.name) - seconds(b.name));
  lanes.sort((a, b) => b.depth - a.depth || a.name.localeCompare(b.name));
  return { tiers, lanes };
}

/** Only what holds something; the rest as a number. */
function Depths({ rows, label, tone }) {
  const filled = rows.filter((row) => row.depth > 0);
  const max = Math.max(1, ...filled.map((row) => row.depth));
  const empty = rows.length - filled.length;
  return html`
    <div>
      <h3>${label}</h3>
      ${filled.length === 0
        ? null
        : html`
          <table class="bars">
            <tbody>
              ${filled.map((row) => html`
                <tr key=${row.queue}>
                  <th scope="row" title=${row.queue}>${row.name}</th>
                  <td class="bars-bar">
                    <${Bar} value=${row.depth} max=${max} tone=${tone} label=${String(row.depth)} />
                  </td>
                  <td class="num">${number(row.depth)}</td>
                </tr>
              `)}
            </tbody>
          </table>
        `}
      ${empty > 0 ? html`<p class="faint small">${t("overview.depths.empty", { n: empty })}</p>` : null}
    </div>
  `;
}

function Queues({ now }) {
  const { tiers, lanes } = useMemo(() => sorted(now?.depths), [now]);
  const body = !now
    ? html`<${Loading} />`
    : now.depths === null
      ? html`<p class="faint">${t("overview.depths.away")}</p>`
      : html`
        <div class="split">
          <${Depths} rows=${tiers} label=${t("overview.tiers")} tone="info" />
          <${Depths} rows=${lanes} label=${t("overview.lanes")} tone="accent" />
        </div>
        <p class="faint small">${t("overview.depths.hint")}</p>
      `;
  return html`<${Card} title=${t("overview.queues")}>${body}<//>`;
}

const SPANS = ["60", "360", "1440"];

export function Overview() {
  const first = useData("/v1/stats");
  const now = stats.value ?? first.data;
  const rejected = useData("/v1/rejected?limit=1", { every: 30000 });
  const wanted = place.value.query.get("minutes");
  const minutes = SPANS.includes(wanted) ? wanted : "60";
  const spans = html`
    <${Select}
      label=${t("overview.span")}
      value=${minutes}
      options=${SPANS.map((span) => [span, t(`span.${span}`)])}
      onChange=${(value) => setQuery({ minutes: value === "60" ? "" : value })}
    />
  `;
  return html`
    <${PageHead}
      title=${t("nav.overview")}
      sub=${now
        ? html`
          ${t("overview.rates", { attempts: rate(now.rates?.attempts_per_second), succeeded: rate(now.rates?.succeeded_per_second) })}
        `
        : null}
    />
    ${now?.broker_away
      ? html`
        <div class="notice tone-warn" role="status">
          <div><strong>${t("overview.broker.away")}</strong><p>${t("overview.broker.away.hint")}</p></div>
        </div>
      `
      : null}
    ${first.error && !first.error.isOutage && !now
      ? html`<${Failure} error=${first.error} retry=${first.reload} />`
      : null}
    <${Tiles} calls=${now?.calls} />
    <div class="grid-main">
      <div class="stacked">
        <${Card} title=${t("overview.history")} more=${spans}>
          <${HistoryCharts} key=${language.value} minutes=${minutes} />
        <//>
        <${Endpoints} />
      </div>
      <div class="stacked first-narrow"><${Needs} rejected=${rejected} /><${Queues} now=${now} /></div>
    </div>
  `;
}

const rate = (value) =>
  value === null || value === undefined
    ? "–"
    : new Intl.NumberFormat(language.value, { maximumFractionDigits: 1 }).format(value);
