// Lines that were taken out, kept and put in: the shortest script by longest common subsequence.

const LINES_MAX = 1500;

/** [{ op: "=" | "-" | "+", text }] from one text to the other. */
export function diffLines(before, after) {
  const a = before.split("\n");
  const b = after.split("\n");
  if (a.length > LINES_MAX || b.length > LINES_MAX) {
    return before === after
      ? a.map((text) => ({ op: "=", text }))
      : [...a.map((text) => ({ op: "-", text })), ...b.map((text) => ({ op: "+", text }))];
  }
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
    }
  }
  const lines = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push({ op: "=", text: a[i++] });
      j++;
    } else if (i < a.length && (j >= b.length || table[i + 1][j] >= table[i][j + 1])) {
      lines.push({ op: "-", text: a[i++] });
    } else {
      lines.push({ op: "+", text: b[j++] });
    }
  }
  return lines;
}

/** A request as lines: what a person compares. */
export function requestText(request) {
  const lines = [`${request.method ?? "POST"} ${request.path ?? "/"}`];
  for (const [name, value] of Object.entries(request.headers ?? {})) lines.push(`${name}: ${value}`);
  lines.push("");
  if (request.body !== undefined && request.body !== null) lines.push(JSON.stringify(request.body, null, 2));
  else if (request.body_base64) lines.push(`base64 ${request.body_base64}`);
  return lines.join("\n").trimEnd();
}
