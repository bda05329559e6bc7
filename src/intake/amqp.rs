//! The AMQP door: from `<prefix>.submit` into the ledger, many messages a commit, acknowledged when durable.
//!
//! A message that cannot be accepted goes to `<prefix>.rejected`, body unchanged, with its reason; never dropped, never in the way.
//! While the ledger is away messages wait here unacknowledged: an absence is no rejection.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::submission::{self, Envelope, Refused};
use super::{Intake, Placement, Received};
use crate::broker::{Broker, Delivery, Message, Published};
use crate::call::{IdempotencyKey, Publisher};
use crate::clock::Timestamp;
use crate::endpoint::Registry;
use crate::ledger::LedgerError;
use crate::limits::{COMMIT_BATCH_MAX, INTAKE_PREFETCH, RECONNECT_PAUSE_MAX};
use crate::notice::rejection::{Rejection, original_message_id, rejected_message};

/// The first pause after a try that failed.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The AMQP door.
#[derive(Debug)]
pub struct AmqpDoor {
    /// Where calls go.
    pub intake: Intake,
    /// Where messages come from and rejected ones go.
    pub broker: Arc<Broker>,
    /// The endpoints that may be named.
    pub registry: Arc<Registry>,
    /// Longest body, in bytes.
    pub body_bytes_max: usize,
}

impl AmqpDoor {
    /// Takes messages until stopped; what is not acknowledged by then comes again.
    pub async fn run(self, stop: CancellationToken) {
        let queue = self.broker.topology().names.submit();
        let mut deliveries = self.broker.consume(&queue, INTAKE_PREFETCH);
        let mut gathered = Vec::with_capacity(COMMIT_BATCH_MAX);
        loop {
            let count = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                count = deliveries.recv_many(&mut gathered, COMMIT_BATCH_MAX) => count,
            };
            if count == 0 {
                return;
            }
            if self.take(std::mem::take(&mut gathered), &stop).await.is_none() {
                return;
            }
        }
    }

    /// Takes one batch: stores what is valid, keeps what is not, acknowledges all of it. `None` when stopped in the middle.
    async fn take(&self, deliveries: Vec<Delivery>, stop: &CancellationToken) -> Option<()> {
        let now = Timestamp::now();
        let mut placements = Vec::with_capacity(deliveries.len());
        let mut placed = Vec::with_capacity(deliveries.len());
        let (mut refused, mut rejected) = (Vec::new(), Vec::new());
        for (position, delivery) in deliveries.iter().enumerate() {
            match self.read(delivery, now) {
                Ok(Ok(placement)) => {
                    placements.push(placement);
                    placed.push(position);
                }
                Ok(Err(document)) => refused.push((position, document)),
                Err(rejection) => rejected.push((position, rejection)),
            }
        }
        for (position, rejection) in self.store(placements, stop).await? {
            rejected.push((placed[position], rejection));
        }
        rejected.extend(self.recall(refused, stop).await?);
        self.keep_rejected(&deliveries, rejected, stop).await?;
        acknowledge(deliveries);
        Some(())
    }

    fn read(&self, delivery: &Delivery, now: Timestamp) -> Result<Result<Placement, Refused>, Rejection> {
        self.check_form(delivery)?;
        let envelope = Envelope {
            publisher: publisher_of(delivery)?,
            fallback_key: fallback_key_of(delivery)?,
            trace_parent: delivery.header("traceparent").as_deref().and_then(submission::trace_parent),
            now,
        };
        let read = submission::read(&delivery.body, envelope, &self.registry);
        Ok(read.map(|(submission, endpoint)| self.intake.plan(submission, endpoint)))
    }

    fn check_form(&self, delivery: &Delivery) -> Result<(), Rejection> {
        if delivery.body.len() > self.body_bytes_max {
            let detail = format!(
                "the body is {} bytes long; at most {} are allowed",
                delivery.body.len(),
                self.body_bytes_max
            );
            return Err(Rejection::new("body_too_large", detail));
        }
        if let Some(encoding) = delivery
            .content_encoding()
            .filter(|encoding| !matches!(*encoding, "" | "identity" | "utf-8" | "UTF-8"))
        {
            return Err(Rejection::new(
                "unsupported_content_encoding",
                format!("content_encoding is {encoding:?}; none is allowed"),
            ));
        }
        match delivery.content_type() {
            None => Ok(()),
            Some(kind) if is_json(kind) => Ok(()),
            Some(kind) => Err(Rejection::new(
                "unsupported_media_type",
                format!("content_type is {kind:?}; application/json is allowed"),
            )),
        }
    }

    /// Stores placements, through any absence of the ledger; answers which were rejected, by position.
    async fn store(
        &self,
        placements: Vec<Placement>,
        stop: &CancellationToken,
    ) -> Option<Vec<(usize, Rejection)>> {
        let mut rejected = Vec::new();
        let mut open: Vec<(usize, Placement)> = placements.into_iter().enumerate().collect();
        let mut pause = PAUSE_MIN;
        while !open.is_empty() {
            let (positions, batch): (Vec<usize>, Vec<Placement>) = open.drain(..).unzip();
            for (position, answer) in positions.into_iter().zip(self.intake.submit_all(batch).await) {
                match answer {
                    Ok(Received::New(..) | Received::Known(_)) => {}
                    Ok(Received::KeyReused(known)) => rejected.push((position, key_reused(known))),
                    Err(unstored) => match unstored.error {
                        error @ (LedgerError::Refused(_) | LedgerError::Corrupt(_)) => {
                            tracing::error!(
                                error = &error as &dyn std::error::Error,
                                "the ledger refused a submission"
                            );
                            let rejection =
                                Rejection::new("not_storable", "the ledger cannot store this call");
                            rejected.push((position, rejection));
                        }
                        LedgerError::Away(_)
                        | LedgerError::TooSlow
                        | LedgerError::Migration(_)
                        | LedgerError::Occupied(_)
                        | LedgerError::BadUrl(_) => open.push((position, unstored.placement)),
                    },
                }
            }
            if open.is_empty() {
                break;
            }
            tracing::warn!(waiting = open.len(), "the ledger is away; submissions wait");
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(RECONNECT_PAUSE_MAX),
            }
        }
        Some(rejected)
    }

    /// Looks for the calls that refused documents became before, through any absence of the ledger; answers which became none, by
    /// position, and why they are rejected.
    async fn recall(
        &self,
        refused: Vec<(usize, Refused)>,
        stop: &CancellationToken,
    ) -> Option<Vec<(usize, Rejection)>> {
        let (positions, refused): (Vec<_>, Vec<_>) = refused.into_iter().unzip();
        let mut pause = PAUSE_MIN;
        let recalled = loop {
            match self.intake.recall(&refused).await {
                Ok(recalled) => break recalled,
                Err(error @ (LedgerError::Refused(_) | LedgerError::Corrupt(_))) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the ledger cannot tell which submissions are known"
                    );
                    break refused.iter().map(|_| None).collect();
                }
                Err(error) => {
                    tracing::warn!(%error, "whether submissions are known cannot be asked; they wait");
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(RECONNECT_PAUSE_MAX),
            }
        };
        let answers = positions.into_iter().zip(refused).zip(recalled);
        let rejected = answers.filter_map(|((position, refused), recalled)| match recalled {
            Some(Received::New(..) | Received::Known(_)) => None,
            Some(Received::KeyReused(known)) => Some((position, key_reused(known))),
            None => Some((position, Rejection::new(refused.error.code(), refused.error.detail()))),
        });
        Some(rejected.collect())
    }

    /// Moves rejected messages to their queue, through any absence of the broker.
    async fn keep_rejected(
        &self,
        deliveries: &[Delivery],
        mut rejected: Vec<(usize, Rejection)>,
        stop: &CancellationToken,
    ) -> Option<()> {
        let queue = self.broker.topology().names.rejected();
        let mut pause = PAUSE_MIN;
        while !rejected.is_empty() {
            let messages: Vec<Message> = rejected
                .iter()
                .map(|(position, rejection)| rejected_message(&queue, &deliveries[*position], rejection))
                .collect();
            let outcomes = self.broker.publish(messages).await;
            let mut outcomes = outcomes.into_iter();
            rejected.retain(|(_, rejection)| {
                let kept = matches!(outcomes.next(), Some(Published::Confirmed));
                if kept {
                    self.intake.metrics().submission("rejected");
                    tracing::info!(code = rejection.code, "a submission was rejected");
                }
                !kept
            });
            if rejected.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(RECONNECT_PAUSE_MAX),
            }
        }
        Some(())
    }
}

