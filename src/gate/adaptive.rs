//! How long an attempt may take, learned from how long the last ones took.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits::{ADAPTIVE_ANSWERS, ADAPTIVE_ANSWERS_MIN, ADAPTIVE_INITIAL};

/// How long the last answers took, in seconds.
#[derive(Clone, Debug, Default)]
pub struct Adaptive(VecDeque<f64>);

/// The bounds of an adaptive timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Never shorter.
    pub floor: Duration,
    /// Never longer.
    pub ceiling: Duration,
}

impl Adaptive {
    /// An answer came after this long.
    pub fn note_answer(&mut self, took: Duration) {
        if self.0.len() >= ADAPTIVE_ANSWERS {
            self.0.pop_front();
        }
        self.0.push_back(took.as_secs_f64());
    }

    /// No answer came in time. It counts as one that took as long as it ever may: otherwise a third party that becomes slower
    /// than the timeout would be cut off for ever, because only quick answers were ever seen.
    pub fn note_timeout(&mut self, bounds: Bounds) {
        self.note_answer(bounds.ceiling);
    }

    /// The timeout of the next attempt: mean and twice the standard deviation, within the bounds.
    pub fn timeout(&self, bounds: Bounds) -> Duration {
        let learned = if self.0.len() < ADAPTIVE_ANSWERS_MIN {
            ADAPTIVE_INITIAL
        } else {
            Duration::try_from_secs_f64(self.mean_and_two_sigma()).unwrap_or(bounds.ceiling)
        };
        learned.max(bounds.floor).min(bounds.ceiling)
    }

    fn mean_and_two_sigma(&self) -> f64 {
        let count = f64::from(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        let mean = self.0.iter().sum::<f64>() / count;
        let variance = self.0.iter().map(|took| (took - mean).powi(2)).sum::<f64>() / count;
        2.0_f64.mul_add(variance.sqrt(), mean)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { floor: Duration::from_millis(500), ceiling: Duration::from_secs(5) };

    fn after(answers_ms: impl IntoIterator<Item = u64>) -> Adaptive {
        let mut adaptive = Adaptive::default();
        for answer in answers_ms {
            adaptive.note_answer(Duration::from_millis(answer));
        }
        adaptive
    }

    #[test]
    fn it_begins_with_two_seconds_and_learns() {
        for (answers, expected_ms) in [
            (vec![], 2_000),
            (vec![10; 9], 2_000),
            (vec![10; 10], 500),
            (vec![1_000; 100], 1_000),
            // Half at 0.5 s, half at 1.5 s: mean 1 s, sigma 0.5 s.
            ([500, 1_500].repeat(50), 2_000),
            (vec![9_000; 100], 5_000),
        ] {
            assert_eq!(
                after(answers.clone()).timeout(BOUNDS),
                Duration::from_millis(expected_ms),
                "{answers:?}"
            );
        }
    }

    #[test]
    fn old_answers_are_forgotten() {
        let mut adaptive = after([4_000; 100]);
        for _ in 0..100 {
            adaptive.note_answer(Duration::from_millis(800));
        }
        assert_eq!(adaptive.timeout(BOUNDS), Duration::from_millis(800));
    }

    #[test]
    fn timeouts_let_it_grow_again() {
        let mut adaptive = after([100; 100]);
        assert_eq!(adaptive.timeout(BOUNDS), BOUNDS.floor);
        let mut before = adaptive.timeout(BOUNDS);
        for _ in 0..50 {
            adaptive.note_timeout(BOUNDS);
            let now = adaptive.timeout(BOUNDS);
            assert!(now >= before);
            before = now;
        }
        assert_eq!(before, BOUNDS.ceiling);
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bounds(answers in prop::collection::vec(0_u64..20_000, 0..300)) {
            let timeout = after(answers).timeout(BOUNDS);
            prop_assert!((BOUNDS.floor..=BOUNDS.ceiling).contains(&timeout));
        }
    }
}
