// Times, durations, sizes and shares for people.

import { readExactly } from "./json.js";
import { language, number, t } from "./words.js";

export { number };

export function parseTime(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? null : at;
}

/** In the reader's own zone, with seconds. */
export function localTime(text, { millis = false } = {}) {
  const at = parseTime(text);
  if (!at) return text ?? "";
  const sameDay = at.toDateString() === new Date().toDateString();
  const options = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  if (millis) options.fractionalSecondDigits = 3;
  if (!sameDay) Object.assign(options, { year: "numeric", month: "2-digit", day: "2-digit" });
  return new Intl.DateTimeFormat(language.value, options).format(at);
}

const STEPS = [
  [60, "second", 1],
  [3600, "minute", 60],
  [86400, "hour", 3600],
  [86400 * 60, "day", 86400],
  [Infinity, "month", 86400 * 30],
];

/** "in 4 minutes", "2 hours ago". */
export function relativeTime(text, now = Date.now()) {
  const at = parseTime(text);
  if (!at) return "";
  const seconds = (at.getTime() - now) / 1000;
  const size = Math.abs(seconds);
  if (size < 2) return t("time.now");
  const [, unit, length] = STEPS.find(([limit]) => size < limit);
  const form = new Intl.RelativeTimeFormat(language.value, { numeric: "always", style: "short" });
  return form.format(Math.trunc(seconds / length), unit);
}

/** 12 ms, 3.4 s, 2 min 5 s, 1 h 4 min. */
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds < 10 ? Number(seconds.toFixed(1)) : Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  const parts = [
    [86400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  const shown = [];
  let rest = whole;
  for (const [length, unit] of parts) {
    const count = Math.floor(rest / length);
    rest -= count * length;
    if (count > 0 && shown.length < 2) shown.push(`${count} ${unit}`);
    else if (shown.length > 0) break;
  }
  return shown.join(" ");
}

export function bytes(count) {
  if (count === null || count === undefined) return "–";
  if (count < 1024) return `${number(count)} B`;
  if (count < 1024 * 1024) return `${Number((count / 1024).toFixed(1))} KiB`;
  return `${Number((count / 1024 / 1024).toFixed(1))} MiB`;
}

/** 0.983 is "98.3 %"; nothing known is a dash. */
export function share(value, digits = 1) {
  if (value === null || value === undefined) return "–";
  const options = { style: "percent", maximumFractionDigits: value === 1 || value === 0 ? 0 : digits };
  return new Intl.NumberFormat(language.value, options).format(value);
}

export const compact = (value) =>
  value === null || value === undefined
    ? "–"
    : new Intl.NumberFormat(language.value, { notation: "compact", maximumFractionDigits: 1 }).format(value);

export const shortId = (id) => (id ? `${id.slice(0, 8)}…${id.slice(-4)}` : "");

/** JSON with indentation; anything else as it is. */
export function pretty(value) {
  if (typeof value !== "string") return JSON.stringify(value, null, 2);
  try {
    const parsed = readExactly(value);
    return typeof parsed === "object" ? JSON.stringify(parsed, null, 2) : value;
  } catch {
    return value;
  }
}
