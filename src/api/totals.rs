//! The totals, counted once for all who ask, and how fast they grow.
//!
//! Counting a million calls takes PostgreSQL half a second or so, and a dashboard asks every two. So a count is shared: it serves for ten times as long as it
//! took, and whoever comes while one is being made waits for it. A small ledger is counted anew for everybody, a large one at a
//! tenth of a processor at most. What is shown is always a true count of one moment, never an estimate; `at` says which.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::stats::minutes_before;
use crate::call::{Status, Verdict};
use crate::clock::{Timestamp, monotonic};
use crate::ledger::{Ledger, Result, Totals};
use crate::tally::{Counts, minute_of};

/// A count serves for this many times as long as it took.
const WORTH: u32 = 10;
/// No count serves for longer.
const AGE_MAX: Duration = Duration::from_secs(15);
/// Rates over less than this say nothing.
const SPAN_MIN: Duration = Duration::from_secs(1);

/// A count of one moment.
#[derive(Clone, Debug)]
pub struct Counted {
    /// The moment.
    pub at: Timestamp,
    /// What was counted.
    pub totals: Totals,
    /// Attempts and successes per second since an earlier count, at the first one over the last minute; `None`: not known.
    pub rates: Option<(f64, f64)>,
}

/// The count that is shared.
#[derive(Debug, Default)]
pub struct SharedTotals(Mutex<Option<Shared>>);

#[derive(Debug)]
struct Shared {
    counted: Arc<Counted>,
    serves_until: Instant,
    /// What rates are counted from: the last count that lay far enough back.
    base: Look,
}

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    attempts: u64,
    succeeded: u64,
}

impl SharedTotals {
    /// The present count.
    ///
    /// # Errors
    /// [`crate::ledger::LedgerError`]
    pub async fn get(&self, ledger: &dyn Ledger) -> Result<Arc<Counted>> {
        // Held while the ledger counts: those who come meanwhile share what it finds.
        let mut shared = self.0.lock().await;
        let began = monotonic();
        if let Some(shared) = shared.as_ref().filter(|shared| began < shared.serves_until) {
            return Ok(Arc::clone(&shared.counted));
        }
        let at = Timestamp::now();
        let totals = ledger.totals().await?;
        let now = monotonic();
        let look = Look { at: now, attempts: totals.attempts, succeeded: count(&totals, Status::Succeeded) };
        let (base, rates) = match shared.as_ref() {
            None => (look, of_the_last_minute(ledger, at).await),
            Some(before) => match rates(before.base, look) {
                Some(rates) => (look, Some(rates)),
                None => (before.base, before.counted.rates),
            },
        };
        let counted = Arc::new(Counted { at, totals, rates });
        let serves_until = now + serves(now.saturating_duration_since(began));
        *shared = Some(Shared { counted: Arc::clone(&counted), serves_until, base });
        Ok(counted)
    }
}

/// Attempts and successes per second in this minute and the one before, as the statistics have them.
async fn of_the_last_minute(ledger: &dyn Ledger, now: Timestamp) -> Option<(f64, f64)> {
    let since = minutes_before(minute_of(now), 1);
    let mut counts = Counts::default();
    for tally in ledger.tallies_by_minute(since, None).await.ok()? {
        counts.add(tally.kind, &tally.label, tally.count);
    }
    let succeeded = counts.by_verdict.get(&Verdict::Success).copied().unwrap_or(0);
    let seconds = now.since(since).as_secs_f64();
    Some((as_float(counts.attempts()) / seconds, as_float(succeeded) / seconds))
}

/// How long a count serves that took so long.
fn serves(took: Duration) -> Duration {
    (took * WORTH).min(AGE_MAX)
}

/// Attempts and successes per second between two looks that are far enough apart.
fn rates(before: Look, now: Look) -> Option<(f64, f64)> {
    let span = now.at.saturating_duration_since(before.at);
    if span < SPAN_MIN {
        return None;
    }
    let per_second = |now: u64, before: u64| as_float(now.saturating_sub(before)) / span.as_secs_f64();
    Some((per_second(now.attempts, before.attempts), per_second(now.succeeded, before.succeeded)))
}

/// How many calls stand in this state.
pub fn count(totals: &Totals, status: Status) -> u64 {
    totals.by_status.iter().find(|(name, _)| *name == status).map_or(0, |(_, count)| *count)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn as_float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_serves_for_as_long_as_it_is_worth() {
        for (took_ms, serves_ms) in [(0, 0), (2, 20), (300, 3_000), (1_500, 15_000), (60_000, 15_000)] {
            assert_eq!(serves(Duration::from_millis(took_ms)), Duration::from_millis(serves_ms));
        }
    }

    #[test]
    fn rates_are_counted_over_a_second_or_more() {
        let before = Look { at: monotonic(), attempts: 10, succeeded: 5 };
        let after = |ms| Look { at: before.at + Duration::from_millis(ms), attempts: 30, succeeded: 6 };
        assert_eq!(rates(before, after(999)), None);
        assert_eq!(rates(before, after(2_000)), Some((10.0, 0.5)));
        assert_eq!(rates(before, Look { attempts: 0, ..after(1_000) }), Some((0.0, 1.0)));
    }
}
