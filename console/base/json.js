// JSON without losing a digit: other people's numbers go out as they came in, also where a double cannot hold them.

// Browsers since about 2025 say how a number was written, and can write it so again.
const keepsSources = typeof JSON.rawJSON === "function";

const asWritten = (_, value, context) =>
  typeof value === "number" && context.source !== String(value) ? JSON.rawJSON(context.source) : value;

/** Reads a document whose numbers keep their digits: `JSON.stringify` writes them as they were written. They are not for counting with. */
export const readExactly = (text) => (keepsSources ? JSON.parse(text, asWritten) : JSON.parse(text));

function withBodies(plain, exact) {
  if (plain === null || typeof plain !== "object") return;
  for (const name of Object.keys(plain)) {
    if (name === "body") plain[name] = exact[name];
    else withBodies(plain[name], exact[name]);
  }
}

/** Reads an answer of the API. Bodies in it are other people's and stay exact; its own numbers can be counted with. */
export function readAnswer(text) {
  const plain = JSON.parse(text);
  if (keepsSources && text.includes('"body"')) withBodies(plain, readExactly(text));
  return plain;
}
