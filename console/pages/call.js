// One call: its whole life, and what a person may do with it.

import { html, useEffect, useRef, useState } from "../base/view.js";
import { t, term } from "../base/words.js";
import { allows } from "../base/actions.js";
import { get, may } from "../base/api.js";
import { bytes, duration, number } from "../base/format.js";
import { useData } from "../base/data.js";
import { askEvery, useWatchedCall, watchedCall } from "../base/live.js";
import { Link } from "../base/router.js";
import { curl } from "../base/curl.js";
import { Badge, Card, Copy, Facts, Icon, PageHead, Shown, Status, Time, Verdict } from "../parts/basics.js";
import { Code, Diff, HeaderTable } from "../parts/code.js";
import { diffLines, requestText } from "../base/diff.js";
import { ActDialog, ReplayDialog } from "../parts/act-dialogs.js";

/** How much of an answer the server keeps. */
const KEPT_BYTES = 16 * 1024;

/** How much of an answer is kept, and whether it is text. */
function bodyNote(attempt) {
  const whole = bytes(attempt.response_body_bytes);
  const size = attempt.response_body_truncated ? t("body.cut", { kept: bytes(KEPT_BYTES), whole }) : whole;
  return attempt.response_body_base64 ? `${size} · base64` : size;
}

/** What an attempt sent and got: most of a long call's weight, so it is made when somebody looks. */
function AttemptBody({ attempt }) {
  const failed = attempt.error && !attempt.http_status;
  const body = attempt.response_body ?? attempt.response_body_base64;
  return html`
    <div class="attempt-body">
      ${failed ? html`<p class="attempt-error">${attempt.error}</p>` : null}
      <${Facts}
        of=${[
          [t("attempt.trigger"), term("trigger", attempt.trigger)],
          [
            t("attempt.rule"),
            attempt.rule
              ? html`
                <code>
                  ${typeof attempt.rule === "object" ? (attempt.rule.when ?? JSON.stringify(attempt.rule)) : attempt.rule}
                </code>
              `
              : t("attempt.rule.default"),
          ],
          [
            t("attempt.rule_notes"),
            Array.isArray(attempt.rule_notes) ? attempt.rule_notes.join("; ") : attempt.rule_notes,
          ],
          [
            t("attempt.provider"),
            attempt.provider
              ? `${attempt.provider}${attempt.provider_reason ? ` – ${attempt.provider_reason}` : ""}`
              : null,
          ],
          [t("attempt.cost"), attempt.cost],
          [t("attempt.started"), html`<${Time} at=${attempt.started_at} millis />`],
          [t("attempt.worker"), html`<code>${attempt.worker}</code>`],
          [t("attempt.late.at"), attempt.late ? html`<${Time} at=${attempt.late.recorded_at} millis />` : null],
        ]}
      />
      <div class="split">
        <div>
          <h4>${t("attempt.request")}</h4>
          ${attempt.request
            ? html`
              <p class="line-code">
                <code><span class="method">${attempt.request.method}</span> ${attempt.request.url}</code>
                <${Copy}
                  label=${t("call.curl.sent")}
                  text=${() => curl({ method: attempt.request.method, url: attempt.request.url, headers: attempt.request.headers })}
                />
              </p>
              <${HeaderTable} headers=${attempt.request.headers} label=${t("headers")} />
              <p class="faint small">
                ${t("attempt.sent", { bytes: bytes(attempt.request.body_bytes), revision: attempt.request.revision })}
              </p>
            `
            : html`<p class="faint">${t("attempt.unsent")}</p>`}
        </div>
        <div>
          <h4>${t("attempt.response")}</h4>
          ${attempt.http_status
            ? html`
              <p class="line-code"><code>HTTP ${attempt.http_status}</code></p>
              <${HeaderTable} headers=${attempt.response_headers} label=${t("headers")} />
              ${body
                ? html`<${Code} value=${body} label=${t("body")} note=${bodyNote(attempt)} />`
                : html`<p class="faint">${t("body.none")}</p>`}
            `
            : html`<p class="faint">${attempt.error ?? t("attempt.unanswered")}</p>`}
        </div>
      </div>
    </div>
  `;
}

