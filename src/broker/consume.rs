//! Consuming: one channel per consumer, opened again after whatever ended it.
//!
//! A delivery is settled once: acknowledged, or given back when it is dropped. Settling on a channel that is gone does nothing,
//! because RabbitMQ has taken the message back already. A channel stays open until the last of its deliveries is settled, so
//! who stops taking can still acknowledge what it has.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel};
use tokio::sync::mpsc;

use super::session::{Session, answered};
use super::{BrokerError, Carried, Shared};
use crate::limits::{BROKER_ANSWER_TIMEOUT, CONSUME_AGAIN_PAUSE, CONSUME_LOOK_EVERY};

/// A message from a queue.
#[derive(Debug)]
pub struct Delivery {
    /// The body, as it came.
    pub body: Vec<u8>,
    /// The exchange it was published to; of a dead-lettered message, the one it was dead-lettered to.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// To be acknowledged, or dropped.
    pub settlement: Settlement,
    properties: BasicProperties,
}

impl Delivery {
    pub(super) fn new(channel: &Arc<Consuming>, delivery: lapin::message::Delivery) -> Self {
        Self {
            body: delivery.data,
            exchange: delivery.exchange.into(),
            routing_key: delivery.routing_key.into(),
            redelivered: delivery.redelivered,
            settlement: Settlement::new(channel, delivery.delivery_tag),
            properties: delivery.properties,
        }
    }

    /// `content_type`, if it is set.
    pub fn content_type(&self) -> Option<&str> {
        self.properties.content_type().as_ref().map(ShortString::as_str)
    }

    /// `content_encoding`, if it is set.
    pub fn content_encoding(&self) -> Option<&str> {
        self.properties.content_encoding().as_ref().map(ShortString::as_str)
    }

    /// `message_id`, if it is set.
    pub fn message_id(&self) -> Option<&str> {
        self.properties.message_id().as_ref().map(ShortString::as_str)
    }

    /// `app_id`, if it is set: who the publisher says it is.
    pub fn app_id(&self) -> Option<&str> {
        self.properties.app_id().as_ref().map(ShortString::as_str)
    }

    /// `user_id`, if it is set: who the publisher is, checked by RabbitMQ.
    pub fn user_id(&self) -> Option<&str> {
        self.properties.user_id().as_ref().map(ShortString::as_str)
    }

    /// `timestamp`, if it is set, in seconds since 1970.
    pub fn timestamp(&self) -> Option<u64> {
        *self.properties.timestamp()
    }

    /// A header as text: a string or a number; `None` for anything else.
    pub fn header(&self, name: &str) -> Option<String> {
        let table = self.properties.headers().as_ref()?;
        table.inner().get(name).and_then(header_text)
    }

    /// A header that is a whole number; `None` for anything else.
    pub fn header_number(&self, name: &str) -> Option<i64> {
        let value = self.properties.headers().as_ref()?.inner().get(name)?;
        value.as_long_long_int().or_else(|| value.as_long_int().map(i64::from))
    }

    /// How RabbitMQ took it out of the last queue that it was dead-lettered from; `None` for a message that never was.
    pub fn death(&self) -> Option<Death> {
        let deaths = self.properties.headers().as_ref()?.inner().get("x-death")?.as_array()?;
        let latest = deaths.as_slice().first()?.as_field_table()?.inner();
        let text = |name: &str| latest.get(name).and_then(header_text);
        let keys = latest.get("routing-keys").and_then(AMQPValue::as_array);
        let routing_key = keys.and_then(|keys| keys.as_slice().first()).and_then(header_text);
        Some(Death { queue: text("queue")?, reason: text("reason")?, routing_key })
    }

    /// What its publisher put around the body, for a message that keeps the body.
    pub fn carried(&self) -> Carried {
        Carried::of(&self.properties)
    }

    /// Acknowledges it.
    pub fn ack(self) {
        self.settlement.ack();
    }

    /// Acknowledges it and every earlier delivery of its consumer.
    pub fn ack_through(self) {
        self.settlement.ack_through();
    }

    /// Gives it back to the queue.
    pub fn requeue(self) {
        drop(self.settlement);
    }
}

/// How a message left a queue that it was dead-lettered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The queue.
    pub queue: String,
    /// RabbitMQ's word for why, such as `delivery_limit`.
    pub reason: String,
    /// The routing key that it had come with.
    pub routing_key: Option<String>,
}

