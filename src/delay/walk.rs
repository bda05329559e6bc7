//! How a delay is walked through tiers: the largest tier that fits, then the next, until due. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

/// The tiers that exist: distinct delays, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tiers(BTreeSet<Duration>);

impl Tiers {
    /// These tiers; `None` if there is none.
    pub fn new(delays: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let delays: BTreeSet<Duration> = delays.into_iter().filter(|delay| !delay.is_zero()).collect();
        (!delays.is_empty()).then_some(Self(delays))
    }

    /// All tiers, shortest first.
    pub fn iter(&self) -> impl Iterator<Item = Duration> {
        self.0.iter().copied()
    }

    /// The tier for what remains of a wait, `None` if nothing remains.
    ///
    /// The largest tier that fits. A remainder shorter than the smallest tier takes that one, so a walk ends late by at most the
    /// smallest tier. A tier that is too long by less than half the smallest one counts as fitting: every hop loses some
    /// milliseconds on its way, and without that allowance a wait of exactly one tier would be walked in many small steps.
    pub fn pick(&self, remaining: Duration) -> Option<Duration> {
        if remaining.is_zero() {
            return None;
        }
        let smallest = *self.0.first()?;
        self.0.range(..=remaining + smallest / 2).next_back().copied().or(Some(smallest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiers() -> Tiers {
        Tiers::new([1, 5, 10, 30, 60].map(Duration::from_secs)).unwrap()
    }

    #[test]
    fn the_largest_tier_that_fits_is_taken() {
        for (remaining_ms, tier) in [
            (0, None),
            (1, Some(1)),
            (999, Some(1)),
            (1_000, Some(1)),
            (4_400, Some(1)),
            (4_600, Some(5)),
            (29_998, Some(30)),
            (59_000, Some(30)),
            (90_000, Some(60)),
        ] {
            assert_eq!(
                tiers().pick(Duration::from_millis(remaining_ms)),
                tier.map(Duration::from_secs),
                "{remaining_ms}"
            );
        }
    }

    #[test]
    fn a_walk_is_never_early_and_late_by_at_most_the_smallest_tier() {
        let hop_loss = Duration::from_millis(3);
        for wait_ms in (1..200_000_u64).step_by(77) {
            let wait = Duration::from_millis(wait_ms);
            let mut walked = Duration::ZERO;
            let mut hops = 0;
            while let Some(tier) = tiers().pick(wait.saturating_sub(walked)) {
                walked += tier + hop_loss;
                hops += 1;
            }
            assert!(walked >= wait, "{wait:?} ended after {walked:?}");
            assert!(walked <= wait + Duration::from_secs(1) + hop_loss, "{wait:?} ended after {walked:?}");
            assert!(hops < 20, "{wait:?} took {hops} hops");
        }
    }
}
