//! Publishing with confirms: a few long-lived channels, each with a window, shared by everybody who publishes.
//!
//! A publisher task takes what is waiting, up to a window, writes it in one go, and awaits all confirms before it classifies any:
//! with `mandatory`, lapin may hang a returned message on the confirm of another one, so only the returned `message_id` tells
//! which it was. A channel whose window was not confirmed in time is given up, because its late confirms would be counted wrongly.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel};
use tokio::sync::{Mutex, mpsc, oneshot};
use uuid::Uuid;

use super::session::Session;
use super::{BrokerError, Carried, Shared};
use crate::clock::Timestamp;
use crate::limits::{CONFIRM_TIMEOUT, CONFIRM_WINDOW};

/// A message that is to be published; persistent, with a `message_id` of its own.
#[derive(Clone, Debug)]
pub struct Message {
    /// The exchange; empty: the default exchange, whose routing keys are queues' names.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// The body, as it is.
    pub body: Vec<u8>,
    /// What the body is.
    pub content_type: ContentType,
    /// What another message's publisher put around this body.
    pub carried: Option<Carried>,
    /// Headers; of the same name as a carried one, in its place.
    pub headers: Vec<(&'static str, HeaderValue)>,
    /// Who publishes.
    pub app_id: Option<String>,
    /// Whether a queue must take it.
    pub routing: Routing,
}

impl Message {
    /// A JSON message that a queue must take.
    pub fn json(exchange: impl Into<String>, routing_key: impl Into<String>, body: Vec<u8>) -> Self {
        Self {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            body,
            content_type: ContentType::Json,
            carried: None,
            headers: Vec::new(),
            app_id: None,
            routing: Routing::Required,
        }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same for whoever listens, perhaps nobody.
    #[must_use]
    pub fn for_anybody(mut self) -> Self {
        self.routing = Routing::Optional;
        self
    }
}

/// What a body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// `application/json`.
    Json,
    /// Something else.
    Other(String),
    /// Nobody said.
    Unknown,
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
}

/// Whether a queue must take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// One must; that none did is [`Published::Unroutable`].
    Required,
    /// None need: it is for whoever listens.
    Optional,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Published {
    /// RabbitMQ has it.
    Confirmed,
    /// No queue is bound for it.
    Unroutable,
    /// RabbitMQ did not take it: the queue is full or failed, or the message cannot be written.
    Refused,
    /// It was written, perhaps, and no answer came. It may arrive, even much later.
    Unknown,
    /// It was not written: RabbitMQ is away.
    Away,
}

/// Messages of one caller, and where the answer goes.
#[derive(Debug)]
pub(super) struct Job {
    messages: Vec<Message>,
    answer: oneshot::Sender<Vec<Published>>,
}

impl Job {
    /// A job of at most one window.
    pub(super) fn new(messages: Vec<Message>) -> (Self, oneshot::Receiver<Vec<Published>>) {
        let (answer, receiver) = oneshot::channel();
        (Self { messages, answer }, receiver)
    }

