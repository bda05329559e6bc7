//! The ramp after a park: the first second sees a few calls, each further one twice as many, then all may pass.
//!
//! A third party that has just come back has cold caches and few connections; a backlog let loose on it would bring it down again.
//! Every worker process has a ramp of its own.

use std::time::{Duration, Instant};

use crate::limits::{RAMP_FIRST, RAMP_SECONDS};

/// A ramp that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Ramp {
    since: Instant,
    /// The second that `passed` counts, from 0.
    second: u64,
    passed: u32,
}

/// What a ramp says to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may pass, and is counted.
    Pass,
    /// Not in this second; the next one begins in so long.
    Wait(Duration),
}

impl Ramp {
    /// A ramp that began then.
    pub const fn new(since: Instant) -> Self {
        Self { since, second: 0, passed: 0 }
    }

    /// Whether everything may pass.
    pub fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since).as_secs() >= RAMP_SECONDS
    }

    /// Asks for one call.
    pub fn ask(&mut self, now: Instant) -> Admission {
        if self.is_over(now) {
            return Admission::Pass;
        }
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed.as_secs() > self.second {
            (self.second, self.passed) = (elapsed.as_secs(), 0);
        }
        if self.passed < allowed_in(self.second) {
            self.passed += 1;
            return Admission::Pass;
        }
        Admission::Wait(Duration::from_secs(self.second + 1).saturating_sub(elapsed))
    }
}

/// How many calls a second of the ramp sees.
pub fn allowed_in(second: u64) -> u32 {
    let doublings = u32::try_from(second).unwrap_or(u32::MAX).min(31);
    RAMP_FIRST.saturating_mul(2_u32.saturating_pow(doublings))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn each_second_sees_twice_as_many_as_the_one_before() {
        let start = monotonic();
        let mut ramp = Ramp::new(start);
        for second in 0..4 {
            let now = start + Duration::from_secs(second) + Duration::from_millis(300);
            let passed = (0..1_000).filter(|_| ramp.ask(now) == Admission::Pass).count();
            assert_eq!(passed, allowed_in(second) as usize, "second {second}");
            assert_eq!(ramp.ask(now), Admission::Wait(Duration::from_millis(700)));
        }
        assert_eq!(allowed_in(0), RAMP_FIRST);
    }

    #[test]
    fn it_ends() {
        let start = monotonic();
        let mut ramp = Ramp::new(start);
        let then = start + Duration::from_secs(RAMP_SECONDS);
        assert!(ramp.is_over(then) && !ramp.is_over(then.checked_sub(Duration::from_millis(1)).unwrap()));
        assert!((0..100_000).all(|_| ramp.ask(then) == Admission::Pass));
    }

    proptest! {
        /// However calls come, no second of the ramp sees more than it allows, and who waits as told is let through in the end.
        #[test]
        fn no_second_sees_more_than_it_allows(gaps in prop::collection::vec(0_u64..400, 1..600)) {
            let start = monotonic();
            let mut ramp = Ramp::new(start);
            let mut counts = std::collections::BTreeMap::<u64, u32>::new();
            let mut now = start;
            for gap in gaps {
                now += Duration::from_millis(gap);
                while let Admission::Wait(wait) = ramp.ask(now) {
                    prop_assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1));
                    now += wait;
                }
                *counts.entry((now - start).as_secs()).or_default() += 1;
            }
            for (second, count) in counts.into_iter().filter(|(second, _)| *second < RAMP_SECONDS) {
                prop_assert!(count <= allowed_in(second));
            }
        }
    }
}
