//! The rows of `reports`, and attempts with the call that they are of.

use bytes::Bytes;
use uuid::Uuid;

use super::super::{KeptReport, Result};
use super::{AttemptRow, Stamp, known};
use crate::call::{Attempt, CallId};
use crate::endpoint::reporting::Report;

/// One row of `reports`.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct ReportRow {
    report: String,
    rule: Option<String>,
    body: Vec<u8>,
    received_at: Stamp,
}

impl ReportRow {
    /// The report that the row describes.
    pub(in crate::ledger) fn into_report(self) -> Result<KeptReport> {
        Ok(KeptReport {
            report: known(Report::parse(&self.report), "report", &self.report)?,
            rule: self.rule,
            body: Bytes::from(self.body),
            received_at: self.received_at.0,
        })
    }
}

/// One row of `attempts`, with its call.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct AttemptOfCallRow {
    call_id: Uuid,
    #[sqlx(flatten)]
    attempt: AttemptRow,
}

impl AttemptOfCallRow {
    /// The attempt that the row describes, and its call.
    pub(in crate::ledger) fn into_attempt(self) -> Result<(CallId, Attempt)> {
        Ok((CallId::from_uuid(self.call_id), self.attempt.into_attempt()?))
    }
}
