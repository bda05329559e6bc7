//! From a due ticket to a recorded attempt: slot, claim, invoke, judge, record, next ticket.
//!
//! A claimed call never waits in memory: the slot comes before the claim. No lock and no transaction is held while the third party
//! is called. Tickets are hints; the claim's predicate in the ledger decides.

pub mod attempt;
pub mod choose;
pub mod close;
pub mod gates;
mod lanes;
pub mod progress;
pub mod query;
pub mod slots;
pub mod ticket;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::call::{Verdict, WorkerName};
use crate::delay::{Bundle, Delay};
use crate::endpoint::{Endpoint, Endpoints, Registry};
use crate::invoker::Invoker;
use crate::ledger::batch::SharedLedger;
use crate::notice::Events;
use crate::tally::Tallies;
use crate::telemetry::Metrics;

pub use attempt::Settled;
pub use choose::{ProviderStanding, Vendors};
pub use gates::Gates;
pub use lanes::Form;
pub use progress::Progress;
pub use slots::{Class, Slot, Slots};

/// What a worker works with.
#[derive(Clone)]
pub struct Tools {
    /// Where calls are claimed and attempts recorded.
    pub ledger: SharedLedger,
    /// The endpoints.
    pub registry: Arc<Registry>,
    /// Where the next ticket goes.
    pub delay: Arc<dyn Delay>,
    /// What makes the request.
    pub invoker: Arc<Invoker>,
    /// Who is told about outcomes.
    pub events: Events,
    /// What counts.
    pub metrics: Metrics,
    /// Whether other processes may be making calls too.
    pub company: Company,
    /// What counts by minute, for all processes.
    pub tallies: Tallies,
}

/// Whether other processes may be making calls of the same endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// This process is the only one.
    Alone,
    /// There may be others: a rate limit is kept by whoever consumes the lane.
    Others,
}

/// Attempts calls in this process.
pub struct Worker {
    name: WorkerName,
    tools: Tools,
    slots: Slots,
    gates: Arc<Gates>,
    lanes: lanes::Lanes,
    progress: Arc<Progress>,
    vendors: Vendors,
    /// Lanes and bundles: they end when `claiming` is cancelled.
    taking: TaskTracker,
    /// Attempts: they run to their end.
    attempts: TaskTracker,
    /// Cancelled when no further call is to be claimed.
    claiming: CancellationToken,
    /// Cancelled when attempts are to be given up.
    abandon: CancellationToken,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Whether a worker came to rest by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Drained {
    /// Every attempt is recorded.
    Clean,
    /// This many attempts were still running; their leases run out and the sweeper closes them.
    Abandoned(usize),
}

impl Worker {
    /// A worker that takes no tickets yet.
    pub fn new(name: WorkerName, tools: Tools) -> Arc<Self> {
        Arc::new(Self {
            name,
            tools,
            slots: Slots::default(),
            gates: Arc::default(),
            lanes: lanes::Lanes::default(),
            progress: Arc::default(),
            vendors: Vendors::default(),
            taking: TaskTracker::new(),
            attempts: TaskTracker::new(),
            claiming: CancellationToken::new(),
            abandon: CancellationToken::new(),
        })
    }

    /// Its name, as it appears in attempts.
    pub const fn name(&self) -> &WorkerName {
        &self.name
    }

    /// Free slots by endpoint.
    pub const fn slots(&self) -> &Slots {
        &self.slots
    }

    /// What stands before each endpoint.
    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    /// A slot for a first attempt, if one is free now, calls are still claimed and the endpoint lets one through.
    pub fn try_slot(&self, endpoint: &Endpoint) -> Option<Slot> {
        if self.claiming.is_cancelled() || self.leaves_to_lane(endpoint) {
            return None;
        }
        let slot = self.slots.try_take(endpoint)?;
        self.gates.try_pass(endpoint).then_some(slot)
    }

    /// A slot for a first attempt, when one is free and the endpoint lets it through; `None` when it is held, when no further calls
    /// are claimed, and where only the lane knows whose turn it is.
    pub async fn slot(&self, endpoint: &Endpoint) -> Option<Slot> {
        if self.leaves_to_lane(endpoint) {
            return None;
        }
        let slot = self.slot_unless_shut(endpoint, Class::First).await.ok()?;
        matches!(self.pass(endpoint).await, gates::Passage::Open).then_some(slot)
    }

    /// Like [`Self::try_slot`], but waits until a slot is free.
    pub async fn slot_soon(&self, endpoint: &Endpoint) -> Option<Slot> {
        if self.leaves_to_lane(endpoint) {
            return None;
        }
        let slot = self.slot_unless_shut(endpoint, Class::First).await.ok()?;
        self.gates.try_pass(endpoint).then_some(slot)
    }

    /// Whether calls go through the lane even if they are due at once: its one consumer keeps the rate.
    fn leaves_to_lane(&self, endpoint: &Endpoint) -> bool {
        endpoint.protection.rate_limit.is_some() && self.tools.company == Company::Others
    }

    /// How far it has got in its lanes.
    pub const fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// The providers of all endpoints, as this process sees them.
    pub const fn vendors(&self) -> &Vendors {
        &self.vendors
    }

    /// Goes on with these endpoints: lanes that were not there before, and those whose queue is another one now. A lane that is gone
    /// stays open, so that what stands in it comes out. Slots follow by themselves.
    pub fn adopt(self: &Arc<Self>, endpoints: &Endpoints) {
        for endpoint in endpoints.iter() {
            let verdicts = Verdict::ALL.iter().map(|verdict| verdict.as_str());
            self.tools.metrics.expect_attempts(endpoint.name.shared(), verdicts);
        }
        let single = endpoints.single_lanes();
        for lane in endpoints.lanes().into_keys() {
            let form = if single.contains(&lane) { Form::Single } else { Form::Shared };
            self.consume(lane, form);
        }
    }

    /// Claims and attempts the calls of a bundle without making its bringer wait for slots.
    pub fn take_up(self: &Arc<Self>, bundle: Bundle) {
        self.taking.spawn(Arc::clone(self).take_bundle(bundle));
    }

    /// Claims nothing from now on; what is claimed goes on.
    pub fn stop_claiming(&self) {
        self.claiming.cancel();
    }

    /// Stops claiming, waits up to `patience` for running attempts to be recorded, gives the rest up.
    pub async fn drain(&self, patience: std::time::Duration) -> Drained {
        self.claiming.cancel();
        self.taking.close();
        self.attempts.close();
        let rest = async {
            self.taking.wait().await;
            self.attempts.wait().await;
        };
        if tokio::time::timeout(patience, rest).await.is_ok() {
            return Drained::Clean;
        }
        let left = self.attempts.len();
        self.abandon.cancel();
        Drained::Abandoned(left)
    }
}
