//! The outbox: what is kept in the ledger until it was told. At least once, by any process that runs it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::document::{Link, event_message};
use crate::broker::{Broker, Message, Published};
use crate::ledger::{Channel, Ledger, LedgerError, Notice};
use crate::limits::SWEEP_BATCH;
use crate::telemetry::Metrics;

/// How often the outbox is looked into without a signal: other processes write to it too.
const EVERY: Duration = Duration::from_secs(1);
/// A notice that was taken and not told is due again after this long, doubled with each further time up to 64 times this.
const RETRY_AFTER: Duration = Duration::from_secs(15);

/// Tells what is in the outbox.
#[derive(Debug)]
pub struct Outbox {
    /// The ledger whose outbox it is.
    pub ledger: Arc<dyn Ledger>,
    /// Where events go; without a broker there is nobody to tell, and they are forgotten.
    pub broker: Option<Arc<Broker>>,
    /// The base of links.
    pub link: Link,
    /// What counts.
    pub metrics: Metrics,
}

impl Outbox {
    /// Runs until stopped.
    pub async fn run(self, signal: Arc<Notify>, stop: CancellationToken) {
        loop {
            match self.tell_some().await {
                Ok(told) if told == SWEEP_BATCH => continue,
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "the outbox cannot be read; trying again"),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = signal.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn tell_some(&self) -> Result<usize, LedgerError> {
        if self.broker.as_ref().is_some_and(|broker| broker.is_away()) {
            return Ok(0);
        }
        let notices = self.ledger.take_notices(&[Channel::Broker], SWEEP_BATCH, RETRY_AFTER).await?;
        if notices.is_empty() {
            return Ok(0);
        }
        let told = self.publish(&notices).await;
        self.ledger.forget_notices(&told).await?;
        Ok(notices.len())
    }

    /// The notices that are told, or that nobody is there to hear.
    async fn publish(&self, notices: &[Notice]) -> Vec<i64> {
        let Some(broker) = &self.broker else {
            return notices.iter().map(|notice| notice.id).collect();
        };
        let exchange = broker.topology().names.events();
        let message = |notice: &Notice| event_message(&notice.event, &self.link, &exchange);
        let messages: Vec<Message> = notices.iter().map(message).collect();
        let outcomes = broker.publish(messages).await;
        let told: Vec<i64> = notices
            .iter()
            .zip(outcomes)
            .filter(|(_, outcome)| matches!(outcome, Published::Confirmed))
            .map(|(notice, _)| notice.id)
            .collect();
        self.metrics.event("published", told.len());
        told
    }
}
