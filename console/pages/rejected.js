// Submissions that could not be accepted: why, and the way to mend and hand them over again.

import { html, useState } from "../base/view.js";
import { t, term } from "../base/words.js";
import { may, post } from "../base/api.js";
import { number, pretty } from "../base/format.js";
import { useAction, useData } from "../base/data.js";
import { go } from "../base/router.js";
import { diffLines } from "../base/diff.js";
import { readExactly } from "../base/json.js";
import { Card, Dialog, Empty, Facts, Failure, Field, Icon, PageHead, Shown, Time, say } from "../parts/basics.js";
import { Code, Diff } from "../parts/code.js";

function parsed(text) {
  try {
    return { document: readExactly(text), fault: null };
  } catch (error) {
    return { document: null, fault: error.message };
  }
}

function Mend({ message, onClose, onDone }) {
  const before = pretty(message.body ?? "");
  const [text, setText] = useState(before);
  const { document, fault } = parsed(text);
  const sending = useAction(async () => {
    const call = await post(`/v1/rejected/${encodeURIComponent(message.id)}/resubmit`, { document });
    say(t("rejected.accepted"));
    onDone();
    if (call?.id) go(`/calls/${call.id}`);
  });
  return html`
    <${Dialog}
      wide
      title=${t("rejected.mend")}
      onClose=${onClose}
      onSubmit=${() => document && sending.run()}
      alert=${sending.error && html`<${Failure} error=${sending.error} />`}
      foot=${html`
        <button type="submit" class="button primary" disabled=${!document || sending.busy}>
          ${t("rejected.resubmit")}
        </button>
      `}
    >
      <div class="notice tone-bad">
        <div>
          <strong>${term("problem", message.code)}</strong> <code>${message.code}</code>
          <p>${message.detail}</p>
        </div>
      </div>
      <${Field} wide label=${t("rejected.document")} error=${fault}>
        ${(id) => html`
          <textarea
            id=${id}
            name="document"
            class="mono"
            rows="16"
            spellcheck="false"
            value=${text}
            onInput=${(event) => setText(event.target.value)}
          ></textarea>
        `}
      <//>
      <${Diff} lines=${diffLines(before, text)} label=${t("diff")} />
    <//>
  `;
}

function Discard({ message, onClose, onDone }) {
  const [note, setNote] = useState("");
  const discarding = useAction(async () => {
    await post(`/v1/rejected/${encodeURIComponent(message.id)}/discard`, { note });
    say(t("rejected.discarded"));
    onDone();
  });
  return html`
    <${Dialog}
      title=${t("rejected.discard")}
      onClose=${onClose}
      onSubmit=${() => discarding.run()}
      foot=${html`
        <button type="submit" class="button danger" disabled=${discarding.busy}>${t("rejected.discard")}</button>
      `}
    >
      <p>${t("rejected.discard.sure")}</p>
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
      <${Failure} error=${discarding.error} />
    <//>
  `;
}

export function Rejected() {
  const rejected = useData("/v1/rejected?limit=100", { every: 10000 });
  const [mending, setMending] = useState(null);
  const [discarding, setDiscarding] = useState(null);
  const done = () => {
    setMending(null);
    setDiscarding(null);
    rejected.reload();
  };
  const operates = may("operate");
  return html`
    <${PageHead} title=${t("nav.rejected")} sub=${t("rejected.sub")} />
    <${Shown}
      from=${rejected}
      isEmpty=${(data) => data.messages.length === 0}
      empty=${html`<${Card}><${Empty} title=${t("rejected.none")}>${t("rejected.none.hint")}<//><//>`}
    >
      ${(data) => html`
        ${data.count > data.messages.length
          ? html`<p class="faint">${t("rejected.more", { n: data.messages.length, count: number(data.count) })}</p>`
          : null}
        <div class="stacked">
          ${data.messages.map((message) => html`
            <${Card} key=${message.id} class="message-card">
              <div class="message-head">
                <div>
                  <strong>${term("problem", message.code)}</strong>
                  ${" "}
                  <span class="error-code"><code>${message.code}</code></span>
                  <p>${message.detail}</p>
                </div>
                ${operates
                  ? html`
                    <div class="row-actions">
                      <button
                        type="button"
                        class="button primary"
                        disabled=${message.body === null || message.body === undefined}
                        onClick=${() => setMending(message)}
                      >
                        <${Icon} name="pencil" />
                        ${t("rejected.mend")}
                      </button>
                      <button type="button" class="button quiet" onClick=${() => setDiscarding(message)}>
                        ${t("rejected.discard")}
                      </button>
                    </div>
                  `
                  : null}
              </div>
              <${Facts}
                of=${[
                  [t("filter.publisher"), message.publisher],
                  [t("rejected.key"), message.routing_key && html`<code>${message.routing_key}</code>`],
                  [t("rejected.message_id"), message.message_id && html`<code>${message.message_id}</code>`],
                  [t("rejected.at"), html`<${Time} at=${message.rejected_at} ago />`],
                ]}
              />
              ${message.body_base64
                ? html`<${Code} value=${message.body_base64} label=${t("rejected.bytes")} />`
                : html`<${Code} value=${message.body ?? ""} label=${t("rejected.document")} />`}
            <//>
          `)}
        </div>
      `}
    <//>
    ${mending ? html`<${Mend} message=${mending} onClose=${() => setMending(null)} onDone=${done} />` : null}
    ${discarding
      ? html`<${Discard} message=${discarding} onClose=${() => setDiscarding(null)} onDone=${done} />`
      : null}
  `;
}
