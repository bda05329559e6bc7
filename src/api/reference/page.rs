//! The description as a page: made once from the document, no script, works without a network.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// The page.
pub(super) fn render(document: &Value) -> String {
    let mut page = String::with_capacity(64 * 1024);
    let (title, version) = (text(&document["info"]["title"]), text(&document["info"]["version"]));
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} API</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <link rel=\"stylesheet\" href=\"docs/style.css\"></head><body>\
         <a class=\"skip\" href=\"#content\">Skip to the content</a>\
         <header><h1>{title} API <small>{version}</small></h1><p>{}</p>\
         <p><a href=\"openapi.json\">openapi.json</a></p></header>",
        prose(&document["info"]["description"])
    );
    contents(&mut page, document);
    page.push_str("<main id=\"content\">");
    for tag in items(&document["tags"]) {
        group(&mut page, document, tag);
    }
    shapes(&mut page, document);
    page.push_str("</main></body></html>\n");
    page
}

/// Text for HTML.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

/// Text in which `this` is code.
fn prose(value: &Value) -> String {
    let escaped = text(value);
    let parts = escaped.split('`').enumerate();
    parts
        .map(|(number, part)| if number % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() })
        .collect()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// A fragment that a link can name.
fn anchor(text: &str) -> String {
    text.to_lowercase()
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

/// The operations of a group: method, path, operation.
fn operations<'a>(
    document: &'a Value,
    group: &'a str,
) -> impl Iterator<Item = (&'a str, &'a str, &'a Value)> {
    members(&document["paths"])
        .flat_map(|(path, item)| {
            members(item).map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
        })
        .filter(move |(_, _, operation)| items(&operation["tags"]).iter().any(|tag| tag == group))
}

fn contents(page: &mut String, document: &Value) {
    page.push_str("<nav aria-label=\"Contents\"><ul>");
    for tag in items(&document["tags"]) {
        let name = tag["name"].as_str().unwrap_or_default();
        let _ = write!(page, "<li><a href=\"#{}\">{}</a><ul>", anchor(name), escape(name));
        for (_, _, operation) in operations(document, name) {
            let id = text(&operation["operationId"]);
            let _ = write!(page, "<li><a href=\"#{id}\">{}</a></li>", text(&operation["summary"]));
        }
        page.push_str("</ul></li>");
    }
    page.push_str("<li><a href=\"#shapes\">Shapes</a></li></ul></nav>");
}

fn group(page: &mut String, document: &Value, tag: &Value) {
    let name = tag["name"].as_str().unwrap_or_default();
    let about = prose(&tag["description"]);
    let _ = write!(page, "<section><h2 id=\"{}\">{}</h2><p>{about}</p>", anchor(name), escape(name));
    for (method, path, known) in operations(document, name) {
        operation(page, method, path, known);
    }
    page.push_str("</section>");
}

fn operation(page: &mut String, method: &str, path: &str, operation: &Value) {
    let (id, summary) = (text(&operation["operationId"]), text(&operation["summary"]));
    let _ = write!(
        page,
        "<article id=\"{id}\"><h3>{summary}</h3><p class=\"route\"><span class=\"method {method}\">{}</span> <code>{}</code></p>",
        method.to_uppercase(),
        escape(path)
    );
    if !operation["description"].is_null() {
        let _ = write!(page, "<p>{}</p>", prose(&operation["description"]));
    }
    parameters(page, &operation["parameters"]);
    for (media_type, content) in members(&operation["requestBody"]["content"]) {
        let needed = if operation["requestBody"]["required"] == true { "" } else { ", may be absent" };
        let _ = write!(
            page,
            "<h4>Body</h4><p>{} as <code>{}</code>{needed}</p>",
            shape_of(&content["schema"]),
            escape(media_type)
        );
    }
    answers(page, &operation["responses"]);
    page.push_str("</article>");
}

fn parameters(page: &mut String, parameters: &Value) {
    if items(parameters).is_empty() {
        return;
    }
    page.push_str("<h4>Parameters</h4><dl>");
    for parameter in items(parameters) {
        let _ = write!(
            page,
            "<dt><code>{}</code> <small>{}, {}</small></dt><dd>{}</dd>",
            text(&parameter["name"]),
            text(&parameter["in"]),
            shape_of(&parameter["schema"]),
            prose(&parameter["description"])
        );
    }
    page.push_str("</dl>");
}

#[expect(clippy::wildcard_enum_match_arm, reason = "another crate's enum, of which only these are meant")]
fn answers(page: &mut String, responses: &Value) {
    page.push_str("<h4>Answers</h4><dl class=\"answers\">");
    for (status, response) in members(responses) {
        let problem = response["content"].get("application/problem+json").is_some();
        let shapes: Vec<String> = members(&response["content"])
            .map(|(media_type, content)| match &content["schema"] {
                Value::Null => format!("<code>{}</code>", escape(media_type)),
                schema => shape_of(schema),
            })
            .collect();
        let class = if problem { "problem" } else { "fine" };
        let _ = write!(
            page,
            "<dt><span class=\"status {class}\">{status}</span> {}</dt><dd>{}</dd>",
            shapes.join(" "),
            prose(&response["description"])
        );
    }
    page.push_str("</dl>");
}

fn shapes(page: &mut String, document: &Value) {
    page.push_str("<section><h2 id=\"shapes\">Shapes</h2><p>What is sent and answered, as JSON.</p>");
    for (name, schema) in members(&document["components"]["schemas"]) {
        let _ = write!(page, "<article id=\"shape-{}\"><h3>{}</h3>", anchor(name), escape(name));
        if !schema["description"].is_null() {
            let _ = write!(page, "<p>{}</p>", prose(&schema["description"]));
        }
        page.push_str("<dl>");
        for (member, kind) in members(&schema["properties"]) {
            let needed = items(&schema["required"]).iter().any(|name| name == member);
            let needed = if needed { "" } else { ", may be absent or null" };
            let _ = write!(
                page,
                "<dt><code>{}</code> <small>{}{needed}</small></dt><dd>{}</dd>",
                escape(member),
                shape_of(kind),
                prose(&kind["description"])
            );
        }
        page.push_str("</dl></article>");
    }
    page.push_str("</section>");
}

/// What a schema is, in a word or a link.
#[expect(clippy::wildcard_enum_match_arm, reason = "another crate's enum, of which only these are meant")]
fn shape_of(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("<a href=\"#shape-{}\">{}</a>", anchor(name), escape(name));
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        let shapes: Vec<String> =
            items(&schema[choice]).iter().filter(|schema| schema["type"] != "null").map(shape_of).collect();
        if !shapes.is_empty() {
            return shapes.join(" or ");
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null").and_then(Value::as_str),
        other => other.as_str(),
    };
    match kind {
        Some("array") => format!("list of {}", shape_of(&schema["items"])),
        Some("object") if !schema["additionalProperties"].is_null() => {
            format!("object of {}", shape_of(&schema["additionalProperties"]))
        }
        Some(kind) => escape(kind),
        None => "any JSON".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_into_the_page_is_text() {
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
        assert_eq!(prose(&Value::from("a `b<c` d")), "a <code>b&lt;c</code> d");
        assert_eq!(anchor("Rejected messages"), "rejected-messages");
    }
}
