// Small parts that every page is made of.

import { html, cls, useEffect, useId, useLayoutEffect, useRef, useState, signal } from "../base/view.js";
import { t, term } from "../base/words.js";
import { localTime, relativeTime, shortId, parseTime } from "../base/format.js";
import { outage } from "../base/data.js";
import { Link, place } from "../base/router.js";

const ICONS = {
  overview: "M3 13h6V4H3zM11 20h6V4h-6zM3 20h6v-5H3z",
  calls: "M3 5h14M3 10h14M3 15h9",
  review: "M10 3l8 14H2zM10 8v4M10 14.5v.5",
  endpoints: "M5 4v5a5 5 0 0 0 10 0V4M7 2v3M13 2v3M10 14v4",
  bulk: "M3 4h14v4H3zM3 12h14v4H3zM6 6h.01M6 14h.01",
  audit: "M5 3h10v14H5zM8 7h4M8 10h4M8 13h2",
  rejected: "M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15zM4.7 4.7l10.6 10.6",
  submit: "M10 4v12M4 10h12",
  copy: "M7 7h9v9H7zM4 13V4h9",
  check: "M4 10.5l4 4 8-9",
  close: "M5 5l10 10M15 5L5 15",
  menu: "M3 5h14M3 10h14M3 15h14",
  sun: "M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM10 1.5v2M10 16.5v2M1.5 10h2M16.5 10h2M4 4l1.4 1.4M14.6 14.6L16 16M4 16l1.4-1.4M14.6 5.4L16 4",
  moon: "M15.5 12.5A6.5 6.5 0 0 1 7.5 4.5a6.5 6.5 0 1 0 8 8z",
  system: "M3 4h14v9H3zM7 17h6M10 13v4",
  replay: "M15.5 7.2A6.3 6.3 0 1 0 16.3 11M16 3.5v4h-4",
  pause: "M7 4v12M13 4v12",
  play: "M6 4l10 6-10 6z",
  down: "M5 8l5 5 5-5",
  right: "M8 5l5 5-5 5",
  left: "M12 5l-5 5 5 5",
  search: "M9 3.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM13 13l4 4",
  leave: "M8 4H4v12h4M12 6l4 4-4 4M16 10H8",
  star: "M10 3l2.2 4.6 5 .7-3.6 3.5.9 5L10 14.4l-4.5 2.4.9-5L2.8 8.3l5-.7z",
  clock: "M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15zM10 6v4l3 2",
  person: "M10 3.5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM4 17a6 6 0 0 1 12 0",
  pencil: "M4 16l1-4 8-8 3 3-8 8z",
};

export const Icon = ({ name }) => html`
  <svg class="icon" viewBox="0 0 20 20" aria-hidden="true"><path d=${ICONS[name]} /></svg>
`;

/** The mark of Redial. */
export const Logo = () => html`
  <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
    <rect width="32" height="32" rx="8" />
    <path d="M22.6 12.2A8 8 0 1 0 24 17" />
    <path d="M23.6 6.6v6h-6" />
    <circle cx="16" cy="17" r="2.2" />
  </svg>
`;

/** A name of the API with its colour and its word. */
export function Badge({ kind, name, tone, title }) {
  return html`
    <span class=${cls("badge", `tone-${tone ?? TONES[`${kind}.${name}`] ?? "plain"}`)} title=${title}>
      <span class="dot" aria-hidden="true"></span>
      ${term(kind, name)}
    </span>
  `;
}

const TONES = {
  "status.scheduled": "info",
  "status.running": "busy",
  "status.review": "warn",
  "status.succeeded": "good",
  "status.resolved": "good",
  "status.cancelled": "plain",
  "status.superseded": "plain",
  "verdict.success": "good",
  "verdict.transient": "warn",
  "verdict.limited": "info",
  "verdict.ambiguous": "busy",
  "verdict.pending": "info",
  "verdict.rejected": "bad",
  "state.active": "good",
  "state.paused": "warn",
  "state.limited": "info",
  "state.breaker": "bad",
  "state.probing": "warn",
  "state.ramping": "info",
  "breaker.closed": "good",
  "breaker.open": "bad",
  "breaker.half_open": "warn",
  "job.canary": "busy",
  "job.running": "info",
  "job.done": "good",
  "job.aborted": "plain",
  "job.stopped": "bad",
  "result.waiting": "plain",
  "result.acted": "info",
  "result.succeeded": "good",
  "result.failed": "bad",
  "result.skipped": "plain",
};

