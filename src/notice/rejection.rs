//! What a publisher is told about a message that cannot be accepted: the message itself, in `<prefix>.rejected`, with its reason.

use crate::broker::{ContentType, Delivery, HeaderValue, Message};
use crate::document::cut;

/// Longest reason in a header, in bytes: a frame must hold all headers.
const DETAIL_BYTES_MAX: usize = 2_000;

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

/// The message as it is kept: the body byte for byte, the reason in headers, what came with it.
pub fn rejected_message(queue: &str, delivery: &Delivery, rejection: &Rejection) -> Message {
    let text = |text: &str| HeaderValue::Text(text.to_owned());
    // The default exchange routes to the queue of that name.
    let mut message = Message::json("", queue, delivery.body.clone())
        .with_header("x-redial-error", text(rejection.code))
        .with_header("x-redial-detail", text(cut(&rejection.detail, DETAIL_BYTES_MAX)))
        .with_header("x-redial-exchange", text(&delivery.exchange))
        .with_header("x-redial-routing-key", text(&delivery.routing_key));
    if let Some(id) = delivery.message_id() {
        message = message.with_header("x-redial-message-id", text(id));
    }
    message.app_id = delivery.app_id().map(str::to_owned);
    message.content_type = match delivery.content_type() {
        Some(kind) => ContentType::Other(kind.to_owned()),
        None => ContentType::Unknown,
    };
    message
}