    fn answer(self, outcomes: Vec<Published>) {
        // Nobody waits any more: the caller was cancelled, and its messages count as unknown anyway.
        let _ = self.answer.send(outcomes);
    }
}

type Queue = Arc<Mutex<mpsc::Receiver<Job>>>;

/// A channel and the session it belongs to.
struct Open {
    session: Arc<Session>,
    channel: Channel,
}

/// Takes windows of messages from the queue and publishes them, until the broker is closed.
pub(super) async fn run(shared: Arc<Shared>, queue: Queue) {
    let mut open = None;
    loop {
        let window = tokio::select! {
            biased;
            () = shared.closing.cancelled() => break,
            window = next_window(&queue) => window,
        };
        let Some(window) = window else { break };
        open = publish_window(&shared, open, window).await;
    }
}

/// Everything that waits, up to a window; a little more when the last job does not fit exactly.
async fn next_window(queue: &Queue) -> Option<Vec<Job>> {
    let mut queue = queue.lock().await;
    let first = queue.recv().await?;
    let mut count = first.messages.len();
    let mut window = vec![first];
    while count < CONFIRM_WINDOW {
        let Ok(job) = queue.try_recv() else { break };
        count += job.messages.len();
        window.push(job);
    }
    Some(window)
}

async fn publish_window(shared: &Shared, open: Option<Open>, window: Vec<Job>) -> Option<Open> {
    let Some(open) = usable(shared, open).await else {
        for job in window {
            let outcomes = vec![Published::Away; job.messages.len()];
            job.answer(outcomes);
        }
        return None;
    };
    let messages: Vec<&Message> = window.iter().flat_map(|job| &job.messages).collect();
    let (mut outcomes, after) = send(&open, &messages).await;
    if outcomes.contains(&Published::Unroutable) {
        // Before the answer: who asks again finds what was missing.
        shared.declare_again().await;
    }
    for job in window {
        let rest = outcomes.split_off(job.messages.len());
        job.answer(std::mem::replace(&mut outcomes, rest));
    }
    match after {
        After::Usable => Some(open),
        After::GivenUp => None,
        After::SomethingMissing => {
            shared.declare_again().await;
            None
        }
    }
}

/// A channel on which something can be written now; the one at hand if it still serves.
async fn usable(shared: &Shared, open: Option<Open>) -> Option<Open> {
    let session = shared.session.borrow().clone().filter(|session| !session.is_blocked())?;
    if let Some(open) = open
        && Arc::ptr_eq(&open.session, &session)
        && open.channel.status().connected()
    {
        return Some(open);
    }
    match session.publishing_channel().await {
        Ok(channel) => Some(Open { session, channel }),
        Err(error) => {
            tracing::warn!(%error, "cannot open a channel to publish on");
            None
        }
    }
}

/// What can be done with a channel after a window.
enum After {
    /// All of it was answered.
    Usable,
    /// Some was not.
    GivenUp,
    /// An exchange is not there.
    SomethingMissing,
}

/// What RabbitMQ said to one message; with `mandatory` perhaps also which message it returned, not necessarily this one.
enum Confirm {
    Taken,
    Refused,
    Nothing,
}

type Answer = Result<(Confirm, Option<String>), lapin::Error>;
type Sending<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

async fn send(open: &Open, messages: &[&Message]) -> (Vec<Published>, After) {
    let ids: Vec<Uuid> = messages.iter().map(|_| Uuid::now_v7()).collect();
    let sent_at = u64::try_from(Timestamp::now().unix_micros() / 1_000_000).unwrap_or(0);
    let mut sendings: Vec<Option<Sending<'_>>> = messages
        .iter()
        .zip(&ids)
        .map(|(message, id)| sending(&open.channel, message, *id, sent_at))
        .collect();
    let answers = await_answers(&open.session, &mut sendings).await;
    (classify(&answers, &ids), after(&answers))
}

/// Puts a message into lapin's queue of frames. lapin does so at the first poll and then reports twice, when the frame is written
/// and when the confirm is there; polled with a waker that does nothing, a whole window is queued without one wake-up.
fn sending<'a>(channel: &'a Channel, message: &'a Message, id: Uuid, sent_at: u64) -> Option<Sending<'a>> {
    let exchange = ShortString::try_new(message.exchange.as_str()).ok()?;
    let routing_key = ShortString::try_new(message.routing_key.as_str()).ok()?;
    let properties = properties(message, id, sent_at)?;
    let options = BasicPublishOptions { mandatory: message.routing == Routing::Required, immediate: false };
    let mut sending: Sending<'a> = Box::pin(async move {
        let confirm =
            channel.basic_publish(exchange, routing_key, options, &message.body, properties).await?.await?;
        let told = match (confirm.is_ack(), confirm.is_nack()) {
            (true, _) => Confirm::Taken,
            (false, true) => Confirm::Refused,
            (false, false) => Confirm::Nothing,
        };
        let returned = confirm.take_message().and_then(|message| message.properties.message_id().clone());
        Ok((told, returned.map(String::from)))
    });
    match sending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => Some(sending),
        Poll::Ready(answer) => Some(Box::pin(std::future::ready(answer))),
    }
}

