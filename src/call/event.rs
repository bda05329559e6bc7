//! What the outside is told when a call reaches an outcome.

use super::{CallId, EndpointName, IdempotencyKey, Mode, ProviderName, Publisher, ReviewReason, Status};
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
    /// What the last attempt came to, if that was no success; before the first attempt, what the publisher met.
    pub last_error: Option<String>,
    /// Whether its requests leave.
    pub mode: Mode,
    /// When it got there.
    pub at: Timestamp,
}

/// A call goes to another provider because the one before failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverEvent {
    /// The call as it stands; it is no outcome.
    pub event: Event,
    /// The provider that failed.
    pub from: ProviderName,
    /// The one that it goes to.
    pub to: ProviderName,
    /// In what way the first one failed, in a word: a status, or the kind of the failure.
    pub reason: String,
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
            last_error: call.known_error().map(str::to_owned),
            mode: call.mode,
            at: call.updated_at,
        }
    }
}
