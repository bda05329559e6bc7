//! Events as they happen: told without making anybody wait.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio_util::task::TaskTracker;

use super::document::{Link, event_message};
use crate::broker::{Broker, Message, Published};
use crate::call::{Event, Status};
use crate::limits::{CONFIRM_WINDOW, PUBLISH_QUEUE};
use crate::telemetry::Metrics;

/// Where outcomes are told. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    queue: Option<mpsc::Sender<Event>>,
    outbox: Arc<Notify>,
    callbacks: Arc<Notify>,
    metrics: Metrics,
}

impl Events {
    /// Without a broker there is nobody to tell at once; the outbox still is.
    pub fn without_broker(metrics: &Metrics) -> Self {
        Self { queue: None, outbox: Arc::default(), callbacks: Arc::default(), metrics: metrics.clone() }
    }

    /// Publishes to `<prefix>.events` from a task of its own, which ends when the last clone is dropped.
    pub fn start(broker: Arc<Broker>, link: Link, metrics: &Metrics, tasks: &TaskTracker) -> Self {
        let (queue, events) = mpsc::channel(PUBLISH_QUEUE);
        tasks.spawn(publish_all(broker, link, events, metrics.clone()));
        Self {
            queue: Some(queue),
            outbox: Arc::default(),
            callbacks: Arc::default(),
            metrics: metrics.clone(),
        }
    }

    /// Tells of an outcome. Review is told by the outbox, which keeps it until it was; so is a superseded call, because the
    /// ledger alone knows which calls a submission overtook. Everything else is dropped when the broker cannot keep up or is
    /// away, because the ledger and its API know it as well.
    pub fn tell(&self, event: Event) {
        // The call may have a callback; the outbox knows.
        self.callbacks.notify_one();
        if matches!(event.status, Status::Review | Status::Superseded) {
            return self.outbox.notify_one();
        }
        if let Some(queue) = &self.queue
            && queue.try_send(event).is_err()
        {
            self.metrics.event("dropped", 1);
        }
    }

    /// Notified when there may be something for the broker in the outbox.
    pub fn outbox_signal(&self) -> Arc<Notify> {
        Arc::clone(&self.outbox)
    }

    /// Notified when there may be a callback in the outbox.
    pub fn callback_signal(&self) -> Arc<Notify> {
        Arc::clone(&self.callbacks)
    }
}

async fn publish_all(broker: Arc<Broker>, link: Link, mut events: mpsc::Receiver<Event>, metrics: Metrics) {
    let exchange = broker.topology().names.events();
    let mut gathered = Vec::with_capacity(CONFIRM_WINDOW);
    while events.recv_many(&mut gathered, CONFIRM_WINDOW).await > 0 {
        let messages: Vec<Message> =
            gathered.drain(..).map(|event| event_message(&event, &link, &exchange)).collect();
        let outcomes = broker.publish(messages).await;
        let published = outcomes.iter().filter(|outcome| matches!(outcome, Published::Confirmed)).count();
        metrics.event("published", published);
        if published < outcomes.len() {
            metrics.event("dropped", outcomes.len() - published);
        }
    }
}
