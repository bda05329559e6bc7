// One job: how far it is, what came of each call, and the way to stop it.

import { html, useEffect, useState } from "../base/view.js";
import { t, term } from "../base/words.js";
import { may, post, query } from "../base/api.js";
import { duration, number, share } from "../base/format.js";
import { useAction, useData } from "../base/data.js";
import { place, setQuery } from "../base/router.js";
import {
  Badge,
  Card,
  Dialog,
  Empty,
  Facts,
  Failure,
  Id,
  PageHead,
  Pager,
  Select,
  Shown,
  Time,
} from "../parts/basics.js";
import { Progress, filterWords, isOver } from "../parts/job.js";

const RESULTS = ["waiting", "acted", "succeeded", "failed", "skipped"];

function Results({ id, running }) {
  const parameters = place.value.query;
  const result = parameters.get("result") ?? "";
  const cursor = parameters.get("cursor") ?? "";
  const calls = useData(`/v1/bulk/${id}/calls${query({ result, cursor, limit: 50 })}`, {
    every: running && !cursor ? 2000 : 0,
  });
  useEffect(() => {
    if (!running) calls.reload();
  }, [running]);
  const choose = html`
    <${Select}
      label=${t("bulk.result")}
      value=${result}
      onChange=${(value) => setQuery({ result: value, cursor: "" })}
      options=${[["", t("bulk.result.any")], ...RESULTS.map((name) => [name, term("result", name)])]}
    />
  `;
  return html`
    <${Card} title=${t("bulk.calls")} more=${choose} flush>
      <${Shown}
        from=${calls}
        isEmpty=${(data) => data.calls.length === 0}
        empty=${html`<${Empty} title=${t("bulk.calls.none")} />`}
      >
        ${(data) => html`
          <table class="table compact">
            <thead><tr><th>${t("bulk.result")}</th><th>${t("calls.call")}</th><th>${t("bulk.detail")}</th></tr></thead>
            <tbody>
              ${data.calls.map((one) => html`
                <tr key=${one.call}>
                  <td><${Badge} kind="result" name=${one.result} /></td>
                  <td><${Id} id=${one.call} /></td>
                  <td class="wrap">${one.detail ?? ""}</td>
                </tr>
              `)}
            </tbody>
          </table>
        `}
      <//>
      <${Pager}
        hasNext=${Boolean(calls.data?.next_cursor)}
        hasBack=${Boolean(cursor)}
        onNext=${() => setQuery({ cursor: calls.data.next_cursor })}
        onBack=${() => setQuery({ cursor: "" })}
      />
    <//>
  `;
}

export function BulkJob({ name: id }) {
  const job = useData(`/v1/bulk/${id}`);
  const [asking, setAsking] = useState(false);
  const running = Boolean(job.data) && !isOver(job.data);
  useEffect(() => {
    if (!running) return undefined;
    const timer = setInterval(job.reload, 1000);
    return () => clearInterval(timer);
  }, [running, job.reload]);
  const aborting = useAction(async () => {
    job.replace(await post(`/v1/bulk/${id}/abort`, {}));
    setAsking(false);
  });
  const now = job.data;
  return html`
    <${PageHead}
      title=${now ? t("bulk.job", { action: term("action", now.action) }) : t("nav.bulk")}
      sub=${now ? filterWords(now.filter) : null}
    >
      ${now && running && may("operate")
        ? html`
          <button type="button" class="button danger" id="abort" onClick=${() => setAsking(true)}>
            ${t("bulk.abort")}
          </button>
        `
        : null}
    <//>
    <${Shown} from=${job}>
      ${(data) => html`
        <${Card}>
          <div class="job-head">
            <${Badge} kind="job" name=${data.status} />
            ${data.reason ? html`<span>${data.reason}</span>` : null}
            ${data.status === "canary"
              ? html`<span class="faint">${t("bulk.canary.now", { n: data.canary })}</span>`
              : null}
          </div>
          <${Progress} job=${data} />
          <${Facts}
            of=${[
              [t("actor"), data.actor],
              [t("note"), data.note],
              [t("bulk.rate"), data.rate],
              [t("bulk.canary"), data.canary ? number(data.canary) : null],
              [t("bulk.stop_at"), data.stop_at_failure_rate ? share(data.stop_at_failure_rate) : null],
              [t("bulk.begun"), html`<${Time} at=${data.created_at} />`],
              [t("bulk.ended"), data.finished_at ? html`<${Time} at=${data.finished_at} />` : null],
              [
                t("bulk.took"),
                data.finished_at ? duration(Date.parse(data.finished_at) - Date.parse(data.created_at)) : null,
              ],
            ]}
          />
        <//>
        <${Results} id=${id} running=${running} />
      `}
    <//>
    ${asking
      ? html`
        <${Dialog}
          title=${t("bulk.abort")}
          onClose=${() => setAsking(false)}
          onSubmit=${() => aborting.run()}
          foot=${html`
            <button type="submit" class="button danger" disabled=${aborting.busy}>${t("bulk.abort.yes")}</button>
          `}
        >
          <p>${t("bulk.abort.sure")}</p>
          <${Failure} error=${aborting.error} />
        <//>
      `
      : null}
  `;
}
