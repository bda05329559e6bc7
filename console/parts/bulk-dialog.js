// Starting a job over many calls: first the count and a sample, then the safeguards, then the start.

import { html, useEffect, useState } from "../base/view.js";
import { t, term } from "../base/words.js";
import { number } from "../base/format.js";
import { ACTIONS, allows } from "../base/actions.js";
import { post } from "../base/api.js";
import { go } from "../base/router.js";
import { useAction } from "../base/data.js";
import { Dialog, Failure, Field, Id, Loading, Select, Status } from "./basics.js";

const statusesOf = (filter) => filter.status.split(",");

/** The same conditions, for calls in a state that allows the action. */
const narrowed = (filter, action) => ({
  ...filter,
  status: statusesOf(filter)
    .filter((status) => allows(action, status))
    .join(","),
});

function merged(previews) {
  const whole = { count: 0, by_endpoint: {}, by_status: {}, sample: [] };
  for (const preview of previews) {
    whole.count += preview.count;
    for (const kind of ["by_endpoint", "by_status"]) {
      for (const [name, count] of Object.entries(preview[kind] ?? {}))
        whole[kind][name] = (whole[kind][name] ?? 0) + count;
    }
    whole.sample.push(...(preview.sample ?? []));
  }
  whole.sample = whole.sample.slice(0, 5);
  return whole;
}

function Preview({ of }) {
  return html`
    <div class="preview">
      <p class="preview-count">
        <strong id="bulk-count">${number(of.count)}</strong> ${t("bulk.would", { n: of.count })}
      </p>
      <p id="bulk-statuses">
        ${Object.entries(of.by_status)
          .map(([name, count]) => `${term("status", name)} ${number(count)}`)
          .join(" · ")}
      </p>
      <p class="faint">
        ${Object.entries(of.by_endpoint)
          .map(([name, count]) => `${name} ${number(count)}`)
          .join(" · ")}
      </p>
      <ul class="sample">
        ${of.sample.map((call) => html`
          <li key=${call.id}>
            <${Status} name=${call.status} />
            <${Id} id=${call.id} />
            <span class="cut faint">${call.endpoint} · ${call.last_error ?? ""}</span>
          </li>
        `)}
      </ul>
    </div>
  `;
}

/** `filters` name the states that are meant; each job is for those of them that allow its action. */
export function BulkDialog({ filters, onClose }) {
  const possible = ACTIONS.filter((name) => filters.every((filter) => narrowed(filter, name).status));
  const [action, setAction] = useState(possible[0]);
  const [rate, setRate] = useState("20");
  const [canary, setCanary] = useState("5");
  const [stopAt, setStopAt] = useState("50");
  const [key, setKey] = useState("same");
  const [note, setNote] = useState("");
  const counting = useAction((wanted) =>
    Promise.all(
      filters.map((filter) => post("/v1/bulk", { action: wanted, filter: narrowed(filter, wanted), dry_run: true })),
    ),
  );
  const [preview, setPreview] = useState(null);
  useEffect(() => {
    setPreview(null);
    counting.run(action).then((previews) => previews && setPreview(merged(previews)));
  }, [action]);
  const body = (filter) => {
    const job = { action, filter, dry_run: false, rate: `${Math.max(1, Number(rate) || 1)}/s`, note };
    if (action === "replay") {
      if (Number(canary) > 0) job.canary = Number(canary);
      if (Number(stopAt) > 0) job.stop_at_failure_rate = Math.min(1, Number(stopAt) / 100);
      job.idempotency_key = key;
    }
    return job;
  };
  const starting = useAction(async () => {
    const jobs = [];
    // One after the other, so that a refusal leaves the rest unstarted.
    for (const filter of filters) jobs.push(await post("/v1/bulk", body(narrowed(filter, action))));
    return jobs;
  });
  const start = async () => {
    const jobs = await starting.run();
    if (jobs) go(jobs.length === 1 ? `/bulk/${jobs[0].id}` : "/bulk");
  };
  const ready = preview && preview.count > 0 && !starting.busy;
  return html`
    <${Dialog}
      wide
      title=${t("bulk.title")}
      onClose=${onClose}
      onSubmit=${() => ready && start()}
      alert=${starting.error && html`<${Failure} error=${starting.error} />`}
      foot=${html`
        <button type="submit" class="button primary" disabled=${!ready}>
          ${preview ? t(`bulk.start.${action}`, { n: preview.count }) : t("bulk.counting")}
        </button>
      `}
    >
      <${Field} label=${t("bulk.action")}>
        ${(id) => html`
          <${Select}
            id=${id}
            name="action"
            value=${action}
            onChange=${setAction}
            options=${possible.map((name) => [name, term("action", name)])}
          />
        `}
      <//>
      ${counting.error
        ? html`<${Failure} error=${counting.error} />`
        : preview
          ? html`<${Preview} of=${preview} />`
          : html`<${Loading} rows=${3} />`}
      ${filters.length > 1 ? html`<p class="faint">${t("bulk.several", { n: filters.length })}</p>` : null}
      <div class="filter-grid">
        ${action === "replay"
          ? html`
            <${Field} label=${t("bulk.canary")} hint=${t("bulk.canary.hint")}>
              ${(id) => html`
                <input
                  id=${id}
                  name="canary"
                  type="number"
                  min="0"
                  max="1000"
                  value=${canary}
                  onInput=${(event) => setCanary(event.target.value)}
                />
              `}
            <//>
            <${Field} label=${t("bulk.stop_at")} hint=${t("bulk.stop_at.hint")}>
              ${(id) => html`
                <input
                  id=${id}
                  name="stop_at"
                  type="number"
                  min="0"
                  max="100"
                  value=${stopAt}
                  onInput=${(event) => setStopAt(event.target.value)}
                />
              `}
            <//>
          `
          : null}
        <${Field} label=${t("bulk.rate")} hint=${t("bulk.rate.hint")}>
          ${(id) => html`
            <input
              id=${id}
              name="rate"
              type="number"
              min="1"
              max="1000"
              value=${rate}
              onInput=${(event) => setRate(event.target.value)}
            />
          `}
        <//>
        ${action === "replay"
          ? html`
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
          `
          : null}
      </div>
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
    <//>
  `;
}
