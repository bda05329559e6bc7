//! From a due ticket to a recorded attempt: slot, claim, invoke, judge, record, next ticket.
//!
//! A claimed call never waits in memory: the slot comes before the claim. No lock and no transaction is held while the third party
//! is called. Tickets are hints; the claim's predicate in the ledger decides.

pub mod attempt;
pub mod progress;
pub mod slots;
pub mod ticket;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::call::{EndpointName, WorkerName};
use crate::delay::Delay;
use crate::endpoint::{LaneName, Registry};
use crate::invoker::Invoker;
use crate::ledger::batch::SharedLedger;
use crate::notice::Events;
use crate::telemetry::Metrics;

pub use attempt::Settled;
pub use progress::Progress;
pub use slots::{Slot, Slots};

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
}

/// Attempts calls in this process.
pub struct Worker {
    name: WorkerName,
    tools: Tools,
    slots: Slots,
    progress: Arc<Progress>,
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
        let slots = Slots::new(&tools.registry);
        Arc::new(Self {
            name,
            tools,
            slots,
            progress: Arc::default(),
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

    /// A slot, if one is free now and calls are still claimed.
    pub fn try_slot(&self, endpoint: &EndpointName) -> Option<Slot> {
        if self.claiming.is_cancelled() { None } else { self.slots.try_take(endpoint) }
    }

    /// A slot, when one is free; `None` when no further calls are claimed.
    pub async fn slot(&self, endpoint: &EndpointName) -> Option<Slot> {
        tokio::select! {
            biased;
            () = self.claiming.cancelled() => None,
            slot = self.slots.take(endpoint) => slot,
        }
    }

    /// How far it has got in its lanes.
    pub const fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Takes tickets from this lane until the worker drains.
    pub fn consume(self: &Arc<Self>, lane: LaneName) {
        self.taking.spawn(ticket::run_lane(Arc::clone(self), lane));
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
