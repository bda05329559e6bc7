//! Events about endpoints: parked, resumed.

use serde::Serialize;

use crate::broker::Message;
use crate::call::EndpointName;
use crate::clock::Timestamp;
use crate::gate::{Hold, HoldKind};

/// An endpoint was parked, or calls go out to it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointEvent {
    endpoint: EndpointName,
    what: What,
    kind: HoldKind,
    actor: Option<String>,
    note: String,
    until: Option<Timestamp>,
    at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Parked,
    Resumed,
}

#[derive(Serialize)]
struct Document<'a> {
    event: String,
    endpoint: &'a str,
    kind: &'static str,
    by: Option<&'a str>,
    note: &'a str,
    until: Option<String>,
    at: String,
}

impl EndpointEvent {
    /// What a hold tells the outside just after it was changed.
    pub fn of(hold: &Hold) -> Self {
        Self {
            endpoint: hold.endpoint.clone(),
            what: if hold.is_shut() { What::Parked } else { What::Resumed },
            kind: hold.kind,
            actor: hold.actor.clone(),
            note: hold.note.clone(),
            until: hold.until().filter(|_| hold.is_shut()),
            at: Timestamp::now(),
        }
    }

    fn name(&self) -> &'static str {
        match self.what {
            What::Parked => "endpoint.parked",
            What::Resumed => "endpoint.resumed",
        }
    }

    /// One line in the log.
    pub fn log(&self) {
        let Self { endpoint, kind, note, .. } = self;
        match (self.what, self.until) {
            (What::Parked, Some(until)) => {
                tracing::warn!(endpoint = %endpoint, kind = %kind, until = %until, note, "the endpoint is parked; its calls wait and lose no rung");
            }
            (What::Parked, None) => {
                tracing::warn!(endpoint = %endpoint, kind = %kind, note, "the endpoint is paused by an operator; its calls wait and lose no rung");
            }
            (What::Resumed, _) => {
                tracing::info!(endpoint = %endpoint, kind = %kind, "calls go out to the endpoint again, a few at first");
            }
        }
    }

    /// The event as a message for the exchange `<prefix>.events`. Nobody needs to be bound there.
    pub(super) fn message(&self, exchange: &str) -> Message {
        let document = Document {
            event: self.name().to_owned(),
            endpoint: self.endpoint.as_str(),
            kind: self.kind.as_str(),
            by: self.actor.as_deref(),
            note: &self.note,
            until: self.until.map(|until| until.to_string()),
            at: self.at.to_string(),
        };
        let routing_key = format!("{}.{}", self.name(), self.endpoint);
        // Strings only: there is nothing that serialisation could refuse.
        Message::json(exchange, routing_key, serde_json::to_vec(&document).unwrap_or_default()).for_anybody()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Phase;

    #[test]
    fn an_event_says_who_holds_what_and_until_when() {
        let until = Timestamp::from_unix_micros(1_500_000);
        let hold = |phase| Hold {
            endpoint: EndpointName::parse("sms").unwrap(),
            kind: HoldKind::Limited,
            since: Timestamp::UNIX_EPOCH,
            actor: None,
            note: "429".to_owned(),
            parks: 1,
            phase,
        };
        let parked = EndpointEvent::of(&hold(Phase::Parked { until: Some(until) })).message("redial.events");
        let document: serde_json::Value = serde_json::from_slice(&parked.body).unwrap();
        assert_eq!(document["event"], "endpoint.parked");
        assert_eq!(document["until"], "1970-01-01T00:00:01.500Z");
        assert_eq!((&document["kind"], &document["by"]), (&"limited".into(), &serde_json::Value::Null));
        let resumed = Phase::Ramping { since: until, until };
        let resumed = EndpointEvent::of(&hold(resumed)).message("redial.events");
        let document: serde_json::Value = serde_json::from_slice(&resumed.body).unwrap();
        assert_eq!(
            (&document["event"], &document["until"]),
            (&"endpoint.resumed".into(), &serde_json::Value::Null)
        );
    }
}
