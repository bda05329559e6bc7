//! A ticket message: `{"tickets":[{"call":"0190…","attempt":3}]}`. Written by hand, because it is written for every attempt;
//! read leniently, because one ticket out of place must not hold up the others.

use serde::Deserialize;
use serde_json::Value;
use uuid::fmt::Hyphenated;

use crate::call::{AttemptNumber, CallId, Ticket};
use crate::clock::Timestamp;
use crate::limits::BUNDLE_TICKETS_READ_MAX;

/// The header that says when the earliest ticket of a message was to wake its call, in milliseconds since 1970.
pub(super) const WAKE_AT_HEADER: &str = "x-redial-wake-at";

/// Writes the body of a ticket message.
pub fn write<'a>(tickets: impl ExactSizeIterator<Item = &'a Ticket>) -> Vec<u8> {
    const OPEN: &[u8] = b"{\"tickets\":[";
    const CLOSE: &[u8] = b"]}";
    const TICKET_BYTES: usize = 70;
    let mut body = Vec::with_capacity(OPEN.len() + CLOSE.len() + TICKET_BYTES * tickets.len());
    body.extend_from_slice(OPEN);
    for (position, ticket) in tickets.enumerate() {
        if position > 0 {
            body.push(b',');
        }
        body.extend_from_slice(b"{\"call\":\"");
        let mut id = [0; Hyphenated::LENGTH];
        body.extend_from_slice(ticket.call.uuid().hyphenated().encode_lower(&mut id).as_bytes());
        body.extend_from_slice(b"\",\"attempt\":");
        body.extend_from_slice(ticket.attempt.get().to_string().as_bytes());
        body.push(b'}');
    }
    body.extend_from_slice(CLOSE);
    body
}

/// What the header says of a time.
pub(super) const fn wake_at_ms(wake_at: Timestamp) -> i64 {
    wake_at.unix_micros() / 1_000
}

/// The time a header names; `None` if it lies before 1970 or beyond all years.
pub(super) fn wake_at(ms: i64) -> Option<Timestamp> {
    (ms >= 0).then(|| ms.checked_mul(1_000)).flatten().map(Timestamp::from_unix_micros)
}

/// What a message held.
#[derive(Debug, PartialEq, Eq)]
pub struct Read {
    /// Those that could be read, in their order.
    pub tickets: Vec<Ticket>,
    /// Tickets that were dropped; 1 for a message that is none.
    pub unreadable: u64,
}

#[derive(Deserialize)]
struct WireMessage<'a> {
    #[serde(borrow)]
    tickets: Vec<WireTicket<'a>>,
}

#[derive(Deserialize)]
struct WireTicket<'a> {
    call: &'a str,
    attempt: i64,
}

/// Reads a message, whatever it is.
pub fn read(body: &[u8]) -> Read {
    if let Ok(message) = serde_json::from_slice::<WireMessage<'_>>(body) {
        return collect(message.tickets.iter().map(|ticket| parse(ticket.call, ticket.attempt)));
    }
    match serde_json::from_slice::<Value>(body)
        .as_ref()
        .ok()
        .and_then(|value| value.get("tickets")?.as_array())
    {
        Some(tickets) => collect(tickets.iter().map(parse_value)),
        None => Read { tickets: Vec::new(), unreadable: 1 },
    }
}

fn collect(parsed: impl ExactSizeIterator<Item = Option<Ticket>>) -> Read {
    let all = parsed.len().max(1);
    let tickets: Vec<Ticket> = parsed.take(BUNDLE_TICKETS_READ_MAX).flatten().collect();
    let unreadable = u64::try_from(all - tickets.len()).unwrap_or(u64::MAX);
    Read { tickets, unreadable }
}

fn parse_value(ticket: &Value) -> Option<Ticket> {
    parse(ticket.get("call")?.as_str()?, ticket.get("attempt")?.as_i64()?)
}

fn parse(call: &str, attempt: i64) -> Option<Ticket> {
    let attempt = i32::try_from(attempt).ok().and_then(AttemptNumber::new)?;
    Some(Ticket { call: CallId::parse(call)?, attempt })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019389a0-7e3b-7c55-8000-0123456789ab";

    fn ticket(attempt: i32) -> Ticket {
        Ticket { call: CallId::parse(ID).unwrap(), attempt: AttemptNumber::new(attempt).unwrap() }
    }

    #[test]
    fn what_is_written_is_valid_json_and_read_back() {
        let tickets = [ticket(1), ticket(i32::MAX)];
        let body = write(tickets.iter());
        assert!(serde_json::from_slice::<Value>(&body).is_ok());
        assert_eq!(read(&body), Read { tickets: tickets.to_vec(), unreadable: 0 });
    }

    #[test]
    fn readable_tickets_survive_their_neighbours() {
        let good = format!(r#"{{"call":"{ID}","attempt":2}}"#);
        for (bad, unreadable) in [
            (r#"{"call":"x","attempt":1}"#.to_owned(), 1),
            (format!(r#"{{"call":"{ID}"}}"#), 1),
            (format!(r#"{{"call":"{ID}","attempt":0}}"#), 1),
            (format!(r#"{{"call":"{ID}","attempt":-1}}"#), 1),
            (format!(r#"{{"call":"{ID}","attempt":"1"}}"#), 1),
            (format!(r#"{{"call":"{ID}","attempt":1.5}}"#), 1),
            (format!(r#"{{"call":"{ID}","attempt":99999999999999999999}}"#), 1),
            ("null".to_owned(), 1),
            ("[]".to_owned(), 1),
            ("7,8".to_owned(), 2),
        ] {
            let body = format!(r#"{{"tickets":[{bad},{good}]}}"#);
            assert_eq!(read(body.as_bytes()), Read { tickets: vec![ticket(2)], unreadable }, "{bad}");
        }
    }

    #[test]
    fn what_is_no_ticket_message_counts_as_one_unreadable() {
        let deep = "[".repeat(10_000);
        for body in ["", "{", "null", "[]", "{}", r#"{"tickets":7}"#, r#"{"tickets":[]}"#, "\u{fffd}", &deep]
        {
            assert_eq!(read(body.as_bytes()), Read { tickets: Vec::new(), unreadable: 1 }, "{body:.20}");
        }
        assert_eq!(read(&[0xff, 0xfe]).unreadable, 1);
    }

    #[test]
    fn a_forged_message_does_not_wake_more_calls_than_the_limit() {
        let body = write(vec![ticket(1); BUNDLE_TICKETS_READ_MAX + 5].iter());
        let read = read(&body);
        assert_eq!((read.tickets.len(), read.unreadable), (BUNDLE_TICKETS_READ_MAX, 5));
    }

    #[test]
    fn times_no_calendar_has_are_ignored() {
        assert_eq!(wake_at(-1), None);
        assert_eq!(wake_at(i64::MAX), None);
        assert_eq!(wake_at(1_500), Some(Timestamp::from_unix_micros(1_500_000)));
    }
}