fn properties(message: &Message, id: Uuid, sent_at: u64) -> Option<BasicProperties> {
    let mut properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_timestamp(sent_at)
        .with_message_id(id.hyphenated().to_string().into());
    match &message.content_type {
        ContentType::Json => properties = properties.with_content_type("application/json".into()),
        ContentType::Other(text) => {
            properties = properties.with_content_type(ShortString::try_new(text.as_str()).ok()?);
        }
        ContentType::Unknown => {}
    }
    if let Some(app_id) = &message.app_id {
        properties = properties.with_app_id(ShortString::try_new(app_id.as_str()).ok()?);
    }
    let mut table = FieldTable::default();
    if let Some(carried) = &message.carried {
        (properties, table) = carried.onto(properties);
    }
    for (name, value) in &message.headers {
        table.insert((*name).into(), header(value));
    }
    if !table.inner().is_empty() {
        properties = properties.with_headers(table);
    }
    Some(properties)
}

fn header(value: &HeaderValue) -> AMQPValue {
    match value {
        HeaderValue::Text(text) => AMQPValue::LongString(text.as_str().into()),
        HeaderValue::Number(number) => AMQPValue::LongLongInt(*number),
    }
}

/// One message's answer, as far as it came.
enum Answered {
    /// It cannot be written at all.
    Unwritable,
    /// lapin's answer.
    Told(Answer),
    /// None came.
    Not,
}

async fn await_answers(session: &Session, sendings: &mut [Option<Sending<'_>>]) -> Vec<Answered> {
    let mut answers = Vec::with_capacity(sendings.len());
    {
        // In order: whoever waits for the first finds most of the others answered, and is woken once for many.
        let all = async {
            for sending in &mut *sendings {
                answers.push(match sending {
                    Some(sending) => Answered::Told(sending.await),
                    None => Answered::Unwritable,
                });
            }
        };
        tokio::select! {
            biased;
            () = all => {}
            () = session.hopeless() => {}
            () = tokio::time::sleep(CONFIRM_TIMEOUT) => {}
        }
    }
    // The one that was waited for may stand in front of others whose answers are there.
    for sending in sendings.iter_mut().skip(answers.len()) {
        answers.push(match sending {
            None => Answered::Unwritable,
            Some(sending) => match sending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(answer) => Answered::Told(answer),
                Poll::Pending => Answered::Not,
            },
        });
    }
    answers
}

fn after(answers: &[Answered]) -> After {
    let mut after = After::Usable;
    for answer in answers {
        match answer {
            Answered::Told(Err(error)) if BrokerError::from(error.clone()).is_missing() => {
                return After::SomethingMissing;
            }
            Answered::Told(Err(_)) | Answered::Not => after = After::GivenUp,
            Answered::Told(Ok(_)) | Answered::Unwritable => {}
        }
    }
    after
}

fn classify(answers: &[Answered], ids: &[Uuid]) -> Vec<Published> {
    let returned: Vec<&str> = answers.iter().filter_map(returned_id).collect();
    let was_returned =
        |id: &Uuid| !returned.is_empty() && returned.contains(&id.hyphenated().to_string().as_str());
    answers
        .iter()
        .zip(ids)
        .map(|(answer, id)| match answer {
            Answered::Unwritable => Published::Refused,
            _ if was_returned(id) => Published::Unroutable,
            Answered::Told(Ok((Confirm::Taken, _))) => Published::Confirmed,
            Answered::Told(Ok((Confirm::Refused, _))) => Published::Refused,
            Answered::Told(Ok((Confirm::Nothing, _)) | Err(_)) | Answered::Not => Published::Unknown,
        })
        .collect()
}

fn returned_id(answer: &Answered) -> Option<&str> {
    match answer {
        Answered::Told(Ok((_, returned))) => returned.as_deref(),
        Answered::Told(Err(_)) | Answered::Unwritable | Answered::Not => None,
    }
}
