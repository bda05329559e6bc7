//! From a call's request to the one that leaves, and to the one that is logged.

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;
use url::Url;

use crate::call::attempt::SentRequest;
use crate::call::request::{REDACTED, is_secret_header};
use crate::call::{Body, ErrorKind, Method, Request};
use crate::endpoint::{Endpoint, sends_body};

use super::Invocation;
use super::failure::Failure;

/// A request that is ready to leave.
pub(super) type Outgoing = reqwest::Request;

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const PROGRAM: HeaderValue = HeaderValue::from_static(concat!("redial/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");
const COMPRESSED: HeaderValue = HeaderValue::from_static("gzip");
const ZERO: HeaderValue = HeaderValue::from_static("0");

/// The request that leaves (or why it cannot), and the one that is logged.
pub(super) fn build(
    endpoint: &Endpoint,
    invocation: &Invocation<'_>,
) -> (Result<Outgoing, Failure>, SentRequest) {
    let request = invocation.request;
    let body = request.body.bytes();
    let url = endpoint.destination.url(&request.path);
    let headers = headers(endpoint, invocation);
    let sent = SentRequest {
        method: request.method.as_str().to_owned(),
        headers: headers.as_ref().map(|headers| redacted(endpoint, headers)).unwrap_or_default(),
        body_bytes: body.len() as u64,
        revision: invocation.revision,
        url: endpoint.destination.shown_url(&request.path),
    };
    let outgoing = headers.and_then(|headers| {
        let url = url.map_err(|misdirected| {
            Failure::new(ErrorKind::Unsendable, format!("the request's URL {misdirected}"))
        })?;
        let url = Url::parse(&url).map_err(|error| {
            Failure::new(ErrorKind::Unsendable, format!("the URL cannot be read: {error}"))
        })?;
        let mut outgoing = reqwest::Request::new(method(request.method), url);
        *outgoing.headers_mut() = headers;
        if !body.is_empty() {
            *outgoing.body_mut() = Some(body.into());
        }
        Ok(outgoing)
    });
    (outgoing, sent)
}

const fn method(method: Method) -> http::Method {
    match method {
        Method::Get => http::Method::GET,
        Method::Head => http::Method::HEAD,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Patch => http::Method::PATCH,
        Method::Delete => http::Method::DELETE,
    }
}

/// All headers but those of the connection. Later ones win: defaults, the call's, the endpoint's, the idempotency key.
fn headers(endpoint: &Endpoint, invocation: &Invocation<'_>) -> Result<HeaderMap, Failure> {
    let request = invocation.request;
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(USER_AGENT, PROGRAM);
    headers.insert(ACCEPT, ANYTHING);
    headers.insert(ACCEPT_ENCODING, COMPRESSED);
    if let Some(trace_parent) = invocation.trace_parent.and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(TRACE_PARENT, trace_parent);
    }
    describe_body(&mut headers, request);
    for (name, value) in request.headers.iter() {
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unsendable(name))?;
        headers.insert(parsed, value_of(name, value)?);
    }
    for (name, secret) in &endpoint.headers {
        let mut value = value_of(name.as_str(), secret.expose_secret())?;
        value.set_sensitive(true);
        headers.insert(name.clone(), value);
    }
    let header = endpoint.idempotency_header.clone();
    if let Some(key) = invocation.idempotency_key {
        let key = value_of(header.as_str(), key.as_str())?;
        headers.insert(header, key);
    }
    Ok(headers)
}

/// A JSON body says so unless the call says otherwise; a missing one is announced where servers insist on a length (RFC 9110, 8.6).
fn describe_body(headers: &mut HeaderMap, request: &Request) {
    match &request.body {
        Body::Json(_) => {
            headers.insert(CONTENT_TYPE, JSON);
        }
        Body::Empty if sends_body(request.method) => {
            headers.insert(CONTENT_LENGTH, ZERO);
        }
        Body::Empty | Body::Bytes(_) => {}
    }
}

fn value_of(name: &str, value: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(value).map_err(|_| unsendable(name))
}

fn unsendable(name: &str) -> Failure {
    Failure::new(ErrorKind::Unsendable, format!("the header {name} cannot be written into a request"))
}

/// The headers as they are logged.
fn redacted(endpoint: &Endpoint, headers: &HeaderMap) -> Vec<(String, String)> {
    let is_secret = |name: &HeaderName| {
        is_secret_header(name.as_str()) || endpoint.headers.iter().any(|(key, _)| key == name)
    };
    headers
        .iter()
        .map(|(name, value)| {
            // The idempotency key is no secret even where the endpoint configures a header of its name: the key has replaced it.
            let shown = if is_secret(name) && *name != endpoint.idempotency_header {
                REDACTED.to_owned()
            } else {
                String::from_utf8_lossy(value.as_bytes()).into_owned()
            };
            (name.as_str().to_owned(), shown)
        })
        .collect()
}
