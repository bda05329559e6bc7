//! Calls as JSON: the wire twins of the domain types, names of the contract in snake case.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::call::attempt::{Answer, SentRequest};
use crate::call::request::{REDACTED, is_secret_header};
use crate::call::{
    Action, Attempt, Body, Call, Failure, Headers, LateResult, Outcome, PastRevision, Request, State,
};
use crate::ledger::CallStory;

/// A call, with its story where one is shown.
#[derive(Serialize)]
pub struct CallView {
    id: String,
    publisher: String,
    idempotency_key: String,
    endpoint: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    review_reason: Option<&'static str>,
    request: RequestView,
    rung: u16,
    attempts_made: i32,
    due_at: Option<String>,
    deadline: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<EntityView>,
    tags: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureView>,
    last_verdict: Option<&'static str>,
    last_http_status: Option<u16>,
    last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    revision: i32,
    created_at: String,
    updated_at: String,
    finished_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Vec<AttemptView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<Vec<ActionView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revisions: Option<Vec<RevisionView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ResponseView>,
}

#[derive(Serialize)]
struct RequestView {
    method: &'static str,
    path: String,
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

#[derive(Serialize)]
struct EntityView {
    key: String,
    version: i64,
}

#[derive(Serialize)]
struct FailureView {
    occurred_at: Option<String>,
    status: Option<u16>,
    error: Option<String>,
    ambiguous: bool,
    attempts: Option<u32>,
}

/// One attempt of a call.
#[derive(Serialize)]
struct AttemptView {
    number: i32,
    trigger: &'static str,
    provider: Option<String>,
    worker: String,
    started_at: String,
    duration_ms: u64,
    verdict: &'static str,
    http_status: Option<u16>,
    error_kind: Option<&'static str>,
    error: Option<String>,
    request: Option<SentView>,
    response_headers: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_body_base64: Option<String>,
    response_body_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    late: Option<LateView>,
}

#[derive(Serialize)]
struct SentView {
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
    body_bytes: u64,
    revision: i32,
}

#[derive(Serialize)]
struct LateView {
    verdict: &'static str,
    recorded_at: String,
}

#[derive(Serialize)]
struct ActionView {
    action: &'static str,
    actor: String,
    note: String,
    at: String,
    revision: i32,
}

#[derive(Serialize)]
struct RevisionView {
    revision: i32,
    request: RequestView,
    replaced_at: String,
    replaced_by: String,
}

/// What the third party answered, for a publisher that waited for it.
#[derive(Serialize)]
struct ResponseView {
    status: u16,
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    body_bytes: u64,
}

impl From<&Call> for CallView {
    fn from(call: &Call) -> Self {
        let (due_at, claim) = match &call.state {
            State::Scheduled { due_at, .. } => (Some(due_at.to_string()), None),
            State::Running(claim) => (None, Some(claim)),
            State::Review { .. }
            | State::Succeeded { .. }
            | State::Resolved { .. }
            | State::Cancelled { .. }
            | State::Superseded { .. } => (None, None),
        };
        Self {
            id: call.id.to_string(),
            publisher: call.publisher.to_string(),
            idempotency_key: call.idempotency_key.to_string(),
            endpoint: call.endpoint.to_string(),
            status: call.state.status().as_str(),
            review_reason: call.state.review_reason().map(crate::call::ReviewReason::as_str),
            request: RequestView::from(&call.request),
            rung: call.rung.used(),
            attempts_made: call.attempts_made.get(),
            due_at,
            deadline: call.deadline.to_string(),
            entity: call
                .entity
                .as_ref()
                .map(|entity| EntityView { key: entity.key.to_string(), version: entity.version }),
            tags: call.tags.iter().map(|(key, value)| (key.to_string(), value.clone())).collect(),
            callback_url: call.callback_url.as_ref().map(ToString::to_string),
            failure: call.failure.as_ref().map(FailureView::from),
            last_verdict: call.last.as_ref().map(|last| last.verdict.as_str()),
            last_http_status: call.last.as_ref().and_then(|last| last.http_status),
            last_error: call.last.as_ref().and_then(|last| last.error.clone()),
            worker: claim.map(|claim| claim.worker.to_string()),
            lease_until: claim.map(|claim| claim.lease_until.to_string()),
            traceparent: call.trace_parent.clone(),
            revision: call.revision.get(),
            created_at: call.created_at.to_string(),
            updated_at: call.updated_at.to_string(),
            finished_at: call.state.finished_at().map(|at| at.to_string()),
            attempts: None,
            actions: None,
            revisions: None,
            response: None,
        }
    }
}

impl CallView {
    /// The call with the answer of an attempt.
    #[must_use]
    pub fn with_response(mut self, attempt: &Attempt) -> Self {
        if let Outcome::Answered(answer) = &attempt.outcome {
            self.response = Some(ResponseView::from(answer));
        }
        self
    }
}

impl From<&CallStory> for CallView {
    fn from(story: &CallStory) -> Self {
        let mut view = Self::from(&story.call);
        view.attempts = Some(story.attempts.iter().map(AttemptView::from).collect());
        view.actions = Some(story.actions.iter().map(ActionView::from).collect());
        view.revisions = Some(story.revisions.iter().map(RevisionView::from).collect());
        view
    }
}

impl From<&Request> for RequestView {
    fn from(request: &Request) -> Self {
        let (body, body_base64) = match &request.body {
            Body::Empty => (None, None),
            Body::Json(bytes) => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                (RawValue::from_string(text).ok(), None)
            }
            Body::Bytes(bytes) => (None, Some(STANDARD.encode(bytes))),
        };
        Self {
            method: request.method.as_str(),
            path: request.path.as_str().to_owned(),
            headers: shown_headers(&request.headers),
            body,
            body_base64,
        }
    }
}

