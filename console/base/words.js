// Every sentence of the console, in the reader's language. A language is one file in words/; en.js is complete by definition,
// and a word that another file lacks appears in English.

import { signal, effect } from "./view.js";
import { recall, remember } from "./memory.js";
import en from "../words/en.js";
import zh from "../words/zh-CN.js";

const LANGUAGES = { en, "zh-CN": zh };

export const languages = [
  { code: "en", name: "English" },
  { code: "zh-CN", name: "简体中文" },
];

function preferred() {
  const known = recall("language", null);
  if (known && LANGUAGES[known]) return known;
  const wanted = navigator.languages?.length ? navigator.languages : [navigator.language];
  for (const code of wanted) {
    if (/^zh/i.test(code)) return "zh-CN";
    if (/^en/i.test(code)) return "en";
  }
  return "en";
}

export const language = signal(preferred());

effect(() => {
  document.documentElement.lang = language.value;
});

export function speak(code) {
  language.value = code;
  remember("language", code);
}

/** The sentence with this name; `{x}` in it is replaced, and `{n|one|many}` chooses by number. */
export function t(name, values = {}) {
  const sentence = LANGUAGES[language.value][name] ?? en[name];
  if (sentence === undefined) return name;
  return sentence.replace(/\{(\w+)(?:\|([^|}]*)\|([^}]*))?\}/g, (_, key, one, many) => {
    const value = values[key];
    if (one !== undefined) return Number(value) === 1 ? one : many;
    return value === undefined || value === null ? "" : typeof value === "number" ? number(value) : String(value);
  });
}

/** The word for a fixed name of the API, such as a status; the name itself where there is none. */
export function term(kind, name) {
  if (name === null || name === undefined || name === "") return "";
  const key = `${kind}.${name}`;
  return LANGUAGES[language.value][key] ?? en[key] ?? String(name);
}

export const number = (value) => new Intl.NumberFormat(language.value).format(value);
