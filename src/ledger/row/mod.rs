//! What rows hold, read into domain values and written from them: the same for both databases.
//!
//! A row is read with suspicion: a value that this program could not have written is [`LedgerError::Corrupt`], never a panic and never
//! a default. SQL and connections do not belong here.

mod attempt;
mod bulk;
mod call;
mod hold;
mod report;
mod stamp;
mod story;
mod tally;
mod text;

pub(super) use attempt::{AttemptFields, AttemptRow, NextFields};
pub(super) use bulk::{AuditRow, BulkCallRow, BulkRow, CountRow, GroupRow};
pub(super) use call::{CallRow, RequestFields, StateRow, StoredRow, SubmissionFields};
pub(super) use hold::{HoldRow, park_kind};
pub(super) use report::{AttemptOfCallRow, ReportRow};
pub(super) use stamp::{Stamp, micros};
pub(super) use story::{ActionRow, LaneRow, NoticeRow, PastRevisionRow, WaitingRow};
pub(super) use tally::{EndpointTallyRow, MinuteTallyRow};
pub(super) use text::{course_to_json, pairs_to_json, storable};

use super::{LedgerError, Result};

/// The value that a column must hold in this row.
fn required<T>(value: Option<T>, column: &'static str) -> Result<T> {
    value.ok_or_else(|| LedgerError::Corrupt(format!("{column} is missing")))
}

/// A value read by a domain type's own parser.
pub(super) fn parsed<T, E: std::fmt::Display>(
    value: std::result::Result<T, E>,
    column: &'static str,
) -> Result<T> {
    value.map_err(|error| LedgerError::Corrupt(format!("{column} {error}")))
}

/// One of the names that the program knows.
pub(super) fn known<T>(value: Option<T>, column: &'static str, text: &str) -> Result<T> {
    value.ok_or_else(|| LedgerError::Corrupt(format!("{column} is the unknown name {text:?}")))
}

/// A number in the bounds of its type.
fn within<T, N: TryInto<T> + Copy + std::fmt::Display>(number: N, column: &'static str) -> Result<T> {
    number.try_into().map_err(|_| LedgerError::Corrupt(format!("{column} is out of bounds: {number}")))
}

/// The rows that can be read; the others are reported and left out, so that one of them does not hold up the rest.
pub(super) fn readable<T>(rows: impl Iterator<Item = Result<T>>) -> Vec<T> {
    rows.filter_map(|row| {
        row.inspect_err(
            |error| tracing::error!(%error, "a row of the ledger cannot be read and is passed over"),
        )
        .ok()
    })
    .collect()
}
