//! The event document, the same for exchanges, queues and callbacks (design, section 4).

use serde::Serialize;

use crate::broker::Message;
use crate::call::Event;

/// Where a call can be looked at: the base of links in events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link(String);

impl Link {
    /// Links below this base URL.
    pub fn below(base: &str) -> Self {
        Self(base.trim_end_matches('/').to_owned())
    }

    /// The link of one call.
    pub fn of(&self, call: crate::call::CallId) -> String {
        format!("{}/v1/calls/{call}", self.0)
    }
}

#[derive(Serialize)]
struct EventDocument<'a> {
    event: String,
    call: String,
    endpoint: &'a str,
    publisher: &'a str,
    idempotency_key: &'a str,
    status: &'static str,
    review_reason: Option<&'static str>,
    attempts: i32,
    last_error: Option<&'a str>,
    at: String,
    link: String,
}

/// The event as JSON.
pub fn event_json(event: &Event, link: &Link) -> Vec<u8> {
    let document = EventDocument {
        event: format!("call.{}", event.status),
        call: event.call.to_string(),
        endpoint: event.endpoint.as_str(),
        publisher: event.publisher.as_str(),
        idempotency_key: event.idempotency_key.as_str(),
        status: event.status.as_str(),
        review_reason: event.review_reason.map(crate::call::ReviewReason::as_str),
        attempts: event.attempts,
        last_error: event.last_error.as_deref(),
        at: event.at.to_string(),
        link: link.of(event.call),
    };
    // Strings and numbers only: there is nothing that serialisation could refuse.
    serde_json::to_vec(&document).unwrap_or_default()
}

/// The event as a message for the exchange `<prefix>.events`. Nobody needs to be bound there.
pub fn event_message(event: &Event, link: &Link, exchange: &str) -> Message {
    let routing_key = format!("call.{}.{}", event.status, event.endpoint);
    Message::json(exchange, routing_key, event_json(event, link)).for_anybody()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{CallId, EndpointName, IdempotencyKey, Publisher, ReviewReason, Status};
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
            at: Timestamp::UNIX_EPOCH,
        };
        let document: serde_json::Value =
            serde_json::from_slice(&event_json(&event, &Link::below("http://127.0.0.1:8080/"))).unwrap();
        let expected = serde_json::json!({
            "event": "call.review", "call": id.to_string(), "endpoint": "sms", "publisher": "anonymous", "idempotency_key": "k",
            "status": "review", "review_reason": "exhausted", "attempts": 4, "last_error": "the third party answered 503",
            "at": "1970-01-01T00:00:00.000Z", "link": format!("http://127.0.0.1:8080/v1/calls/{id}"),
        });
        assert_eq!(document, expected);
    }
}
