//! Tallies: what was attempted and accepted, counted by minute, endpoint and provider.
//!
//! Counted in memory where it happens and added to the ledger every few seconds by `upkeep`; a process that is killed loses what it
//! had not added yet, which statistics can bear and calls could not. Dry runs are not counted. No I/O here.

mod counts;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::call::{Attempt, EndpointName, named};
use crate::clock::Timestamp;
use crate::limits::TALLY_KEYS_MAX;

pub use counts::{BUCKETS_MS, Counts, bucket_label};

/// A minute, in microseconds.
const MINUTE_US: i64 = 60 * 1_000_000;

named! {
    /// What a tally counts.
    Kind {
        /// Attempts, by verdict.
        Verdict = "verdict",
        /// Attempts that were no success, by HTTP status or kind of failure.
        Error = "error",
        /// Attempts, by the bucket of their duration.
        Latency = "latency",
        /// What attempts cost, in millionths.
        Cost = "cost",
        /// Calls that were accepted.
        Accepted = "accepted",
    }
}

/// One count that is to be added to the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The minute's beginning.
    pub minute: Timestamp,
    /// The endpoint.
    pub endpoint: EndpointName,
    /// The provider; empty where there is none.
    pub provider: String,
    /// What is counted.
    pub kind: Kind,
    /// Of which sort: a verdict, a status, a bucket; empty where there is one sort only.
    pub label: String,
    /// How many.
    pub count: u64,
}

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    minute: Timestamp,
    endpoint: EndpointName,
    provider: Option<String>,
}

/// The tallies of a process that the ledger has not got yet. Cheap to clone: all clones count into the same place.
#[derive(Clone, Debug, Default)]
pub struct Tallies(Arc<Mutex<HashMap<Key, Counts>>>);

impl Tallies {
    /// Counts an attempt that ended at `now`.
    pub fn attempt(&self, endpoint: &EndpointName, attempt: &Attempt, now: Timestamp) {
        self.count(
            endpoint,
            attempt.choice.as_ref().map(|choice| choice.provider.to_string()),
            now,
            |counts| counts.attempt(attempt),
        );
    }

    /// Counts a call that was accepted at `now`.
    pub fn accepted(&self, endpoint: &EndpointName, now: Timestamp) {
        self.count(endpoint, None, now, |counts| counts.accepted += 1);
    }

    fn count(
        &self,
        endpoint: &EndpointName,
        provider: Option<String>,
        now: Timestamp,
        add: impl FnOnce(&mut Counts),
    ) {
        let key = Key { minute: minute_of(now), endpoint: endpoint.clone(), provider };
        // Held for a few additions, never across an await.
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The ledger has been away for hours: what no longer fits is not counted, because calls matter and statistics do not.
        if counted.len() < TALLY_KEYS_MAX || counted.contains_key(&key) {
            add(counted.entry(key).or_default());
        }
    }

    /// Takes what has been counted since it was taken last.
    pub fn take(&self) -> Vec<Tally> {
        let counted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut counted: Vec<(Key, Counts)> = counted.into_iter().collect();
        // In one order, so that processes that add at the same moment do not wait for each other in a circle.
        counted.sort_by(|(a, _), (b, _)| a.cmp(b));
        counted.into_iter().flat_map(|(key, counts)| tallies_of(&key, &counts)).collect()
    }

    /// Puts back what could not be added to the ledger.
    pub fn put_back(&self, tallies: Vec<Tally>) {
        for tally in tallies {
            let provider = (!tally.provider.is_empty()).then_some(tally.provider);
            self.count(&tally.endpoint, provider, tally.minute, |counts| {
                counts.add(tally.kind, &tally.label, tally.count);
            });
        }
    }
}

fn tallies_of(key: &Key, counts: &Counts) -> Vec<Tally> {
    let tally = |(kind, label, count)| Tally {
        minute: key.minute,
        endpoint: key.endpoint.clone(),
        provider: key.provider.clone().unwrap_or_default(),
        kind,
        label,
        count,
    };
    counts.rows().into_iter().map(tally).collect()
}

/// The beginning of the minute that a moment lies in.
pub const fn minute_of(moment: Timestamp) -> Timestamp {
    Timestamp::from_unix_micros(moment.unix_micros().div_euclid(MINUTE_US) * MINUTE_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_begins_at_its_first_microsecond() {
        for (moment, minute) in [(0, 0), (MINUTE_US - 1, 0), (MINUTE_US, MINUTE_US), (-1, -MINUTE_US)] {
            let found = minute_of(Timestamp::from_unix_micros(moment));
            assert_eq!(found, Timestamp::from_unix_micros(minute), "{moment}");
        }
    }

    #[test]
    fn what_was_counted_is_taken_once_and_can_be_put_back() {
        let (tallies, sms) = (Tallies::default(), EndpointName::parse("sms").unwrap());
        let later = Timestamp::from_unix_micros(MINUTE_US + 5);
        for now in [Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH, later] {
            tallies.accepted(&sms, now);
        }
        let taken = tallies.take();
        let counts: Vec<_> = taken.iter().map(|tally| (tally.minute.unix_micros(), tally.count)).collect();
        assert_eq!(counts, [(0, 2), (MINUTE_US, 1)]);
        assert!(tallies.take().is_empty());
        tallies.put_back(taken.clone());
        assert_eq!(tallies.take(), taken);
    }

    #[test]
    fn memory_is_bounded_while_the_ledger_is_away() {
        let (tallies, sms) = (Tallies::default(), EndpointName::parse("sms").unwrap());
        for minute in 0..i64::try_from(TALLY_KEYS_MAX).unwrap() + 7 {
            tallies.accepted(&sms, Timestamp::from_unix_micros(minute * MINUTE_US));
        }
        assert_eq!(tallies.take().len(), TALLY_KEYS_MAX);
    }
}
