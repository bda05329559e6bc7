//! The rows of `calls`.

use bytes::Bytes;
use uuid::Uuid;

use super::super::{LedgerError, NewCall, Result, Start};
use super::text::{
    course_from_json, course_to_json, failure_from_json, failure_to_json, headers_from_json, pairs_to_json,
    tags_from_json,
};
use super::{Stamp, known, micros, parsed, required, storable, within};
use crate::call::{
    AttemptNumber, Body, Call, CallId, Claim, ClaimNumber, EndpointName, Entity, EntityKey, IdempotencyKey,
    LastOutcome, Method, Mode, ProviderName, Publisher, Request, RequestPath, ReviewReason, Revision, Rung,
    State, Status, Submission, Trigger, Verdict, WorkerName,
};

/// The columns that say where a call stands.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct StateRow {
    status: String,
    due_at: Option<Stamp>,
    trigger: Option<String>,
    attempts_made: i32,
    claim_number: i64,
    worker: Option<String>,
    started_at: Option<Stamp>,
    lease_until: Option<Stamp>,
    review_reason: Option<String>,
    finished_at: Option<Stamp>,
}

impl StateRow {
    /// The state that the columns describe.
    pub(in crate::ledger) fn state(&self) -> Result<State> {
        Ok(match known(Status::parse(&self.status), "status", &self.status)? {
            Status::Scheduled => {
                State::Scheduled { due_at: required(self.due_at, "due_at")?.0, trigger: self.trigger()? }
            }
            Status::Running => State::Running(self.claim()?),
            Status::Review => State::Review { reason: self.reason()? },
            Status::Succeeded => {
                State::Succeeded { finished_at: required(self.finished_at, "finished_at")?.0 }
            }
            Status::Resolved => State::Resolved { finished_at: required(self.finished_at, "finished_at")?.0 },
            Status::Cancelled => {
                State::Cancelled { finished_at: required(self.finished_at, "finished_at")?.0 }
            }
            Status::Superseded => {
                State::Superseded { finished_at: required(self.finished_at, "finished_at")?.0 }
            }
        })
    }

    fn claim(&self) -> Result<Claim> {
        let attempt = AttemptNumber::new(self.attempts_made);
        Ok(Claim {
            number: ClaimNumber::new(self.claim_number),
            attempt: required(attempt, "attempts_made")?,
            trigger: self.trigger()?,
            worker: parsed(WorkerName::parse(required(self.worker.as_deref(), "worker")?), "worker")?,
            started_at: required(self.started_at, "started_at")?.0,
            lease_until: required(self.lease_until, "lease_until")?.0,
        })
    }

    fn trigger(&self) -> Result<Trigger> {
        let text = required(self.trigger.as_deref(), "trigger")?;
        known(Trigger::parse(text), "trigger", text)
    }

    fn reason(&self) -> Result<ReviewReason> {
        let text = required(self.review_reason.as_deref(), "review_reason")?;
        known(ReviewReason::parse(text), "review_reason", text)
    }
}

/// The columns of a request.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct RequestRow {
    method: String,
    path: String,
    headers: Option<String>,
    body_kind: String,
    body: Option<Vec<u8>>,
}

impl RequestRow {
    /// The request that the columns describe.
    pub(super) fn request(self) -> Result<Request> {
        let body = Bytes::from(self.body.unwrap_or_default());
        Ok(Request {
            method: known(Method::parse(&self.method), "method", &self.method)?,
            path: parsed(RequestPath::parse_either(&self.path), "path")?,
            headers: headers_from_json(self.headers.as_deref())?,
            body: match self.body_kind.as_str() {
                "empty" => Body::Empty,
                "json" => Body::Json(body),
                "bytes" => Body::Bytes(body),
                other => return known(None, "body_kind", other),
            },
        })
    }
}

/// One row of `calls`.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct CallRow {
    id: Uuid,
    publisher: String,
    idempotency_key: String,
    sent_key: Option<String>,
    endpoint: String,
    #[sqlx(flatten)]
    request: RequestRow,
    #[sqlx(flatten)]
    state: StateRow,
    wake_at: Option<Stamp>,
    rung: i32,
    deadline: Stamp,
    span_us: i64,
    entity_key: Option<String>,
    entity_version: Option<i64>,
    tags: Option<String>,
    callback_url: Option<String>,
    failure: Option<String>,
    last_verdict: Option<String>,
    last_http_status: Option<i32>,
    last_error: Option<String>,
    course: Option<String>,
    provider: Option<String>,
    dry_run: bool,
    trace_parent: Option<String>,
    revision: i32,
    created_at: Stamp,
    updated_at: Stamp,
    body_erased_at: Option<Stamp>,
    erased_at: Option<Stamp>,
}

impl CallRow {
    /// Whether nothing personal may be written to it any more.
    pub(in crate::ledger) const fn is_erased(&self) -> bool {
        self.body_erased_at.is_some()
    }

    /// When its ticket is to wake it, if it is scheduled.
    pub(in crate::ledger) const fn wake_at(&self) -> Option<Stamp> {
        self.wake_at
    }

