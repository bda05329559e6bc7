//! How many calls a bulk job may act on by now: an allowance that grows with time.

use std::time::{Duration, Instant};

use crate::ledger::bulk::Rate;

/// An allowance saves up for at most this long: after a pause a job does not rush.
const SAVED_MAX: Duration = Duration::from_secs(1);

/// The allowance of one job in this process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    saved: f64,
    at: Instant,
}

impl Pace {
    /// A job that begins now may act on one call at once.
    pub(super) const fn new(now: Instant) -> Self {
        Self { saved: 1.0, at: now }
    }

    /// How many calls may be acted on now.
    pub(super) fn allowance(&mut self, rate: Rate, now: Instant) -> u64 {
        let grown = rate.per_second() * now.saturating_duration_since(self.at).as_secs_f64();
        // A slow job must be able to save up for one call.
        let most = (rate.per_second() * SAVED_MAX.as_secs_f64()).max(1.0);
        self.saved = (self.saved + grown).min(most);
        self.at = now;
        whole(self.saved)
    }

    /// So many calls have been acted on.
    pub(super) fn spend(&mut self, calls: u64) {
        self.saved -= as_float(calls);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between zero and the largest rate"
)]
const fn whole(saved: f64) -> u64 {
    if saved > 0.0 { saved as u64 } else { 0 }
}

#[expect(clippy::cast_precision_loss, reason = "at most the calls of one step")]
const fn as_float(calls: u64) -> f64 {
    calls as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn an_allowance_grows_with_time_and_is_capped() {
        let start = monotonic();
        let after = |ms: u64| start + Duration::from_millis(ms);
        let rate = Rate::parse("50/s").unwrap();
        let mut pace = Pace::new(start);
        assert_eq!(pace.allowance(rate, start), 1);
        pace.spend(1);
        assert_eq!(pace.allowance(rate, after(100)), 5);
        pace.spend(5);
        assert_eq!(pace.allowance(rate, after(110)), 0);
        assert_eq!(pace.allowance(rate, after(60_000)), 50);
    }

    #[test]
    fn a_slow_job_saves_up_for_its_next_call() {
        let start = monotonic();
        let rate = Rate::parse("2/m").unwrap();
        let mut pace = Pace::new(start);
        let first = pace.allowance(rate, start);
        pace.spend(first);
        let mut acted = 0;
        for second in 1..=60 {
            let calls = pace.allowance(rate, start + Duration::from_secs(second));
            pace.spend(calls);
            acted += calls;
        }
        assert!((1..=2).contains(&acted), "{acted}");
    }
}
