// Charts over time (uPlot) and small bar charts. Colours come from the style sheet, so both schemes fit.

import { html, useEffect, useRef, useState } from "../base/view.js";
import { language, t } from "../base/words.js";
import { shade } from "../base/theme.js";
import { Bar } from "./basics.js";

/** The charts are a third of the console's weight: they are fetched by the first page that draws one. */
let drawing = null;
const loaded = () => (drawing ??= import("../vendor/uplot.js").then((module) => module.default));

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function faded(hex, alpha) {
  const value = Number.parseInt(hex.slice(1), 16);
  return `rgba(${(value >> 16) & 255}, ${(value >> 8) & 255}, ${value & 255}, ${alpha})`;
}

/** Places of values without a neighbour, which no line would show. */
function lonely(values) {
  const known = (at) => values[at] !== null && values[at] !== undefined;
  return values.flatMap((_, at) => (known(at) && !known(at - 1) && !known(at + 1) ? [at] : []));
}

function axis(extra) {
  return {
    stroke: colour("text-faint"),
    font: "11px system-ui, sans-serif",
    grid: { stroke: colour("line-soft"), width: 1 },
    ticks: { show: false },
    gap: 6,
    ...extra,
  };
}

function options({ uPlot, series, unit, width, height, max }) {
  const clock = new Intl.DateTimeFormat(language.peek(), { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const shown = (value) => (value === null || value === undefined ? "–" : unit(value));
  return {
    width,
    height,
    padding: [10, 18, 0, 0],
    cursor: { points: { size: 6 }, drag: { x: false, y: false }, y: false },
    legend: { live: true },
    scales: { y: { range: (_, low, high) => [0, max ?? Math.max(high * 1.1, 1)] } },
    axes: [
      axis({ values: (_, marks) => marks.map((mark) => clock.format(new Date(mark * 1000))), space: 64, size: 28 }),
      axis({ values: (_, marks) => marks.map(unit), size: 52, space: 32 }),
    ],
    series: [
      { label: t("chart.time"), value: (_, at) => (at ? clock.format(new Date(at * 1000)) : "–") },
      ...series.map((one) => ({
        label: one.label,
        stroke: colour(one.colour),
        width: 1.75,
        fill: one.fill ? faded(colour(one.colour), 0.14) : undefined,
        points: { show: true, size: 5, filter: (plot, position) => lonely(plot.data[position]) },
        spanGaps: false,
        paths: one.bars ? uPlot.paths.bars({ size: [0.8, 24], align: 0 }) : undefined,
        value: (_, value) => shown(value),
      })),
    ],
  };
}

/** Lines over time. `data` is [seconds, …values], `series` says what each is. */
export function TimeChart({ data, series, unit, height = 190, max, label }) {
  const box = useRef(null);
  const plot = useRef(null);
  const latest = useRef(data);
  latest.current = data;
  // In a box, because a state that is a function would be called.
  const [library, setLibrary] = useState(null);
  useEffect(() => {
    let here = true;
    loaded().then(
      (uPlot) => here && setLibrary({ uPlot }),
      () => {
        drawing = null;
      },
    );
    return () => {
      here = false;
    };
  }, []);
  const shape = series.map((one) => one.label).join("|");
  useEffect(() => {
    if (!library) return undefined;
    const { uPlot } = library;
    const element = box.current;
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot(
        options({ uPlot, series, unit, height, max, width: element.clientWidth }),
        latest.current,
        element,
      );
    };
    make();
    const watch = new ResizeObserver(() => {
      const width = element.clientWidth;
      if (plot.current && width > 0 && width !== plot.current.width) plot.current.setSize({ width, height });
    });
    watch.observe(element);
    return () => {
      watch.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [library, shade.value, language.value, shape]);
  useEffect(() => {
    plot.current?.setData(data);
  }, [data]);
  return html`
    <div
      class="chart"
      role="img"
      aria-label=${label}
      ref=${box}
      style=${library ? undefined : { height: `${height}px` }}
    ></div>
  `;
}

/** A histogram as rows: `10 ms  ▇▇▇  42`. */
export function Bars({ rows, label, empty }) {
  const max = Math.max(0, ...rows.map((row) => row.value));
  if (rows.length === 0 || max === 0) return html`<p class="faint">${empty ?? t("empty.nothing")}</p>`;
  return html`
    <table class="bars" aria-label=${label}>
      <tbody>
        ${rows.map((row) => html`
          <tr key=${row.name}>
            <th scope="row">${row.shown ?? row.name}</th>
            <td class="bars-bar">
              <${Bar} value=${row.value} max=${max} tone=${row.tone} label=${String(row.value)} />
            </td>
            <td class="num">${row.text ?? row.value}</td>
          </tr>
        `)}
      </tbody>
    </table>
  `;
}
