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
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::Api;
use super::auth::Submitter;
use super::problem::{Problem, Result};
use super::render::CallView;
use crate::call::{Call, CallId, Publisher, Status};
use crate::clock::Timestamp;
use crate::intake::amqp::is_json;
use crate::intake::submission::{self, Envelope, Refused};
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
    let received = match plan(&api, &submitter.0, &headers, &bytes, until).await {
        Ok(placement) => api.intake.submit(placement).await?,
        Err(refused) => recall(&api, refused).await?,
    };
    let mut response = match received {
        Received::New(call, attempt) => match until {
            None => accepted(&call),
            Some(until) => after_waiting(&api, &call, attempt, until).await?,
        },
        Received::Known(id) => match until {
            None => shown(&find(&api, id).await?),
            Some(until) => known_after_waiting(&api, id, until).await?,
        },
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
    let (mut placements, mut refused) = (Vec::new(), Vec::new());
    for (place, document) in documents.into_iter().enumerate() {
        match plan(&api, &submitter.0, &headers, document.get().as_bytes(), None).await {
            Ok(placement) => placements.push((place, placement)),
            Err(document) => refused.push((place, document)),
        }
    }
    let (places, placements): (Vec<usize>, Vec<Placement>) = placements.into_iter().unzip();
    let stored = api.intake.submit_all(placements).await.into_iter();
    let stored = stored.map(|answer| answer.map_err(|unstored| Problem::from(unstored.error)));
    let mut answers: Vec<(usize, Result<Received>)> = places.into_iter().zip(stored).collect();
    answers.extend(recall_all(&api, refused).await);
    answers.sort_unstable_by_key(|(place, _)| *place);
    let mut results = Vec::with_capacity(answers.len());
    for (_, answer) in answers {
        results.push(batch_result(&api, answer).await);
    }
    Ok(Json(BatchResults { results }).into_response())
}

/// What became of refused documents: one that became a call before is still that call.
async fn recall_all(api: &Api, refused: Vec<(usize, Refused)>) -> Vec<(usize, Result<Received>)> {
    let (places, refused): (Vec<usize>, Vec<Refused>) = refused.into_iter().unzip();
    let mut recalled = api.intake.recall(&refused).await.map(Vec::into_iter).map_err(Problem::from);
    let answers = refused.into_iter().map(|refused| match &mut recalled {
        Ok(recalled) => recalled.next().flatten().ok_or_else(|| refused.error.into()),
        Err(away) if refused.key_use.is_some() => Err(away.clone()),
        Err(_) => Err(refused.error.into()),
    });
    places.into_iter().zip(answers).collect()
}

/// What became of a refused document.
pub(super) async fn recall(api: &Api, refused: Refused) -> Result<Received> {
    let recalled = api.intake.recall(std::slice::from_ref(&refused)).await?;
    recalled.into_iter().next().flatten().ok_or_else(|| refused.error.into())
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

/// The results of a batch, in order.
#[derive(Serialize)]
struct BatchResults {
    results: Vec<BatchResult>,
}

/// What became of one document.
#[derive(Serialize)]
struct BatchResult {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<Box<CallView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<serde_json::Value>,
}

async fn batch_result(api: &Api, answer: Result<Received>) -> BatchResult {
    let outcome = match answer {
        Ok(Received::New(call, _)) => Ok((202, *call)),
        Ok(Received::Known(id)) => find(api, id).await.map(|call| (200, call)),
        Ok(Received::KeyReused(id)) => Err(key_reused(id)),
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok((status, call)) => {
            BatchResult { status, call: Some(Box::new(CallView::from(&call))), problem: None }
        }
        Err(problem) => {
            let status = problem.status().as_u16();
            BatchResult { status, call: None, problem: Some(problem.to_value()) }
        }
    }
}

async fn plan(
    api: &Api,
    publisher: &Publisher,
    headers: &HeaderMap,
    bytes: &[u8],
    until: Option<Instant>,
) -> std::result::Result<Placement, Refused> {
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
    read_at_most(body, api.body_bytes_max).await
}

/// Reads a body up to a size.
pub(super) async fn read_at_most(body: Body, limit: usize) -> Result<Bytes> {
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

pub(super) fn too_large(limit: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("the body is longer than {limit} bytes"),
    )
}

/// `Prefer: wait=10` (RFC 7240, 4.3), in whole seconds. What follows a preference after `;` are parameters of it (RFC 7240, 2).
fn preferred_wait(headers: &HeaderMap) -> Result<Option<Duration>> {
    let preferences = headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    for preference in preferences {
        let preference = preference.split(';').next().unwrap_or_default();
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
        wait_for_first_attempt(api, call.id, until).await;
    }
    let Some(story) = api.ledger.story(call.id).await? else { return Ok(accepted(call)) };
    // `Location` tells a new call that succeeded from one that was known.
    Ok(match answered(&story) {
        Some(response) => ([(header::LOCATION, location(&story.call))], response).into_response(),
        None => accepted(&story.call),
    })
}

/// Waits for the first attempt of a call that was handed over before: 200 in any case, with the third party's answer if it has succeeded.
async fn known_after_waiting(api: &Api, id: CallId, until: Instant) -> Result<Response> {
    wait_for_first_attempt(api, id, until).await;
    let story = api.ledger.story(id).await?.ok_or_else(|| super::calls::unknown(id))?;
    Ok(answered(&story).unwrap_or_else(|| shown(&story.call)))
}

/// Waits for an attempt that is made elsewhere, as long as there is one to wait for.
async fn wait_for_first_attempt(api: &Api, id: CallId, until: Instant) {
    while let Ok(Some(call)) = api.ledger.find(id).await {
        if is_settled(&call) || Instant::now() >= until {
            return;
        }
        tokio::time::sleep_until(until.min(Instant::now() + LOOK_EVERY)).await;
    }
}

/// Whether a first attempt was made, or none will be before a person acts.
fn is_settled(call: &Call) -> bool {
    let status = call.state.status();
    call.last.is_some() || status == Status::Review || status.is_final()
}

fn answered(story: &CallStory) -> Option<Response> {
    let attempt = story.attempts.last().filter(|_| story.call.state.status() == Status::Succeeded)?;
    Some((StatusCode::OK, Json(CallView::from(&story.call).with_response(attempt))).into_response())
}

fn shown(call: &Call) -> Response {
    (StatusCode::OK, Json(CallView::from(call))).into_response()
}

pub(super) fn accepted(call: &Call) -> Response {
    (StatusCode::ACCEPTED, [(header::LOCATION, location(call))], Json(CallView::from(call))).into_response()
}

fn location(call: &Call) -> String {
    format!("/v1/calls/{}", call.id)
}

pub(super) fn key_reused(id: CallId) -> Problem {
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
            ("wait=3; foo", Ok(Some(3))),
            ("foo; wait=3", Ok(None)),
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
