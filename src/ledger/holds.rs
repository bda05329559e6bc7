//! Holds: which endpoints are parked, the same for all processes; and what is done with the calls of a parked endpoint.

use std::time::Duration;

use async_trait::async_trait;

use super::{Result, Waiting};
use crate::call::{EndpointName, Rung, Ticket, WorkerName};
use crate::clock::Timestamp;
use crate::gate::Hold;

/// A wish to change the hold of an endpoint. What does not fit to the hold as it stands changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldChange {
    /// Parks it. An operator's hold stays, and so does a park that lasts longer.
    Park(Park),
    /// An operator holds it until an operator resumes it; whatever held it before.
    Pause {
        /// Who.
        actor: String,
        /// Why, in their words.
        note: String,
    },
    /// An operator lets calls out again, a few at first; whatever held it before.
    Resume {
        /// How long until all may go out.
        ramp: Duration,
    },
    /// A worker wants to probe: the pause is over, or the last probe was not heard of again. One of many gets it.
    TakeProbe {
        /// Who.
        worker: WorkerName,
        /// How long it may take.
        lease: Duration,
    },
    /// The probe of this worker came to something good: calls go out again, a few at first.
    ProbeSucceeded {
        /// Whose.
        worker: WorkerName,
        /// How long until all may go out.
        ramp: Duration,
    },
    /// The probe of this worker was not made: another may.
    ProbeUnused {
        /// Whose.
        worker: WorkerName,
    },
    /// All may go out by now: the hold is forgotten.
    Forget,
}

/// Why and for how long an endpoint is parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Park {
    /// Why; not for an operator.
    pub kind: ParkKind,
    /// For how long, from now.
    pub pause: Duration,
    /// Parked so often in a row, this time included.
    pub parks: u32,
    /// What the third party did.
    pub note: String,
}

/// Why an endpoint is parked without an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkKind {
    /// The third party asked for a pause.
    Limited,
    /// Too many calls failed.
    Breaker,
}

/// Holds, and the calls of held endpoints.
#[async_trait]
pub trait HoldLedger: Send + Sync {
    /// The ledger's clock, and every hold.
    async fn holds(&self) -> Result<(Timestamp, Vec<Hold>)>;

    /// Changes the hold of an endpoint; answers the hold as it then is (of [`HoldChange::Forget`]: as it was), or `None` if it stands
    /// otherwise and nothing was changed.
    async fn change_hold(&self, endpoint: &EndpointName, change: &HoldChange) -> Result<Option<Hold>>;

    /// Puts off calls that still wait for these attempts: none of them is due before `by` from now. Uses neither rung nor attempt.
    /// Answers how long each of their new tickets is to wait. Calls past their deadline stay as they are: the sweeper sets them aside.
    async fn postpone(&self, tickets: &[Ticket], by: Duration) -> Result<Vec<(Ticket, Duration)>>;

    /// Gives back a rung: each of these calls that still waits for the attempt, and has used one rung more than named, has used as
    /// many as named. Their due times stay. Answers how many.
    async fn give_back_rungs(&self, failures: &[(Ticket, Rung)]) -> Result<usize>;

    /// Scheduled calls of one endpoint whose deadline has passed.
    async fn expired(&self, endpoint: &EndpointName, limit: usize) -> Result<Vec<Waiting>>;
}
