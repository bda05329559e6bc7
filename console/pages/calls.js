// The list of calls: conditions in the address, newest first, told of what changes.

import { html, useEffect, useRef, useState } from "../base/view.js";
import { t, term } from "../base/words.js";
import { recall, remember } from "../base/memory.js";
import { actionable } from "../base/actions.js";
import { may, query } from "../base/api.js";
import { useData } from "../base/data.js";
import { askEvery, useMoves } from "../base/live.js";
import { Link, go, place, setQuery } from "../base/router.js";
import { apiCurl } from "../base/curl.js";
import { Card, Copy, Empty, Icon, Id, PageHead, Pager, Shown, Status, Time } from "../parts/basics.js";
import { CallFilters, Chips, bulkFilter, conditions } from "../parts/filters.js";
import { BulkDialog } from "../parts/bulk-dialog.js";

const PAGE = 50;

function SavedViews({ current }) {
  const [views, setViews] = useState(() => recall("views", []));
  const [naming, setNaming] = useState(false);
  const [name, setName] = useState("");
  const box = useRef(null);
  const keep = (next) => {
    setViews(next);
    remember("views", next);
  };
  const save = () => {
    if (name.trim())
      keep([...views.filter((view) => view.name !== name.trim()), { name: name.trim(), search: current }]);
    setNaming(false);
    setName("");
  };
  useEffect(() => {
    if (naming) box.current?.focus();
  }, [naming]);
  if (views.length === 0 && !current && !naming) return null;
  return html`
    <div class="views">
      <${Icon} name="star" />
      <span class="faint">${t("views")}</span>
      ${views.map((view) => html`
        <span key=${view.name} class=${`chip view ${view.search === current ? "on" : ""}`}>
          <${Link} href=${`/calls${view.search}`}>${view.name}<//>
          <button
            type="button"
            class="icon-button tiny"
            aria-label=${t("views.drop", { name: view.name })}
            onClick=${() => keep(views.filter((one) => one !== view))}
          >
            <${Icon} name="close" />
          </button>
        </span>
      `)}
      ${naming
        ? html`
          <form
            class="inline"
            onSubmit=${(event) => {
              event.preventDefault();
              save();
            }}
          >
            <input
              ref=${box}
              aria-label=${t("views.name")}
              placeholder=${t("views.name")}
              value=${name}
              maxlength="40"
              onInput=${(event) => setName(event.target.value)}
            />
            <button type="submit" class="button" disabled=${!name.trim()}>${t("views.save")}</button>
            <button type="button" class="button quiet" onClick=${() => setNaming(false)}>${t("cancel")}</button>
          </form>
        `
        : current
          ? html`<button type="button" class="link-button" onClick=${() => setNaming(true)}>${t("views.add")}</button>`
          : null}
    </div>
  `;
}

const lastResult = (call) =>
  call.last_http_status ? `HTTP ${call.last_http_status}` : call.last_error || term("verdict", call.last_verdict);

function Next({ call }) {
  if (call.status === "scheduled")
    return html`<span class="faint">${t("calls.next")}</span> <${Time} at=${call.due_at} only />`;
  if (call.status === "running") return html`<span class="faint">${t("calls.running")}</span>`;
  if (call.finished_at) return html`<${Time} at=${call.finished_at} only />`;
  return html`<${Time} at=${call.updated_at} only />`;
}

