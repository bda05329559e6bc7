// JSON, headers and differences as text with colours. All of it is other people's text: it becomes text nodes, never markup.

import { html, cls, useState } from "../base/view.js";
import { t } from "../base/words.js";
import { pretty } from "../base/format.js";
import { Copy } from "./basics.js";

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const COLOURED_MAX = 60_000;

function coloured(text) {
  if (text.length > COLOURED_MAX) return visible(text);
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(TOKEN)) {
    if (match.index > end) parts.push(visible(text.slice(end, match.index)));
    const kind = match[1] ? (match[2] ? "key" : "string") : /^[tfn]/.test(match[0]) ? "word" : "number";
    parts.push(html`<span class=${`json-${kind}`}>${visible(match[1] ?? match[0])}</span>`);
    if (match[2]) parts.push(match[2]);
    end = match.index + match[0].length;
  }
  parts.push(visible(text.slice(end)));
  return parts;
}

/** Characters that would not be seen, or would turn the text around: all controls but tab and line feed, and what sets directions. */
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]/g;

/** A sign that stands for such a character. */
function sign(character) {
  const code = character.codePointAt(0);
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  return code === 0x7f ? "\u2421" : `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
}

/** A text with everything in it visible. */
function visible(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(UNSEEN)) {
    parts.push(text.slice(end, match.index), html`<span class="unseen">${sign(match[0])}</span>`);
    end = match.index + 1;
  }
  return end === 0 ? text : [...parts, text.slice(end)];
}

const LINES_SHOWN = 40;

/** A body: pretty and coloured if it is JSON, as it is otherwise. Long ones are cut until asked for. */
export function Code({ value, label, note }) {
  const [whole, setWhole] = useState(false);
  const text = pretty(value);
  const isJson = typeof value !== "string" || /^\s*[[{]/.test(text);
  const lines = text.split("\n");
  const cut = !whole && lines.length > LINES_SHOWN;
  const shown = cut ? lines.slice(0, LINES_SHOWN).join("\n") : text;
  return html`
    <figure class="code">
      ${label || note
        ? html`
          <figcaption>
            <span>${label}</span>
            ${note ? html`<span class="faint">${note}</span>` : null}
            <${Copy} text=${text} label=${t("copy")} />
          </figcaption>
        `
        : null}
      <pre tabindex="0"><code>${isJson ? coloured(shown) : visible(shown)}</code></pre>
      ${cut
        ? html`
          <button type="button" class="button quiet code-more" onClick=${() => setWhole(true)}>
            ${t("code.more", { n: lines.length - LINES_SHOWN })}
          </button>
        `
        : null}
    </figure>
  `;
}

export function HeaderTable({ headers, label }) {
  const rows = Object.entries(headers ?? {});
  if (rows.length === 0) return null;
  return html`
    <figure class="code">
      <figcaption><span>${label}</span></figcaption>
      <table class="headers">
        <tbody>
          ${rows.map(([name, value]) => html`
            <tr key=${name}>
              <th scope="row"><code>${name}</code></th>
              <td><code class=${cls(value === "[redacted]" && "faint")}>${visible(value)}</code></td>
            </tr>
          `)}
        </tbody>
      </table>
    </figure>
  `;
}

const CONTEXT = 3;

/** Lines of a difference; long stretches without change are folded. */
export function Diff({ lines, label }) {
  const near = lines.map((_, at) =>
    lines.slice(Math.max(0, at - CONTEXT), at + CONTEXT + 1).some((line) => line.op !== "="),
  );
  const changed = lines.some((line) => line.op !== "=");
  if (!changed) return html`<p class="faint">${t("diff.same")}</p>`;
  const shown = [];
  let folded = 0;
  lines.forEach((line, at) => {
    if (near[at]) {
      if (folded) shown.push(html`<div class="diff-fold">${t("diff.folded", { n: folded })}</div>`);
      folded = 0;
      const kind = line.op === "+" ? "diff-in" : line.op === "-" ? "diff-out" : "";
      shown.push(html`
        <div class=${cls("diff-line", kind)}>
          <span
            class="diff-mark"
            aria-label=${line.op === "+" ? t("diff.in") : line.op === "-" ? t("diff.out") : undefined}
          >
            ${line.op === "=" ? " " : line.op}
          </span>
          <span>${visible(line.text) || " "}</span>
        </div>
      `);
    } else folded++;
  });
  if (folded) shown.push(html`<div class="diff-fold">${t("diff.folded", { n: folded })}</div>`);
  return html`
    <figure class="code">
      ${label ? html`<figcaption><span>${label}</span></figcaption>` : null}
      <div class="diff" tabindex="0">${shown}</div>
    </figure>
  `;
}
