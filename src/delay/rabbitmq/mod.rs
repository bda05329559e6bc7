//! The delay transport on RabbitMQ: TTL tiers, dead-lettering, lanes.
//!
//! Tickets travel in bundles, because the broker's work is counted in messages. Every message is built fresh; nothing that came
//! out of a queue is published again, and what a ticket says beyond call and attempt is never trusted.

mod bundler;
mod moving;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::mpsc;

use self::moving::Orphans;
use super::walk::Tiers;
use super::{Acknowledge, Bundle, Delay, DelayError, Departure, Receipt};
use crate::broker::{Broker, BrokerError, Delivery, Settlement};
use crate::call::EndpointName;
use crate::endpoint::{CATCH_ALL_LANE, LaneName};
use crate::limits::{LANE_PREFETCH, SINGLE_LANE_PREFETCH};
use crate::telemetry::Metrics;

/// Tickets through RabbitMQ.
#[derive(Debug)]
pub struct RabbitMqDelay {
    broker: Arc<Broker>,
    tiers: Arc<ArcSwap<Tiers>>,
    requests: mpsc::Sender<bundler::Request>,
    unreadable: Arc<AtomicU64>,
    orphans: Arc<Orphans>,
}

impl RabbitMqDelay {
    /// A transport over a broker whose topology has these tiers. Needs a tokio runtime.
    pub fn new(broker: Arc<Broker>, tiers: Tiers, metrics: Metrics) -> Self {
        let tiers = Arc::new(ArcSwap::from_pointee(tiers));
        let requests = bundler::start(Arc::clone(&broker), Arc::clone(&tiers), metrics);
        let orphans = Arc::<Orphans>::default();
        moving::start(&broker, &requests, &orphans);
        Self { broker, tiers, requests, unreadable: Arc::default(), orphans }
    }

    /// Tickets that could not be read and were dropped; a message without any readable ticket counts as one.
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    fn lane_queue(&self, lane: &LaneName) -> Result<String, DelayError> {
        let topology = self.broker.topology();
        let forms = [topology.names.lane(lane.as_str()), topology.names.single_lane(lane.as_str())];
        let queue = forms.into_iter().find(|queue| topology.has_queue(queue));
        queue.ok_or_else(|| DelayError::Refused(format!("there is no lane {lane}")))
    }
}

#[async_trait]
impl Delay for RabbitMqDelay {
    async fn depart(&self, departures: Vec<Departure>) -> Result<(), DelayError> {
        if departures.is_empty() {
            return Ok(());
        }
        if self.broker.is_away() {
            return Err(DelayError::Away("not connected, or blocked".to_owned()));
        }
        let (request, answer) = bundler::Request::new(departures);
        let ended = || DelayError::Away("this process is stopping".to_owned());
        self.requests.send(request).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    async fn open(&self, lane: &LaneName) -> Result<mpsc::Receiver<Bundle>, DelayError> {
        let queue = self.lane_queue(lane)?;
        let unreadable = Arc::clone(&self.unreadable);
        let single = queue == self.broker.topology().names.single_lane(lane.as_str());
        let prefetch = if single { SINGLE_LANE_PREFETCH } else { LANE_PREFETCH };
        Ok(self.broker.consume_with(&queue, prefetch, move |delivery| receive(delivery, &unreadable)))
    }

    /// The lanes are those of the broker's topology.
    fn adopt(&self, _: &BTreeMap<LaneName, BTreeSet<EndpointName>>, tiers: Tiers) {
        self.tiers.store(Arc::new(tiers));
    }

    fn unroute(&self, endpoint: &EndpointName) {
        self.orphans.add(endpoint);
    }

    fn is_away(&self) -> bool {
        self.broker.is_away()
    }

    async fn backlog(&self, lane: &LaneName) -> Result<u64, DelayError> {
        let queue = self.lane_queue(lane)?;
        let ready = self.broker.admin().ready(&queue).await.map_err(told)?;
        ready.ok_or_else(|| DelayError::Refused(format!("queue {queue} does not exist")))
    }

    async fn depths(&self) -> Result<BTreeMap<String, u64>, DelayError> {
        let topology = self.broker.topology();
        let waiting = [format!("{}.", topology.names.delay()), format!("{}.", topology.names.due())];
        let queues: Vec<String> = topology
            .queues
            .iter()
            .map(|queue| &queue.name)
            .filter(|name| waiting.iter().any(|prefix| name.starts_with(prefix)))
            .cloned()
            .collect();
        let counts = self.broker.admin().ready_in(&queues).await.map_err(told)?;
        let known = queues.into_iter().zip(counts).filter_map(|(name, count)| Some((name, count?)));
        Ok(known.collect())
    }
}

/// The catch-all lane as a lane name.
///
/// # Panics
/// Never: the name is a constant of the right form, which a test holds.
pub fn catch_all() -> LaneName {
    EndpointName::parse(CATCH_ALL_LANE)
        .unwrap_or_else(|_| unreachable!("the catch-all lane has a lane's name"))
}

fn told(error: BrokerError) -> DelayError {
    match error {
        BrokerError::Away(text) => DelayError::Away(text),
        BrokerError::Refused { code, text } => DelayError::Refused(format!("{code} {text}")),
    }
}

/// A bundle from a lane. A message without a readable ticket is acknowledged: given back, it would come again for ever.
fn receive(delivery: Delivery, unreadable: &AtomicU64) -> Option<Bundle> {
    let read = wire::read(&delivery.body);
    if read.unreadable > 0 {
        unreadable.fetch_add(read.unreadable, Ordering::Relaxed);
        tracing::warn!(
            routing_key = delivery.routing_key,
            body_bytes = delivery.body.len(),
            unreadable = read.unreadable,
            "dropped tickets that cannot be read; the sweeper wakes their calls, if there are any"
        );
    }
    if read.tickets.is_empty() {
        delivery.ack();
        return None;
    }
    let endpoint = delivery.routing_key.split_once('.').and_then(|(_, name)| EndpointName::parse(name).ok());
    let wake_at = delivery.header_number(wire::WAKE_AT_HEADER).and_then(wire::wake_at);
    let receipt = Receipt::new(Box::new(InQueue(delivery.settlement)));
    Some(Bundle { endpoint, tickets: read.tickets, wake_at, receipt })
}

/// A bundle that RabbitMQ still holds.
#[derive(Debug)]
struct InQueue(Settlement);

#[async_trait]
impl Acknowledge for InQueue {
    async fn acknowledge(self: Box<Self>) {
        self.0.ack();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catch_all_lane_has_a_lanes_name() {
        assert_eq!(catch_all().as_str(), CATCH_ALL_LANE);
    }
}
