//! Endpoints that are held, or were a moment ago: their calls wait with tickets that nobody takes, and are not lost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::call::EndpointName;
use crate::clock::monotonic;
use crate::ledger::{Ledger, LedgerError};
use crate::limits::EXPIRED_LOOK_EVERY;

/// What earlier sweeps saw of holds.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<EndpointName, Seen>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    last: Instant,
    deadlines: Option<Instant>,
}

impl Held {
    /// Looks which endpoints are held. One that was released stays in here until its tickets have had `grace` to be taken.
    pub(super) async fn look(&mut self, ledger: &dyn Ledger, grace: Duration) -> Result<(), LedgerError> {
        let (_, holds) = ledger.holds().await?;
        let now = monotonic();
        for hold in holds {
            self.0.entry(hold.endpoint).or_insert(Seen { last: now, deadlines: None }).last = now;
        }
        self.0.retain(|_, seen| now.saturating_duration_since(seen.last) <= grace);
        Ok(())
    }

    /// Whether calls of this endpoint may wait longer than they should.
    pub(super) fn is_held(&self, endpoint: &EndpointName) -> bool {
        self.0.contains_key(endpoint)
    }

    /// Whether it is time to look for calls of a held endpoint whose deadline has passed; looking costs a walk through its backlog.
    pub(super) fn is_time_for_deadlines(&mut self, endpoint: &EndpointName) -> bool {
        let now = monotonic();
        let Some(seen) = self.0.get_mut(endpoint) else { return false };
        let is_time =
            seen.deadlines.is_none_or(|last| now.saturating_duration_since(last) >= EXPIRED_LOOK_EVERY);
        if is_time {
            seen.deadlines = Some(now);
        }
        is_time
    }
}
