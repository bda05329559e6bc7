//! A row of `holds`.

use super::super::Result;
use super::super::holds::ParkKind;
use super::{Stamp, known, parsed, required, within};
use crate::call::{EndpointName, WorkerName};
use crate::gate::{Hold, HoldKind, Phase};

/// One row of `holds`.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct HoldRow {
    endpoint: String,
    kind: String,
    since: Stamp,
    actor: Option<String>,
    note: String,
    parks: i32,
    phase: String,
    phase_since: Stamp,
    until: Option<Stamp>,
    worker: Option<String>,
}

impl HoldRow {
    /// The hold that the row describes.
    pub(in crate::ledger) fn into_hold(self) -> Result<Hold> {
        let until = self.until.map(|until| until.0);
        let phase = match self.phase.as_str() {
            "parked" => Phase::Parked { until },
            "probing" => Phase::Probing {
                by: parsed(WorkerName::parse(&required(self.worker, "worker")?), "worker")?,
                until: required(until, "until")?,
            },
            "ramping" => Phase::Ramping { since: self.phase_since.0, until: required(until, "until")? },
            unknown => known(None, "phase", unknown)?,
        };
        Ok(Hold {
            endpoint: parsed(EndpointName::parse(&self.endpoint), "endpoint")?,
            kind: known(HoldKind::parse(&self.kind), "kind", &self.kind)?,
            since: self.since.0,
            actor: self.actor,
            note: self.note,
            parks: within(self.parks, "parks")?,
            phase,
        })
    }
}

/// The name of a park in its row.
pub(in crate::ledger) const fn park_kind(kind: ParkKind) -> &'static str {
    match kind {
        ParkKind::Limited => HoldKind::Limited.as_str(),
        ParkKind::Breaker => HoldKind::Breaker.as_str(),
    }
}
