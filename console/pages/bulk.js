// All jobs over many calls, newest first.

import { html } from "../base/view.js";
import { t, term } from "../base/words.js";
import { query } from "../base/api.js";
import { useData } from "../base/data.js";
import { Link, go, place, setQuery } from "../base/router.js";
import { Badge, Card, Empty, PageHead, Pager, Shown, Time } from "../parts/basics.js";
import { Progress, filterWords } from "../parts/job.js";

export function BulkJobs() {
  const cursor = place.value.query.get("cursor") ?? "";
  const jobs = useData(`/v1/bulk${query({ limit: 25, cursor })}`, { every: 2000 });
  return html`
    <${PageHead} title=${t("nav.bulk")} sub=${t("bulk.sub")} />
    <${Card} flush>
      <${Shown}
        from=${jobs}
        isEmpty=${(data) => data.jobs.length === 0}
        empty=${html`<${Empty} title=${t("bulk.none")}>${t("bulk.none.hint")}<//>`}
      >
        ${(data) => html`
          <ul class="jobs">
            ${data.jobs.map((job) => html`
              <li key=${job.id} class="job" onClick=${(event) => event.target.closest("a") || go(`/bulk/${job.id}`)}>
                <div class="job-head">
                  <${Badge} kind="job" name=${job.status} />
                  <${Link} href=${`/bulk/${job.id}`} class="job-name">
                    ${term("action", job.action)} · ${filterWords(job.filter)}
                  <//>
                </div>
                <${Progress} job=${job} />
                <p class="faint small">
                  ${job.actor} · <${Time} at=${job.created_at} />
                  ${job.note ? ` · ${job.note}` : ""}
                  ${job.reason ? ` · ${job.reason}` : ""}
                </p>
              </li>
            `)}
          </ul>
        `}
      <//>
      <${Pager}
        hasNext=${Boolean(jobs.data?.next_cursor)}
        hasBack=${Boolean(cursor)}
        onNext=${() => setQuery({ cursor: jobs.data.next_cursor })}
        onBack=${() => setQuery({ cursor: "" })}
      />
    <//>
  `;
}
