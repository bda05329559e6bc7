//! A rate: calls pass at even intervals, and each that must wait learns for how long.
//!
//! A bucket that holds more than a moment's worth of tokens would let as many calls through at once; a third party that counts by
//! the second would refuse them. So ours holds what a busy machine may oversleep, and no more.

use std::time::{Duration, Instant};

use crate::endpoint::protection::RateLimit;
use crate::limits::RATE_SLACK;

/// The tokens of one rate limit.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    interval: Duration,
    /// When the next token is there.
    next: Option<Instant>,
}

impl Bucket {
    /// A bucket with one token in it.
    pub fn new(rate: RateLimit) -> Self {
        Self { interval: rate.interval(), next: None }
    }

    /// Whether it was made for this rate.
    pub fn is_for(&self, rate: RateLimit) -> bool {
        self.interval == rate.interval()
    }

    /// Takes a token if one is there.
    pub fn try_take(&mut self, now: Instant) -> bool {
        let due = self.due(now);
        if due > now {
            return false;
        }
        self.next = Some(due + self.interval);
        true
    }

    /// Takes the next token, whoever has come before; answers how long until it is there.
    pub fn reserve(&mut self, now: Instant) -> Duration {
        let due = self.due(now);
        self.next = Some(due + self.interval);
        due.saturating_duration_since(now)
    }

    /// Tokens that nobody took are lost, but for what was overslept.
    fn due(&self, now: Instant) -> Instant {
        match self.next {
            None => now,
            Some(next) => next.max(now.checked_sub(RATE_SLACK).unwrap_or(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::monotonic;

    fn bucket(rate: &str) -> Bucket {
        Bucket::new(RateLimit::parse(rate).unwrap())
    }

    #[test]
    fn the_first_call_passes_and_the_next_waits_its_turn() {
        let (mut bucket, now) = (bucket("30/m"), monotonic());
        assert!(bucket.try_take(now) && !bucket.try_take(now));
        assert!(!bucket.try_take(now + Duration::from_millis(1_900)));
        assert!(bucket.try_take(now + Duration::from_secs(2)));
    }

    #[test]
    fn reservations_stand_in_line() {
        let (mut bucket, now) = (bucket("50/s"), monotonic());
        let waits: Vec<u128> = (0..4).map(|_| bucket.reserve(now).as_millis()).collect();
        assert_eq!(waits, [0, 20, 40, 60]);
    }

    proptest! {
        /// However calls come, no second sees more of them than the rate and the slack allow.
        #[test]
        fn no_second_sees_more_than_the_rate(
            rate in 1_u32..2_000,
            gaps in prop::collection::vec(0_u64..60_000, 1..400),
        ) {
            let mut bucket = bucket(&format!("{rate}/s"));
            let mut now = monotonic();
            let mut passed = Vec::new();
            for gap in gaps {
                now += Duration::from_micros(gap);
                passed.push(now + bucket.reserve(now));
            }
            let most = u128::from(rate) + 1 + u128::from(rate) * RATE_SLACK.as_micros() / 1_000_000 + 1;
            for (at, first) in passed.iter().enumerate() {
                let within = passed[at..].iter().take_while(|other| **other < *first + Duration::from_secs(1)).count();
                prop_assert!((within as u128) <= most, "{within} of {rate} in a second");
            }
        }
    }
}
