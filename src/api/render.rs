//! Calls as JSON: the wire twins of the domain types, names of the contract in snake case.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use super::diff::{DiffLine, diff};
use crate::call::attempt::{Answer, SentRequest};
use crate::call::request::{REDACTED, is_secret_header};
use crate::call::{
    Action, Attempt, Body, Call, Cost, Failure, Headers, LateResult, Mode, Outcome, PastRevision, Request,
    State, error_group,
};
use crate::ledger::{CallStory, KeptReport};

/// A call, with its story where one is shown.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Call)]
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
    provider: Option<String>,
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureView>,
    last_verdict: Option<&'static str>,
    last_http_status: Option<u16>,
    last_error: Option<String>,
    /// What `error=` finds it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_group: Option<String>,
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
    /// When the bodies of the call and its attempts were blanked; absent while they are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_erased_at: Option<String>,
    /// When everything else that could be personal was blanked too.
    #[serde(skip_serializing_if = "Option::is_none")]
    erased_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Vec<AttemptView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<Vec<ActionView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revisions: Option<Vec<RevisionView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reports: Option<Vec<ReportView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ResponseView>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Request)]
struct RequestView {
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    body: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Entity)]
struct EntityView {
    key: String,
    version: i64,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Failure)]
struct FailureView {
    occurred_at: Option<String>,
    status: Option<u16>,
    error: Option<String>,
    ambiguous: bool,
    attempts: Option<u32>,
}

/// One attempt of a call.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Attempt)]
struct AttemptView {
    number: i32,
    trigger: &'static str,
    provider: Option<String>,
    provider_reason: Option<String>,
    cost: Option<f64>,
    rule: Option<String>,
    rule_notes: Option<String>,
    dry_run: bool,
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
    /// Only the beginning of the body is shown: at most 16 KiB are kept. Absent for a whole body.
    #[serde(skip_serializing_if = "is_whole")]
    response_body_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    late: Option<LateView>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = SentRequest)]
struct SentView {
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
    body_bytes: u64,
    revision: i32,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = LateResult)]
struct LateView {
    verdict: &'static str,
    recorded_at: String,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Action)]
struct ActionView {
    action: &'static str,
    actor: String,
    note: String,
    at: String,
    revision: i32,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Revision)]
struct RevisionView {
    revision: i32,
    request: RequestView,
    replaced_at: String,
    replaced_by: String,
    /// From this version to the next.
    diff: Vec<DiffLine>,
}

/// What the third party answered, for a publisher that waited for it.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ThirdPartyResponse)]
struct ResponseView {
    status: u16,
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    body: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// The body's whole length.
    body_bytes: u64,
    /// Only the beginning of the body is given: at most 16 KiB are kept. Absent for a whole body.
    #[serde(skip_serializing_if = "is_whole")]
    truncated: bool,
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
            provider: call.provider.as_ref().map(ToString::to_string),
            dry_run: call.mode == Mode::DryRun,
            callback_url: call.callback_url.as_ref().map(ToString::to_string),
            failure: call.failure.as_ref().map(FailureView::from),
            last_verdict: call.last.as_ref().map(|last| last.verdict.as_str()),
            last_http_status: call.last.as_ref().and_then(|last| last.http_status),
            last_error: call.last.as_ref().and_then(|last| last.error.clone()),
            error_group: call.state.review_reason().and(call.known_error()).map(error_group),
            worker: claim.map(|claim| claim.worker.to_string()),
            lease_until: claim.map(|claim| claim.lease_until.to_string()),
            traceparent: call.trace_parent.clone(),
            revision: call.revision.get(),
            created_at: call.created_at.to_string(),
            updated_at: call.updated_at.to_string(),
            finished_at: call.state.finished_at().map(|at| at.to_string()),
            body_erased_at: call.body_erased_at.map(|at| at.to_string()),
            erased_at: call.erased_at.map(|at| at.to_string()),
            attempts: None,
            actions: None,
            revisions: None,
            reports: None,
            response: None,
        }
    }
}

