// Where the reader is. Every view has an address, so that it can be sent to a colleague.

import { signal, html } from "./view.js";
import { comeBack, leave } from "./scroll.js";

const here = () => ({ path: location.pathname, query: new URLSearchParams(location.search) });

export const place = signal(here());

addEventListener("popstate", () => {
  place.value = here();
  comeBack();
});
comeBack();

export function go(url, { replace = false, keepScroll = false } = {}) {
  if (url === location.pathname + location.search) return;
  leave();
  history[replace ? "replaceState" : "pushState"](null, "", url);
  place.value = here();
  if (!replace && !keepScroll) scrollTo(0, 0);
}

/** Changes parameters of the address; an empty value removes one. */
export function setQuery(changes, options) {
  const parameters = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value === null || value === undefined) parameters.delete(name);
    else parameters.set(name, value);
  }
  const text = parameters.toString();
  go(location.pathname + (text ? `?${text}` : ""), { keepScroll: true, ...options });
}

const isPlain = (event) => event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;

export function Link({ href, children, onClick, ...rest }) {
  const follow = (event) => {
    onClick?.(event);
    if (!isPlain(event) || event.defaultPrevented) return;
    event.preventDefault();
    go(href);
  };
  return html`<a href=${href} onClick=${follow} ...${rest}>${children}</a>`;
}
