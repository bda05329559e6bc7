// Rules tried on stored answers: what would have been judged otherwise, before anybody relies on it.

import { html, useState } from "../base/view.js";
import { t, term } from "../base/words.js";
import { may, post } from "../base/api.js";
import { number } from "../base/format.js";
import { useAction } from "../base/data.js";
import { Card, Copy, Empty, Failure, Field, Icon, Id, Select, Verdict } from "./basics.js";

const VERDICTS = ["success", "transient", "limited", "ambiguous", "pending", "rejected"];

const toml = (rules) =>
  `rules = [\n${rules.map(({ when, verdict }) => `  { when = ${JSON.stringify(when)}, verdict = "${verdict}" },`).join("\n")}\n]`;

function Outcome({ of }) {
  return html`
    <div class="outcome" id="judged">
      <p><strong>${t("rules.changed", { changed: of.changed, judged: of.judged })}</strong></p>
      ${of.faults?.length
        ? html`
          <div class="notice tone-warn">
            <ul class="faults">
              ${of.faults.map((fault, at) => html`
                <li key=${at}>
                  ${typeof fault === "string" ? fault : `${fault.pointer ?? fault.rule ?? ""} ${fault.detail ?? JSON.stringify(fault)}`}
                </li>
              `)}
            </ul>
          </div>
        `
        : null}
      ${of.table?.length
        ? html`
          <table class="table compact">
            <thead>
              <tr>
                <th>${t("rules.old")}</th>
                <th>${t("rules.new")}</th>
                <th class="num">${t("rules.count")}</th>
                <th>${t("review.example")}</th>
              </tr>
            </thead>
            <tbody>
              ${of.table.map((row) => html`
                <tr key=${`${row.old} ${row.new}`} class=${row.old === row.new ? "same" : "changed"}>
                  <td><${Verdict} name=${row.old} /></td>
                  <td><${Verdict} name=${row.new} /></td>
                  <td class="num">${number(row.count)}</td>
                  <td>
                    ${(row.examples ?? []).slice(0, 2).map((example) => html`
                      <${Id} key=${example.call + example.attempt} id=${example.call} />
                      ${" "}
                    `)}
                  </td>
                </tr>
              `)}
            </tbody>
          </table>
        `
        : html`<${Empty} title=${t("rules.nothing")} />`}
    </div>
  `;
}

export function TryRules({ name, rules: configured }) {
  const [rules, setRules] = useState(() => configured.map(({ when, verdict }) => ({ when, verdict })));
  const [last, setLast] = useState("100");
  const [outcome, setOutcome] = useState(null);
  const judging = useAction(() =>
    post(`/v1/endpoints/${encodeURIComponent(name)}/judge`, { rules, last: Number(last) || 100 }),
  );
  const change = (at, changes) =>
    setRules(rules.map((rule, position) => (position === at ? { ...rule, ...changes } : rule)));
  const judge = async (event) => {
    event.preventDefault();
    const answer = await judging.run();
    if (answer) setOutcome(answer);
  };
  const complete = rules.every((rule) => rule.when.trim());
  return html`
    <${Card}
      title=${t("rules.title")}
      more=${rules.length ? html`<${Copy} label=${t("rules.copy")} text=${() => toml(rules)} />` : null}
    >
      <p class="faint">${t("rules.sub")}</p>
      <form onSubmit=${judge} class="rules">
        <ol class="rule-list">
          ${rules.map((rule, at) => html`
            <li key=${at} class="rule">
              <input
                class="mono"
                aria-label=${t("rules.when", { n: at + 1 })}
                placeholder="status == 200 && body.code == 0"
                spellcheck="false"
                value=${rule.when}
                onInput=${(event) => change(at, { when: event.target.value })}
              />
              <${Select}
                label=${t("rules.verdict", { n: at + 1 })}
                value=${rule.verdict}
                options=${VERDICTS.map((verdict) => [verdict, term("verdict", verdict)])}
                onChange=${(verdict) => change(at, { verdict })}
              />
              <button
                type="button"
                class="icon-button"
                aria-label=${t("rules.drop", { n: at + 1 })}
                onClick=${() => setRules(rules.filter((_, position) => position !== at))}
              >
                <${Icon} name="close" />
              </button>
            </li>
          `)}
          <li class="rule-default faint">${t("rules.default")}</li>
        </ol>
        <div class="rule-foot">
          <button
            type="button"
            class="button quiet"
            onClick=${() => setRules([...rules, { when: "", verdict: "success" }])}
          >
            <${Icon} name="submit" />
            ${t("rules.add")}
          </button>
          <${Field} label=${t("rules.last")}>
            ${(id) => html`
              <input
                id=${id}
                type="number"
                min="1"
                max="1000"
                value=${last}
                onInput=${(event) => setLast(event.target.value)}
              />
            `}
          <//>
          <button type="submit" class="button primary" id="judge" disabled=${judging.busy || !complete || !may("view")}>
            ${judging.busy ? t("rules.judging") : t("rules.judge")}
          </button>
        </div>
      </form>
      <${Failure} error=${judging.error} />
      ${outcome && !judging.error ? html`<${Outcome} of=${outcome} />` : null}
    <//>
  `;
}
