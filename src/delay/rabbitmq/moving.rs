//! Moves tickets over from lanes of another configuration.
//!
//! An endpoint that was removed while no process ran left its lane bound, and tickets would pile up in it that nobody takes. Once the
//! sweeper has met calls of such an endpoint its lane is unbound and emptied, so that their tickets come out of the catch-all lane.
//!
//! A rate-limited lane has a single active consumer and a queue of another name, because arguments of a queue never change. When the
//! setting changes, what lies in the queue of the other form is taken out and sent to the lane that took its place: built fresh, confirmed,
//! and only then acknowledged. Whether such a queue exists is asked once; RabbitMQ logs every question for one that does not.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::mpsc;

use super::super::{Bundle, Departure};
use super::{bundler, receive};
use crate::broker::{Broker, Stale, Topology};
use crate::call::EndpointName;
use crate::clock::Timestamp;
use crate::limits::LANE_PREFETCH;

/// How often queues that are left over are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A queue from which nothing comes for this long is empty.
const SILENCE: Duration = Duration::from_secs(1);

/// Endpoints of waiting calls that are not configured any more, and whose lanes have not been dealt with.
#[derive(Debug, Default)]
pub(super) struct Orphans(Mutex<BTreeMap<EndpointName, Lane>>);

/// What is known of the lane of an endpoint that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// It is to be looked for.
    Open,
    /// Nothing comes into it, or it never was.
    Settled,
}

impl Orphans {
    /// One more; known ones stay as they are.
    pub(super) fn add(&self, endpoint: &EndpointName) {
        self.lock().entry(endpoint.clone()).or_insert(Lane::Open);
    }

    fn open(&self) -> Vec<EndpointName> {
        let orphans = self.lock();
        orphans
            .iter()
            .filter(|(_, lane)| **lane == Lane::Open)
            .map(|(endpoint, _)| endpoint.clone())
            .collect()
    }

    fn settle(&self, endpoint: EndpointName) {
        self.lock().insert(endpoint, Lane::Settled);
    }

    /// Another configuration may take a settled one up again, and be followed by one that does not.
    fn forget_settled(&self) {
        self.lock().retain(|_, lane| *lane == Lane::Open);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<EndpointName, Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts to move; ends when the broker is gone.
pub(super) fn start(broker: &Arc<Broker>, requests: &mpsc::Sender<bundler::Request>, orphans: &Arc<Orphans>) {
    // Neither broker nor requests are held on to: the bundler ends when nobody can ask it any more.
    tokio::spawn(run(Arc::downgrade(broker), requests.downgrade(), Arc::clone(orphans)));
}

async fn run(broker: Weak<Broker>, requests: mpsc::WeakSender<bundler::Request>, orphans: Arc<Orphans>) {
    let mut looked_for: Option<Arc<Topology>> = None;
    let mut found = Vec::new();
    loop {
        {
            let Some(broker) = broker.upgrade() else { return };
            let topology = broker.topology();
            if looked_for.as_ref() != Some(&topology)
                && !broker.is_away()
                && let Ok(stale) = broker.admin().stale_lanes(&topology, Stale::Unbind).await
            {
                found = stale.into_iter().map(|(queue, _)| queue).collect();
                looked_for = Some(Arc::clone(&topology));
                orphans.forget_settled();
            }
            if !broker.is_away() {
                found.extend(desert(&broker, &topology, &orphans).await);
            }
            if !found.is_empty()
                && !broker.is_away()
                && let Some(requests) = requests.upgrade()
            {
                empty(&broker, &requests, &found).await;
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Unbinds the lanes of orphans, and answers those that there are.
async fn desert(broker: &Broker, topology: &Topology, orphans: &Orphans) -> Vec<String> {
    let mut found = Vec::new();
    for endpoint in orphans.open() {
        match broker.admin().desert_lanes(topology, &endpoint).await {
            Ok(Some(queues)) => {
                for queue in &queues {
                    tracing::warn!(endpoint = %endpoint, queue, "the lane of an endpoint that is not configured any more is unbound");
                }
                found.extend(queues);
                orphans.settle(endpoint);
            }
            // Another process still takes its tickets.
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(endpoint = %endpoint, %error, "the lane of a removed endpoint could not be unbound");
            }
        }
    }
    found
}

async fn empty(broker: &Arc<Broker>, requests: &mpsc::Sender<bundler::Request>, queues: &[String]) {
    let Ok(counts) = broker.admin().ready_in(queues).await else { return };
    for (queue, _) in queues.iter().zip(counts).filter(|(_, count)| count.is_some_and(|count| count > 0)) {
        let unreadable = AtomicU64::new(0);
        let mut bundles =
            broker.consume_with(queue, LANE_PREFETCH, move |delivery| receive(delivery, &unreadable));
        let mut moved = 0;
        while let Ok(Some(bundle)) = tokio::time::timeout(SILENCE, bundles.recv()).await {
            // What is not confirmed goes back to where it was, and would come again at once: the next look is soon enough.
            let Some(tickets) = move_over(bundle, requests).await else { break };
            moved += tickets;
        }
        tracing::info!(
            queue,
            tickets = moved,
            "tickets were moved over from a lane of another configuration"
        );
    }
}

/// Sends the tickets of a bundle to their lane and answers how many they were; `None`: it is not confirmed that they are there.
async fn move_over(bundle: Bundle, requests: &mpsc::Sender<bundler::Request>) -> Option<usize> {
    let Bundle { endpoint, tickets, wake_at, receipt } = bundle;
    let Some(endpoint) = endpoint else {
        receipt.acknowledge().await;
        return Some(0);
    };
    let count = tickets.len();
    let wake_at = wake_at.unwrap_or_else(Timestamp::now);
    let departure = |ticket| Departure { ticket, endpoint: endpoint.clone(), wait: Duration::ZERO, wake_at };
    let (request, answer) = bundler::Request::new(tickets.into_iter().map(departure).collect());
    let is_sent = requests.send(request).await.is_ok() && matches!(answer.await, Ok(Ok(())));
    if !is_sent {
        return None;
    }
    receipt.acknowledge().await;
    Some(count)
}
