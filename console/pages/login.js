// Logging in: a token once, a session after that. The token is not kept in the page.

import { html, useLayoutEffect, useRef, useState } from "../base/view.js";
import { t } from "../base/words.js";
import { logIn, whoAmI } from "../base/api.js";
import { go, place } from "../base/router.js";
import { useAction } from "../base/data.js";
import { Preferences } from "../parts/shell.js";
import { Field, Logo } from "../parts/basics.js";

function reason(error) {
  if (!error) return null;
  if (error.status === 401) return t("login.refused");
  return error.message || t("failure.unreachable");
}

function Card({ sub }) {
  const [token, setToken] = useState("");
  const entering = useAction(async () => {
    await logIn(token.trim());
    if (place.peek().path === "/login") go("/", { replace: true });
  });
  const submit = (event) => {
    event.preventDefault();
    if (token.trim()) entering.run();
  };
  return html`
    <form class="login-card" onSubmit=${submit}>
      <div class="login-brand">
        <${Logo} />
        <h1>Redial</h1>
      </div>
      <p class="faint">${sub}</p>
      <input type="text" name="username" autocomplete="username" value="redial" hidden readonly tabindex="-1" />
      <${Field} label=${t("login.token")} hint=${t("login.hint")} error=${reason(entering.error)}>
        ${(id) => html`
          <input
            id=${id}
            name="token"
            type="password"
            autocomplete="current-password"
            required
            autofocus
            value=${token}
            onInput=${(event) => {
              setToken(event.target.value);
              if (entering.error) entering.forget();
            }}
          />
        `}
      <//>
      <button type="submit" class="button primary wide" disabled=${entering.busy || !token.trim()}>
        ${entering.busy ? t("login.busy") : t("login.enter")}
      </button>
    </form>
  `;
}

export const Login = () => html`<main class="login"><${Card} sub=${t("login.sub")} /><${Preferences} /></main>`;

/** Over the page, which stays as it is beneath. */
export function LoginAgain() {
  const element = useRef(null);
  useLayoutEffect(() => {
    const dialog = element.current;
    dialog.showModal();
    // Another window may have logged in meanwhile.
    const look = () => whoAmI().catch(() => {});
    addEventListener("focus", look);
    return () => {
      removeEventListener("focus", look);
      dialog.close();
    };
  }, []);
  const stay = (event) => event.preventDefault();
  return html`
    <dialog
      class="dialog login-again"
      ref=${element}
      aria-label=${t("login.enter")}
      onCancel=${stay}
      onKeyDown=${(event) => event.key === "Escape" && stay(event)}
    >
      <${Card} sub=${t("login.again")} />
    </dialog>
  `;
}