export function CallTable({ calls, seen }) {
  const open = (event, id) => {
    // A click into the row opens the call; links, buttons and selected text keep their own meaning.
    if (event.defaultPrevented || event.target.closest("a, button, input") || String(getSelection())) return;
    go(`/calls/${id}`);
  };
  return html`
    <table class="table stack calls">
      <thead>
        <tr>
          <th>${t("status")}</th>
          <th>${t("calls.call")}</th>
          <th>${t("endpoint")}</th>
          <th>${t("calls.request")}</th>
          <th class="num">${t("calls.attempts")}</th>
          <th>${t("calls.last")}</th>
          <th>${t("calls.when")}</th>
          <th>${t("calls.created")}</th>
        </tr>
      </thead>
      <tbody>
        ${calls.map((call) => html`
          <tr
            key=${call.id}
            class=${seen && !seen.has(call.id) ? "row-link fresh" : "row-link"}
            onClick=${(event) => open(event, call.id)}
          >
            <td class="cell-status">
              <${Status} name=${call.status} />
              ${call.review_reason ? html`<span class="sub">${term("reason", call.review_reason)}</span>` : null}
            </td>
            <td class="cell-main">
              <${Id} id=${call.id} />
              ${call.idempotency_key !== call.id
                ? html`<span class="sub cut" title=${call.idempotency_key}>${call.idempotency_key}</span>`
                : null}
            </td>
            <td data-label=${t("endpoint")}>
              ${call.endpoint}
              ${call.dry_run ? html` <span class="chip">${t("dry_run")}</span>` : null}
              <span class="sub">${call.publisher}</span>
            </td>
            <td data-label=${t("calls.request")}>
              <code class="cut path" title=${call.request.path}>
                <span class="method">${call.request.method}</span> ${call.request.path}
              </code>
            </td>
            <td class="num" data-label=${t("calls.attempts")}>${call.attempts_made}</td>
            <td data-label=${t("calls.last")}>
              <span class="cut" title=${call.last_error ?? ""}>
                ${call.last_verdict ? lastResult(call) : html`<span class="faint">${t("calls.none.yet")}</span>`}
              </span>
              ${call.last_verdict ? html`<span class="sub">${term("verdict", call.last_verdict)}</span>` : null}
            </td>
            <td data-label=${t("calls.when")} class="nowrap"><${Next} call=${call} /></td>
            <td data-label=${t("calls.created")} class="nowrap"><${Time} at=${call.created_at} /></td>
          </tr>
        `)}
      </tbody>
    </table>
  `;
}

export function Calls() {
  const parameters = place.value.query;
  const pairs = conditions(parameters);
  const cursor = parameters.get("cursor") ?? "";
  const asked = Object.fromEntries(pairs);
  const path = `/v1/calls${query({ ...asked, limit: PAGE, cursor })}`;
  const list = useData(path, { every: cursor ? 0 : askEvery() });
  const [bulk, setBulk] = useState(false);
  // Later pages stand still: calls of a page further down are not pushed away while somebody reads them.
  useMoves(() => {
    if (!cursor) list.reload();
  });
  const known = useRef({ path: null, ids: null });
  useEffect(() => {
    if (list.data && !list.stale) known.current = { path, ids: new Set(list.data.calls.map((call) => call.id)) };
  }, [list.data]);
  const seen = known.current.path === path ? known.current.ids : null;
  const search = query(asked);
  // Without a state in the address nobody means calls that are done: those in review are offered, and named.
  const statuses = actionable(asked.status ? asked.status.split(",") : ["review"]);
  return html`
    <${PageHead} title=${t("nav.calls")} sub=${t("calls.sub")}>
      <${Copy} small=${false} label=${t("calls.curl")} text=${() => apiCurl({ path: `/v1/calls${search}` })}>
        ${t("curl")}
      <//>
      ${may("operate") && pairs.length > 0 && statuses.length > 0
        ? html`
          <button type="button" class="button" id="act-on-these" onClick=${() => setBulk(true)}>
            ${t(asked.status ? "calls.bulk" : "calls.bulk.review")}
          </button>
        `
        : null}
    <//>
    <${Card} flush>
      <${CallFilters} />
      <${Chips} pairs=${pairs} fixed=${["q"]} />
      <${SavedViews} current=${search} />
      <${Shown}
        from=${list}
        rows=${8}
        isEmpty=${(data) => data.calls.length === 0}
        empty=${html`
          <${Empty} title=${pairs.length ? t("calls.none.match") : t("calls.none")}>
            ${pairs.length ? t("calls.none.match.hint") : t("calls.none.hint")}
          <//>
        `}
      >
        ${(data) => html`<${CallTable} calls=${data.calls} seen=${seen} />`}
      <//>
      <${Pager}
        hasNext=${Boolean(list.data?.next_cursor) && !list.stale}
        hasBack=${Boolean(cursor)}
        onNext=${() => setQuery({ cursor: list.data.next_cursor }, { keepScroll: false })}
        onBack=${() => setQuery({ cursor: "" }, { keepScroll: false })}
      />
    <//>
    ${bulk
      ? html`
        <${BulkDialog}
          filters=${[{ ...bulkFilter(pairs), status: statuses.join(",") }]}
          onClose=${() => setBulk(false)}
        />
      `
      : null}
  `;
}
