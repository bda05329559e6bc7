//! The simulator's own interface below `/_simulator/`: what it has seen, and what it is to do. Bodies are JSON.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::call::request::{REDACTED, is_secret_header};

use super::body::AnswerBody;
use super::journal::Arrival;
use super::received::SeenRequest;
use super::stage::Stage;
use crate::script::{Script, ScriptFault};

/// Where the interface begins.
pub(super) const PREFIX: &str = "/_simulator/";
/// Largest script.
const SCRIPT_BYTES_MAX: usize = 1024 * 1024;

const NAMES: &str = "summary, keys/{key}, journal, requests, reset, script, down, up";

/// Answers a request to the interface.
pub(super) async fn respond(stage: Arc<Stage>, request: Request<Incoming>) -> Response<AnswerBody> {
    let name = request.uri().path().strip_prefix(PREFIX).unwrap_or_default().to_owned();
    match (name.as_str(), request.method()) {
        ("summary", &Method::GET) => document(StatusCode::OK, &summary(&stage)),
        ("journal", &Method::GET) => journal(stage),
        ("requests", &Method::GET) => document(StatusCode::OK, &requests(&stage)),
        ("reset", &Method::POST) => {
            stage.reset();
            document(StatusCode::OK, &json!({}))
        }
        ("script", &Method::PUT) => play(&stage, request).await,
        ("down", &Method::POST) => go_down(&stage, request.uri().query()),
        ("up", &Method::POST) => {
            stage.go_up();
            document(StatusCode::OK, &json!({}))
        }
        (key, &Method::GET) if key.starts_with("keys/") => {
            document(StatusCode::OK, &arrivals(&stage, key.trim_start_matches("keys/")))
        }
        (other, _) => refuse(other),
    }
}

fn summary(stage: &Stage) -> Value {
    let summary = stage.summary();
    let (started_at, elapsed) = stage.run();
    let paths: serde_json::Map<_, _> = summary
        .by_path
        .iter()
        .map(|(path, totals)| {
            (path.to_string(), json!({ "requests": totals.requests, "effects": totals.effects }))
        })
        .collect();
    let statuses: serde_json::Map<_, _> =
        summary.by_status.iter().map(|(status, count)| (status.to_string(), json!(count))).collect();
    json!({
        "started_at": started_at.to_string(),
        "started_unix_us": started_at.unix_micros(),
        "elapsed_ms": millis(elapsed),
        "requests": summary.requests,
        "keys": summary.keys,
        "effects": summary.effects,
        "duplicates": summary.duplicates,
        "answered": summary.answered,
        "connections": summary.connections,
        "beyond_journal": summary.beyond_journal,
        "by_path": paths,
        "by_status": statuses,
    })
}

fn arrivals(stage: &Stage, encoded: &str) -> Value {
    let key = decode(encoded);
    let arrivals = stage.arrivals(&key);
    let effects = arrivals.iter().filter(|arrival| arrival.effect).count();
    json!({ "key": key, "effects": effects, "arrivals": arrivals.iter().map(arrival).collect::<Vec<_>>() })
}

fn arrival(arrival: &Arrival) -> Value {
    json!({
        "at": arrival.at.to_string(),
        "arrived_us": micros(arrival.since_start),
        "answered_us": arrival.answered.map(micros),
        "status": arrival.status,
        "effect": arrival.effect,
        "path": &*arrival.path,
    })
}

/// The newest requests. What is secret by its name stays so: this is for looking at calls, not for reading tokens.
fn requests(stage: &Stage) -> Value {
    stage.requests().iter().map(request).collect()
}

fn request(seen: &SeenRequest) -> Value {
    let shown = |name: &str, value: &str| if is_secret_header(name) { REDACTED.into() } else { value.into() };
    let headers: serde_json::Map<String, Value> =
        seen.headers.iter().map(|(name, value)| (name.clone(), shown(name, value))).collect();
    json!({
        "key": seen.key,
        "method": seen.method,
        "target": seen.target,
        "headers": headers,
        "body": String::from_utf8_lossy(&seen.body),
    })
}

fn journal(stage: Arc<Stage>) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Journal(stage, 0));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    response
}

async fn play(stage: &Stage, request: Request<Incoming>) -> Response<AnswerBody> {
    let Ok(body) = Limited::new(request.into_body(), SCRIPT_BYTES_MAX).collect().await else {
        let error = format!("a script is at most {SCRIPT_BYTES_MAX} bytes long");
        return document(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "error": error }));
    };
    let bytes = body.to_bytes();
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return document(StatusCode::BAD_REQUEST, &json!({ "error": "a script is TOML in UTF-8" }));
    };
    match Script::parse(text) {
        Ok(script) => {
            let rules = script.rules.len();
            stage.play(script);
            document(StatusCode::OK, &json!({ "rules": rules }))
        }
        Err(faults) => {
            let faults: Vec<_> = faults.iter().map(fault).collect();
            document(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "faults": faults }))
        }
    }
}

fn fault(fault: &ScriptFault) -> Value {
    json!({ "line": fault.line, "place": fault.place, "sentence": fault.sentence })
}

fn go_down(stage: &Stage, query: Option<&str>) -> Response<AnswerBody> {
    let mut lasting = None;
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        lasting = value.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        if name != "seconds" || lasting.is_none() {
            let error = "write ?seconds=10, or nothing for an outage that lasts until /_simulator/up";
            return document(StatusCode::BAD_REQUEST, &json!({ "error": error }));
        }
    }
    stage.go_down(lasting);
    document(StatusCode::OK, &json!({}))
}

fn refuse(name: &str) -> Response<AnswerBody> {
    let allowed = match name {
        "summary" | "journal" | "requests" => "GET",
        "reset" | "down" | "up" => "POST",
        "script" => "PUT",
        name if name.starts_with("keys/") => "GET",
        _ => {
            let error = format!("there is no {PREFIX}{name}; there are: {NAMES}");
            return document(StatusCode::NOT_FOUND, &json!({ "error": error }));
        }
    };
    let error = format!("{PREFIX}{name} takes {allowed}");
    let mut response = document(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": error }));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn document(status: StatusCode, value: &Value) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Whole(value.to_string().into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A path segment with its percent-escapes undone.
fn decode(segment: &str) -> String {
    let as_query = format!("key={}", segment.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(as_query.as_bytes())
        .next()
        .map(|(_, key)| key.into_owned())
        .unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
