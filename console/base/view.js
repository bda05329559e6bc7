// What every page is written with: elements as templates, signals, hooks. Nothing here puts text into a page as markup.

import { h, render, Fragment } from "../vendor/preact.js";
import htm from "../vendor/htm.js";

export { render, Fragment };
export { useEffect, useRef, useState, useMemo, useCallback, useId, useLayoutEffect } from "../vendor/preact-hooks.js";
export { signal, computed, effect, batch } from "../vendor/signals.js";

export const html = htm.bind(h);

/** Class names that hold. */
export const cls = (...names) => names.filter(Boolean).join(" ");
