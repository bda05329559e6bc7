// The server's stream of events. One connection a page; closed while the page is hidden, opened again when it fails.

import { signal, useEffect, useRef } from "./view.js";
import { lapsed, session, whoAmI } from "./api.js";

/** "live", "waiting" or "off". */
export const line = signal("off");
/** The newest totals. */
export const stats = signal(null);
/** The call that is watched, as the server last sent it. */
export const watchedCall = signal(null);

const PAUSE_MS = 3000;
const UNTOLD_MS = 5000;
let source = null;
let watched = null;
let again = null;

function close() {
  clearTimeout(again);
  source?.close();
  source = null;
}

function open() {
  close();
  if (lapsed.peek()) line.value = "off";
  if (lapsed.peek() || !session.peek()?.roles.includes("view") || document.hidden) return;
  const opened = new EventSource(watched ? `/v1/stream?call=${watched}` : "/v1/stream");
  source = opened;
  line.value = line.peek() === "live" ? "live" : "waiting";
  const read = (target) => (event) => {
    line.value = "live";
    if (event.data) target.value = JSON.parse(event.data);
  };
  opened.addEventListener("stats", read(stats));
  opened.addEventListener("call", read(watchedCall));
  opened.addEventListener("ping", () => {
    line.value = "live";
  });
  opened.onerror = () => {
    if (source !== opened) return;
    line.value = "waiting";
    // The browser tries again by itself unless it was refused; then somebody may have to log in.
    if (opened.readyState !== EventSource.CLOSED) return;
    close();
    again = setTimeout(
      () =>
        whoAmI()
          .catch(() => {})
          .finally(open),
      PAUSE_MS,
    );
  };
}

document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
addEventListener("pagehide", close);

session.subscribe((now) => {
  if (now) open();
  else {
    close();
    line.value = "off";
  }
});

/** How often a page has to ask by itself: while the line stands it is told. */
export const askEvery = () => (line.value === "live" ? 0 : UNTOLD_MS);

/** Watches one call while the page that asks is shown. */
export function useWatchedCall(id) {
  useEffect(() => {
    watched = id;
    watchedCall.value = null;
    open();
    return () => {
      watched = null;
      open();
    };
  }, [id]);
}

/** Calls `react` when something moved since the last time, but not more often than every `ms`. */
export function useMoves(react, ms = 1500) {
  const latest = useRef(react);
  latest.current = react;
  useEffect(() => {
    // Totals that were known before the page asked for its own data are no news; the first ones that come after it may be.
    let mark = stats.peek() ? null : "";
    let timer = null;
    let last = 0;
    const fire = () => {
      timer = null;
      last = Date.now();
      latest.current();
    };
    const stop = stats.subscribe((now) => {
      if (!now) return;
      const next = JSON.stringify([now.calls, now.attempts]);
      const moved = mark !== null && next !== mark;
      mark = next;
      if (moved && !timer) timer = setTimeout(fire, Math.max(0, last + ms - Date.now()));
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, []);
}
