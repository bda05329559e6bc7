// What a person decides about one call. Every decision names the revision that it was made on: who was slower is told.

import { html, useState } from "../base/view.js";
import { t } from "../base/words.js";
import { postForAnswer } from "../base/api.js";
import { diffLines, requestText } from "../base/diff.js";
import { readExactly } from "../base/json.js";
import { useAction } from "../base/data.js";
import { Dialog, Failure, Field, Select, say } from "./basics.js";
import { Diff } from "./code.js";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

const matching = (call) => ({ headers: { "if-match": `"${call.revision}"` } });

/** Somebody else was faster: nothing was done, and the call is shown as it is now. */
function Conflict({ error, onOutdated, onClose }) {
  if (error.status !== 412) return html`<${Failure} error=${error} />`;
  const look = () => {
    onOutdated();
    onClose();
  };
  return html`
    <div class="notice tone-warn" role="alert" id="conflict">
      <div><strong>${t("conflict")}</strong><p>${t("conflict.hint")}</p></div>
      <button type="button" class="button" onClick=${look}>${t("conflict.look")}</button>
    </div>
  `;
}

const NoteField = ({ note, setNote }) => html`
  <${Field} wide label=${t("note")} hint=${t("note.hint")}>
    ${(id) => html`
      <input id=${id} name="note" maxlength="1000" value=${note} onInput=${(event) => setNote(event.target.value)} />
    `}
  <//>
`;

export function ActDialog({ action, call, onClose, onDone, onOutdated }) {
  const [note, setNote] = useState("");
  const [seen] = useState(call);
  const acting = useAction(async () => {
    await postForAnswer(`/v1/calls/${seen.id}/${action}`, { note }, matching(seen));
    say(t(`act.${action}.done`));
    onDone();
  });
  return html`
    <${Dialog}
      title=${t(`act.${action}.title`)}
      onClose=${onClose}
      onSubmit=${() => acting.run()}
      alert=${acting.error && html`<${Conflict} error=${acting.error} onOutdated=${onOutdated} onClose=${onClose} />`}
      foot=${html`
        <button
          type="submit"
          class=${`button ${action === "cancel" ? "danger" : "primary"}`}
          id="confirm-action"
          disabled=${acting.busy}
        >
          ${t(`act.${action}.yes`)}
        </button>
      `}
    >
      <p>${t(`act.${action}.sure`)}</p>
      <${NoteField} note=${note} setNote=${setNote} />
    <//>
  `;
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function read(text, otherwise) {
  if (text.trim() === "") return { value: otherwise, fault: null };
  try {
    return { value: readExactly(text), fault: null };
  } catch (error) {
    return { value: undefined, fault: error.message };
  }
}

/** What the editor's texts mean, and what is wrong with them. */
function drafted({ method, path, headers, body }, call) {
  const readHeaders = read(headers, {});
  const headerFault = readHeaders.fault ?? (isObject(readHeaders.value) ? null : t("replay.headers.fault"));
  const readBody = call.request.body_base64 ? { value: undefined, fault: null } : read(body, undefined);
  const request = { method, path: path.trim(), headers: readHeaders.value ?? {} };
  if (call.request.body_base64) request.body_base64 = body.trim();
  else if (readBody.value !== undefined) request.body = readBody.value;
  return { request, headerFault, bodyFault: readBody.fault };
}

/** Only what differs is sent. */
function edits(before, after) {
  const changed = {};
  for (const name of ["method", "path", "headers", "body", "body_base64"]) {
    if (JSON.stringify(before[name] ?? null) !== JSON.stringify(after[name] ?? null))
      changed[name] = after[name] ?? null;
  }
  return Object.keys(changed).length > 0 ? changed : null;
}

export function ReplayDialog({ call, onClose, onDone, onOutdated }) {
  const [seen] = useState(call);
  const { request } = seen;
  const [draft, setDraft] = useState({
    method: request.method,
    path: request.path,
    headers: Object.keys(request.headers ?? {}).length ? JSON.stringify(request.headers, null, 2) : "",
    body: request.body_base64 ?? (request.body === undefined ? "" : JSON.stringify(request.body, null, 2)),
  });
  const [key, setKey] = useState("same");
  const [note, setNote] = useState("");
  const change = (name) => (event) => setDraft({ ...draft, [name]: event.target.value });
  const { request: after, headerFault, bodyFault } = drafted(draft, seen);
  const changed = headerFault || bodyFault ? null : edits(request, after);
  const replaying = useAction(async () => {
    const wish = { note, idempotency_key: key };
    if (changed) wish.request = changed;
    await postForAnswer(`/v1/calls/${seen.id}/replay`, wish, matching(seen));
    say(t("act.replay.done"));
    onDone();
  });
  const ready = !headerFault && !bodyFault && draft.path.trim().startsWith("/") && !replaying.busy;
  return html`
    <${Dialog}
      wide
      title=${t("replay.title")}
      onClose=${onClose}
      onSubmit=${() => ready && replaying.run()}
      alert=${replaying.error &&
        html`<${Conflict} error=${replaying.error} onOutdated=${onOutdated} onClose=${onClose} />`}
      foot=${html`
        <button type="submit" class="button primary" id="confirm-replay" disabled=${!ready}>
          ${changed ? t("replay.yes.edited") : t("replay.yes")}
        </button>
      `}
    >
      <p class="faint">${t("replay.sub")}</p>
      <div class="request-line">
        <${Select}
          label=${t("method")}
          name="method"
          value=${draft.method}
          options=${METHODS.map((name) => [name, name])}
          onChange=${(method) => setDraft({ ...draft, method })}
        />
        <input
          name="path"
          aria-label=${t("path")}
          class="mono"
          value=${draft.path}
          spellcheck="false"
          onInput=${change("path")}
          onKeyDown=${(event) => event.key === "Enter" && event.preventDefault()}
        />
      </div>
      <${Field} wide label=${t("headers")} hint=${t("replay.headers.hint")} error=${headerFault}>
        ${(id) => html`
          <textarea
            id=${id}
            name="headers"
            class="mono"
            rows="4"
            spellcheck="false"
            value=${draft.headers}
            onInput=${change("headers")}
          ></textarea>
        `}
      <//>
      <${Field} wide label=${request.body_base64 ? t("replay.body64") : t("body")} error=${bodyFault}>
        ${(id) => html`
          <textarea
            id=${id}
            name="body"
            class="mono"
            rows="9"
            spellcheck="false"
            value=${draft.body}
            onInput=${change("body")}
          ></textarea>
        `}
      <//>
      ${headerFault || bodyFault
        ? null
        : html`<${Diff} label=${t("diff")} lines=${diffLines(requestText(request), requestText(after))} />`}
      <div class="filter-grid">
        <${Field} label=${t("replay.key")} hint=${t(`replay.key.${key}.hint`)}>
          ${(id) => html`
            <${Select}
              id=${id}
              name="key"
              value=${key}
              onChange=${setKey}
              options=${[
                ["same", t("replay.key.same")],
                ["new", t("replay.key.new")],
              ]}
            />
          `}
        <//>
      </div>
      <${NoteField} note=${note} setNote=${setNote} />
    <//>
  `;
}
