// A job over many calls, as it stands.

import { html } from "../base/view.js";
import { t, term } from "../base/words.js";
import { number } from "../base/format.js";

export const isOver = (job) => ["done", "aborted", "stopped"].includes(job.status);

const PARTS = [
  ["succeeded", "good"],
  ["failed", "bad"],
  ["pending", "info"],
  ["skipped", "plain"],
];

/** How far it is: what came of its calls as one bar, with the same in words. */
export function Progress({ job, words = true }) {
  const total = Math.max(1, job.total);
  const settled = job.succeeded + job.failed + job.skipped;
  const label = t("bulk.progress", { settled, total: job.total });
  return html`
    <div class="progress">
      <div
        class="progress-bar"
        role="progressbar"
        aria-label=${label}
        aria-valuemin="0"
        aria-valuemax=${job.total}
        aria-valuenow=${settled}
      >
        ${PARTS.map(([name, tone]) => html`
          <span key=${name} class=${`progress-part fill-${tone}`} style=${{ width: `${(job[name] / total) * 100}%` }}></span>
        `)}
      </div>
      ${words
        ? html`
          <ul class="legend">
            ${PARTS.map(([name, tone]) => html`
              <li key=${name}>
                <span class=${`swatch fill-${tone}`} aria-hidden="true"></span>
                ${t(`bulk.${name}`)} <strong>${number(job[name])}</strong>
              </li>
            `)}
            <li class="faint">${t("bulk.of", { acted: job.acted, total: job.total })}</li>
          </ul>
        `
        : null}
    </div>
  `;
}

/** Its conditions in a line. */
export function filterWords(filter) {
  const words = Object.entries(filter ?? {}).map(([name, value]) => {
    if (name === "tags")
      return Object.entries(value)
        .map(([key, tag]) => `${key}=${tag}`)
        .join(", ");
    if (name === "status")
      return String(value)
        .split(",")
        .map((one) => term("status", one))
        .join(", ");
    if (name === "reason") return term("reason", value);
    if (name === "ids") return t("bulk.ids", { n: value.length });
    return String(value);
  });
  return words.filter(Boolean).join(" · ") || t("bulk.everything");
}
