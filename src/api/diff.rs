//! The difference between two versions of a request, line by line, as people read it.

use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use crate::call::request::{REDACTED, is_secret_header};
use crate::call::{Body, Headers, Request};
use crate::limits::DIFF_LINES_MAX;

/// One line of a difference.
#[derive(Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(super) struct DiffLine {
    /// `=` in both, `-` only in the earlier one, `+` only in the later one.
    op: &'static str,
    text: String,
}

/// What changed from one version of a request to the next.
pub(super) fn diff(earlier: &Request, later: &Request) -> Vec<DiffLine> {
    let (old, new) = (lines(earlier, None), lines(later, Some(&earlier.headers)));
    let (old, new): (Vec<&str>, Vec<&str>) =
        (old.iter().map(String::as_str).collect(), new.iter().map(String::as_str).collect());
    let compared = TextDiff::from_slices(&old, &new);
    let line = |change: similar::Change<&str>| DiffLine {
        op: match change.tag() {
            ChangeTag::Equal => "=",
            ChangeTag::Delete => "-",
            ChangeTag::Insert => "+",
        },
        text: change.value().to_owned(),
    };
    compared.iter_all_changes().map(line).collect()
}

/// A request as text: method and path, headers by name, and the body, JSON with one member a line.
fn lines(request: &Request, earlier: Option<&Headers>) -> Vec<String> {
    let mut lines = vec![format!("{} {}", request.method, request.path.as_str())];
    let mut headers: Vec<_> = request.headers.iter().collect();
    headers.sort_unstable();
    lines.extend(headers.into_iter().map(|(name, value)| header(name, value, earlier)));
    lines.push(String::new());
    let body = body(&request.body);
    lines.extend(body.lines().take(DIFF_LINES_MAX).map(str::to_owned));
    let more = body.lines().skip(DIFF_LINES_MAX).count();
    if more > 0 {
        lines.push(format!("… {more} more lines are not compared"));
    }
    lines
}

/// A secret is never shown, but that it is another than before is.
fn header(name: &str, value: &str, earlier: Option<&Headers>) -> String {
    if !is_secret_header(name) {
        return format!("{name}: {value}");
    }
    match earlier.and_then(|earlier| earlier.get(name)) {
        Some(before) if before != value => format!("{name}: {REDACTED} (another value)"),
        Some(_) | None => format!("{name}: {REDACTED}"),
    }
}

fn body(body: &Body) -> String {
    match body {
        Body::Empty => String::new(),
        Body::Json(bytes) => serde_json::from_slice::<serde_json::Value>(bytes)
            .and_then(|value| serde_json::to_string_pretty(&value))
            .unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned()),
        Body::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => hexadecimal(bytes),
        },
    }
}

/// Bytes that are no text, 32 a line.
fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    // One line more than is compared, so that it shows that there is more.
    let shown = bytes.chunks(32).take(DIFF_LINES_MAX + 1);
    shown.fold(String::new(), |mut text, chunk| {
        for byte in chunk {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Method, RequestPath};
    use bytes::Bytes;

    fn request(path: &str, headers: &[(&str, &str)], body: Body) -> Request {
        let mut all = Headers::default();
        for (name, value) in headers {
            all.insert(name, value).unwrap();
        }
        Request { method: Method::Post, path: RequestPath::parse(path).unwrap(), headers: all, body }
    }

    fn json(text: &'static str) -> Body {
        Body::Json(Bytes::from_static(text.as_bytes()))
    }

    fn shown(earlier: &Request, later: &Request) -> Vec<String> {
        diff(earlier, later).into_iter().map(|line| format!("{}{}", line.op, line.text)).collect()
    }

    #[test]
    fn each_changed_line_is_marked() {
        let earlier = request("/v1", &[("x-tenant", "7"), ("a", "b")], json(r#"{"to":"+1","text":"hi"}"#));
        let later = request("/v2", &[("x-tenant", "8"), ("a", "b")], json(r#"{"text":"hi", "to":"+2"}"#));
        let expected = [
            "-POST /v1",
            "+POST /v2",
            "=a: b",
            "-x-tenant: 7",
            "+x-tenant: 8",
            "=",
            "={",
            "=  \"text\": \"hi\",",
            "-  \"to\": \"+1\"",
            "+  \"to\": \"+2\"",
            "=}",
        ];
        assert_eq!(shown(&earlier, &later), expected);
        assert!(diff(&earlier, &earlier).iter().all(|line| line.op == "="));
    }

    #[test]
    fn secrets_are_not_shown_but_their_change_is() {
        let earlier = request("/", &[("authorization", "Bearer one")], Body::Empty);
        let later = request("/", &[("authorization", "Bearer two")], Body::Empty);
        let text = shown(&earlier, &later).join("\n");
        assert!(text.contains("+authorization: [redacted] (another value)"), "{text}");
        assert!(!text.contains("Bearer"), "{text}");
        assert!(shown(&earlier, &earlier).contains(&"=authorization: [redacted]".to_owned()));
    }

    #[test]
    fn any_body_has_lines() {
        let text = request("/", &[], Body::Bytes(Bytes::from_static(b"a\nb")));
        let bytes = request("/", &[], Body::Bytes(Bytes::from_static(b"\xff\x00")));
        assert_eq!(shown(&text, &bytes), ["=POST /", "=", "-a", "-b", "+ff00"]);
        let long = request("/", &[], Body::Bytes("x\n".repeat(3_000).into()));
        assert!(shown(&text, &long).last().unwrap().contains("1000 more lines"));
    }
}
