// Throughput, success and latency over time, for all endpoints or one.

import { html, useMemo } from "../base/view.js";
import { t } from "../base/words.js";
import { compact, duration, number } from "../base/format.js";
import { query } from "../base/api.js";
import { useData } from "../base/data.js";
import { Empty, Shown } from "./basics.js";
import { TimeChart } from "./chart.js";

const sum = (object) => Object.values(object ?? {}).reduce((total, count) => total + count, 0);

/** At most so many points are drawn; more are gathered. */
const POINTS_MAX = 120;

/** Several minutes as one point: counts add up, shares and latencies are weighed by attempts. */
function gather(minutes) {
  const size = Math.ceil(minutes.length / POINTS_MAX);
  if (size <= 1) return minutes;
  const gathered = [];
  for (let at = 0; at < minutes.length; at += size) {
    const group = minutes.slice(at, at + size);
    const attempts = group.reduce((total, minute) => total + minute.attempts, 0);
    const weighed = (name) => {
      const known = group.filter((minute) => minute[name] !== null && minute[name] !== undefined);
      const weight = known.reduce((total, minute) => total + minute.attempts, 0);
      return weight > 0 ? known.reduce((total, minute) => total + minute[name] * minute.attempts, 0) / weight : null;
    };
    gathered.push({
      at: group[0].at,
      attempts: attempts / group.length,
      succeeded: group.reduce((total, minute) => total + (minute.by_verdict?.success ?? 0), 0) / group.length,
      accepted: group.reduce((total, minute) => total + (minute.accepted ?? 0), 0) / group.length,
      success_rate: weighed("success_rate"),
      latency_p50_ms: weighed("latency_p50_ms"),
      latency_p99_ms: weighed("latency_p99_ms"),
    });
  }
  return gathered;
}

/** The quiet time before anything happened is left out, but for so many minutes. */
const SHORTEST = 15;

function fromTheFirst(minutes) {
  const first = minutes.findIndex((minute) => minute.attempts > 0 || minute.accepted > 0);
  return minutes.slice(Math.min(Math.max(0, first - 1), Math.max(0, minutes.length - SHORTEST)));
}

/** The last minute is not over and would look like a fall; it is left out when there is another to show. */
function whole(minutes) {
  const over = minutes.slice(0, -1);
  return over.some((minute) => minute.attempts > 0 || minute.accepted > 0) ? over : minutes;
}

function columns(minutes) {
  const points = gather(fromTheFirst(whole(minutes)));
  const column = (read) => points.map((point) => read(point) ?? null);
  const at = points.map((point) => Date.parse(point.at) / 1000);
  return {
    throughput: [
      at,
      column((point) => point.accepted ?? 0),
      column((point) => point.attempts),
      column((point) => point.succeeded ?? point.by_verdict?.success ?? 0),
    ],
    success: [
      at,
      column((point) =>
        point.success_rate === null || point.success_rate === undefined ? null : point.success_rate * 100,
      ),
    ],
    latency: [at, column((point) => point.latency_p50_ms), column((point) => point.latency_p99_ms)],
  };
}

export function HistoryCharts({ minutes = "60", endpoint }) {
  const history = useData(`/v1/stats/history${query({ minutes, endpoint })}`, { every: 15000 });
  const data = useMemo(() => (history.data ? columns(history.data.minutes) : null), [history.data]);
  const quiet = (answer) =>
    answer.minutes.every((minute) => !minute.attempts && !minute.accepted && sum(minute.by_verdict) === 0);
  return html`
    <${Shown}
      from=${history}
      rows=${6}
      isEmpty=${quiet}
      empty=${html`<${Empty} title=${t("history.none")}>${t("history.none.hint")}<//>`}
    >
      ${() => html`
        <div class="charts">
          <figure class="chart-box chart-wide">
            <figcaption>${t("history.throughput")}</figcaption>
            <${TimeChart}
              label=${t("history.throughput")}
              data=${data.throughput}
              unit=${(value) => (value < 10 && value % 1 ? value.toFixed(1) : compact(value))}
              series=${[
                { label: t("history.accepted"), colour: "chart-4" },
                { label: t("history.attempts"), colour: "chart-1", fill: true },
                { label: t("history.succeeded"), colour: "chart-2", fill: true },
              ]}
            />
          </figure>
          <figure class="chart-box">
            <figcaption>${t("history.success")}</figcaption>
            <${TimeChart}
              label=${t("history.success")}
              data=${data.success}
              max=${100}
              unit=${(value) => `${number(Math.round(value * 10) / 10)} %`}
              height=${150}
              series=${[{ label: t("history.success.short"), colour: "chart-2", fill: true }]}
            />
          </figure>
          <figure class="chart-box">
            <figcaption>${t("history.latency")}</figcaption>
            <${TimeChart}
              label=${t("history.latency")}
              data=${data.latency}
              unit=${(value) => duration(value)}
              height=${150}
              series=${[
                { label: "p50", colour: "chart-1" },
                { label: "p99", colour: "chart-3" },
              ]}
            />
          </figure>
        </div>
      `}
    <//>
  `;
}