export const Status = ({ name }) => html`<${Badge} kind="status" name=${name} />`;
export const Verdict = ({ name }) => html`<${Badge} kind="verdict" name=${name} />`;

const minute = signal(Date.now());
setInterval(() => {
  if (!document.hidden) minute.value = Date.now();
}, 5000);

/** A time in the reader's zone; UTC on hover. `ago` adds how far it is away. */
export function Time({ at, ago = false, only = false, millis = false }) {
  if (!at || !parseTime(at)) return html`<span class="faint">–</span>`;
  const local = localTime(at, { millis });
  // The signal says when to look again; the time itself is that of now, or what has just ended would lie ahead.
  const now = Math.max(minute.value, Date.now());
  const shown = only ? relativeTime(at, now) : local;
  return html`
    <time datetime=${at} title=${`${only ? `${local} · ` : ""}${at.replace("T", " ").replace("Z", " UTC")}`}>
      ${shown}
      ${ago && !only ? html` <span class="faint">(${relativeTime(at, now)})</span>` : null}
    </time>
  `;
}

/** Puts a text on the clipboard. Browsers offer the new way to pages of https and of this machine only. */
async function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  const before = document.activeElement;
  field.value = text;
  field.readOnly = true;
  field.className = "copying";
  // Outside an open dialog nothing can be selected.
  (before?.closest("dialog") ?? document.body).append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  before?.focus();
  if (!done) throw new Error("refused");
  return undefined;
}

/** Copies a text; says so. */
export function Copy({ text, label, small = true, children }) {
  const [done, setDone] = useState(false);
  const copy = async (event) => {
    event.preventDefault();
    event.stopPropagation();
    try {
      await copied(typeof text === "function" ? text() : text);
      setDone(true);
      setTimeout(() => setDone(false), 1500);
    } catch {
      say(t("copy.failed"), "bad");
    }
  };
  return html`
    <button
      type="button"
      class=${cls(small ? "icon-button" : "button quiet")}
      onClick=${copy}
      aria-label=${small ? label : undefined}
      title=${label}
    >
      <${Icon} name=${done ? "check" : "copy"} />
      ${small ? null : html`<span>${done ? t("copy.done") : (children ?? label)}</span>`}
    </button>
  `;
}

export const Id = ({ id }) => html`
  <span class="id"><${Link} href=${`/calls/${id}`} title=${id}><code>${shortId(id)}</code><//></span>
`;

export const Loading = ({ rows = 4 }) => html`
  <div class="skeleton" role="status" aria-label=${t("loading")}>
    ${Array.from({ length: rows }, (_, at) => html`<span key=${at} class="bar"></span>`)}
  </div>
`;

export const Empty = ({ title, children }) => html`
  <div class="empty">
    <p class="empty-title">${title}</p>
    ${children ? html`<p class="faint">${children}</p>` : null}
  </div>
`;

/** What went wrong, in words that fit the cause, with a way on. */
export function Failure({ error, retry }) {
  if (!error) return null;
  const absent = error.isAbsent;
  const known = error.code ? term("problem", error.code) : "";
  const title = absent
    ? t("failure.absent")
    : error.status === 0
      ? t("failure.unreachable")
      : error.status === 403
        ? t("failure.forbidden")
        : error.status === 503
          ? t("failure.away")
          : t("failure.title");
  // Our own words for what has a code, in the reader's language; the server's sentence stands below them.
  const told = known === error.code ? title : known;
  return html`
    <div class=${cls("notice", absent ? "tone-plain" : "tone-bad")} role=${absent ? "status" : "alert"}>
      <div>
        <strong>${absent ? title : told}</strong>
        ${error.message && !absent && !error.faults?.length ? html`<p>${error.message}</p>` : null}
        ${absent ? html`<p class="faint">${t("failure.absent.hint")}</p>` : null}
        ${error.faults?.length
          ? html`
            <ul class="faults">
              ${error.faults.map((fault) => html`
                <li>
                  <code>${fault.pointer || "/"}</code>
                  ${" "}
                  ${term("problem", fault.code)}
                  ${" "}
                  <span class="faint">${fault.detail}</span>
                </li>
              `)}
            </ul>
          `
          : null}
        ${error.code && !absent ? html`<p class="faint"><code>${error.code}</code></p>` : null}
      </div>
      ${retry ? html`<button type="button" class="button quiet" onClick=${retry}>${t("failure.retry")}</button>` : null}
    </div>
  `;
}