function Attempt({ attempt, open }) {
  const [opened, setOpened] = useState(open);
  return html`
    <details class="attempt" open=${open} onToggle=${(event) => event.target.open && setOpened(true)}>
      <summary>
        <span class="attempt-head">
          <strong>
            ${attempt.trigger === "confirm" ? t("attempt.confirm", { n: attempt.number }) : t("attempt", { n: attempt.number })}
          </strong>
          ${" "}
          <${Verdict} name=${attempt.verdict} />
          <span class="attempt-result">
            ${attempt.http_status
              ? html`HTTP ${attempt.http_status}`
              : attempt.error_kind
                ? term("error", attempt.error_kind)
                : ""}
          </span>
          <span class="faint">${duration(attempt.duration_ms)}</span>
          ${attempt.provider ? html`<span class="chip">${attempt.provider}</span>` : null}
          ${attempt.dry_run ? html`<span class="chip">${t("dry_run")}</span>` : null}
          ${attempt.late
            ? html`<span class="chip">${t("attempt.late", { verdict: term("verdict", attempt.late.verdict) })}</span>`
            : null}
        </span>
      </summary>
      ${opened ? html`<${AttemptBody} attempt=${attempt} />` : null}
    </details>
  `;
}

/** Everything that happened, in its order. */
function story(call) {
  const events = [{ at: call.created_at, kind: "submitted", order: 0 }];
  for (const attempt of call.attempts ?? [])
    events.push({ at: attempt.started_at, kind: "attempt", attempt, order: 2 });
  for (const action of call.actions ?? []) events.push({ at: action.at, kind: "action", action, order: 1 });
  (call.revisions ?? []).forEach((revision, at, all) => {
    const next = all[at + 1]?.request ?? call.request;
    events.push({ at: revision.replaced_at, kind: "revision", revision, next, order: 1.5 });
  });
  events.sort((a, b) => Date.parse(a.at) - Date.parse(b.at) || a.order - b.order);
  return events;
}

const TONE_OF_VERDICT = {
  success: "good",
  transient: "warn",
  limited: "info",
  ambiguous: "busy",
  pending: "info",
  rejected: "bad",
};

function Event({ event, last, before }) {
  const gap = before ? Date.parse(event.at) - Date.parse(before.end ?? before.at) : 0;
  const wait =
    event.kind === "attempt" && gap >= 100
      ? html`<li class="gap"><span>${t("story.wait", { time: duration(gap) })}</span></li>`
      : null;
  if (event.kind === "submitted") {
    const failure = event.call.failure;
    return html`
      <li class="event tone-plain">
        <span class="node" aria-hidden="true"></span>
        <div class="event-head">
          <strong>${t("story.submitted", { publisher: event.call.publisher })}</strong>
          <span class="faint"><${Time} at=${event.at} millis /></span>
        </div>
        ${failure
          ? html`
            <p class="event-text">
              ${t("story.failure")}
              ${" "}
              ${[failure.status && `HTTP ${failure.status}`, failure.error, failure.ambiguous && t("story.failure.ambiguous"), failure.attempts && t("story.failure.attempts", { n: failure.attempts })].filter(Boolean).join(" · ")}
            </p>
          `
          : null}
      </li>
    `;
  }
  if (event.kind === "attempt") {
    return html`
      ${wait}
      <li class=${`event tone-${TONE_OF_VERDICT[event.attempt.verdict] ?? "plain"}`}>
        <span class="node" aria-hidden="true"></span>
        <div class="event-when faint"><${Time} at=${event.at} millis /></div>
        <${Attempt} attempt=${event.attempt} open=${last} />
      </li>
    `;
  }
  if (event.kind === "action") {
    const { action } = event;
    return html`
      <li class="event tone-accent">
        <span class="node" aria-hidden="true"></span>
        <div class="event-head">
          <span><strong>${action.actor}</strong> · ${term("action", action.action)}</span>
          <span class="faint"><${Time} at=${event.at} millis /></span>
        </div>
        ${action.note ? html`<blockquote>${action.note}</blockquote>` : null}
      </li>
    `;
  }
  const { revision } = event;
  const lines = revision.diff ?? diffLines(requestText(revision.request), requestText(event.next));
  return html`
    <li class="event tone-accent">
      <span class="node" aria-hidden="true"></span>
      <details class="attempt" open>
        <summary>
          <span class="attempt-head">
            <strong>${t("story.edited", { actor: revision.replaced_by })}</strong>
            <span class="faint">${t("story.revision", { from: revision.revision, to: revision.revision + 1 })}</span>
          </span>
        </summary>
        <div class="attempt-body"><${Diff} lines=${lines} /></div>
      </details>
    </li>
  `;
}

