//! The delay transport: tickets go in with a wait, and come out in their lane when it is over.
//!
//! One seam, two implementations ([`rabbitmq`]: TTL tiers and dead-lettering; [`embedded`]: timers in this process), one
//! conformance suite (`tests/it/delay.rs`). A ticket is a hint: losing or doubling one changes when a call is made, never what.

pub mod embedded;
pub mod rabbitmq;
pub mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::call::{Call, EndpointName, State, Ticket};
use crate::clock::Timestamp;
use crate::endpoint::LaneName;
use walk::Tiers;

/// A ticket that is to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Call and attempt.
    pub ticket: Ticket,
    /// Its endpoint: the second half of the routing key.
    pub endpoint: EndpointName,
    /// How long it is to wait; zero: straight into the lane.
    pub wait: Duration,
    /// When it is to wake its call, by the ledger's clock; travels along so that workers can report how far they have got.
    pub wake_at: Timestamp,
}

impl Departure {
    /// The next ticket of a call that has just been written down as waiting; `None` for a call that does not wait. It is to wake the call when it
    /// is due or past its deadline, whichever comes first.
    pub fn of(call: &Call) -> Option<Self> {
        let State::Scheduled { due_at, .. } = call.state else { return None };
        let wake_at = due_at.min(call.deadline);
        Some(Self {
            ticket: Ticket { call: call.id, attempt: call.attempts_made.next() },
            endpoint: call.endpoint.clone(),
            wait: wake_at.since(call.updated_at),
            wake_at,
        })
    }
}

/// Due tickets of one endpoint that came as one message.
#[derive(Debug)]
pub struct Bundle {
    /// The endpoint named by the routing key; `None` if it is no endpoint's name. Not yet checked against the ledger.
    pub endpoint: Option<EndpointName>,
    /// The tickets that could be read.
    pub tickets: Vec<Ticket>,
    /// When the earliest of them was to wake its call, if the message says so.
    pub wake_at: Option<Timestamp>,
    /// To be acknowledged when every ticket is claimed or known to be stale. Dropped without: the bundle comes again.
    pub receipt: Receipt,
}

/// The obligation to acknowledge a bundle. Dropping it unacknowledged gives the bundle back (RabbitMQ) or does nothing (embedded).
#[derive(Debug)]
pub struct Receipt(Option<Box<dyn Acknowledge>>);

/// How a bundle is acknowledged.
#[async_trait]
pub trait Acknowledge: Send + Sync + std::fmt::Debug {
    /// Every ticket is claimed or stale.
    async fn acknowledge(self: Box<Self>);
}

impl Receipt {
    /// A receipt that is acknowledged so.
    pub fn new(acknowledge: Box<dyn Acknowledge>) -> Self {
        Self(Some(acknowledge))
    }

    /// A receipt that nobody waits for.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Every ticket is claimed or stale.
    pub async fn acknowledge(mut self) {
        if let Some(acknowledge) = self.0.take() {
            acknowledge.acknowledge().await;
        }
    }
}

/// Why tickets could not be handed over; whether some arrived all the same is unknown, and harmless.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DelayError {
    /// The broker cannot be reached, is blocked, or did not confirm in time.
    #[error("the broker is away: {0}")]
    Away(String),
    /// The broker answered, but did not take the message: no queue is bound for it, or the queue is full.
    #[error("the broker did not take a ticket: {0}")]
    Refused(String),
}

/// The delay transport.
#[async_trait]
pub trait Delay: std::fmt::Debug + Send + Sync + 'static {
    /// Hands tickets over to wait. When it returns `Ok` RabbitMQ has confirmed them all; the embedded transport holds them in memory.
    async fn depart(&self, departures: Vec<Departure>) -> Result<(), DelayError>;

    /// Opens a lane for as long as the receiver lives; bundles arrive as they are due, through any reconnection.
    ///
    /// # Errors
    /// The lane is not one of the topology's.
    async fn open(&self, lane: &LaneName) -> Result<mpsc::Receiver<Bundle>, DelayError>;

    /// Goes on with other lanes and tiers. Lanes that are no longer named stay open for whoever has opened them, so that what stands in
    /// them comes out; the tickets of their endpoints no longer go there.
    fn adopt(&self, lanes: &BTreeMap<LaneName, BTreeSet<EndpointName>>, tiers: Tiers);

    /// Calls of this endpoint wait, and it is not configured any more: their tickets are to come out where somebody takes them.
    fn unroute(&self, endpoint: &EndpointName);

    /// Whether tickets can travel now. While they cannot, the sweeper hands due calls to the workers itself.
    fn is_away(&self) -> bool;

    /// Messages (embedded: tickets) that stand ready in a lane and that no worker has taken yet.
    async fn backlog(&self, lane: &LaneName) -> Result<u64, DelayError>;

    /// Messages (embedded: tickets) that wait in each tier and lane, by queue name.
    async fn depths(&self) -> Result<BTreeMap<String, u64>, DelayError>;
}
