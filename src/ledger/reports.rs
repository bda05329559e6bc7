//! What third parties report of calls by themselves, and what rules are tried on: the newest attempts of an endpoint.

use async_trait::async_trait;
use bytes::Bytes;

use super::Result;
use crate::call::{Attempt, Call, CallId, EndpointName, IdempotencyKey, State, Status};
use crate::clock::Timestamp;
use crate::endpoint::reporting::Report;

/// The furthest that attempts of an endpoint are looked for: among so many of the newest calls of all endpoints.
pub(super) const LOOK_BACK_CALLS: i64 = 100_000;

/// A third party's word on one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Which call.
    pub call: CallId,
    /// The endpoint whose third party it was; it can settle no call of another.
    pub endpoint: EndpointName,
    /// What it said. [`Report::Unknown`] changes nothing and is not kept.
    pub report: Report,
    /// The rule that read it so.
    pub rule: Option<String>,
    /// The beginning of the message.
    pub body: Bytes,
    /// SHA-256 of the whole message.
    pub digest: [u8; 32],
}

/// What became of a third party's word.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Settled {
    /// It settled the call; as it now stands.
    Changed(Box<Call>),
    /// An attempt is running; whoever closes it ends the call so.
    WhenClosed,
    /// An attempt is running, which has to be closed first.
    Busy,
    /// The call is settled already, or waits for a person who decides; the word is kept as evidence.
    Beyond(Status),
    /// There is no such call at this endpoint.
    Unknown,
}

/// A third party's word as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptReport {
    /// What it said.
    pub report: Report,
    /// The rule that read it so.
    pub rule: Option<String>,
    /// The beginning of the message.
    pub body: Bytes,
    /// When it came, by the ledger's clock.
    pub received_at: Timestamp,
}

/// Reports, and what is needed to find what they are about.
#[async_trait]
pub trait ReportLedger: Send + Sync {
    /// Settles a call by a third party's word, and keeps the word.
    async fn settle(&self, settlement: &Settlement) -> Result<Settled>;

    /// The words that were kept of a call, oldest first.
    async fn reports(&self, call: CallId) -> Result<Vec<KeptReport>>;

    /// Calls of an endpoint that this key goes out with; one for each publisher who chose it.
    async fn sent_with(&self, endpoint: &EndpointName, key: &IdempotencyKey) -> Result<Vec<Call>>;

    /// Attempts of the newest calls of an endpoint, newest first; queries are left out. Calls that lie far back are not looked for.
    async fn newest_attempts(&self, endpoint: &EndpointName, limit: usize) -> Result<Vec<(CallId, Attempt)>>;
}

/// What a word does to a call that stands so: decided here, written down by the ledgers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It succeeds, at once or when its attempt is closed.
    Succeed,
    /// A person decides.
    Refuse,
    /// Nothing yet.
    Wait,
    /// Nothing.
    Nothing,
}

/// What this word does to a call in this state. A call that waits for a person stays with the person unless it is done.
pub(super) fn effect(report: Report, state: &State) -> Effect {
    match (report, state.status()) {
        (Report::Unknown, _)
        | (_, Status::Succeeded | Status::Resolved | Status::Cancelled | Status::Superseded)
        | (Report::Failed, Status::Review) => Effect::Nothing,
        (Report::Done, Status::Scheduled | Status::Running | Status::Review) => Effect::Succeed,
        (Report::Failed, Status::Scheduled) => Effect::Refuse,
        (Report::Failed, Status::Running) => Effect::Wait,
    }
}

/// The sentence that a refused call keeps.
pub(super) const REFUSED: &str = "the third party reported that it failed";

/// What is kept of a message: nothing of a call whose bodies were blanked, lest it take personal data again.
pub(super) fn kept_body<'a>(settlement: &'a Settlement, call: &Call) -> &'a [u8] {
    if call.body_erased_at.is_some() { &[] } else { &settlement.body }
}

/// The keys of submissions that this outgoing key may belong to: an operator's new key is the old one with a mark.
pub(super) fn submitted_keys(key: &IdempotencyKey) -> Vec<String> {
    let text = key.as_str();
    let unmarked = text.rsplit_once('~').filter(|(before, mark)| {
        !before.is_empty() && !mark.is_empty() && mark.bytes().all(|byte| byte.is_ascii_digit())
    });
    std::iter::once(text).chain(unmarked.map(|(before, _)| before)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::ReviewReason;

    #[test]
    fn what_is_final_stays_and_what_waits_for_a_person_only_succeeds() {
        let at = Timestamp::from_unix_micros(1);
        let scheduled = State::Scheduled { due_at: at, trigger: crate::call::Trigger::Ladder };
        let review = State::Review { reason: ReviewReason::Exhausted };
        let done = State::Succeeded { finished_at: at };
        for (report, state, wanted) in [
            (Report::Done, &scheduled, Effect::Succeed),
            (Report::Done, &review, Effect::Succeed),
            (Report::Done, &done, Effect::Nothing),
            (Report::Failed, &scheduled, Effect::Refuse),
            (Report::Failed, &review, Effect::Nothing),
            (Report::Failed, &done, Effect::Nothing),
            (Report::Unknown, &scheduled, Effect::Nothing),
        ] {
            assert_eq!(effect(report, state), wanted, "{report} {state:?}");
        }
    }

    #[test]
    fn an_outgoing_key_may_be_a_renewed_one() {
        let keys = |text: &str| submitted_keys(&IdempotencyKey::parse(text).unwrap());
        assert_eq!(keys("order-1"), ["order-1"]);
        assert_eq!(keys("order-1~12"), ["order-1~12", "order-1"]);
        assert_eq!(keys("~2"), ["~2"]);
        assert_eq!(keys("a~b"), ["a~b"]);
    }
}
