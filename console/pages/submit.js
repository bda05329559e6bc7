// Handing a call over by hand, with the document that a program would send.

import { html, useState } from "../base/view.js";
import { t } from "../base/words.js";
import { may, postForAnswer } from "../base/api.js";
import { useAction } from "../base/data.js";
import { apiCurl } from "../base/curl.js";
import { readExactly } from "../base/json.js";
import { Link } from "../base/router.js";
import { Card, Copy, Failure, Field, Icon, PageHead, Select, Status } from "../parts/basics.js";
import { Code } from "../parts/code.js";
import { TimeInput, useEndpointNames } from "../parts/filters.js";

const METHODS = ["POST", "GET", "PUT", "PATCH", "DELETE"];
const EMPTY = {
  endpoint: "",
  method: "POST",
  path: "/",
  headers: [],
  body: "",
  key: "",
  notBefore: "",
  deadline: "",
  entityKey: "",
  entityVersion: "",
  callback: "",
  tags: [],
  wait: false,
};

function readBody(text) {
  if (text.trim() === "") return { fault: null };
  try {
    return { value: readExactly(text), fault: null };
  } catch (error) {
    return { fault: error.message };
  }
}

const pairs = (rows) =>
  Object.fromEntries(rows.filter(([name]) => name.trim()).map(([name, value]) => [name.trim(), value]));

/** The form as the document of the API; what is empty is left out. */
function toDocument(form, body) {
  const request = { method: form.method, path: form.path };
  const headers = pairs(form.headers);
  if (Object.keys(headers).length) request.headers = headers;
  if (body !== undefined) request.body = body;
  const made = { endpoint: form.endpoint, request };
  if (form.key.trim()) made.idempotency_key = form.key.trim();
  if (form.notBefore) made.not_before = form.notBefore;
  if (form.deadline) made.deadline = form.deadline;
  if (form.entityKey.trim()) made.entity = { key: form.entityKey.trim(), version: Number(form.entityVersion) || 0 };
  if (form.callback.trim()) made.callback_url = form.callback.trim();
  const tags = pairs(form.tags);
  if (Object.keys(tags).length) made.tags = tags;
  return made;
}

function Pairs({ label, rows, onChange, names }) {
  const change = (at, position, value) =>
    onChange(
      rows.map((row, index) => (index === at ? row.map((old, place) => (place === position ? value : old)) : row)),
    );
  return html`
    <fieldset class="pairs">
      <legend>${label}</legend>
      ${rows.map((row, at) => html`
        <div key=${at} class="pair">
          <input
            aria-label=${t("pair.name", { n: at + 1 })}
            placeholder=${names}
            value=${row[0]}
            spellcheck="false"
            onInput=${(event) => change(at, 0, event.target.value)}
          />
          <input
            aria-label=${t("pair.value", { n: at + 1 })}
            value=${row[1]}
            spellcheck="false"
            onInput=${(event) => change(at, 1, event.target.value)}
          />
          <button
            type="button"
            class="icon-button"
            aria-label=${t("pair.drop", { n: at + 1 })}
            onClick=${() => onChange(rows.filter((_, index) => index !== at))}
          >
            <${Icon} name="close" />
          </button>
        </div>
      `)}
      <button type="button" class="button quiet" onClick=${() => onChange([...rows, ["", ""]])}>
        <${Icon} name="submit" />
        ${t("pair.add")}
      </button>
    </fieldset>
  `;
}

