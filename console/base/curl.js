// Commands that a person can paste into a shell.

/** What curl sets by itself, or what would have it show a packed answer as it came. */
const OWN = ["content-length", "accept-encoding", "host", "user-agent"];

/** A secret that the API keeps to itself is left for the reader to fill in. */
const filledIn = (name, value) => (value === "[redacted]" ? `<${name}>` : value);

const quote = (text) => `'${String(text).replace(/'/g, "'\\''")}'`;

/** `body` is text, or bytes as base64. */
export function curl({ method = "GET", url, headers = {}, body, base64 = false }) {
  const filled = body !== undefined && body !== null && body !== "";
  const parts = [filled && base64 ? `printf %s ${quote(body)} | base64 -d | curl` : "curl"];
  // With a body curl would POST, and for a body after HEAD it would wait for ever.
  if (method === "HEAD") parts.push("--head");
  else if (method !== "GET" || filled) parts.push(`-X ${method}`);
  parts.push(quote(url));
  for (const [name, value] of Object.entries(headers)) {
    if (OWN.includes(name.toLowerCase())) continue;
    parts.push(`-H ${quote(`${name}: ${filledIn(name, value)}`)}`);
  }
  if (filled) parts.push(base64 ? "--data-binary @-" : `--data-raw ${quote(body)}`);
  return parts.join(" \\\n  ");
}

/** The same for this server's API; the token is the reader's to fill in. */
export function apiCurl({ method = "GET", path, body }) {
  const headers = { authorization: "Bearer $REDIAL_TOKEN" };
  if (body !== undefined) headers["content-type"] = "application/json";
  const text = curl({
    method,
    url: location.origin + path,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  // Inside single quotes a shell would not fill the variable in.
  return text.replace("'authorization: Bearer $REDIAL_TOKEN'", '"authorization: Bearer $REDIAL_TOKEN"');
}