/** Why a call that is due does not go. */
function Held({ call, hold }) {
  // Behind a hold a call may be put off again and again; what matters is whether the hold outlasts the wait.
  const waits =
    Date.parse(call.due_at) <= Date.now() || !hold.until || Date.parse(hold.until) > Date.parse(call.due_at);
  if (!waits) return null;
  return html`
    <div class="notice tone-warn" role="status" id="held">
      <div>
        <strong>${t("held.since")} <${Time} at=${call.due_at} ago /></strong>
        <p>
          ${t(`held.${hold.kind}`)}
          ${" "}
          <${Link} href=${`/endpoints/${call.endpoint}`}>${t("held.look", { endpoint: call.endpoint })}<//>
        </p>
        ${hold.note ? html`<blockquote>${hold.note}</blockquote>` : null}
      </div>
    </div>
  `;
}

function Ending({ call }) {
  const text = {
    scheduled: () => html`${t("story.next")} <${Time} at=${call.due_at} ago />`,
    running: () => t("story.running", { worker: call.worker ?? "" }),
    review: () => t(`story.review.${call.review_reason}`),
    succeeded: () => t("story.succeeded"),
    resolved: () => t("story.resolved"),
    cancelled: () => t("story.cancelled"),
    superseded: () => t("story.superseded"),
  }[call.status];
  const tone =
    { scheduled: "info", running: "busy", review: "warn", succeeded: "good", resolved: "good" }[call.status] ?? "plain";
  return html`
    <li class=${`event ending tone-${tone}`}>
      <span class="node" aria-hidden="true"></span>
      <div class="event-head">
        <span><${Status} name=${call.status} /> <span class="ending-text">${text?.()}</span></span>
        ${call.finished_at ? html`<span class="faint"><${Time} at=${call.finished_at} millis /></span>` : null}
      </div>
    </li>
  `;
}

function Story({ call }) {
  const events = story(call).map((event) => ({
    ...event,
    call,
    end: event.attempt ? new Date(Date.parse(event.at) + event.attempt.duration_ms).toISOString() : event.at,
  }));
  const lastAttempt = events.findLast((event) => event.kind === "attempt");
  return html`
    <ol class="story">
      ${events.map((event, at) => html`
        <${Event}
          key=${`${event.kind} ${event.at} ${at}`}
          event=${event}
          before=${events[at - 1]}
          last=${event === lastAttempt}
        />
      `)}
      <${Ending} call=${call} />
    </ol>
  `;
}

/** The ladder with the rungs that are used up. */
function Ladder({ call, ladder }) {
  if (!ladder?.length) return null;
  const next = call.status === "scheduled" && call.rung > 0 ? call.rung - 1 : -1;
  return html`
    <div class="ladder">
      <span class="ladder-name">${t("ladder")}</span>
      <ol>
        ${ladder.map((delay, at) => html`
          <li
            key=${at}
            class=${at === next ? "now" : at < call.rung ? "used" : ""}
            title=${at === next ? t("ladder.now") : at < call.rung ? t("ladder.used") : t("ladder.left")}
          >
            ${delay}
          </li>
        `)}
      </ol>
      <span class="faint small">${t("ladder.rung", { n: call.rung, of: ladder.length })}</span>
    </div>
  `;
}