/// Headers that are secret by name are never shown, whoever asks.
fn shown_headers(headers: &Headers) -> BTreeMap<String, String> {
    let shown = |(name, value): (&str, &str)| {
        let value = if is_secret_header(name) { REDACTED } else { value };
        (name.to_owned(), value.to_owned())
    };
    headers.iter().map(shown).collect()
}

impl From<&Failure> for FailureView {
    fn from(failure: &Failure) -> Self {
        Self {
            occurred_at: failure.occurred_at.map(|at| at.to_string()),
            status: failure.status,
            error: failure.error.clone(),
            ambiguous: failure.ambiguous,
            attempts: failure.attempts,
        }
    }
}

impl From<&Attempt> for AttemptView {
    fn from(attempt: &Attempt) -> Self {
        let (answer, kind) = match &attempt.outcome {
            Outcome::Answered(answer) => (Some(answer), None),
            Outcome::Failed { kind, .. } => (None, Some(kind.as_str())),
        };
        let (response_body, response_body_base64) = answer.map_or((None, None), shown_body);
        Self {
            number: attempt.number.get(),
            trigger: attempt.trigger.as_str(),
            provider: attempt.provider.clone(),
            worker: attempt.worker.to_string(),
            started_at: attempt.started_at.to_string(),
            duration_ms: u64::try_from(attempt.duration.as_millis()).unwrap_or(u64::MAX),
            verdict: attempt.verdict.as_str(),
            http_status: attempt.http_status(),
            error_kind: kind,
            error: attempt.error(),
            request: attempt.request.as_ref().map(SentView::from),
            response_headers: answer.map(|answer| joined(&answer.headers)),
            response_body,
            response_body_base64,
            response_body_bytes: answer.map(|answer| answer.body_bytes),
            late: attempt.late.as_ref().map(LateView::from),
        }
    }
}

/// Text as text, anything else as base64.
fn shown_body(answer: &Answer) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(&answer.body) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(STANDARD.encode(&answer.body))),
    }
}

/// Several values of one header, joined as RFC 9110, 5.2 allows.
fn joined(headers: &[(String, String)]) -> BTreeMap<String, String> {
    let mut joined = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        joined
            .entry(name.clone())
            .and_modify(|before| {
                before.push_str(", ");
                before.push_str(value);
            })
            .or_insert_with(|| value.clone());
    }
    joined
}

impl From<&SentRequest> for SentView {
    fn from(sent: &SentRequest) -> Self {
        Self {
            method: sent.method.clone(),
            url: sent.url.clone(),
            headers: joined(&sent.headers),
            body_bytes: sent.body_bytes,
            revision: sent.revision.get(),
        }
    }
}

impl From<&LateResult> for LateView {
    fn from(late: &LateResult) -> Self {
        Self { verdict: late.verdict.as_str(), recorded_at: late.recorded_at.to_string() }
    }
}

impl From<&Action> for ActionView {
    fn from(action: &Action) -> Self {
        Self {
            action: action.kind.as_str(),
            actor: action.actor.clone(),
            note: action.note.clone(),
            at: action.at.to_string(),
            revision: action.revision.get(),
        }
    }
}

impl From<&PastRevision> for RevisionView {
    fn from(past: &PastRevision) -> Self {
        Self {
            revision: past.revision.get(),
            request: RequestView::from(&past.request),
            replaced_at: past.replaced_at.to_string(),
            replaced_by: past.replaced_by.clone(),
        }
    }
}

impl From<&Answer> for ResponseView {
    fn from(answer: &Answer) -> Self {
        let (text, body_base64) = shown_body(answer);
        let body = text.map(|text| serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)));
        Self {
            status: answer.status,
            headers: joined(&answer.headers),
            body,
            body_base64,
            body_bytes: answer.body_bytes,
        }
    }
}