/// Acknowledges a batch with one frame. Deliveries of a channel that is gone come again by themselves.
fn acknowledge(mut deliveries: Vec<Delivery>) {
    if let Some(last) = deliveries.pop() {
        last.ack_through();
    }
}

fn publisher_of(delivery: &Delivery) -> Result<Publisher, Rejection> {
    let name = match (delivery.app_id(), delivery.user_id()) {
        (Some(app), Some(user)) if app != user => {
            let detail = format!(
                "app_id is {app:?}, but the broker validated user_id {user:?}; they must be equal where both are set"
            );
            return Err(Rejection::new("publisher_mismatch", detail));
        }
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => return Ok(Publisher::anonymous()),
    };
    Publisher::parse(name).map_err(|error| Rejection::new("invalid_publisher", format!("app_id {error}")))
}

/// A message that was moved back from the queue of the rejected has an id of Redial's; the publisher's own stands in a header.
fn fallback_key_of(delivery: &Delivery) -> Result<Option<IdempotencyKey>, Rejection> {
    let Some(id) = original_message_id(delivery) else { return Ok(None) };
    let key = IdempotencyKey::parse(&id);
    key.map(Some).map_err(|error| Rejection::new("invalid_message_id", format!("message_id {error}")))
}

fn key_reused(known: crate::call::CallId) -> Rejection {
    let detail =
        format!("this publisher used the idempotency key for a different document before: call {known}");
    Rejection::new("idempotency_key_reused", detail)
}

/// Whether a media type is `application/json`, parameters aside.
pub fn is_json(media_type: &str) -> bool {
    media_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
