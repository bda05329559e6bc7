//! What policy has to remember of a call between its attempts.

use super::ProviderName;
use crate::clock::Timestamp;

/// What earlier attempts left behind for the decision about the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// Whether, and since when, the third party may have seen the request under its present key.
    pub arrival: Option<Arrival>,
    /// What a confirm query is to find out.
    pub question: Option<Question>,
    /// Immediate retries made since the last rung.
    pub immediate_retries: u16,
    /// Providers tried in vain since the last rung, in order.
    pub tried: Vec<ProviderName>,
    /// While an effect is unknown: the provider that may have carried the request out, the only one that can tell by the key.
    pub bound_to: Option<ProviderName>,
}

/// The third party may have seen the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it may have seen it first: from then on it remembers the key, for as long as it remembers keys.
    pub first_at: Timestamp,
    /// What came of it there.
    pub effect: Effect,
}

super::named! {
    /// What is known about the effect of requests that may have arrived.
    Effect {
        /// None: the third party said so each time.
        Refused = "refused",
        /// Nobody knows: at least one of them may have been carried out.
        Unknown = "unknown",
    }
}

/// An open question about an attempt, put to the third party by confirm queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Why it is asked.
    pub doubt: Doubt,
    /// When the doubt arose, by the clock of the process that recorded it.
    pub since: Timestamp,
    /// The provider that the doubtful attempt went to: only that one can know.
    pub provider: Option<ProviderName>,
    /// Queries that found out nothing.
    pub unanswered: u16,
    /// Queries in a row that found no trace of the request.
    pub absent: u16,
}

super::named! {
    /// Why a confirm query is made.
    Doubt {
        /// Nobody knows whether the attempt took effect.
        Ambiguous = "ambiguous",
        /// The third party took the request and has not said what came of it.
        Pending = "pending",
    }
}

impl Course {
    /// Whether some request may have been carried out without anybody knowing.
    pub fn is_doubtful(&self) -> bool {
        self.arrival.is_some_and(|arrival| arrival.effect == Effect::Unknown)
    }

    /// What remains once an operator has decided to make the call again under the same key: the third party's memory of the key.
    #[must_use]
    pub fn replayed(&self) -> Self {
        let arrival = self.arrival.map(|arrival| Arrival { effect: Effect::Refused, ..arrival });
        Self { arrival, ..Self::default() }
    }
}