fn header_text(value: &AMQPValue) -> Option<String> {
    if let Some(text) = value.as_long_string() {
        return std::str::from_utf8(text.as_bytes()).ok().map(str::to_owned);
    }
    if let Some(number) = value.as_long_long_int() {
        return Some(number.to_string());
    }
    value.as_long_int().map(|number| number.to_string())
}

/// The channel of a consumer.
#[derive(Debug)]
pub(super) struct Consuming {
    channel: Channel,
    /// Everything up to this delivery tag is acknowledged.
    through: AtomicU64,
}

impl Consuming {
    /// A channel of which nothing is acknowledged yet.
    pub(super) fn new(channel: Channel) -> Arc<Self> {
        Arc::new(Self { channel, through: AtomicU64::new(0) })
    }

    /// The channel.
    pub(super) const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Deliveries of this channel that are out and not settled; each holds the channel.
    fn unsettled(self: &Arc<Self>) -> usize {
        Arc::strong_count(self) - 1
    }
}

/// The obligation to settle a delivery; dropping it gives the delivery back to the queue.
#[derive(Debug)]
pub struct Settlement {
    channel: Option<Arc<Consuming>>,
    tag: u64,
}

impl Settlement {
    fn new(channel: &Arc<Consuming>, tag: u64) -> Self {
        Self { channel: Some(Arc::clone(channel)), tag }
    }

    /// Acknowledges the delivery. Does not wait until that is written: the order on a channel is kept, also before its close.
    pub fn ack(mut self) {
        if let Some(channel) = self.unsettled() {
            start(channel.channel.basic_ack(self.tag, BasicAckOptions { multiple: false }));
        }
    }

    /// Acknowledges the delivery and every earlier one of its consumer, whoever holds them.
    pub fn ack_through(mut self) {
        if let Some(channel) = self.unsettled() {
            // First the mark: the earlier ones are dropped by others, and giving back what is acknowledged closes the channel.
            channel.through.fetch_max(self.tag, Ordering::AcqRel);
            start(channel.channel.basic_ack(self.tag, BasicAckOptions { multiple: true }));
        }
    }

    /// The channel, if the delivery is still to be settled on it.
    fn unsettled(&mut self) -> Option<Arc<Consuming>> {
        self.channel.take().filter(|channel| self.tag > channel.through.load(Ordering::Acquire))
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        if let Some(channel) = self.unsettled() {
            start(channel.channel.basic_nack(self.tag, BasicNackOptions { multiple: false, requeue: true }));
        }
    }
}

/// Puts a frame into lapin's queue, which it does at the first poll, and does not wait until it is written. If the channel is
/// gone the frame is lost, and rightly so.
fn start(sending: impl Future<Output = Result<(), lapin::Error>>) {
    let _ = pin!(sending).poll(&mut Context::from_waker(Waker::noop()));
}

/// What is consumed, and where it goes.
pub(super) struct Consumer<T, F> {
    pub(super) queue: String,
    pub(super) prefetch: u16,
    pub(super) read: F,
    pub(super) sender: mpsc::Sender<T>,
}

/// How a stretch of consuming came to its end.
enum End {
    /// Nobody wants more.
    Unwanted,
    /// The queue, the channel or the connection is gone.
    Lost(BrokerError),
}

/// Consumes until nobody wants more.
pub(super) async fn run<T, F>(shared: Arc<Shared>, mut consumer: Consumer<T, F>)
where
    F: FnMut(Delivery) -> Option<T>,
{
    let mut sessions = shared.session.subscribe();
    loop {
        let session = tokio::select! {
            () = shared.stop.cancelled() => return,
            () = consumer.sender.closed() => return,
            session = sessions.wait_for(Option::is_some) => match session {
                Ok(session) => session.clone(),
                Err(_) => return,
            },
        };
        let Some(session) = session else { continue };
        match serve(&shared, &session, &mut consumer).await {
            End::Unwanted => return,
            End::Lost(error) => recover(&shared, &session, &consumer.queue, &error).await,
        }
    }
}

async fn recover(shared: &Shared, session: &Session, queue: &str, error: &BrokerError) {
    if session.is_over() {
        return;
    }
    tracing::warn!(queue, %error, "consuming was interrupted; trying again");
    // A consumer whose queue was deleted is only told that it is cancelled; the next declaration tells what is missing.
    shared.declare_again().await;
    tokio::select! {
        () = shared.stop.cancelled() => {}
        () = session.ended() => {}
        () = tokio::time::sleep(CONSUME_AGAIN_PAUSE) => {}
    }
}

