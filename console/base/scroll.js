// How far down the reader was, for when they come back to a page.
//
// A browser does this by itself, but only once, at a time when the page's data is still on its way and the page is short.

history.scrollRestoration = "manual";

/** How long the reader has to rest before the place is written down. */
const REST_MS = 100;
/** For how long a page may grow until it is as long as it was. */
const GROW_MS = 10_000;

let resting = null;
let cease = null;

function write() {
  clearTimeout(resting);
  resting = null;
  history.replaceState({ ...history.state, y: scrollY }, "");
}

addEventListener("scroll", () => {
  // While a page grows the browser moves it, not the reader.
  if (cease) return;
  clearTimeout(resting);
  resting = setTimeout(write, REST_MS);
});
addEventListener("pagehide", () => resting && write());

/** Before another page is shown: what was not written down yet. */
export function leave() {
  if (cease) cease();
  else write();
}

/** Back to where the reader was, as soon as the page is long enough for it. */
export function comeBack() {
  clearTimeout(resting);
  cease?.();
  const y = history.state?.y ?? 0;
  const reach = () => {
    scrollTo(0, y);
    if (Math.abs(scrollY - y) < 1) cease();
  };
  const growth = new ResizeObserver(reach);
  const late = setTimeout(() => cease?.(), GROW_MS);
  const moved = ["wheel", "touchmove", "keydown", "pointerdown"];
  cease = () => {
    cease = null;
    clearTimeout(late);
    growth.disconnect();
    for (const name of moved) removeEventListener(name, give);
  };
  const give = () => cease?.();
  for (const name of moved) addEventListener(name, give, { passive: true });
  // It reports once at the start, when the new page is there.
  growth.observe(document.body);
}
