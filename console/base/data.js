// Data of a page: asked for when the page opens or its question changes, asked again without a flicker.

import { computed, signal, useCallback, useEffect, useRef, useState } from "./view.js";
import { get, lapsed } from "./api.js";

/** How long after a server that was away is asked again. */
export const AGAIN_MS = 3000;

/** What the server owes an answer to: one notice stands for all of them. */
const owed = signal([]);
export const outage = computed(() => owed.value[0] ?? null);

function owe(error) {
  owed.value = [...owed.peek(), error];
  return () => {
    owed.value = owed.peek().filter((one) => one !== error);
  };
}

/**
 * What is at `path` (null: ask nothing). The last answer stays while the next is on its way; an answer to another path does not.
 */
export function useData(path, { every = 0 } = {}) {
  const [state, setState] = useState({ path: null, data: null, error: null, loading: true });
  const asking = useRef(null);
  const load = useCallback(async () => {
    if (path === null || lapsed.peek()) return;
    asking.current?.abort();
    const abort = new AbortController();
    asking.current = abort;
    try {
      const data = await get(path, { signal: abort.signal });
      if (!abort.signal.aborted) setState({ path, data, error: null, loading: false });
    } catch (error) {
      if (error.name === "AbortError" || abort.signal.aborted) return;
      // What is shown stays while somebody logs in again.
      if (error.isLapse) return;
      setState((before) => ({ path, data: before.path === path ? before.data : null, error, loading: false }));
    }
  }, [path]);
  const closed = lapsed.value;
  useEffect(() => {
    if (!closed) load();
    return () => asking.current?.abort();
  }, [load, closed]);
  useEffect(() => {
    if (!every) return undefined;
    const timer = setInterval(() => document.hidden || load(), every);
    return () => clearInterval(timer);
  }, [load, every]);
  useEffect(() => {
    if (!state.error?.isAway) return undefined;
    const timer = setTimeout(load, AGAIN_MS);
    const paid = state.error.isOutage ? owe(state.error) : null;
    return () => {
      clearTimeout(timer);
      paid?.();
    };
  }, [state.error, load]);
  const current = state.path === path;
  return {
    data: state.data,
    error: current ? state.error : null,
    loading: !current || state.loading,
    stale: !current,
    reload: load,
    replace: (data) => setState({ path, data, error: null, loading: false }),
  };
}

/** An action that is under way, and what came of it. */
export function useAction(act) {
  const [state, setState] = useState({ busy: false, error: null });
  const run = async (...values) => {
    setState({ busy: true, error: null });
    try {
      const result = await act(...values);
      setState({ busy: false, error: null });
      return result;
    } catch (error) {
      setState({ busy: false, error: error.isLapse ? null : error });
      return undefined;
    }
  };
  return { ...state, run, forget: () => setState({ busy: false, error: null }) };
}
