// Light, dark, or as the machine is set.

import { signal, effect } from "./view.js";
import { recall, remember } from "./memory.js";

export const themes = ["system", "light", "dark"];
export const theme = signal(themes.includes(recall("theme", "system")) ? recall("theme", "system") : "system");

const dark = matchMedia("(prefers-color-scheme: dark)");
/** What is shown now; charts are drawn anew when it changes. */
export const shade = signal("light");

function apply() {
  const now = theme.value === "system" ? (dark.matches ? "dark" : "light") : theme.value;
  document.documentElement.dataset.theme = now;
  document.documentElement.style.colorScheme = now;
  shade.value = now;
}

effect(apply);
dark.addEventListener("change", apply);

export function paint(name) {
  theme.value = name;
  remember("theme", name);
}
