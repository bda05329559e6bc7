//! The rows around a call: operator actions, earlier revisions, notices, lane reports, and what the sweeper sees.

use uuid::Uuid;

use super::super::{Channel, LaneReport, Notice, Result, Waiting};
use super::call::RequestRow;
use super::text::failure_from_json;
use super::{Stamp, known, parsed, within};
use crate::call::{
    Action, ActionKind, AttemptNumber, CallId, EndpointName, Event, IdempotencyKey, Mode, PastRevision,
    Publisher, ReviewReason, Revision, Status, Ticket, WorkerName,
};

/// One row of `actions`.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct ActionRow {
    kind: String,
    actor: String,
    note: String,
    at: Stamp,
    revision: i32,
}

impl ActionRow {
    /// The action that the row describes.
    pub(in crate::ledger) fn into_action(self) -> Result<Action> {
        Ok(Action {
            kind: known(ActionKind::parse(&self.kind), "kind", &self.kind)?,
            actor: self.actor,
            note: self.note,
            at: self.at.0,
            revision: Revision::new(self.revision),
        })
    }
}

/// One row of `revisions`.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct PastRevisionRow {
    revision: i32,
    #[sqlx(flatten)]
    request: RequestRow,
    replaced_at: Stamp,
    replaced_by: String,
}

impl PastRevisionRow {
    /// The revision that the row describes.
    pub(in crate::ledger) fn into_past_revision(self) -> Result<PastRevision> {
        Ok(PastRevision {
            revision: Revision::new(self.revision),
            request: self.request.request()?,
            replaced_at: self.replaced_at.0,
            replaced_by: self.replaced_by,
        })
    }
}

/// One row of `notices`.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct NoticeRow {
    id: i64,
    channel: String,
    call_id: Uuid,
    endpoint: String,
    publisher: String,
    idempotency_key: String,
    status: String,
    review_reason: Option<String>,
    attempts: i32,
    last_error: Option<String>,
    at: Stamp,
    callback_url: Option<String>,
    tries: i32,
    /// The publisher's own failure, where no attempt had been made.
    failure: Option<String>,
    dry_run: bool,
}

impl NoticeRow {
    /// Notices are numbered as they are written.
    pub(in crate::ledger) const fn id(&self) -> i64 {
        self.id
    }

    /// The notice that the row describes.
    pub(in crate::ledger) fn into_notice(self) -> Result<Notice> {
        let failure = self.failure.as_deref().map(failure_from_json).transpose()?;
        Ok(Notice {
            id: self.id,
            channel: known(Channel::parse(&self.channel), "channel", &self.channel)?,
            event: Event {
                call: CallId::from_uuid(self.call_id),
                endpoint: parsed(EndpointName::parse(&self.endpoint), "endpoint")?,
                publisher: parsed(Publisher::parse(&self.publisher), "publisher")?,
                idempotency_key: parsed(IdempotencyKey::parse(&self.idempotency_key), "idempotency_key")?,
                status: known(Status::parse(&self.status), "status", &self.status)?,
                review_reason: self.review_reason.as_deref().map(read_reason).transpose()?,
                attempts: self.attempts,
                last_error: self.last_error.or_else(|| failure?.error),
                mode: if self.dry_run { Mode::DryRun } else { Mode::Live },
                at: self.at.0,
            },
            callback_url: self.callback_url,
            tries: within(self.tries, "tries")?,
        })
    }
}

fn read_reason(text: &str) -> Result<ReviewReason> {
    known(ReviewReason::parse(text), "review_reason", text)
}

/// One row of `lane_reports`.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct LaneRow {
    worker: String,
    endpoint: String,
    oldest_held: Option<Stamp>,
    last_taken: Option<Stamp>,
}

impl LaneRow {
    /// The report that the row describes, with its worker.
    pub(in crate::ledger) fn into_report(self) -> Result<(WorkerName, LaneReport)> {
        let report = LaneReport {
            endpoint: parsed(EndpointName::parse(&self.endpoint), "endpoint")?,
            oldest_held: self.oldest_held.map(|stamp| stamp.0),
            last_taken: self.last_taken.map(|stamp| stamp.0),
        };
        Ok((parsed(WorkerName::parse(&self.worker), "worker")?, report))
    }
}

/// What the sweeper sees of a scheduled call.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct WaitingRow {
    id: Uuid,
    attempts_made: i32,
    endpoint: String,
    wake_at: Stamp,
    expired: bool,
}

impl WaitingRow {
    /// The waiting call that the row describes.
    pub(in crate::ledger) fn into_waiting(self) -> Result<Waiting> {
        Ok(Waiting {
            ticket: Ticket {
                call: CallId::from_uuid(self.id),
                attempt: AttemptNumber::made(self.attempts_made).next(),
            },
            endpoint: parsed(EndpointName::parse(&self.endpoint), "endpoint")?,
            wake_at: self.wake_at.0,
            expired: self.expired,
        })
    }
}
