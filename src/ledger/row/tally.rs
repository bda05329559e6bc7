//! The rows of `tallies`, summed up.

use super::super::{EndpointTally, MinuteTally, Result};
use super::{Stamp, known};
use crate::tally::Kind;

/// What was counted in one minute.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct MinuteTallyRow {
    minute: Stamp,
    kind: String,
    label: String,
    n: i64,
}

impl MinuteTallyRow {
    /// The count that the row describes.
    pub(in crate::ledger) fn into_tally(self) -> Result<MinuteTally> {
        Ok(MinuteTally {
            minute: self.minute.0,
            kind: known(Kind::parse(&self.kind), "kind", &self.kind)?,
            label: self.label,
            count: u64::try_from(self.n).unwrap_or(0),
        })
    }
}

/// What was counted of one provider of one endpoint.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct EndpointTallyRow {
    endpoint: String,
    provider: String,
    kind: String,
    label: String,
    n: i64,
}

impl EndpointTallyRow {
    /// The count that the row describes.
    pub(in crate::ledger) fn into_tally(self) -> Result<EndpointTally> {
        Ok(EndpointTally {
            endpoint: self.endpoint,
            provider: self.provider,
            kind: known(Kind::parse(&self.kind), "kind", &self.kind)?,
            label: self.label,
            count: u64::try_from(self.n).unwrap_or(0),
        })
    }
}
