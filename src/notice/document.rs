//! The event document, the same for exchanges, queues and callbacks (design, section 4).

use serde::Serialize;

use crate::broker::{HeaderValue, Message};
use crate::call::event::FailoverEvent;
use crate::call::{Event, Mode, ReviewReason};

/// Where a call can be looked at: the base of links in events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link(String);

impl Link {
    /// Links below this base URL.
    pub fn below(base: &str) -> Self {
        Self(base.trim_end_matches('/').to_owned())
    }

    /// The link of one call: its page in the console, for the person who is told.
    pub fn of(&self, call: crate::call::CallId) -> String {
        format!("{}/calls/{call}", self.0)
    }
}

#[derive(Serialize)]
struct EventDocument<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    call: String,
    endpoint: &'a str,
    publisher: &'a str,
    idempotency_key: &'a str,
    status: &'static str,
    review_reason: Option<&'static str>,
    attempts: i32,
    last_error: Option<&'a str>,
    dry_run: bool,
    at: String,
    link: String,
}

#[derive(Serialize)]
struct FailoverDocument<'a> {
    event: &'static str,
    from: &'a str,
    to: &'a str,
    reason: &'a str,
    #[serde(flatten)]
    call: EventDocument<'a>,
}

/// The event as JSON.
pub fn event_json(event: &Event, link: &Link) -> Vec<u8> {
    let document = EventDocument::of(event, link);
    // Strings and numbers only: there is nothing that serialisation could refuse.
    serde_json::to_vec(&document).unwrap_or_default()
}

/// The event of a failover as JSON: the call as it stands, and where it goes from where.
pub fn failover_json(failover: &FailoverEvent, link: &Link) -> Vec<u8> {
    let document = FailoverDocument {
        event: "call.failover",
        from: failover.from.as_str(),
        to: failover.to.as_str(),
        reason: &failover.reason,
        call: EventDocument { event: None, ..EventDocument::of(&failover.event, link) },
    };
    serde_json::to_vec(&document).unwrap_or_default()
}

impl<'a> EventDocument<'a> {
    fn of(event: &'a Event, link: &Link) -> Self {
        Self {
            event: Some(format!("call.{}", event.status)),
            call: event.call.to_string(),
            endpoint: event.endpoint.as_str(),
            publisher: event.publisher.as_str(),
            idempotency_key: event.idempotency_key.as_str(),
            status: event.status.as_str(),
            review_reason: event.review_reason.map(crate::call::ReviewReason::as_str),
            attempts: event.attempts,
            last_error: event.last_error.as_deref(),
            dry_run: event.mode == Mode::DryRun,
            at: event.at.to_string(),
            link: link.of(event.call),
        }
    }
}

/// The event as a message for the exchange `<prefix>.events`. Nobody needs to be bound there.
pub fn event_message(event: &Event, link: &Link, exchange: &str) -> Message {
    let routing_key = format!("call.{}.{}", event.status, event.endpoint);
    let message = Message::json(exchange, routing_key, event_json(event, link)).for_anybody();
    match event.review_reason {
        Some(reason) => with_summary(message, event, reason, link),
        None => message,
    }
}

/// RabbitMQ's management UI shows headers one below the other, but a body as one line that runs out of the window: whoever looks
/// into `<prefix>.review` reads here what the matter is.
fn with_summary(message: Message, event: &Event, reason: ReviewReason, link: &Link) -> Message {
    let text = |text: &str| HeaderValue::Text(text.to_owned());
    message
        .with_header("x-redial-call", text(&event.call.to_string()))
        .with_header("x-redial-endpoint", text(event.endpoint.as_str()))
        .with_header("x-redial-review-reason", text(reason.as_str()))
        .with_header("x-redial-last-error", text(event.last_error.as_deref().unwrap_or_default()))
        .with_header("x-redial-link", text(&link.of(event.call)))
}

/// The event of a failover as a message for the same exchange.
pub fn failover_message(failover: &FailoverEvent, link: &Link, exchange: &str) -> Message {
    let routing_key = format!("call.failover.{}", failover.event.endpoint);
    Message::json(exchange, routing_key, failover_json(failover, link)).for_anybody()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{CallId, EndpointName, IdempotencyKey, Publisher, Status};
    use crate::clock::Timestamp;

    #[test]
    fn an_event_has_the_members_of_the_contract() {
        let id = CallId::generate();
        let event = Event {
            call: id,
            endpoint: EndpointName::parse("sms").unwrap(),
            publisher: Publisher::anonymous(),
            idempotency_key: IdempotencyKey::parse("k").unwrap(),
            status: Status::Review,
            review_reason: Some(ReviewReason::Exhausted),
            attempts: 4,
            last_error: Some("the third party answered 503".to_owned()),
            mode: Mode::DryRun,
            at: Timestamp::UNIX_EPOCH,
        };
        let document: serde_json::Value =
            serde_json::from_slice(&event_json(&event, &Link::below("http://127.0.0.1:8080/"))).unwrap();
        let expected = serde_json::json!({
            "event": "call.review", "call": id.to_string(), "endpoint": "sms", "publisher": "anonymous", "idempotency_key": "k",
            "status": "review", "review_reason": "exhausted", "attempts": 4, "last_error": "the third party answered 503",
            "dry_run": true, "at": "1970-01-01T00:00:00.000Z", "link": format!("http://127.0.0.1:8080/calls/{id}"),
        });
        assert_eq!(document, expected);
    }
}