function Answer({ of }) {
  const { document: call, response } = of;
  return html`
    <div class="notice tone-good" role="status" id="submitted">
      <div>
        <strong>${response.status === 202 ? t("submit.accepted") : t("submit.known")}</strong>
        <p>
          <${Status} name=${call.status} />
          ${" "}
          ${may("view")
            ? html`<${Link} href=${`/calls/${call.id}`}><code>${call.id}</code><//>`
            : html`<code>${call.id}</code>`}
        </p>
        ${call.response ? html`<${Code} value=${call.response} label=${t("submit.response")} />` : null}
      </div>
    </div>
  `;
}

export function Submit() {
  const names = useEndpointNames();
  const [form, setForm] = useState(EMPTY);
  const [answer, setAnswer] = useState(null);
  const endpoint = form.endpoint || names[0] || "";
  const { value: body, fault } = readBody(form.body);
  const made = toDocument({ ...form, endpoint }, body);
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.value });
  const put = (name) => (value) => setForm({ ...form, [name]: value });
  const sending = useAction(() =>
    postForAnswer("/v1/calls", made, form.wait ? { headers: { prefer: "wait=10" } } : {}),
  );
  const submit = async (event) => {
    event.preventDefault();
    setAnswer(null);
    const came = await sending.run();
    if (came) setAnswer(came);
  };
  const text =
    (name, extra = {}) =>
    (id) => html`
      <input id=${id} name=${name} value=${form[name]} onInput=${set(name)} spellcheck="false" ...${extra} />
    `;
  return html`
    <${PageHead} title=${t("nav.submit")} sub=${t("submit.sub")} />
    <div class="grid-submit">
      <${Card}>
        <form class="submit-form" onSubmit=${submit}>
          <${Field} label=${t("endpoint")}>
            ${may("view")
              ? (id) => html`
                <${Select}
                  id=${id}
                  name="endpoint"
                  value=${endpoint}
                  onChange=${put("endpoint")}
                  options=${names.map((name) => [name, name])}
                />
              `
              : text("endpoint", { required: true })}
          <//>
          <div class="request-line">
            <${Select}
              label=${t("method")}
              name="method"
              value=${form.method}
              options=${METHODS.map((name) => [name, name])}
              onChange=${put("method")}
            />
            <input
              name="path"
              aria-label=${t("path")}
              class="mono"
              required
              value=${form.path}
              spellcheck="false"
              onInput=${set("path")}
            />
          </div>
          <${Field} wide label=${t("body")} hint=${t("submit.body.hint")} error=${fault}>
            ${(id) => html`
              <textarea
                id=${id}
                name="body"
                class="mono"
                rows="8"
                spellcheck="false"
                placeholder=${'{ "to": "+861380000", "text": "paid" }'}
                value=${form.body}
                onInput=${set("body")}
              ></textarea>
            `}
          <//>
          <${Pairs} label=${t("headers")} rows=${form.headers} onChange=${put("headers")} names="x-tenant" />
          <${Field} wide label=${t("call.key")} hint=${t("submit.key.hint")}>${text("key", { maxlength: 255 })}<//>
          <details class="more">
            <summary>${t("submit.more")}</summary>
            <div class="filter-grid">
              <${Field} label=${t("submit.not_before")}>
                ${(id) => html`
                  <${TimeInput} id=${id} name="not_before" value=${form.notBefore} onValue=${put("notBefore")} />
                `}
              <//>
              <${Field} label=${t("call.deadline")} hint=${t("submit.deadline.hint")}>
                ${(id) => html`
                  <${TimeInput} id=${id} name="deadline" value=${form.deadline} onValue=${put("deadline")} />
                `}
              <//>
              <${Field} label=${t("submit.entity")}>${text("entityKey")}<//>
              <${Field} label=${t("submit.entity.version")}>${text("entityVersion", { type: "number", min: 0 })}<//>
            </div>
            <${Field} wide label=${t("call.callback")}>${text("callback", { type: "url", placeholder: "https://" })}<//>
            <${Pairs} label=${t("call.tags")} rows=${form.tags} onChange=${put("tags")} names="order" />
          </details>
          <label class="check">
            <input
              type="checkbox"
              checked=${form.wait}
              onChange=${(event) => setForm({ ...form, wait: event.target.checked })}
            />
            ${" "}
            ${t("submit.wait")}
          </label>
          <${Failure} error=${sending.error} />
          ${answer ? html`<${Answer} of=${answer} />` : null}
          <div class="form-foot">
            <button
              type="submit"
              class="button primary"
              id="submit-call"
              disabled=${sending.busy || Boolean(fault) || !endpoint}
            >
              ${sending.busy ? t("submit.busy") : t("submit.send")}
            </button>
          </div>
        </form>
      <//>
      <${Card}
        title=${t("submit.preview")}
        more=${html`
          <${Copy}
            small=${false}
            label=${t("submit.curl")}
            text=${() => apiCurl({ method: "POST", path: "/v1/calls", body: made })}
          >
            ${t("curl")}
          <//>
        `}
      >
        <${Code} value=${made} />
        <p class="faint small">${t("submit.preview.hint")}</p>
      <//>
    </div>
  `;
}