    /// How far the deadline lay from acceptance, in microseconds.
    pub(in crate::ledger) const fn span_us(&self) -> i64 {
        self.span_us
    }

    /// The call that the row describes.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`], naming the call and the column.
    pub(in crate::ledger) fn into_call(self) -> Result<Call> {
        let id = self.id;
        self.decode().map_err(|error| match error {
            LedgerError::Corrupt(what) => LedgerError::Corrupt(format!("call {}: {what}", id.hyphenated())),
            error @ (LedgerError::Away(_)
            | LedgerError::TooSlow
            | LedgerError::Refused(_)
            | LedgerError::Migration(_)
            | LedgerError::Occupied(_)
            | LedgerError::BadUrl(_)) => error,
        })
    }

    fn decode(self) -> Result<Call> {
        Ok(Call {
            id: CallId::from_uuid(self.id),
            publisher: parsed(Publisher::parse(&self.publisher), "publisher")?,
            idempotency_key: parsed(IdempotencyKey::parse(&self.idempotency_key), "idempotency_key")?,
            sent_key: self.sent_key.as_deref().map(read_sent_key).transpose()?,
            endpoint: parsed(EndpointName::parse(&self.endpoint), "endpoint")?,
            request: self.request.request()?,
            state: self.state.state()?,
            rung: Rung::new(within(self.rung, "rung")?),
            attempts_made: AttemptNumber::made(self.state.attempts_made),
            deadline: self.deadline.0,
            entity: read_entity(self.entity_key.as_deref(), self.entity_version)?,
            tags: tags_from_json(self.tags.as_deref())?,
            callback_url: self.callback_url.as_deref().map(read_url).transpose()?,
            failure: self.failure.as_deref().map(failure_from_json).transpose()?,
            last: read_last(self.last_verdict.as_deref(), self.last_http_status, self.last_error)?,
            course: course_from_json(self.course.as_deref())?,
            provider: self.provider.as_deref().map(read_provider).transpose()?,
            mode: if self.dry_run { Mode::DryRun } else { Mode::Live },
            trace_parent: self.trace_parent,
            revision: Revision::new(self.revision),
            created_at: self.created_at.0,
            updated_at: self.updated_at.0,
            body_erased_at: self.body_erased_at.map(|stamp| stamp.0),
            erased_at: self.erased_at.map(|stamp| stamp.0),
        })
    }
}

fn read_sent_key(text: &str) -> Result<IdempotencyKey> {
    parsed(IdempotencyKey::parse(text), "sent_key")
}

fn read_url(text: &str) -> Result<url::Url> {
    parsed(url::Url::parse(text), "callback_url")
}

fn read_provider(text: &str) -> Result<ProviderName> {
    parsed(ProviderName::parse(text), "provider")
}

fn read_entity(key: Option<&str>, version: Option<i64>) -> Result<Option<Entity>> {
    let Some(key) = key else { return Ok(None) };
    let key = parsed(EntityKey::parse(key), "entity_key")?;
    Ok(Some(Entity { key, version: required(version, "entity_version")? }))
}

fn read_last(
    verdict: Option<&str>,
    status: Option<i32>,
    error: Option<String>,
) -> Result<Option<LastOutcome>> {
    let Some(verdict) = verdict else { return Ok(None) };
    Ok(Some(LastOutcome {
        verdict: known(Verdict::parse(verdict), "last_verdict", verdict)?,
        http_status: status.map(|status| within(status, "last_http_status")).transpose()?,
        error,
    }))
}

/// A request as columns.
pub(in crate::ledger) struct RequestFields<'a> {
    pub(in crate::ledger) method: &'static str,
    pub(in crate::ledger) path: &'a str,
    pub(in crate::ledger) headers: Option<String>,
    pub(in crate::ledger) body_kind: &'static str,
    pub(in crate::ledger) body: Option<&'a [u8]>,
}

impl<'a> From<&'a Request> for RequestFields<'a> {
    fn from(request: &'a Request) -> Self {
        let (body_kind, body) = match &request.body {
            Body::Empty => ("empty", None),
            Body::Json(bytes) => ("json", Some(&**bytes)),
            Body::Bytes(bytes) => ("bytes", Some(&**bytes)),
        };
        Self {
            method: request.method.as_str(),
            path: request.path.as_str(),
            headers: pairs_to_json(request.headers.iter()),
            body_kind,
            body,
        }
    }
}

