//! What a publisher is told about a message that cannot be accepted: the message itself, in `<prefix>.rejected`, with its reason.
//!
//! A kept message may come back: moved to `<prefix>.submit` by the management UI, or resubmitted over the API. Its own headers
//! then say what it was called at first, so that the same submission stays the same however often it was rejected.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::broker::{ContentType, Death, Delivery, HeaderValue, Message};
use crate::clock::Timestamp;
use crate::document::cut;

/// Longest reason in a header, in bytes: a frame must hold all headers.
const DETAIL_BYTES_MAX: usize = 2_000;

/// Identifies one rejection.
const REJECTION: &str = "x-redial-rejection";
const ERROR: &str = "x-redial-error";
const DETAIL: &str = "x-redial-detail";
const EXCHANGE: &str = "x-redial-exchange";
const ROUTING_KEY: &str = "x-redial-routing-key";
const MESSAGE_ID: &str = "x-redial-message-id";
/// Who RabbitMQ said the publisher was.
const USER_ID: &str = "x-redial-user-id";

/// RabbitMQ's word for a message that came back too often, and the code of such a rejection.
const DELIVERY_LIMIT: &str = "delivery_limit";

/// Why a message is not accepted.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Stable.
    pub code: &'static str,
    /// A sentence.
    pub detail: String,
}

impl Rejection {
    /// A rejection for this reason.
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// The message as it is kept: the body byte for byte, what its publisher put around it, the reason in headers.
pub fn rejected_message(queue: &str, delivery: &Delivery, rejection: &Rejection) -> Message {
    let text = |text: &str| HeaderValue::Text(text.to_owned());
    // The default exchange routes to the queue of that name.
    let mut message = Message::json("", queue, delivery.body.clone())
        .with_header(REJECTION, text(&Uuid::now_v7().to_string()))
        .with_header(ERROR, text(rejection.code))
        .with_header(DETAIL, text(cut(&rejection.detail, DETAIL_BYTES_MAX)))
        .with_header(EXCHANGE, text(&original(delivery, EXCHANGE, &delivery.exchange)))
        .with_header(ROUTING_KEY, text(&original(delivery, ROUTING_KEY, &delivery.routing_key)));
    if let Some(id) = original_message_id(delivery) {
        message = message.with_header(MESSAGE_ID, text(&id));
    }
    if let Some(user) = delivery.user_id() {
        message = message.with_header(USER_ID, text(user));
    }
    // RabbitMQ checks `user_id` against who publishes, which now is Redial; the name goes on as `app_id`.
    message.app_id = delivery.app_id().or(delivery.user_id()).map(str::to_owned);
    message.carried = Some(delivery.carried());
    message.content_type = match delivery.content_type() {
        Some(kind) => ContentType::Other(kind.to_owned()),
        None => ContentType::Unknown,
    };
    message
}

/// How it came first, if it was here before; else how it came now.
fn original(delivery: &Delivery, header: &str, now: &str) -> String {
    delivery.header(header).unwrap_or_else(|| now.to_owned())
}

/// What the publisher called a message. One that was rejected before has another `message_id` since; what it was called at first stands in
/// its headers, and if it was called nothing, the rejection names it.
pub fn original_message_id(delivery: &Delivery) -> Option<String> {
    delivery
        .header(MESSAGE_ID)
        .or_else(|| delivery.header(REJECTION))
        .or_else(|| delivery.message_id().map(str::to_owned))
        .filter(|id| !id.is_empty())
}

/// A message that was rejected and kept.
#[derive(Debug)]
pub struct Kept {
    /// Identifies it for as long as it is kept.
    pub id: Uuid,
    /// Why it was rejected; empty if it was put there by somebody else.
    pub code: String,
    /// The same as a sentence.
    pub detail: String,
    /// Who published it.
    pub publisher: Option<String>,
    /// The routing key under which it came.
    pub routing_key: String,
    /// What its publisher called it.
    pub message_id: Option<String>,
    /// When it was rejected.
    pub rejected_at: Option<Timestamp>,
}

impl Kept {
    /// Reads what came with a message.
    pub fn read(delivery: &Delivery) -> Self {
        let header = |name: &str| delivery.header(name);
        // What Redial keeps has no deaths: this message was given up by RabbitMQ, whatever an earlier rejection said of it.
        let death = delivery.death();
        let told = || (header(ERROR).unwrap_or_default(), header(DETAIL).unwrap_or_default());
        let (code, detail) = death.as_ref().map_or_else(told, why_dead);
        let came_by = header(ROUTING_KEY).or_else(|| death.and_then(|death| death.routing_key));
        Self {
            id: id_of(delivery),
            code,
            detail,
            publisher: header(USER_ID).or_else(|| delivery.app_id().map(str::to_owned)),
            routing_key: came_by.unwrap_or_else(|| delivery.routing_key.clone()),
            message_id: delivery.header(MESSAGE_ID),
            rejected_at: rejected_at(delivery),
        }
    }

    /// The idempotency key that it has if its document names none: what the publisher called it, else its own id, so that resubmitting
    /// it twice makes one call.
    pub fn fallback_key(&self) -> String {
        self.message_id.clone().unwrap_or_else(|| self.id.to_string())
    }
}

/// The reason of a message that RabbitMQ moved here by itself.
fn why_dead(Death { queue, reason, .. }: &Death) -> (String, String) {
    if reason == DELIVERY_LIMIT {
        let detail = format!(
            "RabbitMQ delivered it from {queue} again and again, and whoever took it ended before it was settled"
        );
        return (DELIVERY_LIMIT.to_owned(), detail);
    }
    ("dead_lettered".to_owned(), format!("RabbitMQ took it out of {queue}: {reason}"))
}

/// When a message was rejected: its rejection's id says so. Its `timestamp` is its publisher's, as far as it had one, and that of a message
/// without such an id says at least when it was put there.
fn rejected_at(delivery: &Delivery) -> Option<Timestamp> {
    let rejection = delivery.header(REJECTION).and_then(|text| Uuid::try_parse(&text).ok());
    let (seconds, nanos) = match rejection.and_then(|id| id.get_timestamp()) {
        Some(timestamp) => timestamp.to_unix(),
        None => (delivery.timestamp()?, 0),
    };
    let micros = i64::try_from(seconds).ok()?.saturating_mul(1_000_000);
    Some(Timestamp::from_unix_micros(micros.saturating_add(i64::from(nanos / 1_000))))
}

/// The id in its header; a message without one, put there by hand, is named by its content.
fn id_of(delivery: &Delivery) -> Uuid {
    let named = delivery.header(REJECTION).and_then(|text| Uuid::try_parse(&text).ok());
    named.unwrap_or_else(|| {
        let mut hash = Sha256::new();
        hash.update(delivery.message_id().unwrap_or_default());
        hash.update([0]);
        hash.update(&delivery.body);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rabbitmq_gave_up_has_a_code_and_a_sentence() {
        let death = |reason: &str| Death {
            queue: "redial.submit".to_owned(),
            reason: reason.to_owned(),
            routing_key: None,
        };
        for (reason, code) in [("delivery_limit", "delivery_limit"), ("rejected", "dead_lettered")] {
            let (found, detail) = why_dead(&death(reason));
            assert_eq!(found, code);
            assert!(detail.contains("redial.submit"), "{detail}");
        }
    }
}