impl CallView {
    /// The call with what the third party reported of it by itself.
    #[must_use]
    pub fn with_reports(mut self, reports: &[KeptReport]) -> Self {
        self.reports = Some(reports.iter().map(ReportView::from).collect());
        self
    }

    /// The call with the answer of an attempt.
    #[must_use]
    pub fn with_response(mut self, attempt: &Attempt) -> Self {
        if let Outcome::Answered(answer) = &attempt.outcome {
            self.response = Some(ResponseView::from(answer));
        }
        self
    }
}

/// A third party's word as it was kept; `body` is the beginning of its message.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Report)]
struct ReportView {
    report: &'static str,
    rule: Option<String>,
    body: String,
    received_at: String,
}

impl From<&KeptReport> for ReportView {
    fn from(kept: &KeptReport) -> Self {
        Self {
            report: kept.report.as_str(),
            rule: kept.rule.clone(),
            body: String::from_utf8_lossy(&kept.body).into_owned(),
            received_at: kept.received_at.to_string(),
        }
    }
}

impl From<&CallStory> for CallView {
    fn from(story: &CallStory) -> Self {
        let mut view = Self::from(&story.call);
        view.attempts =
            Some(story.attempts.iter().map(|attempt| AttemptView::of(attempt, story.call.mode)).collect());
        view.actions = Some(story.actions.iter().map(ActionView::from).collect());
        view.revisions = Some(revisions(story));
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
            path: request.path.url().is_none().then(|| request.path.as_str().to_owned()),
            url: request.path.url().map(Into::into),
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

impl AttemptView {
    /// Every attempt of a dry run is one, and no other is.
    fn of(attempt: &Attempt, mode: Mode) -> Self {
        let (answer, kind) = match &attempt.outcome {
            Outcome::Answered(answer) => (Some(answer), None),
            Outcome::Failed { kind, .. } => (None, Some(kind.as_str())),
        };
        let choice = attempt.choice.as_ref();
        let (response_body, response_body_base64) = answer.map_or((None, None), shown_body);
        Self {
            number: attempt.number.get(),
            trigger: attempt.trigger.as_str(),
            provider: choice.map(|choice| choice.provider.to_string()),
            provider_reason: choice.map(|choice| choice.reason.clone()),
            cost: choice.and_then(|choice| choice.cost).map(Cost::units),
            rule: attempt.ruling.rule.clone(),
            rule_notes: attempt.ruling.notes.clone(),
            dry_run: mode == Mode::DryRun,
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
            response_body_truncated: answer.is_some_and(Answer::is_cut),
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

/// JSON as it was written, other text as a string of it.
pub(super) fn json_or_text(text: &str) -> Option<Box<RawValue>> {
    let json = serde_json::from_str::<&RawValue>(text).map(RawValue::to_owned);
    json.or_else(|_| serde_json::value::to_raw_value(text)).ok()
}

/// Whether nothing is missing, so that nothing need be said.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_whole(truncated: &bool) -> bool {
    !*truncated
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

/// Earlier versions of a request, each with what the one after it changed.
fn revisions(story: &CallStory) -> Vec<RevisionView> {
    let later = story.revisions.iter().skip(1).map(|past| &past.request).chain([&story.call.request]);
    story.revisions.iter().zip(later).map(|(past, later)| RevisionView::new(past, later)).collect()
}

impl RevisionView {
    fn new(past: &PastRevision, later: &Request) -> Self {
        Self {
            revision: past.revision.get(),
            request: RequestView::from(&past.request),
            replaced_at: past.replaced_at.to_string(),
            replaced_by: past.replaced_by.clone(),
            diff: diff(&past.request, later),
        }
    }
}

impl From<&Answer> for ResponseView {
    fn from(answer: &Answer) -> Self {
        let (text, body_base64) = shown_body(answer);
        let body = text.and_then(|text| json_or_text(&text));
        Self {
            status: answer.status,
            headers: joined(&answer.headers),
            body,
            body_base64,
            body_bytes: answer.body_bytes,
            truncated: answer.is_cut(),
        }
    }
}
