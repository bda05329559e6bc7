// The conditions of a list: what the address says, and the form that changes it.

import { html, cls, useEffect, useRef, useState } from "../base/view.js";
import { t, term } from "../base/words.js";
import { place, setQuery } from "../base/router.js";
import { may } from "../base/api.js";
import { useData } from "../base/data.js";
import { Field, Icon, Select } from "./basics.js";

export const STATUSES = ["scheduled", "running", "review", "succeeded", "resolved", "cancelled", "superseded"];
export const REASONS = ["exhausted", "rejected", "ambiguous", "expired", "unroutable"];

/** Parameters of the address that are conditions of a list of calls, as [name, value]. */
export function conditions(parameters) {
  const known = new Set([
    "status",
    "endpoint",
    "publisher",
    "reason",
    "error",
    "provider",
    "dry_run",
    "from",
    "to",
    "q",
  ]);
  return [...parameters].filter(([name, value]) => value !== "" && (known.has(name) || name.startsWith("tag.")));
}

/** The same as `POST /v1/bulk` takes them. */
export function bulkFilter(pairs) {
  const filter = {};
  for (const [name, value] of pairs) {
    if (name.startsWith("tag.")) filter.tags = { ...filter.tags, [name.slice(4)]: value };
    else filter[name] = name === "dry_run" ? value === "true" : value;
  }
  return filter;
}

/** The endpoints' names, for who may look at them. */
export const useEndpointNames = () =>
  useData(may("view") ? "/v1/endpoints" : null).data?.endpoints.map((one) => one.name) ?? [];

