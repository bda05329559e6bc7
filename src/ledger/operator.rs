//! What an operator's order makes of a call: decided here, written down by the ledgers.

use std::time::Duration;

use super::{Acted, OperatorAction, Order};
use crate::call::{Call, Course, IdempotencyKey, Request, Revision, Status};
use crate::clock::Timestamp;
use crate::limits::DEADLINE_DEFAULT;

/// Why the order cannot be carried out; `None` if it can. `newest` is the highest accepted version of the call's entity.
///
/// A call that a higher version has overtaken is not sent again, even if it had been cancelled before that version came.
pub(super) fn refusal(action: &OperatorAction, call: &Call, newest: Option<i64>) -> Option<Acted> {
    let status = call.state.status();
    if action.if_revision.is_some_and(|revision| revision != call.revision) {
        return Some(Acted::Outdated(call.revision));
    }
    if !action.order.allows(status) {
        return Some(Acted::NotAllowed(status));
    }
    let overtaken = call.entity.as_ref().zip(newest).is_some_and(|(entity, newest)| entity.version < newest);
    match action.order {
        Order::Replay { .. } if call.body_erased_at.is_some() => call.body_erased_at.map(Acted::BodyErased),
        Order::Replay { .. } if overtaken => Some(Acted::NotAllowed(Status::Superseded)),
        Order::Replay { .. } | Order::Cancel | Order::Resolve => None,
    }
}

/// What a replay changes of a call, beside its state.
pub(super) struct Replay<'a> {
    pub(super) request: &'a Request,
    pub(super) sent_key: Option<IdempotencyKey>,
    pub(super) revision: Revision,
    pub(super) deadline: Timestamp,
    pub(super) course: Course,
}

/// What a replay at `now` changes. `span` is how far the deadline lay from acceptance: a deadline that has passed is moved by it.
pub(super) fn replay<'a>(
    call: &'a Call,
    request: Option<&'a Request>,
    key: KeyWish,
    span: Duration,
    now: Timestamp,
) -> Replay<'a> {
    let revision = Revision::new(call.revision.get().saturating_add(1));
    Replay {
        request: request.unwrap_or(&call.request),
        sent_key: match key {
            KeyWish::Same => call.sent_key.clone(),
            KeyWish::New => Some(call.idempotency_key.renewed(revision)),
        },
        course: match key {
            KeyWish::Same => call.course.replayed(),
            KeyWish::New => Course::default(),
        },
        revision,
        deadline: if call.deadline > now { call.deadline } else { now.plus(span) },
    }
}

/// Which key goes out from now on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyWish {
    /// The one that went out before.
    Same,
    /// One that the third party has not seen.
    New,
}

impl From<bool> for KeyWish {
    fn from(new_key: bool) -> Self {
        if new_key { Self::New } else { Self::Same }
    }
}

/// The span that a row keeps. A call that was accepted after its deadline has none of its own and gets the usual one.
pub(super) fn span(micros: i64) -> Duration {
    match u64::try_from(micros) {
        Ok(micros) if micros > 0 => Duration::from_micros(micros),
        Ok(_) | Err(_) => DEADLINE_DEFAULT,
    }
}
