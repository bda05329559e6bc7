//! Looking into a queue without consuming it: messages are taken one by one, held, and given back, but for one that may be acknowledged.
//!
//! While a message is held nobody else sees it, so a look is short and one at a time. Giving back counts as a delivery; the queues that
//! are looked into have ample limits for that.
//!
//! A quorum queue takes back what was held some time after the channel is told so, or closed. So a turn ends only when the queue shows
//! everything again, also the turn of a look that was dropped halfway: the next one would miss messages.

use std::sync::Arc;

use lapin::options::BasicGetOptions;
use lapin::types::ShortString;
use tokio::sync::OwnedMutexGuard;

use super::admin::passive;
use super::consume::{Consuming, Delivery};
use super::session::answered;
use super::{Broker, BrokerError};
use crate::limits::{PEEK_RETURN_LOOK_EVERY, PEEK_RETURN_TIMEOUT};

/// A look into a queue.
#[derive(Debug)]
pub struct Peek {
    turn: Option<Turn>,
    /// Messages that this look has taken.
    taken: u64,
    /// Messages that have to stand ready when the look is over.
    to_return: u64,
}

/// What a look occupies while it lasts.
#[derive(Debug)]
struct Turn {
    queue: ShortString,
    channel: Arc<Consuming>,
    // The channel lives on it.
    connection: deadpool_lapin::Connection,
    _guard: OwnedMutexGuard<()>,
}

impl Broker {
    /// Begins to look into a queue, when it is this look's turn.
    ///
    /// # Errors
    /// RabbitMQ is away, or there is no such queue.
    pub async fn peek(&self, queue: &str) -> Result<Peek, BrokerError> {
        let queue = ShortString::try_new(queue).map_err(|_| BrokerError::Refused {
            code: 404,
            text: "the queue's name is too long".to_owned(),
        })?;
        let guard = Arc::clone(&self.peeking).lock_owned().await;
        let connection = self.admin().connection().await?;
        let channel = answered(connection.create_channel()).await?;
        let to_return = passive(&channel, queue.as_str()).await?.ready;
        let turn = Turn { queue, channel: Consuming::new(channel), connection, _guard: guard };
        Ok(Peek { turn: Some(turn), taken: 0, to_return })
    }
}

impl Peek {
    /// The next message that is not held already, and how many more stand ready; `None` if none is left.
    ///
    /// It goes back to the queue when it is dropped, or for good with [`Peek::remove`].
    ///
    /// # Errors
    /// RabbitMQ is away, or there is no such queue.
    pub async fn next(&mut self) -> Result<Option<(Delivery, u64)>, BrokerError> {
        let Some(turn) = &self.turn else { return Ok(None) };
        let options = BasicGetOptions { no_ack: false };
        let got = answered(turn.channel.channel().basic_get(turn.queue.clone(), options)).await?;
        let Some(got) = got else { return Ok(None) };
        let left = u64::from(got.message_count);
        self.taken += 1;
        // Messages may have come since the look began.
        self.to_return = self.to_return.max(self.taken + left);
        Ok(Some((Delivery::new(&turn.channel, got.delivery), left)))
    }

    /// Ends the look. When it returns the queue shows again what this one gave back, so the next look finds it.
    pub async fn close(mut self) {
        if let Some(turn) = self.turn.take() {
            turn.end(self.to_return).await;
        }
    }

    /// Takes a message out of the queue for good, and ends the look.
    pub async fn remove(mut self, delivery: Delivery) {
        delivery.ack();
        self.to_return = self.to_return.saturating_sub(1);
        self.close().await;
    }
}

impl Drop for Peek {
    /// Who asked has gone away. The turn is not over for that.
    fn drop(&mut self) {
        if let (Some(turn), Ok(runtime)) = (self.turn.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(turn.end(self.to_return));
        }
    }
}

impl Turn {
    /// Gives back what is held, and waits until so many messages stand ready again, within a bound: others may have taken some.
    async fn end(self, to_return: u64) {
        // What is still held goes back with the channel; a connection that is gone has given it back already.
        let _ = answered(self.channel.channel().close(200, "OK".into())).await;
        let returned = tokio::time::timeout(PEEK_RETURN_TIMEOUT, self.returned(to_return)).await;
        if returned.is_err() {
            tracing::debug!(queue = %self.queue, to_return, "not all that was looked at is back in its queue");
        }
    }

    /// Resolves when so many messages stand ready, or when RabbitMQ cannot be asked any more.
    async fn returned(&self, to_return: u64) {
        if to_return == 0 {
            return;
        }
        let Ok(channel) = answered(self.connection.create_channel()).await else { return };
        while let Ok(counts) = passive(&channel, self.queue.as_str()).await {
            if counts.ready >= to_return {
                break;
            }
            tokio::time::sleep(PEEK_RETURN_LOOK_EVERY).await;
        }
        let _ = answered(channel.close(200, "OK".into())).await;
    }
}