async fn serve<T, F>(shared: &Shared, session: &Session, consumer: &mut Consumer<T, F>) -> End
where
    F: FnMut(Delivery) -> Option<T>,
{
    let (channel, mut deliveries) = match open(session, &consumer.queue, consumer.prefetch).await {
        Ok(open) => open,
        Err(error) => return End::Lost(error),
    };
    let channel = Consuming::new(channel);
    let mut stopped = pin!(shared.stop.cancelled());
    let mut idle = Idle::new();
    loop {
        // Room comes before the delivery, so that none is in hand when it turns out that nobody wants more.
        let room = tokio::select! {
            biased;
            () = &mut stopped => break,
            room = consumer.sender.reserve() => room,
        };
        let Ok(room) = room else { break };
        let delivery = tokio::select! {
            biased;
            () = &mut stopped => break,
            delivery = deliveries.next() => delivery,
            () = consumer.sender.closed() => break,
            () = idle.passed() => {
                if idle.suspicious(shared, &channel, &consumer.queue, consumer.prefetch).await {
                    return End::Lost(BrokerError::Away("the subscription is dead".to_owned()));
                }
                continue;
            }
        };
        idle.over();
        match delivery {
            Some(Ok(delivery)) => {
                if let Some(read) = (consumer.read)(Delivery::new(&channel, delivery)) {
                    room.send(read);
                }
            }
            Some(Err(error)) => return End::Lost(error.into()),
            None => return End::Lost(BrokerError::Away("the consumer was cancelled".to_owned())),
        }
    }
    hand_back(&channel, deliveries).await;
    End::Unwanted
}

/// Finds dead subscriptions. When a quorum queue is deleted and declared again at once, RabbitMQ (3.10) does not cancel its
/// consumers: it subscribes them to the new queue, and drops as doubles as many messages on their way as they had from the old
/// one. Those stay unacknowledged until the channel closes, and when they use up the prefetch nothing is delivered any more.
struct Idle {
    look: tokio::time::Interval,
    delivered: bool,
    passed_by: bool,
}

impl Idle {
    fn new() -> Self {
        let mut look = tokio::time::interval(CONSUME_LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self { look, delivered: true, passed_by: false }
    }

    /// Something was delivered.
    fn over(&mut self) {
        self.delivered = true;
        self.passed_by = false;
    }

    /// Resolves when it is time to look.
    async fn passed(&mut self) {
        self.look.tick().await;
    }

    /// Whether messages have stood ready from one look to the next, and we could have taken them, and got none.
    async fn suspicious(
        &mut self,
        shared: &Shared,
        channel: &Arc<Consuming>,
        queue: &str,
        prefetch: u16,
    ) -> bool {
        if std::mem::take(&mut self.delivered) || channel.unsettled() >= usize::from(prefetch) {
            self.passed_by = false;
            return false;
        }
        // On another connection: a queue that is missing or forbidden closes the channel of who asks.
        match shared.admin.ready(queue).await {
            Ok(Some(0)) | Err(_) => {
                self.passed_by = false;
                false
            }
            Ok(Some(_)) => std::mem::replace(&mut self.passed_by, true),
            Ok(None) => true,
        }
    }
}

async fn open(
    session: &Session,
    queue: &str,
    prefetch: u16,
) -> Result<(Channel, lapin::Consumer), BrokerError> {
    let channel = session.consuming_channel().await?;
    let name = ShortString::try_new(queue)
        .map_err(|_| BrokerError::Refused { code: 404, text: "the queue's name is too long".to_owned() })?;
    answered(async {
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let deliveries = channel.basic_consume(name, "".into(), options, FieldTable::default()).await?;
        Ok((channel, deliveries))
    })
    .await
}

/// Stops the flow and gives back what nobody has taken; what was taken is settled by its holders.
async fn hand_back(channel: &Arc<Consuming>, mut deliveries: lapin::Consumer) {
    let cancel =
        channel.channel.basic_cancel(deliveries.tag(), lapin::options::BasicCancelOptions::default());
    // If the goodbye is not answered the channel is lost, and everything on it goes back by itself.
    let _ = tokio::time::timeout(BROKER_ANSWER_TIMEOUT, cancel).await;
    while let Some(Some(Ok(delivery))) = deliveries.next().now_or_never() {
        drop(Settlement::new(channel, delivery.delivery_tag));
    }
}