/** That the server does not answer, once for everything on the page that waits for it. */
export function Outage() {
  if (!outage.value) return null;
  return html`
    <div class="notice tone-bad" role="alert" id="outage">
      <div>
        <strong>${t(outage.value.status === 0 ? "failure.unreachable" : "failure.away")}</strong>
        <p>${t("outage.hint")}</p>
      </div>
    </div>
  `;
}

/** One of loading, failed, empty or what there is. */
export function Shown({ from, empty, isEmpty, rows, children }) {
  const failure =
    from.error && !from.error.isOutage ? html`<${Failure} error=${from.error} retry=${from.reload} />` : null;
  if (from.data === null || from.stale) return failure ?? html`<${Loading} rows=${rows} />`;
  return html`${failure}${isEmpty?.(from.data) ? empty : children(from.data)}`;
}

/** A labelled input; `children` is the input itself and gets the id. */
export function Field({ label, hint, error, wide, children }) {
  const id = useId().replace(/[^\w-]/g, "");
  const input = typeof children === "function" ? children(id) : children;
  return html`
    <div class=${cls("field", wide && "wide")}>
      <label for=${id}>${label}</label>
      ${input}
      ${error
        ? html`<p class="field-error" role="alert">${error}</p>`
        : hint
          ? html`<p class="field-hint">${hint}</p>`
          : null}
    </div>
  `;
}

export function Select({ id, label, value, options, onChange, ...rest }) {
  return html`
    <select id=${id} aria-label=${label} value=${value} onChange=${(event) => onChange(event.target.value)} ...${rest}>
      ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
    </select>
  `;
}

/** A card with a heading. */
export function Card({ title, more, children, class: extra, flush }) {
  return html`
    <section class=${cls("card", extra, flush && "flush")}>
      ${title
        ? html`
          <header class="card-head">
            <h2>${title}</h2>
            ${more ? html`<div class="card-more">${more}</div>` : null}
          </header>
        `
        : null}
      <div class="card-body">${children}</div>
    </section>
  `;
}

/** The path whose heading was reached last. */
let reached = place.peek().path;

/** The head of a page. `name` is what the browser calls the page where the title is more than a text. */
export function PageHead({ title, name = title, sub, children }) {
  const heading = useRef(null);
  const { path } = place.value;
  useEffect(() => {
    document.title = `${name} · Redial`;
  }, [name]);
  useEffect(() => {
    // Who came here by a link hears where they are. A page that was just loaded begins where the browser begins.
    if (path !== reached) heading.current.focus({ preventScroll: true });
    reached = path;
  }, [path]);
  return html`
    <div class="page-head">
      <div class="page-title">
        <h1 ref=${heading} tabindex="-1">${title}</h1>
        ${sub ? html`<p class="faint">${sub}</p>` : null}
      </div>
      <div class="page-actions">${children}</div>
    </div>
  `;
}

/** Asks before a draft is lost. */
function Discard({ onKeep, onDiscard }) {
  const keep = useRef(null);
  useEffect(() => keep.current.focus(), []);
  return html`
    <footer class="dialog-foot" role="alertdialog" aria-label=${t("draft.discard")}>
      <span class="dialog-question">${t("draft.discard")}</span>
      <button type="button" class="button" id="keep-draft" ref=${keep} onClick=${onKeep}>${t("draft.keep")}</button>
      <button type="button" class="button danger" id="discard-draft" onClick=${onDiscard}>
        ${t("draft.discard.yes")}
      </button>
    </footer>
  `;
}

const FIRST_FIELD = ".dialog-body :is(input, select, textarea):not(:disabled), .dialog-foot button";

