//! What the outside is told when a call reaches an outcome.

use super::{CallId, EndpointName, IdempotencyKey, Publisher, ReviewReason, Status};
use crate::clock::Timestamp;

/// A call has reached an outcome: it is final, or it waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which call.
    pub call: CallId,
    /// Its endpoint.
    pub endpoint: EndpointName,
    /// Who handed it over.
    pub publisher: Publisher,
    /// The publisher's name for it.
    pub idempotency_key: IdempotencyKey,
    /// Where it now stands.
    pub status: Status,
    /// Why it waits for a person, if it does.
    pub review_reason: Option<ReviewReason>,
    /// Attempts made.
    pub attempts: i32,
    /// What the last attempt came to, if that was no success.
    pub last_error: Option<String>,
    /// When it got there.
    pub at: Timestamp,
}

impl Event {
    /// The event that a call's present state gives rise to.
    pub fn of(call: &super::Call) -> Self {
        Self {
            call: call.id,
            endpoint: call.endpoint.clone(),
            publisher: call.publisher.clone(),
            idempotency_key: call.idempotency_key.clone(),
            status: call.state.status(),
            review_reason: call.state.review_reason(),
            attempts: call.attempts_made.get(),
            last_error: call.last.as_ref().and_then(|last| last.error.clone()),
            at: call.updated_at,
        }
    }
}
