//! The `request` of a call as it stands in documents: whole in a submission, in parts in an operator's edit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Faults, Object, each_text};
use crate::call::request::REDACTED;
use crate::call::{Body, Headers, Method, Request, RequestPath};

/// Reads a request. What it does not name is taken from `present` where there is one; else the method is `POST`, the path `/`.
pub fn read_request(raw: &RawValue, present: Option<&Request>, faults: &mut Faults) -> Option<Request> {
    let mut object = Object::open(raw, "/request".to_owned(), faults)?;
    let method = object.name("method", faults, |text| {
        Method::parse(text).ok_or_else(|| format!("must be one of {}", Method::allowed()))
    });
    let path = object.name("path", faults, RequestPath::parse);
    let url = object.name("url", faults, RequestPath::parse_url);
    if path.is_some() && url.is_some() {
        faults.add("/request/url", "invalid_value", "must not stand beside path; give one of them");
    }
    let headers = match object.optional("headers") {
        Some(raw) => read_headers(raw, present.map(|request| &request.headers), faults),
        None => present.map(|request| request.headers.clone()).unwrap_or_default(),
    };
    let body = read_body(&mut object, &headers, faults);
    object.close(faults);
    Some(Request {
        method: method.or(present.map(|request| request.method)).unwrap_or(Method::Post),
        path: url
            .or(path)
            .or_else(|| present.map(|request| request.path.clone()))
            .or_else(|| RequestPath::parse("/").ok())?,
        headers,
        body: body.or_else(|| present.map(|request| request.body.clone())).unwrap_or(Body::Empty),
    })
}

fn read_body(object: &mut Object<'_>, headers: &Headers, faults: &mut Faults) -> Option<Body> {
    let json = object.raw("body").map(|raw| Body::Json(Bytes::copy_from_slice(raw.get().as_bytes())));
    let bytes = object.name("body_base64", faults, |text| {
        STANDARD.decode(text).map_err(|error| format!("must be standard base64: {error}"))
    });
    if json.is_some() && bytes.is_some() {
        faults.add("/request/body_base64", "invalid_value", "must not stand beside body; give one of them");
    }
    if bytes.is_some() && headers.get("content-type").is_none() {
        faults.add(
            "/request/headers",
            "missing_field",
            "must contain content-type where body_base64 is given",
        );
    }
    json.or_else(|| bytes.map(|bytes| Body::Bytes(bytes.into())))
}

/// A value that was shown redacted and comes back so stands for the present one.
fn read_headers(raw: &RawValue, present: Option<&Headers>, faults: &mut Faults) -> Headers {
    let mut headers = Headers::default();
    each_text("/request/headers", raw, faults, |name, value, pointer, faults| {
        let kept =
            present.filter(|_| value == REDACTED).and_then(|present| present.get(&name.to_ascii_lowercase()));
        if let Err(error) = headers.insert(name, kept.unwrap_or(value)) {
            faults.add(pointer, "invalid_value", error.to_string());
        }
    });
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_changes_what_it_names_and_keeps_redacted_secrets() {
        let mut headers = Headers::default();
        headers.insert("authorization", "Bearer x").unwrap();
        headers.insert("x-tenant", "7").unwrap();
        let present = Request {
            method: Method::Put,
            path: RequestPath::parse("/a").unwrap(),
            headers,
            body: Body::Json(Bytes::from_static(b"1")),
        };
        let edit = br#"{"path":"/b","headers":{"Authorization":"[redacted]"}}"#;
        let edited =
            super::super::read(edit, |raw, _, faults| read_request(raw, Some(&present), faults)).unwrap();
        assert_eq!((edited.method, edited.path.as_str()), (Method::Put, "/b"));
        assert_eq!(edited.headers.iter().collect::<Vec<_>>(), [("authorization", "Bearer x")]);
        assert_eq!(edited.body, present.body);
    }
}
