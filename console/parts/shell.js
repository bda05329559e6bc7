// What surrounds every page: where one can go, whether the line stands, who one is, language and colours.

import { html, cls, useEffect, useRef, useState } from "../base/view.js";
import { language, languages, speak, t } from "../base/words.js";
import { paint, theme, themes } from "../base/theme.js";
import { line, stats } from "../base/live.js";
import { logOut, may, session } from "../base/api.js";
import { Link, place } from "../base/router.js";
import { compact } from "../base/format.js";
import { Icon, Logo, Outage, say } from "./basics.js";

const PLACES = [
  ["/", "overview", "view"],
  ["/calls", "calls", "view"],
  ["/review", "review", "view"],
  ["/endpoints", "endpoints", "view"],
  ["/bulk", "bulk", "view"],
  ["/rejected", "rejected", "view"],
  ["/audit", "audit", "view"],
  ["/submit", "submit", "submit"],
];

/** Where the places are a menu over the page. */
const NARROW = matchMedia("(max-width: 900px)");

const isHere = (href, path) => (href === "/" ? path === "/" : path === href || path.startsWith(`${href}/`));

function Navigation({ onGo }) {
  const { path } = place.value;
  const waiting = stats.value?.calls?.review ?? 0;
  return html`
    <nav class="places" aria-label=${t("nav")}>
      ${PLACES.filter(([, , role]) => may(role)).map(([href, name]) => html`
        <${Link}
          key=${href}
          href=${href}
          class="place"
          aria-current=${isHere(href, path) ? "page" : undefined}
          onClick=${onGo}
        >
          <${Icon} name=${name} />
          <span>${t(`nav.${name}`)}</span>
          ${name === "review" && waiting > 0
            ? html`<span class="count" aria-label=${t("nav.waiting", { n: waiting })}>${compact(waiting)}</span>`
            : null}
        <//>
      `)}
    </nav>
  `;
}

const LineState = () => html`
  <span class=${cls("line", `line-${line.value}`)} role="status" title=${t(`line.${line.value}.hint`)}>
    <span class="dot" aria-hidden="true"></span>
    <span class="line-word">${t(`line.${line.value}`)}</span>
  </span>
`;

export function Preferences() {
  return html`
    <div class="preferences">
      <select
        class="quiet"
        aria-label=${t("language")}
        value=${language.value}
        onChange=${(event) => speak(event.target.value)}
      >
        ${languages.map((one) => html`
          <option key=${one.code} value=${one.code} selected=${one.code === language.value} lang=${one.code}>
            ${one.name}
          </option>
        `)}
      </select>
      <div class="segments" role="radiogroup" aria-label=${t("theme")}>
        ${themes.map((name) => html`
          <button
            key=${name}
            type="button"
            role="radio"
            class="segment"
            aria-checked=${theme.value === name}
            aria-label=${t(`theme.${name}`)}
            title=${t(`theme.${name}`)}
            onClick=${() => paint(name)}
          >
            <${Icon} name=${{ system: "system", light: "sun", dark: "moon" }[name]} />
          </button>
        `)}
      </div>
    </div>
  `;
}

function Who() {
  const { name, roles } = session.value;
  const leave = () => logOut().catch((error) => say(error.message || t("failure.title"), "bad"));
  return html`
    <div class="who">
      <span class="who-name" title=${roles.map((role) => t(`role.${role}`)).join(", ")}>
        <${Icon} name="person" />
        ${name === "anonymous" ? t("anonymous") : name}
      </span>
      ${session.value.csrf
        ? html`
          <button
            type="button"
            class="icon-button"
            id="log-out"
            aria-label=${t("logout")}
            title=${t("logout")}
            onClick=${leave}
          >
            <${Icon} name="leave" />
          </button>
        `
        : null}
    </div>
  `;
}

export function Shell({ children }) {
  const [open, setOpen] = useState(false);
  const main = useRef(null);
  const { path } = place.value;
  const side = useRef(null);
  const opener = useRef(null);
  const close = () => setOpen(false);
  useEffect(close, [path]);
  useEffect(() => {
    NARROW.addEventListener("change", close);
    return () => NARROW.removeEventListener("change", close);
  }, []);
  useEffect(() => {
    if (!open) return undefined;
    side.current.querySelector("a").focus();
    const onKey = (event) => {
      if (event.key !== "Escape") return;
      close();
      opener.current.focus();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [open]);
  return html`
    <div class="shell">
      <a
        class="skip"
        href="#main"
        onClick=${(event) => {
          event.preventDefault();
          main.current.focus();
        }}
      >
        ${t("skip")}
      </a>
      <aside class=${cls("side", open && "open")} id="side" ref=${side}>
        <${Link} href="/" class="brand">
          <${Logo} />
          <span>Redial</span>
        <//>
        <${Navigation} onGo=${close} />
        <div class="side-foot"><${Preferences} /><div class="side-who"><${Who} /><${LineState} /></div></div>
      </aside>
      ${open ? html`<div class="veil" onClick=${close}></div>` : null}
      <header class="top">
        <button
          type="button"
          class="icon-button"
          ref=${opener}
          aria-label=${t("nav")}
          aria-expanded=${open}
          aria-controls="side"
          onClick=${() => setOpen(!open)}
        >
          <${Icon} name="menu" />
        </button>
        <span class="top-name">Redial</span>
        <${LineState} />
      </header>
      <main id="main" tabindex="-1" ref=${main} inert=${open}><${Outage} />${children}</main>
    </div>
  `;
}