/// A new call as columns, but for what the ledger's clock decides.
pub(in crate::ledger) struct SubmissionFields<'a> {
    pub(in crate::ledger) id: Uuid,
    pub(in crate::ledger) publisher: &'a str,
    pub(in crate::ledger) idempotency_key: String,
    pub(in crate::ledger) fingerprint: &'a [u8],
    pub(in crate::ledger) endpoint: &'a str,
    pub(in crate::ledger) request: RequestFields<'a>,
    pub(in crate::ledger) status: &'static str,
    pub(in crate::ledger) delay_us: Option<i64>,
    pub(in crate::ledger) not_before: Option<Stamp>,
    pub(in crate::ledger) rung: i32,
    pub(in crate::ledger) worker: Option<&'a str>,
    pub(in crate::ledger) lease_us: Option<i64>,
    pub(in crate::ledger) review_reason: Option<&'static str>,
    pub(in crate::ledger) deadline: Option<Stamp>,
    pub(in crate::ledger) entity_key: Option<&'a str>,
    pub(in crate::ledger) entity_version: Option<i64>,
    pub(in crate::ledger) tags: Option<String>,
    pub(in crate::ledger) callback_url: Option<&'a str>,
    pub(in crate::ledger) failure: Option<String>,
    pub(in crate::ledger) trace_parent: Option<String>,
    pub(in crate::ledger) trigger: Option<&'static str>,
    pub(in crate::ledger) course: Option<String>,
    pub(in crate::ledger) provider: Option<&'a str>,
    pub(in crate::ledger) dry_run: bool,
}

impl<'a> From<&'a NewCall> for SubmissionFields<'a> {
    fn from(call: &'a NewCall) -> Self {
        let submission = &call.submission;
        let mut fields = Self {
            id: call.id.uuid(),
            publisher: submission.publisher.as_str(),
            idempotency_key: call.key().to_string(),
            fingerprint: &submission.fingerprint,
            endpoint: submission.endpoint.as_str(),
            request: RequestFields::from(&submission.request),
            status: Status::Scheduled.as_str(),
            delay_us: None,
            not_before: submission.not_before.map(Stamp),
            rung: 0,
            worker: None,
            lease_us: None,
            review_reason: None,
            deadline: submission.deadline.map(Stamp),
            entity_key: submission.entity.as_ref().map(|entity| entity.key.as_str()),
            entity_version: submission.entity.as_ref().map(|entity| entity.version),
            tags: tags_of(submission),
            callback_url: submission.callback_url.as_ref().map(url::Url::as_str),
            failure: submission.failure.as_ref().map(failure_to_json),
            trace_parent: submission.trace_parent.as_deref().map(|text| storable(text).into_owned()),
            trigger: None,
            course: course_to_json(&call.course),
            provider: submission.provider.as_ref().map(ProviderName::as_str),
            dry_run: submission.mode == Mode::DryRun,
        };
        fields.start(&call.start);
        fields
    }
}

impl<'a> SubmissionFields<'a> {
    fn start(&mut self, start: &'a Start) {
        match start {
            Start::Waiting { delay, rung, trigger } => {
                self.trigger = Some(trigger.as_str());
                self.delay_us = Some(micros(*delay));
                self.rung = i32::from(rung.used());
            }
            Start::Claimed { worker, lease } => {
                self.trigger = Some(Trigger::First.as_str());
                self.status = Status::Running.as_str();
                self.worker = Some(worker.as_str());
                self.lease_us = Some(micros(*lease));
            }
            Start::Review(reason) => {
                self.status = Status::Review.as_str();
                self.review_reason = Some(reason.as_str());
            }
        }
    }
}

fn tags_of(submission: &Submission) -> Option<String> {
    let tags: Vec<_> = submission.tags.iter().map(|(key, value)| (key.as_str(), storable(value))).collect();
    pairs_to_json(tags.iter().map(|(key, value)| (*key, &**value)))
}

/// What the ledger's clock decided about a call that was stored.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct StoredRow {
    pub(in crate::ledger) id: Uuid,
    due_at: Option<Stamp>,
    deadline: Stamp,
    created_at: Stamp,
    lease_until: Option<Stamp>,
}

impl StoredRow {
    /// What the clock decided, where the statement does not answer a row of its own.
    pub(in crate::ledger) const fn new(
        id: Uuid,
        due_at: Option<Stamp>,
        deadline: Stamp,
        created_at: Stamp,
        lease_until: Option<Stamp>,
    ) -> Self {
        Self { id, due_at, deadline, created_at, lease_until }
    }

    /// The call that was stored.
    pub(in crate::ledger) fn call(&self, new: &NewCall) -> Result<Call> {
        let state = match &new.start {
            Start::Waiting { trigger, .. } => {
                State::Scheduled { due_at: required(self.due_at, "due_at")?.0, trigger: *trigger }
            }
            Start::Claimed { worker, .. } => State::Running(Claim {
                number: ClaimNumber::new(1),
                attempt: AttemptNumber::FIRST,
                trigger: Trigger::First,
                worker: worker.clone(),
                started_at: self.created_at.0,
                lease_until: required(self.lease_until, "lease_until")?.0,
            }),
            Start::Review(reason) => State::Review { reason: *reason },
        };
        Ok(self.call_in(new, state))
    }

    /// The call that was stored and overtaken at once.
    pub(in crate::ledger) fn superseded(&self, new: &NewCall) -> Call {
        self.call_in(new, State::Superseded { finished_at: self.created_at.0 })
    }

    fn call_in(&self, new: &NewCall, state: State) -> Call {
        let rung = match &new.start {
            Start::Waiting { rung, .. } => *rung,
            Start::Claimed { .. } | Start::Review(_) => Rung::GROUND,
        };
        new.clone().into_call(state, rung, self.deadline.0, self.created_at.0)
    }
}