/** The last request that went out for this call; queries about it are others. */
const lastSent = (call) =>
  call.attempts.findLast((attempt) => attempt.trigger !== "confirm" && attempt.request)?.request;

const lower = (headers) =>
  Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]));

async function requestCurl(call) {
  const endpoint = await get(`/v1/endpoints/${encodeURIComponent(call.endpoint)}`).catch(() => null);
  const sent = lastSent(call);
  const base = (endpoint?.base_url ?? endpoint?.providers?.[0]?.base_url ?? "https://third-party.example").replace(
    /\/$/,
    "",
  );
  const { method, path, body, body_base64: bytes } = call.request;
  // Where it went, by whichever provider; an edit since then may lead elsewhere.
  const url = sent?.revision === call.revision ? sent.url : base + path;
  const name = (endpoint?.idempotency_header ?? "Idempotency-Key").toLowerCase();
  // Without the key the third party would take what is pasted for another call.
  const headers = { [name]: call.idempotency_key, ...lower(sent?.headers), ...lower(call.request.headers) };
  if (bytes) return curl({ method, url, headers, body: bytes, base64: true });
  const typed = body === undefined ? headers : { "content-type": "application/json", ...headers };
  return curl({ method, url, headers: typed, body: body === undefined ? undefined : JSON.stringify(body) });
}

function CurlButton({ call }) {
  const [text, setText] = useState("");
  useEffect(() => {
    let here = true;
    requestCurl(call).then((made) => here && setText(made));
    return () => {
      here = false;
    };
  }, [call.id, call.revision]);
  return html`<${Copy} small=${false} label=${t("call.curl")} text=${() => text}>${t("curl")}<//>`;
}

/** How often a call that waits looks whether its endpoint is held. */
const HOLD_ASKED_MS = 5000;

