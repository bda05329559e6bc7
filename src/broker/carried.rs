//! What a publisher put around a body, taken over to the message that keeps the body.
//!
//! Only what is the publisher's own: not what RabbitMQ adds on a message's way, not what Redial said of it before, and nothing that would
//! send the copy elsewhere (`CC`, `BCC`) or end it early (`expiration`). Bounded, so that it fits into a frame beside what Redial adds.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::limits::{CARRIED_HEADERS_BYTES_MAX, CARRIED_HEADERS_MAX};

/// Headers that are not a publisher's own, or that decide where a message goes.
const LEFT_OUT: [&str; 5] = ["x-death", "x-delivery-count", "x-acquired-count", "CC", "BCC"];
/// The same, by the beginning of their names.
const LEFT_OUT_PREFIXES: [&str; 3] = ["x-first-death-", "x-last-death-", "x-redial-"];

/// Headers and properties of one message that another one gets.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    headers: FieldTable,
    correlation_id: Option<ShortString>,
    kind: Option<ShortString>,
    content_encoding: Option<ShortString>,
    timestamp: Option<u64>,
}

impl Carried {
    /// What is carried over from a message with these properties.
    pub(super) fn of(properties: &BasicProperties) -> Self {
        Self {
            headers: properties.headers().as_ref().map(own_headers).unwrap_or_default(),
            correlation_id: properties.correlation_id().clone(),
            kind: properties.kind().clone(),
            content_encoding: properties.content_encoding().clone(),
            timestamp: *properties.timestamp(),
        }
    }

    /// The properties of the message that gets it; its own headers are added by whoever makes it.
    pub(super) fn onto(&self, properties: BasicProperties) -> (BasicProperties, FieldTable) {
        let mut properties = properties;
        if let Some(id) = &self.correlation_id {
            properties = properties.with_correlation_id(id.clone());
        }
        if let Some(kind) = &self.kind {
            properties = properties.with_type(kind.clone());
        }
        if let Some(encoding) = &self.content_encoding {
            properties = properties.with_content_encoding(encoding.clone());
        }
        if let Some(timestamp) = self.timestamp {
            properties = properties.with_timestamp(timestamp);
        }
        (properties, self.headers.clone())
    }
}

/// The publisher's own headers, as many as fit; one that is too large leaves room for smaller ones.
fn own_headers(table: &FieldTable) -> FieldTable {
    let mut room = CARRIED_HEADERS_BYTES_MAX;
    let mut own = FieldTable::default();
    for (name, value) in table.inner().iter().filter(|(name, _)| is_own(name.as_str())) {
        let bytes = name.as_str().len() + size(value);
        if bytes <= room && own.inner().len() < CARRIED_HEADERS_MAX {
            room -= bytes;
            own.insert(name.clone(), value.clone());
        }
    }
    own
}

fn is_own(name: &str) -> bool {
    !LEFT_OUT.contains(&name) && !LEFT_OUT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// About how many bytes a value takes in a frame.
fn size(value: &AMQPValue) -> usize {
    let content = match value {
        AMQPValue::ShortString(text) => text.as_str().len(),
        AMQPValue::LongString(text) => text.len(),
        AMQPValue::ByteArray(bytes) => bytes.len(),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(size).sum(),
        AMQPValue::FieldTable(table) => {
            table.inner().iter().map(|(name, value)| 1 + name.as_str().len() + size(value)).sum()
        }
        AMQPValue::Boolean(_)
        | AMQPValue::ShortShortInt(_)
        | AMQPValue::ShortShortUInt(_)
        | AMQPValue::ShortInt(_)
        | AMQPValue::ShortUInt(_)
        | AMQPValue::LongInt(_)
        | AMQPValue::LongUInt(_)
        | AMQPValue::LongLongInt(_)
        | AMQPValue::Float(_)
        | AMQPValue::Double(_)
        | AMQPValue::DecimalValue(_)
        | AMQPValue::Timestamp(_)
        | AMQPValue::Void => 8,
    };
    1 + 4 + content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(headers: &[(&str, AMQPValue)]) -> Vec<String> {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), value.clone());
        }
        let carried = Carried::of(&BasicProperties::default().with_headers(table));
        carried.headers.inner().keys().map(|name| name.as_str().to_owned()).collect()
    }

    fn text(bytes: usize) -> AMQPValue {
        AMQPValue::LongString("x".repeat(bytes).into())
    }

    #[test]
    fn only_what_is_the_publishers_own_is_carried() {
        let names = [
            "traceparent",
            "tenant",
            "x-tenant",
            "x-death",
            "x-first-death-queue",
            "x-last-death-reason",
            "x-delivery-count",
            "x-acquired-count",
            "x-redial-error",
            "CC",
            "BCC",
        ];
        let headers: Vec<_> = names.iter().map(|name| (*name, text(1))).collect();
        assert_eq!(carried(&headers), ["tenant", "traceparent", "x-tenant"]);
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_smaller_ones_are_not() {
        let mut nested = FieldTable::default();
        nested.insert("inner".into(), text(CARRIED_HEADERS_BYTES_MAX));
        let mut small = FieldTable::default();
        small.insert("inner".into(), AMQPValue::Boolean(true));
        let headers = [
            ("a", text(CARRIED_HEADERS_BYTES_MAX)),
            ("b", AMQPValue::FieldTable(nested)),
            ("c", AMQPValue::FieldTable(small)),
            ("d", text(10)),
        ];
        assert_eq!(carried(&headers), ["c", "d"]);
    }

    #[test]
    fn no_more_are_carried_than_allowed() {
        let names: Vec<String> = (0..CARRIED_HEADERS_MAX + 5).map(|number| format!("h-{number}")).collect();
        let headers: Vec<_> = names.iter().map(|name| (name.as_str(), AMQPValue::Void)).collect();
        assert_eq!(carried(&headers).len(), CARRIED_HEADERS_MAX);
    }
}
