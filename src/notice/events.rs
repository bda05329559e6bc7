//! Events as they happen: told without making anybody wait.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio_util::task::TaskTracker;

use super::EndpointEvent;
use super::document::{Link, event_message, failover_message};
use crate::broker::{Broker, Message, Published};
use crate::call::event::FailoverEvent;
use crate::call::{Call, Event, Status};
use crate::limits::{CONFIRM_WINDOW, PUBLISH_QUEUE};
use crate::telemetry::Metrics;

/// Where outcomes are told. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    queue: Option<mpsc::Sender<Told>>,
    outbox: Arc<Notify>,
    callbacks: Arc<Notify>,
    metrics: Metrics,
}

/// What is told.
#[derive(Clone, Debug)]
enum Told {
    Call(Event),
    Endpoint(EndpointEvent),
    Failover(FailoverEvent),
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

    /// Tells of the outcome that a call has reached. Review is told by the outbox, which keeps it until it was; so is a superseded call, because the
    /// ledger alone knows which calls a submission overtook. Everything else is dropped when the broker cannot keep up or is
    /// away, because the ledger and its API know it as well.
    pub fn tell(&self, call: &Call) {
        let status = call.state.status();
        // A call that overtook others does not know whether those have a callback.
        if call.callback_url.is_some() || status == Status::Superseded {
            self.callbacks.notify_one();
        }
        if matches!(status, Status::Review | Status::Superseded) {
            return self.outbox.notify_one();
        }
        self.queue_up(Told::Call(Event::of(call)));
    }

    /// Tells that an endpoint was parked or released. Dropped when the broker cannot keep up or is away: `/v1/endpoints` knows.
    pub fn tell_endpoint(&self, event: EndpointEvent) {
        self.queue_up(Told::Endpoint(event));
    }

    /// Tells that a call goes to another provider. Dropped when the broker cannot keep up or is away: the attempts say so too.
    pub fn tell_failover(&self, event: FailoverEvent) {
        self.queue_up(Told::Failover(event));
    }

    fn queue_up(&self, told: Told) {
        if let Some(queue) = &self.queue
            && queue.try_send(told).is_err()
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

async fn publish_all(broker: Arc<Broker>, link: Link, mut events: mpsc::Receiver<Told>, metrics: Metrics) {
    let exchange = broker.topology().names.events();
    let mut gathered = Vec::with_capacity(CONFIRM_WINDOW);
    while events.recv_many(&mut gathered, CONFIRM_WINDOW).await > 0 {
        let message = |told| match told {
            Told::Call(event) => event_message(&event, &link, &exchange),
            Told::Endpoint(event) => event.message(&exchange),
            Told::Failover(event) => failover_message(&event, &link, &exchange),
        };
        let messages: Vec<Message> = gathered.drain(..).map(message).collect();
        let outcomes = broker.publish(messages).await;
        let published = outcomes.iter().filter(|outcome| matches!(outcome, Published::Confirmed)).count();
        metrics.event("published", published);
        if published < outcomes.len() {
            metrics.event("dropped", outcomes.len() - published);
        }
    }
}
