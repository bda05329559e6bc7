//! `POST /v1/calls` and `POST /v1/calls/batch`: submissions by HTTP. 202 only once the call is durable.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Api;
use super::auth::Submitter;
use super::problem::{Problem, Result};
use super::render::CallView;
use crate::call::{Call, CallId, Publisher, Status};
use crate::clock::Timestamp;
use crate::intake::amqp::is_json;
use crate::intake::submission::{self, Envelope};
use crate::intake::{Placement, Received};
use crate::ledger::CallStory;
use crate::limits::{PREFER_WAIT_MAX, SUBMISSION_BATCH_MAX};
use crate::worker::Settled;

/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// How often to look whether another process has made the first attempt.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Takes one submission.
///
/// # Errors
/// A problem document: 400 not readable, 413, 415, 422 readable but wrong, 503 without the ledger.
pub async fn one(
    State(api): State<Arc<Api>>,
    submitter: Submitter,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let bytes = read_json(&api, &headers, body).await?;
    let wait = preferred_wait(&headers)?;
    let until = wait.map(|wait| Instant::now() + wait);
    let placement = plan(&api, &submitter.0, &headers, &bytes, until).await?;
    let received = api.intake.submit(placement).await?;
    let mut response = match received {
        Received::New(call, attempt) => match until {
            None => accepted(&call),
            Some(until) => after_waiting(&api, &call, attempt, until).await?,
        },
        Received::Known(id) => (StatusCode::OK, Json(CallView::from(&find(&api, id).await?))).into_response(),
        Received::KeyReused(id) => return Err(key_reused(id)),
    };
    if let Some(applied) =
        wait.and_then(|wait| HeaderValue::from_str(&format!("wait={}", wait.as_secs())).ok())
    {
        response.headers_mut().insert("preference-applied", applied);
    }
    Ok(response)
}

/// Takes up to 1,000 submissions, each with its own result, in the order given.
///
/// # Errors
/// A problem document if the list itself cannot be read; faults of single documents stand in their results.
pub async fn batch(
    State(api): State<Arc<Api>>,
    submitter: Submitter,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let bytes = read_json(&api, &headers, body).await?;
    let documents = read_list(&bytes)?;
    let mut results: Vec<Option<Value>> = Vec::with_capacity(documents.len());
    let mut placements = Vec::new();
    for document in documents {
        match plan(&api, &submitter.0, &headers, document.get().as_bytes(), None).await {
            Ok(placement) => {
                placements.push(placement);
                results.push(None);
            }
            Err(problem) => results.push(Some(problem_result(&problem))),
        }
    }
    let mut answers = api.intake.submit_all(placements).await.into_iter();
    let mut complete = Vec::with_capacity(results.len());
    for result in results {
        complete.push(match result {
            Some(problem) => problem,
            None => batch_result(&api, answers.next()).await,
        });
    }
    Ok(Json(json!({ "results": complete })).into_response())
}

/// A batch in an object: `{"calls": […]}`; the bare list does as well.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped<'a> {
    #[serde(borrow)]
    calls: Vec<&'a RawValue>,
}

fn read_list(bytes: &[u8]) -> Result<Vec<&RawValue>> {
    let wrong = |status, code, detail: String| Problem::new(status, code, detail);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        wrong(StatusCode::BAD_REQUEST, "malformed_json", format!("the text is not UTF-8: {error}"))
    })?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| {
        wrong(StatusCode::BAD_REQUEST, "malformed_json", format!("the text is not JSON: {error}"))
    })?;
    let list = serde_json::from_str(raw.get())
        .or_else(|_| serde_json::from_str::<Wrapped<'_>>(raw.get()).map(|wrapped| wrapped.calls));
    let list: Vec<&RawValue> = list.map_err(|_| {
        let detail = "a batch is a JSON array of submissions, or {\"calls\": [...]}";
        wrong(StatusCode::UNPROCESSABLE_ENTITY, "wrong_type", detail.to_owned())
    })?;
    if list.is_empty() || list.len() > SUBMISSION_BATCH_MAX {
        let detail =
            format!("a batch has 1 to {SUBMISSION_BATCH_MAX} submissions; this one has {}", list.len());
        return Err(wrong(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail));
    }
    Ok(list)
}

type Answer = std::result::Result<Received, (Placement, crate::ledger::LedgerError)>;

async fn batch_result(api: &Api, answer: Option<Answer>) -> Value {
    let outcome = match answer {
        Some(Ok(Received::New(call, _))) => Ok((202, *call)),
        Some(Ok(Received::Known(id))) => find(api, id).await.map(|call| (200, call)),
        Some(Ok(Received::KeyReused(id))) => Err(key_reused(id)),
        Some(Err((_, error))) => Err(error.into()),
        None => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "no result was given")),
    };
    match outcome {
        Ok((status, call)) => json!({ "status": status, "call": CallView::from(&call) }),
        Err(problem) => problem_result(&problem),
    }
}

