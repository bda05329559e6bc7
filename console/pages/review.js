// What waits for a person, gathered by cause: one decision for all that failed the same way.

import { html, useEffect, useState } from "../base/view.js";
import { t, term } from "../base/words.js";
import { may, query } from "../base/api.js";
import { compact, number } from "../base/format.js";
import { useData } from "../base/data.js";
import { useMoves } from "../base/live.js";
import { Link, place } from "../base/router.js";
import { Badge, Card, Empty, Icon, Id, PageHead, Shown, Time } from "../parts/basics.js";
import { CallFilters, Chips, bulkFilter, conditions } from "../parts/filters.js";
import { BulkDialog } from "../parts/bulk-dialog.js";

const keyOf = (group) => JSON.stringify([group.endpoint, group.review_reason, group.error]);

/** The calls of a group, as conditions of a list. "none" stands for calls that have no error. */
function conditionsOf(group, asked) {
  return {
    ...asked,
    status: "review",
    endpoint: group.endpoint,
    reason: group.review_reason,
    error: group.error || "none",
  };
}

const TONE = { exhausted: "warn", rejected: "bad", ambiguous: "busy", expired: "plain", unroutable: "bad" };

export function Review() {
  const parameters = place.value.query;
  const pairs = conditions(parameters).filter(([name]) => name !== "status");
  const asked = Object.fromEntries(pairs);
  const path = `/v1/groups${query({ status: "review", ...asked })}`;
  const groups = useData(path, { every: 15000 });
  useMoves(groups.reload, 2000);
  const [chosen, setChosen] = useState(new Set());
  const [filters, setFilters] = useState(null);
  useEffect(() => setChosen(new Set()), [path]);
  const all = groups.data?.groups ?? [];
  const selected = all.filter((group) => chosen.has(keyOf(group)));
  const total = selected.reduce((sum, group) => sum + group.count, 0);
  const toggle = (key) => {
    setChosen((before) => {
      const next = new Set(before);
      if (!next.delete(key)) next.add(key);
      return next;
    });
  };
  const start = (of) => setFilters(of.map((group) => bulkFilter(Object.entries(conditionsOf(group, asked)))));
  const operates = may("operate");
  return html`
    <${PageHead} title=${t("nav.review")} sub=${t("review.sub")} />
    <${Card} flush>
      <${CallFilters} statuses=${false} />
      <${Chips} pairs=${pairs} fixed=${["q"]} />
      <${Shown}
        from=${groups}
        rows=${6}
        isEmpty=${(data) => data.groups.length === 0}
        empty=${html`
          <${Empty} title=${pairs.length ? t("calls.none.match") : t("overview.calm")}>
            ${pairs.length ? t("calls.none.match.hint") : t("review.none.hint")}
          <//>
        `}
      >
        ${() => html`
          <table class="table stack groups">
            <thead>
              <tr>
                ${operates
                  ? html`
                    <th class="cell-check">
                      <input
                        type="checkbox"
                        aria-label=${t("review.all")}
                        checked=${selected.length === all.length}
                        indeterminate=${selected.length > 0 && selected.length < all.length}
                        onChange=${(event) => setChosen(event.target.checked ? new Set(all.map(keyOf)) : new Set())}
                      />
                    </th>
                  `
                  : null}
                <th class="num">${t("review.calls")}</th>
                <th>${t("endpoint")}</th>
                <th>${t("review.reason")}</th>
                <th>${t("review.error")}</th>
                <th>${t("review.first")}</th>
                <th>${t("review.last")}</th>
                <th>${t("review.example")}</th>
                <th></th>
              </tr>
            </thead>
            <tbody>
              ${all.map((group) => html`
                <tr key=${keyOf(group)} class=${chosen.has(keyOf(group)) ? "chosen" : ""}>
                  ${operates
                    ? html`
                      <td class="cell-check">
                        <input
                          type="checkbox"
                          aria-label=${t("review.choose", { endpoint: group.endpoint, error: group.error ?? "" })}
                          checked=${chosen.has(keyOf(group))}
                          onChange=${() => toggle(keyOf(group))}
                        />
                      </td>
                    `
                    : null}
                  <td class="num big cell-count" data-label=${t("review.calls")}>${compact(group.count)}</td>
                  <td data-label=${t("endpoint")}>
                    <${Link} href=${`/endpoints/${group.endpoint}`}>${group.endpoint}<//>
                  </td>
                  <td data-label=${t("review.reason")}>
                    <${Badge} kind="reason" name=${group.review_reason} tone=${TONE[group.review_reason]} />
                  </td>
                  <td class="cell-error" data-label=${t("review.error")}>
                    <code>${group.error || t("error.none")}</code>
                  </td>
                  <td class="nowrap" data-label=${t("review.first")}><${Time} at=${group.first_at} only /></td>
                  <td class="nowrap" data-label=${t("review.last")}><${Time} at=${group.last_at} only /></td>
                  <td data-label=${t("review.example")}><${Id} id=${group.example} /></td>
                  <td class="cell-actions">
                    <${Link} class="button quiet" href=${`/calls${query(conditionsOf(group, asked))}`}>
                      ${t("review.show")}
                    <//>
                    ${operates
                      ? html`
                        <button type="button" class="button" onClick=${() => start([group])}>${t("review.act")}</button>
                      `
                      : null}
                  </td>
                </tr>
              `)}
            </tbody>
          </table>
        `}
      <//>
    <//>
    ${selected.length > 0
      ? html`
        <div class="tray" role="region" aria-label=${t("review.selection")}>
          <span>${t("review.selected", { groups: selected.length, n: total })}</span>
          <button type="button" class="button quiet" onClick=${() => setChosen(new Set())}>${t("review.none")}</button>
          <button type="button" class="button primary" id="act-on-selection" onClick=${() => start(selected)}>
            <${Icon} name="replay" />
            ${t("review.act.all", { n: total })}
          </button>
        </div>
      `
      : null}
    ${filters ? html`<${BulkDialog} filters=${filters} onClose=${() => setFilters(null)} />` : null}
  `;
}