export function CallPage({ name: id }) {
  const call = useData(`/v1/calls/${encodeURIComponent(id)}`, { every: askEvery() });
  const [doing, setDoing] = useState(null);
  useWatchedCall(id);
  const told = watchedCall.value;
  useEffect(() => {
    const shown = call.data;
    if (
      told?.id === id &&
      shown &&
      (told.updated_at !== shown.updated_at ||
        told.status !== shown.status ||
        told.attempts_made !== shown.attempts_made)
    )
      call.reload();
  }, [told]);
  const now = call.data;
  const waits = now?.status === "scheduled";
  const endpoint = useData(now ? `/v1/endpoints/${encodeURIComponent(now.endpoint)}` : null, {
    every: waits ? HOLD_ASKED_MS : 0,
  });
  const hold = waits ? endpoint.data?.hold : null;
  const can = (action) => now && may("operate") && allows(action, now.status);
  const acted = useRef(false);
  const done = (changed) => {
    setDoing(null);
    acted.current = changed;
    if (changed) call.reload();
  };
  useEffect(() => {
    // The button that led here may be gone with the state that allowed it.
    if (!acted.current || document.activeElement !== document.body) return;
    acted.current = false;
    document.querySelector("h1").focus({ preventScroll: true });
  }, [now?.status]);
  return html`
    <${PageHead}
      name=${`${t("call")} ${now?.idempotency_key ?? id}`}
      title=${html`
        <span>${t("call")} <code class="head-id">${id}</code><${Copy} text=${id} label=${t("copy.id")} /></span>
      `}
      sub=${now
        ? html`
          <span class="head-state" id="call-state" data-status=${now.status}>
            <${Status} name=${now.status} />
            ${now.review_reason ? html` <${Badge} kind="reason" name=${now.review_reason} tone="warn" />` : null}
            ${" "}
            <${Link} href=${`/endpoints/${now.endpoint}`}>${now.endpoint}<//>
            ${" "}
            <code>${now.request.method} ${now.request.path}</code>
            ${now.dry_run ? html` <span class="chip">${t("dry_run")}</span>` : null}
          </span>
        `
        : null}
    >
      ${now ? html`<${CurlButton} call=${now} />` : null}
      ${can("cancel")
        ? html`
          <button type="button" class="button" id="cancel-call" onClick=${() => setDoing("cancel")}>
            ${t("act.cancel")}
          </button>
        `
        : null}
      ${can("resolve")
        ? html`
          <button type="button" class="button" id="resolve-call" onClick=${() => setDoing("resolve")}>
            ${t("act.resolve")}
          </button>
        `
        : null}
      ${can("replay")
        ? html`
          <button type="button" class="button primary" id="replay-call" onClick=${() => setDoing("replay")}>
            <${Icon} name="replay" />
            ${t("act.replay")}
          </button>
        `
        : null}
    <//>
    ${hold ? html`<${Held} call=${now} hold=${hold} />` : null}
    <${Shown} from=${call} rows=${8}>
      ${(data) => html`
        <div class="grid-call">
          <div class="stacked">
            <${Card}
              title=${t("story")}
              more=${html`<span class="faint">${t("story.attempts", { n: data.attempts_made })}</span>`}
            >
              <${Ladder} call=${data} ladder=${endpoint.data?.ladder} />
              <${Story} call=${data} />
            <//>
          </div>
          <div class="stacked">
            <${Card} title=${t("call.facts")}>
              <${Facts}
                of=${[
                  [t("calls.created"), html`<${Time} at=${data.created_at} ago />`],
                  [t("call.updated"), html`<${Time} at=${data.updated_at} ago />`],
                  [t("call.due"), data.due_at ? html`<${Time} at=${data.due_at} ago />` : null],
                  [t("call.deadline"), html`<${Time} at=${data.deadline} ago />`],
                  [t("filter.publisher"), data.publisher],
                  [t("call.key"), html`<code class="break">${data.idempotency_key}</code>`],
                  [
                    t("call.entity"),
                    data.entity
                      ? `${data.entity.key} · ${t("call.version", { n: String(data.entity.version) })}`
                      : null,
                  ],
                  [t("call.provider"), data.provider],
                  [t("call.revision"), String(data.revision)],
                  [
                    t("call.callback"),
                    data.callback_url ? html`<code class="break">${data.callback_url}</code>` : null,
                  ],
                  [
                    t("call.tags"),
                    Object.keys(data.tags ?? {}).length
                      ? html`
                        <span class="tags">
                          ${Object.entries(data.tags).map(([key, value]) => html`
                            <${Link}
                              key=${key}
                              class="chip"
                              href=${`/calls?tag.${encodeURIComponent(key)}=${encodeURIComponent(value)}`}
                            >
                              ${key}
                              =
                              ${value}
                            <//>
                          `)}
                        </span>
                      `
                      : null,
                  ],
                  [t("call.trace"), data.traceparent ? html`<code class="break">${data.traceparent}</code>` : null],
                  [t("call.lease"), data.lease_until ? html`<${Time} at=${data.lease_until} />` : null],
                ]}
              />
            <//>
            <${Card}
              title=${t("calls.request")}
              more=${html`<span class="faint">${t("call.revision.of", { n: number(data.revision) })}</span>`}
            >
              <p class="line-code">
                <code class="break"><span class="method">${data.request.method}</span> ${data.request.path}</code>
              </p>
              <${HeaderTable} headers=${data.request.headers} label=${t("headers")} />
              ${data.request.body !== undefined
                ? html`<${Code} value=${data.request.body} label=${t("body")} />`
                : data.request.body_base64
                  ? html`<${Code} value=${data.request.body_base64} label=${t("body")} note="base64" />`
                  : html`<p class="faint">${t("body.none")}</p>`}
            <//>
          </div>
        </div>
      `}
    <//>
    ${doing === "replay"
      ? html`
        <${ReplayDialog}
          call=${now}
          onClose=${() => done(false)}
          onDone=${() => done(true)}
          onOutdated=${call.reload}
        />
      `
      : null}
    ${doing === "resolve" || doing === "cancel"
      ? html`
        <${ActDialog}
          action=${doing}
          call=${now}
          onClose=${() => done(false)}
          onDone=${() => done(true)}
          onOutdated=${call.reload}
        />
      `
      : null}
  `;
}
