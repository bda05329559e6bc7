//! The rows of bulk jobs, of the audit log, and of groups of calls.

use uuid::Uuid;

use super::super::audit::{AuditPlace, AuditSource, Audited};
use super::super::bulk::{Bulk, BulkCall, BulkCount, BulkId, BulkPlan, BulkResult, BulkStatus, Rate};
use super::super::{Group, Result};
use super::{Stamp, known, parsed, required, within};
use crate::call::{ActionKind, CallId, EndpointName, ReviewReason, Status};

/// One row of `bulk_jobs`.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct BulkRow {
    id: Uuid,
    action: String,
    new_key: bool,
    filter: String,
    status: String,
    reason: Option<String>,
    actor: String,
    note: String,
    rate: String,
    canary: i32,
    stop_at_failure_rate: Option<f64>,
    total: i64,
    acted: i64,
    skipped: i64,
    succeeded: i64,
    failed: i64,
    created_at: Stamp,
    updated_at: Stamp,
    acted_at: Option<Stamp>,
    finished_at: Option<Stamp>,
}

impl BulkRow {
    /// The job that the row describes.
    pub(in crate::ledger) fn into_bulk(self) -> Result<Bulk> {
        Ok(Bulk {
            id: BulkId::from_uuid(self.id),
            plan: BulkPlan {
                action: known(ActionKind::parse(&self.action), "action", &self.action)?,
                new_key: self.new_key,
                actor: self.actor,
                note: self.note,
                rate: required(Rate::parse(&self.rate), "rate")?,
                canary: within(self.canary, "canary")?,
                stop_at_failure_rate: self.stop_at_failure_rate,
                filter: self.filter,
            },
            status: known(BulkStatus::parse(&self.status), "status", &self.status)?,
            reason: self.reason,
            total: within(self.total, "total")?,
            acted: within(self.acted, "acted")?,
            skipped: within(self.skipped, "skipped")?,
            succeeded: within(self.succeeded, "succeeded")?,
            failed: within(self.failed, "failed")?,
            created_at: self.created_at.0,
            updated_at: self.updated_at.0,
            acted_at: self.acted_at.map(|at| at.0),
            finished_at: self.finished_at.map(|at| at.0),
        })
    }
}

/// One row of `bulk_calls`.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct BulkCallRow {
    call_id: Uuid,
    result: String,
    detail: Option<String>,
}

impl BulkCallRow {
    /// The call of a job that the row describes.
    pub(in crate::ledger) fn into_bulk_call(self) -> Result<BulkCall> {
        Ok(BulkCall {
            call: CallId::from_uuid(self.call_id),
            result: known(BulkResult::parse(&self.result), "result", &self.result)?,
            detail: self.detail,
        })
    }
}

/// Calls of one endpoint and status.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct CountRow {
    endpoint: String,
    status: String,
    calls: i64,
}

impl CountRow {
    /// The count that the row describes.
    pub(in crate::ledger) fn into_count(self) -> Result<BulkCount> {
        Ok(BulkCount {
            endpoint: parsed(EndpointName::parse(&self.endpoint), "endpoint")?,
            status: known(Status::parse(&self.status), "status", &self.status)?,
            calls: within(self.calls, "calls")?,
        })
    }
}

/// One line of what waits for a person.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct GroupRow {
    endpoint: String,
    review_reason: Option<String>,
    error_group: Option<String>,
    calls: i64,
    first_at: Stamp,
    last_at: Stamp,
    example: Uuid,
}

impl GroupRow {
    /// The group that the row describes.
    pub(in crate::ledger) fn into_group(self) -> Result<Group> {
        let reason = self.review_reason.map(|text| known(ReviewReason::parse(&text), "review_reason", &text));
        Ok(Group {
            endpoint: parsed(EndpointName::parse(&self.endpoint), "endpoint")?,
            reason: reason.transpose()?,
            error: self.error_group,
            count: within(self.calls, "calls")?,
            first_at: self.first_at.0,
            last_at: self.last_at.0,
            example: CallId::from_uuid(self.example),
        })
    }
}

/// One entry of the audit log, of either table.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct AuditRow {
    source: String,
    id: i64,
    at: Stamp,
    actor: String,
    action: String,
    call_id: Option<Uuid>,
    subject: Option<String>,
    note: String,
    detail: Option<String>,
}

impl AuditRow {
    /// The entry that the row describes.
    pub(in crate::ledger) fn into_audited(self) -> Result<Audited> {
        let source = known(AuditSource::parse(&self.source), "source", &self.source)?;
        Ok(Audited {
            place: AuditPlace { at: self.at.0, source, id: self.id },
            actor: self.actor,
            action: self.action,
            call: self.call_id.map(CallId::from_uuid),
            subject: self.subject,
            note: self.note,
            detail: self.detail,
        })
    }
}