/** A modal dialog: the browser keeps the focus inside. Escape closes it, but asks first when something has been typed. */
export function Dialog({ title, onClose, wide, children, alert, foot, onSubmit }) {
  const element = useRef(null);
  const [typed, setTyped] = useState(false);
  const [asking, setAsking] = useState(false);
  const id = useId().replace(/[^\w-]/g, "");
  useLayoutEffect(() => {
    const dialog = element.current;
    const opener = document.activeElement;
    dialog.showModal();
    dialog.querySelector(FIRST_FIELD)?.focus();
    return () => {
      dialog.close();
      // What opened it may be gone with what was done.
      (opener?.isConnected && opener !== document.body ? opener : document.querySelector("h1"))?.focus();
    };
  }, []);
  const leave = () => (typed ? setAsking(true) : onClose());
  const stay = () => {
    setAsking(false);
    element.current.querySelector(FIRST_FIELD)?.focus();
  };
  const onKeyDown = (event) => {
    if (event.key !== "Escape" || event.defaultPrevented) return;
    // Stopped here: a browser lets a page refuse to close a dialog only once.
    event.preventDefault();
    if (asking) stay();
    else leave();
  };
  const onCancel = (event) => {
    event.preventDefault();
    leave();
  };
  const onInput = () => setTyped(true);
  const submit = (event) => {
    event.preventDefault();
    onSubmit?.();
  };
  return html`
    <dialog
      ref=${element}
      class=${cls("dialog", wide && "wide")}
      aria-labelledby=${id}
      onKeyDown=${onKeyDown}
      onCancel=${onCancel}
      onClose=${() => element.current && onClose()}
    >
      <form class="dialog-form" onSubmit=${submit} onInput=${onInput}>
        <header class="dialog-head">
          <h2 id=${id}>${title}</h2>
          <button type="button" class="icon-button" aria-label=${t("close")} onClick=${leave}>
            <${Icon} name="close" />
          </button>
        </header>
        <div class="dialog-body">${children}</div>
        ${alert ? html`<div class="dialog-alert">${alert}</div>` : null}
        ${asking
          ? html`<${Discard} onKeep=${stay} onDiscard=${onClose} />`
          : html`
            <footer class="dialog-foot">
              <button type="button" class="button" onClick=${leave}>${t("cancel")}</button>
              ${foot}
            </footer>
          `}
      </form>
    </dialog>
  `;
}

const said = signal([]);
let count = 0;

/** A short message that goes away by itself. */
export function say(text, tone = "good") {
  const id = ++count;
  said.value = [...said.value, { id, text, tone }];
  setTimeout(() => {
    said.value = said.value.filter((one) => one.id !== id);
  }, 6000);
}

export const Messages = () => html`
  <div class="messages" role="status" aria-live="polite">
    ${said.value.map((one) => html`<p key=${one.id} class=${cls("message", `tone-${one.tone}`)}>${one.text}</p>`)}
  </div>
`;

/** Facts as name and value. */
export const Facts = ({ of }) => html`
  <dl class="facts">
    ${of
      .filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false)
      .map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>
`;

/** Part of a whole, as a bar with its words beside it. */
export function Bar({ value, max, tone = "accent", label }) {
  const width = max > 0 ? Math.max(value > 0 ? 1 : 0, Math.round((value / max) * 1000) / 10) : 0;
  return html`
    <span class="meter" role="img" aria-label=${label}>
      <span class=${cls("meter-fill", `fill-${tone}`)} style=${{ width: `${width}%` }}></span>
    </span>
  `;
}

/** Previous and next page of a list with cursors. */
export function Pager({ hasNext, hasBack, onNext, onBack }) {
  if (!hasNext && !hasBack) return null;
  return html`
    <nav class="pager" aria-label=${t("pager")}>
      <button type="button" class="button" disabled=${!hasBack} onClick=${onBack}>
        <${Icon} name="left" />
        ${t("pager.newest")}
      </button>
      <button type="button" class="button" disabled=${!hasNext} onClick=${onNext}>
        ${t("pager.older")}
        <${Icon} name="right" />
      </button>
    </nav>
  `;
}
