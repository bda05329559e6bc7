//! Moves tickets over from lanes of another configuration.
//!
//! A rate-limited lane has a single active consumer and a queue of another name, because arguments of a queue never change. When the
//! setting changes, what lies in the queue of the other form is taken out and sent to the lane that took its place: built fresh, confirmed,
//! and only then acknowledged. Whether such a queue exists is asked once; RabbitMQ logs every question for one that does not.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;

use super::super::{Bundle, Departure};
use super::{bundler, receive};
use crate::broker::{Broker, Stale, Topology};
use crate::clock::Timestamp;
use crate::limits::LANE_PREFETCH;

/// How often queues that are left over are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A queue from which nothing comes for this long is empty.
const SILENCE: Duration = Duration::from_secs(1);

/// Starts to move; ends when the broker is gone.
pub(super) fn start(broker: &Arc<Broker>, requests: &mpsc::Sender<bundler::Request>) {
    // Neither is held on to: the bundler ends when nobody can ask it any more.
    tokio::spawn(run(Arc::downgrade(broker), requests.downgrade()));
}

async fn run(broker: Weak<Broker>, requests: mpsc::WeakSender<bundler::Request>) {
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
                looked_for = Some(topology);
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