/** A text that takes effect when typing pauses or Enter is pressed. */
export function Typed({ value, onValue, ...rest }) {
  const [text, setText] = useState(value);
  const timer = useRef(null);
  useEffect(() => setText(value), [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const settle = (now) => {
    clearTimeout(timer.current);
    if (now !== value) onValue(now);
  };
  return html`
    <input
      value=${text}
      ...${rest}
      onInput=${(event) => {
        const now = event.target.value;
        setText(now);
        clearTimeout(timer.current);
        timer.current = setTimeout(() => settle(now.trim()), 350);
      }}
      onKeyDown=${(event) => event.key === "Enter" && settle(event.target.value.trim())}
      onBlur=${(event) => settle(event.target.value.trim())}
    />
  `;
}

/** What a `datetime-local` input shows of a time, in the reader's zone. */
function local(text) {
  const at = new Date(text ?? "");
  if (Number.isNaN(at.getTime())) return "";
  return new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

export function TimeInput({ id, name, value, onValue }) {
  return html`
    <input
      id=${id}
      name=${name}
      type="datetime-local"
      value=${local(value)}
      onChange=${(event) => onValue(event.target.value ? new Date(event.target.value).toISOString() : "")}
    />
  `;
}

const change = (changes) => setQuery({ ...changes, cursor: "" });

function TagInput({ id }) {
  const [text, setText] = useState("");
  const add = () => {
    const at = text.indexOf("=");
    if (at > 0) {
      change({ [`tag.${text.slice(0, at).trim()}`]: text.slice(at + 1).trim() });
      setText("");
    }
  };
  return html`
    <input
      id=${id}
      name="tag"
      placeholder="order=1234"
      value=${text}
      onInput=${(event) => setText(event.target.value)}
      onBlur=${add}
      onKeyDown=${(event) => {
        if (event.key === "Enter") {
          event.preventDefault();
          add();
        }
      }}
    />
  `;
}

/** Conditions that are in force, each with a way to drop it. */
export function Chips({ pairs, fixed = [] }) {
  const shown = pairs.filter(([name]) => !fixed.includes(name));
  if (shown.length === 0) return null;
  return html`
    <ul class="chips" aria-label=${t("filter.active")}>
      ${shown.map(([name, value]) => html`
        <li key=${name}>
          <button
            type="button"
            class="chip removable"
            onClick=${() => change({ [name]: "" })}
            aria-label=${t("filter.remove", { name })}
          >
            <span class="faint">${name.startsWith("tag.") ? name.slice(4) : t(`filter.${name}`)}</span>
            ${" "}
            ${name === "status"
                ? value
                    .split(",")
                    .map((one) => term("status", one))
                    .join(", ")
                : name === "reason"
                  ? term("reason", value)
                  : value}
            <${Icon} name="close" />
          </button>
        </li>
      `)}
      <li>
        <button
          type="button"
          class="link-button"
          onClick=${() => change(Object.fromEntries(shown.map(([name]) => [name, ""])))}
        >
          ${t("filter.clear")}
        </button>
      </li>
    </ul>
  `;
}

/** The form over a list of calls. */
export function CallFilters({ statuses = true }) {
  const parameters = place.value.query;
  const names = useEndpointNames();
  const value = (name) => parameters.get(name) ?? "";
  const extra =
    ["publisher", "provider", "from", "to", "dry_run"].some((name) => value(name)) ||
    [...parameters.keys()].some((name) => name.startsWith("tag."));
  const [open, setOpen] = useState(extra);
  const chosen = value("status") ? value("status").split(",") : [];
  const toggle = (status) => {
    const next = chosen.includes(status) ? chosen.filter((one) => one !== status) : [...chosen, status];
    change({ status: STATUSES.filter((one) => next.includes(one)).join(",") });
  };
  return html`
    <form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
      <div class="filter-row">
        <div class="search">
          <${Icon} name="search" />
          <${Typed}
            type="search"
            name="q"
            aria-label=${t("filter.q")}
            placeholder=${t("filter.q.hint")}
            value=${value("q")}
            onValue=${(q) => change({ q })}
          />
        </div>
        <${Select}
          label=${t("filter.endpoint")}
          name="endpoint"
          value=${value("endpoint")}
          onChange=${(endpoint) => change({ endpoint })}
          options=${[["", t("filter.endpoint.any")], ...[...new Set([...names, value("endpoint")])].filter(Boolean).map((name) => [name, name])]}
        />
        <${Select}
          label=${t("filter.reason")}
          name="reason"
          value=${value("reason")}
          onChange=${(reason) => change({ reason })}
          options=${[["", t("filter.reason.any")], ...REASONS.map((name) => [name, term("reason", name)])]}
        />
        <button type="button" class="button quiet" aria-expanded=${open} onClick=${() => setOpen(!open)}>
          ${t("filter.more")}
          <${Icon} name="down" />
        </button>
      </div>
      ${statuses
        ? html`
          <div class="toggles" role="group" aria-label=${t("filter.status")}>
            ${STATUSES.map((status) => html`
              <button
                key=${status}
                type="button"
                class=${cls("toggle", chosen.includes(status) && "on")}
                aria-pressed=${chosen.includes(status)}
                onClick=${() => toggle(status)}
              >
                ${term("status", status)}
              </button>
            `)}
          </div>
        `
        : null}
      ${open
        ? html`
          <div class="filter-grid">
            <${Field} label=${t("filter.publisher")}>
              ${(id) => html`
                <${Typed}
                  id=${id}
                  name="publisher"
                  value=${value("publisher")}
                  onValue=${(publisher) => change({ publisher })}
                />
              `}
            <//>
            <${Field} label=${t("filter.provider")}>
              ${(id) => html`
                <${Typed}
                  id=${id}
                  name="provider"
                  value=${value("provider")}
                  onValue=${(provider) => change({ provider })}
                />
              `}
            <//>
            <${Field} label=${t("filter.tag")}>${(id) => html`<${TagInput} id=${id} />`}<//>
            <${Field} label=${t("filter.from")}>
              ${(id) => html`
                <${TimeInput} id=${id} name="from" value=${value("from")} onValue=${(from) => change({ from })} />
              `}
            <//>
            <${Field} label=${t("filter.to")}>
              ${(id) => html`
                <${TimeInput} id=${id} name="to" value=${value("to")} onValue=${(to) => change({ to })} />
              `}
            <//>
            <${Field} label=${t("filter.dry_run")}>
              ${(id) => html`
                <${Select}
                  id=${id}
                  name="dry_run"
                  value=${value("dry_run")}
                  onChange=${(dry) => change({ dry_run: dry })}
                  options=${[
                    ["", t("filter.dry_run.any")],
                    ["false", t("filter.dry_run.no")],
                    ["true", t("filter.dry_run.yes")],
                  ]}
                />
              `}
            <//>
          </div>
        `
        : null}
    </form>
  `;
}