fn problem_result(problem: &Problem) -> Value {
    json!({ "status": problem.status().as_u16(), "problem": problem.to_value() })
}

async fn plan(
    api: &Api,
    publisher: &Publisher,
    headers: &HeaderMap,
    bytes: &[u8],
    until: Option<Instant>,
) -> Result<Placement> {
    let trace_parent =
        headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(submission::trace_parent);
    let envelope =
        Envelope { publisher: publisher.clone(), fallback_key: None, trace_parent, now: Timestamp::now() };
    let (submission, endpoint) = submission::read(bytes, envelope, &api.registry)?;
    Ok(match until {
        None => api.intake.plan(submission, endpoint),
        Some(until) => {
            let patience = until.saturating_duration_since(Instant::now());
            api.intake.plan_patiently(submission, endpoint, patience).await
        }
    })
}

/// Reads the body of a request that must be JSON and fit.
pub(super) async fn read_json(api: &Api, headers: &HeaderMap, body: Body) -> Result<Bytes> {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !is_json(content_type) {
        let detail = format!("content-type is {content_type:?}; application/json is allowed");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
    }
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
        let detail = format!("content-encoding is {encoding:?}; none is allowed");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding", detail));
    }
    read_body(api, body).await
}

async fn read_body(api: &Api, body: Body) -> Result<Bytes> {
    let limit = api.body_bytes_max;
    // A length that is announced is refused before anybody has to send it.
    if axum::body::HttpBody::size_hint(&body).lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let collected = tokio::time::timeout(BODY_PATIENCE, Limited::new(body, limit).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Ok(Err(error)) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "body_broken", format!("the body broke off: {error}")))
        }
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_too_slow",
            "the body did not arrive within 30 s",
        )),
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("the body is longer than {limit} bytes"),
    )
}

/// `Prefer: wait=10` (RFC 7240, 4.3), in whole seconds.
fn preferred_wait(headers: &HeaderMap) -> Result<Option<Duration>> {
    let preferences = headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']));
    for preference in preferences {
        let Some((name, value)) = preference.split_once('=') else { continue };
        if !name.trim().eq_ignore_ascii_case("wait") {
            continue;
        }
        return match value.trim().trim_matches('"').parse() {
            Ok(seconds) => Ok(Some(Duration::from_secs(seconds).min(PREFER_WAIT_MAX))),
            Err(_) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "invalid_preference",
                "Prefer: wait=N takes a whole number of seconds",
            )),
        };
    }
    Ok(None)
}

/// Waits for the first attempt: 200 with the third party's answer if it succeeded in time, else 202, and the call goes on.
async fn after_waiting(
    api: &Api,
    call: &Call,
    attempt: Option<tokio::task::JoinHandle<Option<Settled>>>,
    until: Instant,
) -> Result<Response> {
    if let Some(attempt) = attempt {
        // Dropping the handle detaches the attempt; it goes on.
        let _ = tokio::time::timeout_at(until, attempt).await;
    } else {
        wait_for_another_process(api, call.id, until).await;
    }
    let Some(story) = api.ledger.story(call.id).await? else { return Ok(accepted(call)) };
    Ok(answered(&story).unwrap_or_else(|| accepted(&story.call)))
}

async fn wait_for_another_process(api: &Api, id: CallId, until: Instant) {
    while Instant::now() < until {
        tokio::time::sleep_until(until.min(Instant::now() + LOOK_EVERY)).await;
        match api.ledger.find(id).await {
            Ok(Some(call)) if call.last.is_some() || call.state.status().is_final() => return,
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn answered(story: &CallStory) -> Option<Response> {
    let attempt = story.attempts.last().filter(|_| story.call.state.status() == Status::Succeeded)?;
    Some((StatusCode::OK, Json(CallView::from(&story.call).with_response(attempt))).into_response())
}

fn accepted(call: &Call) -> Response {
    let location = format!("/v1/calls/{}", call.id);
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(CallView::from(call))).into_response()
}

fn key_reused(id: CallId) -> Problem {
    let detail =
        format!("this publisher used the idempotency key for a different document before: call {id}");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail)
}

/// The call with this id.
pub(super) async fn find(api: &Api, id: CallId) -> Result<Call> {
    api.ledger.find(id).await?.ok_or_else(|| super::calls::unknown(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_out_of_the_preferences() {
        for (value, expected) in [
            ("wait=10", Ok(Some(10))),
            ("respond-async, wait=3", Ok(Some(3))),
            ("WAIT = 5", Ok(Some(5))),
            ("wait=100000", Ok(Some(60))),
            ("return=minimal", Ok(None)),
            ("wait=soon", Err(())),
            ("wait=-1", Err(())),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", HeaderValue::from_static(value));
            let wait = preferred_wait(&headers).map(|wait| wait.map(|wait| wait.as_secs())).map_err(|_| ());
            assert_eq!(wait, expected, "{value}");
        }
    }
}
