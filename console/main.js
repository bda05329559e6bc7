// The console: finds out who is there, then shows the page that the address names.

import { html, render, useEffect, useState } from "./base/view.js";
import { lapsed, may, session, whoAmI } from "./base/api.js";
import { AGAIN_MS } from "./base/data.js";
import { place } from "./base/router.js";
import { t } from "./base/words.js";
import "./base/theme.js";
import { Shell } from "./parts/shell.js";
import { Empty, Failure, Loading, Messages, PageHead } from "./parts/basics.js";
import { Login, LoginAgain } from "./pages/login.js";
import { Overview } from "./pages/overview.js";
import { Calls } from "./pages/calls.js";
import { CallPage } from "./pages/call.js";
import { Review } from "./pages/review.js";
import { Endpoints } from "./pages/endpoints.js";
import { EndpointPage } from "./pages/endpoint.js";
import { BulkJobs } from "./pages/bulk.js";
import { BulkJob } from "./pages/bulk-job.js";
import { Audit } from "./pages/audit.js";
import { Rejected } from "./pages/rejected.js";
import { Submit } from "./pages/submit.js";

const PAGES = [
  [/^\/$/, Overview],
  [/^\/calls$/, Calls],
  [/^\/calls\/([^/]+)$/, CallPage],
  [/^\/review$/, Review],
  [/^\/endpoints$/, Endpoints],
  [/^\/endpoints\/([^/]+)$/, EndpointPage],
  [/^\/bulk$/, BulkJobs],
  [/^\/bulk\/([^/]+)$/, BulkJob],
  [/^\/audit$/, Audit],
  [/^\/rejected$/, Rejected],
  [/^\/submit$/, Submit],
  [/^\/login$/, Overview],
];

const NowhereTo = () => html`
  <${PageHead} title=${t("nowhere")} />
  <${Empty} title=${t("nowhere")}>${t("nowhere.hint")}<//>
`;

/** A name out of an address; null if nobody can have written it. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

function Page() {
  const { path } = place.value;
  // Who may only hand calls over sees nothing else, wherever a link leads.
  if (!may("view")) return html`<${Submit} />`;
  for (const [pattern, Component] of PAGES) {
    const match = pattern.exec(path);
    if (!match) continue;
    const name = match[1] && decoded(match[1]);
    // A page of its own for each address: nothing of one call is seen on another's page.
    if (name !== null) return html`<${Component} key=${path} name=${name} />`;
  }
  return html`<${NowhereTo} />`;
}

function App() {
  const [error, setError] = useState(null);
  const ask = () => {
    whoAmI().then(() => setError(null), setError);
  };
  useEffect(ask, []);
  useEffect(() => {
    if (!error?.isAway) return undefined;
    const timer = setTimeout(ask, AGAIN_MS);
    return () => clearTimeout(timer);
  }, [error]);
  if (error && session.value === undefined) {
    return html`<main class="alone"><${Failure} error=${error} retry=${ask} /></main>`;
  }
  if (session.value === undefined) return html`<main class="alone"><${Loading} rows=${3} /></main>`;
  if (session.value === null) return html`<${Login} />`;
  // Somebody else who logs in finds nothing of the one before.
  return html`
    <${Shell}><${Page} key=${session.value.name} /><//>
    <${Messages} />
    ${lapsed.value ? html`<${LoginAgain} />` : null}
  `;
}

render(html`<${App} />`, document.getElementById("app"));
