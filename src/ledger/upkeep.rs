//! What the ledger does beside calls: statistics, removal of what is old, erasure of what is personal.

use std::time::Duration;

use async_trait::async_trait;

use super::Result;
use crate::call::{Call, CallId, EndpointName};
use crate::clock::Timestamp;
use crate::tally::{Kind, Tally};

/// How long finished calls are kept, and how gently they are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// A call that finished longer ago is removed with all that belongs to it; a bulk job that ended longer ago, with its list of calls.
    pub finished: Duration,
    /// The bodies of a call that finished longer ago are blanked.
    pub bodies: Duration,
    /// Calls that one step looks at, and entries that it removes from a bulk job's list.
    pub batch: usize,
    /// From one step to the next, over all processes.
    pub pause: Duration,
    /// From the end of a walk to the next one.
    pub rest: Duration,
}

/// What became of a step of retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Tidied {
    /// Another process is at it, or the pause is not over.
    NotYet,
    /// A page was looked at.
    Step {
        /// Calls that were removed.
        removed: u64,
        /// Calls whose bodies were blanked.
        blanked: u64,
        /// The pause before the next step.
        pause: Pause,
    },
}

/// The pause before the next step of retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// None: all of the page was due, so there is probably more.
    None,
    /// That between two steps.
    BetweenSteps,
    /// That between two walks: it was the last page, and no bulk job is left to be removed.
    BetweenWalks,
}

impl Retention {
    /// The pause after a page of `looked_at` calls of which `done` were due.
    pub(super) const fn pause_after(&self, looked_at: usize, done: u64, job_left: bool) -> Pause {
        let at_end = looked_at < self.batch;
        if at_end {
            if job_left { Pause::BetweenSteps } else { Pause::BetweenWalks }
        } else if done >= looked_at as u64 {
            Pause::None
        } else {
            Pause::BetweenSteps
        }
    }

    /// How long a pause is.
    pub const fn wait(&self, pause: Pause) -> Duration {
        match pause {
            Pause::None => Duration::ZERO,
            Pause::BetweenSteps => self.pause,
            Pause::BetweenWalks => self.rest,
        }
    }
}

/// Who erases, and why.
#[derive(Clone, Debug)]
pub struct Erasure {
    /// Who.
    pub actor: String,
    /// Why, in their words.
    pub note: String,
    /// Whether it is carried out.
    pub mode: ErasureMode,
}

/// Whether an erasure is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasureMode {
    /// Only counted.
    Count,
    /// Carried out.
    Erase,
}

/// What an erasure did, or would do.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct Erased {
    /// Calls that were blanked.
    pub calls: u64,
    /// Attempts of theirs that were blanked.
    pub attempts: u64,
    /// Earlier versions of their requests that were blanked.
    pub revisions: u64,
    /// Calls that are running and were left as they are.
    pub running_skipped: u64,
    /// Calls that waited and were cancelled, as they now stand.
    pub cancelled: Vec<Call>,
}

/// What was counted in one minute, over all providers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinuteTally {
    /// The minute's beginning.
    pub minute: Timestamp,
    /// What.
    pub kind: Kind,
    /// Of which sort.
    pub label: String,
    /// How many.
    pub count: u64,
}

/// What was counted of one provider of one endpoint, over all minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointTally {
    /// The endpoint's name.
    pub endpoint: String,
    /// The provider; empty where there is none.
    pub provider: String,
    /// What.
    pub kind: Kind,
    /// Of which sort.
    pub label: String,
    /// How many.
    pub count: u64,
}

/// The part of a ledger that keeps it useful and small. Every operation is one transaction of bounded size.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Adds counts to those that are there.
    async fn add_tallies(&self, tallies: &[Tally]) -> Result<()>;

    /// What was counted since a minute, by minute; of one endpoint or of all.
    async fn tallies_by_minute(
        &self,
        since: Timestamp,
        endpoint: Option<&EndpointName>,
    ) -> Result<Vec<MinuteTally>>;

    /// What was counted since a minute, by endpoint and provider; of one endpoint or of all.
    async fn tallies_by_endpoint(
        &self,
        since: Timestamp,
        endpoint: Option<&EndpointName>,
    ) -> Result<Vec<EndpointTally>>;

    /// Takes the next step of the walk over old calls, if it is time for it and nobody else takes it.
    async fn tidy(&self, retention: &Retention) -> Result<Tidied>;

    /// Blanks whatever could be personal of these calls: bodies, headers, paths, tags' values, errors. One that waits is cancelled, because it
    /// could not be sent any more, and that is logged like an operator's action. One that is running is left as it is.
    async fn erase(&self, calls: &[CallId], erasure: &Erasure) -> Result<Erased>;
}

/// The highest id that a call accepted by then can have: ids begin with their time in milliseconds (RFC 9562, 5.7).
pub(super) fn last_id_of(moment: Timestamp) -> uuid::Uuid {
    let ms = u128::try_from(moment.unix_micros().max(0) / 1_000).unwrap_or(0);
    uuid::Uuid::from_u128((ms << 80) | ((1 << 80) - 1))
}

/// The note that the log keeps of a call that was cancelled because it was erased.
pub(super) fn cancel_note(erasure: &Erasure) -> String {
    if erasure.note.is_empty() {
        return "cancelled because its content was erased".to_owned();
    }
    format!("cancelled because its content was erased: {}", erasure.note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_id_of_a_moment_lies_after_every_id_of_its_millisecond() {
        let id = CallId::generate().uuid();
        let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
        let micros = i64::try_from(seconds).unwrap() * 1_000_000 + i64::from(nanos / 1_000);
        assert!(id <= last_id_of(Timestamp::from_unix_micros(micros)));
        assert!(id > last_id_of(Timestamp::from_unix_micros(micros - 1_000)));
    }
}
