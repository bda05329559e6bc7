// The only way to the server: the public API, with this browser's session.

import { readAnswer } from "./json.js";
import { signal } from "./view.js";

/** Who is logged in: undefined while unknown, null if nobody is. */
export const session = signal(undefined);
/** The session has ended while pages were open: they stay as they are until somebody has logged in again. */
export const lapsed = signal(false);

export class Problem extends Error {
  /** `isLapse`: the session has ended. */
  constructor(status, document, isLapse = false) {
    super(document.detail || document.title || (status ? `HTTP ${status}` : ""));
    this.status = status;
    this.isLapse = isLapse;
    this.code = document.code || "";
    this.faults = document.faults || [];
  }

  /** The server is older than this page, or does not have this part. */
  get isAbsent() {
    return (this.status === 404 && this.code === "not_found") || this.status === 405 || this.status === 501;
  }

  get isAway() {
    return this.status === 0 || this.status === 503;
  }

  /** Nothing is answered, not only this. */
  get isOutage() {
    return this.isAway && this.code !== "broker_away";
  }
}

async function read(response) {
  const text = await response.text();
  if (text === "") return null;
  try {
    return readAnswer(text);
  } catch {
    return { detail: text.slice(0, 300) };
  }
}

async function send(method, path, { body, headers = {}, signal: abort } = {}) {
  const init = {
    method,
    signal: abort,
    credentials: "same-origin",
    headers: { accept: "application/json", ...headers },
  };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers["content-type"] = "application/json";
  }
  if (method !== "GET" && session.peek()?.csrf) init.headers["x-redial-csrf"] = session.peek().csrf;
  try {
    return await fetch(path, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { code: "unreachable", detail: "" });
  }
}

async function exchange(method, path, options = {}) {
  let response = await send(method, path, options);
  if (response.status === 403 && method !== "GET") {
    // Another tab may have logged in anew, which changes what this one has to show.
    const document = await read(response.clone());
    if (document?.code === "csrf_missing" && (await whoAmI())) response = await send(method, path, options);
  }
  const document = await read(response);
  if (response.ok) return { document, response };
  const isLapse = response.status === 401 && path !== "/v1/session";
  if (isLapse) leave();
  throw new Problem(response.status, document ?? {}, isLapse);
}

export const get = (path, options) => exchange("GET", path, options).then((answer) => answer.document);
export const post = (path, body, options) =>
  exchange("POST", path, { ...options, body }).then((answer) => answer.document);
export const postForAnswer = (path, body, options) => exchange("POST", path, { ...options, body });

function enter(who) {
  lapsed.value = false;
  session.value = who;
}

function leave() {
  if (session.peek()) lapsed.value = true;
  else session.value = null;
}

/** Asks the server who this browser is. */
export async function whoAmI() {
  try {
    enter(await get("/v1/session"));
  } catch (problem) {
    // A server without sessions may still answer everybody.
    if (problem.isAbsent) enter({ name: "anonymous", roles: ["submit", "view", "operate"], csrf: null });
    else if (problem.status === 401) leave();
    else throw problem;
  }
  return session.peek();
}

export async function logIn(token) {
  enter(await post("/v1/session", { token }));
}

export async function logOut() {
  await exchange("DELETE", "/v1/session");
  enter(null);
}

export const may = (role) => Boolean(session.value?.roles?.includes(role));

/** `?a=1&b=2` of what is set; lists are joined by commas. */
export function query(values) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    const text = Array.isArray(value) ? value.join(",") : value;
    if (text !== undefined && text !== null && text !== "" && text !== false) parameters.set(name, String(text));
  }
  const text = parameters.toString();
  return text ? `?${text}` : "";
}
