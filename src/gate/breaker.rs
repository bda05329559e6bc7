//! The circuit breaker. Closed: calls pass. Open: none does. Half-open: one probes, and what comes of it decides.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::call::{Verdict, named};
use crate::endpoint::protection::BreakerSettings;
use crate::limits::PARK_GROWTH_MAX;

/// What an attempt says of the third party as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is there and answers; also when it refuses this one call.
    Healthy,
    /// It is not there, or does not work.
    Failing,
}

impl Health {
    /// What a verdict says; `None` for `limited`, which parks by itself and is no failure.
    pub const fn of(verdict: Verdict) -> Option<Self> {
        match verdict {
            Verdict::Success | Verdict::Rejected | Verdict::Pending => Some(Self::Healthy),
            Verdict::Transient | Verdict::Ambiguous => Some(Self::Failing),
            Verdict::Limited => None,
        }
    }
}

/// Slices of a window: the oldest one is forgotten as a whole, so a window is longer than it says by up to a tenth.
const SLICES: u32 = 10;

/// How many calls of the last while failed.
#[derive(Clone, Debug)]
pub struct Window {
    slice: Duration,
    slices: VecDeque<Slice>,
}

#[derive(Clone, Copy, Debug)]
struct Slice {
    since: Instant,
    calls: u32,
    failures: u32,
}

impl Window {
    /// An empty window of this length.
    pub fn new(length: Duration) -> Self {
        Self { slice: (length / SLICES).max(Duration::from_millis(1)), slices: VecDeque::new() }
    }

    /// Counts a call that ended now.
    pub fn note(&mut self, health: Health, now: Instant) {
        self.forget(now);
        let current =
            self.slices.back().is_some_and(|slice| now.saturating_duration_since(slice.since) < self.slice);
        if !current {
            self.slices.push_back(Slice { since: now, calls: 0, failures: 0 });
        }
        if let Some(slice) = self.slices.back_mut() {
            slice.calls = slice.calls.saturating_add(1);
            slice.failures = slice.failures.saturating_add(u32::from(health == Health::Failing));
        }
    }

    /// Whether enough of the calls have failed.
    pub fn is_failing(&mut self, failure_rate: f64, min_calls: u32, now: Instant) -> bool {
        self.forget(now);
        let (calls, failures) = self.slices.iter().fold((0_u64, 0_u64), |(calls, failures), slice| {
            (calls + u64::from(slice.calls), failures + u64::from(slice.failures))
        });
        failures > 0 && calls >= u64::from(min_calls) && share(failures, calls) >= failure_rate
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slices.clear();
    }

    fn forget(&mut self, now: Instant) {
        let length = self.slice * SLICES;
        while self.slices.front().is_some_and(|slice| now.saturating_duration_since(slice.since) > length) {
            self.slices.pop_front();
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of one window are far below 2^52")]
fn share(failures: u64, calls: u64) -> f64 {
    failures as f64 / calls as f64
}

named! {
    /// Where a breaker stands.
    BreakerState {
        /// Calls pass.
        Closed = "closed",
        /// No call passes.
        Open = "open",
        /// One call probes, or may.
        HalfOpen = "half_open",
    }
}

/// A breaker of one process: counts, opens, lets one probe pass, closes or opens again for longer.
///
/// Ask [`Breaker::try_pass`] before a call and tell [`Breaker::note`] after it. A probe of which nothing is heard for as long as
/// the breaker was open counts as lost, and another one may pass.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    window: Window,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    /// Openings in a row, without a healthy probe between them.
    Open {
        until: Instant,
        openings: u32,
    },
    HalfOpen {
        probe_until: Instant,
        openings: u32,
    },
}

/// What a breaker has just done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has opened, for this long.
    Opened(Duration),
    /// It has closed.
    Closed,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, window: Window::new(settings.window), state: State::Closed }
    }

    /// What it was made with.
    pub const fn settings(&self) -> &BreakerSettings {
        &self.settings
    }

    /// Where it stands.
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { until, .. } if now < until => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether a call could pass now; changes nothing.
    pub fn would_pass(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { until, .. } | State::HalfOpen { probe_until: until, .. } => now >= until,
        }
    }

    /// Whether a call may pass now. When the pause is over the first one to ask is the probe.
    pub fn try_pass(&mut self, now: Instant) -> bool {
        if !self.would_pass(now) {
            return false;
        }
        match self.state {
            State::Closed => {}
            State::Open { openings, .. } | State::HalfOpen { openings, .. } => {
                let probe_until = now + pause(self.settings.open_for, openings);
                self.state = State::HalfOpen { probe_until, openings };
            }
        }
        true
    }

    /// Takes note of a call that ended now. What was sent before it opened does not move an open breaker.
    pub fn note(&mut self, health: Health, now: Instant) -> Option<Change> {
        match (self.state, health) {
            (State::Open { .. }, _) => None,
            (State::HalfOpen { .. }, Health::Healthy) => {
                self.window.clear();
                self.state = State::Closed;
                Some(Change::Closed)
            }
            (State::HalfOpen { openings, .. }, Health::Failing) => Some(self.open(openings + 1, now)),
            (State::Closed, health) => {
                self.window.note(health, now);
                let BreakerSettings { failure_rate, min_calls, .. } = self.settings;
                let failing =
                    health == Health::Failing && self.window.is_failing(failure_rate, min_calls, now);
                failing.then(|| self.open(1, now))
            }
        }
    }

    /// Opens it whatever the window says, for this long: the third party asked for a pause.
    pub fn open_for(&mut self, pause: Duration, now: Instant) {
        let openings = match self.state {
            State::Closed => 1,
            State::Open { openings, .. } | State::HalfOpen { openings, .. } => openings,
        };
        self.window.clear();
        self.state = State::Open { until: now + pause, openings };
    }

    fn open(&mut self, openings: u32, now: Instant) -> Change {
        let pause = pause(self.settings.open_for, openings);
        self.window.clear();
        self.state = State::Open { until: now + pause, openings };
        Change::Opened(pause)
    }
}

/// How long the pause is after so many in a row: each twice as long as the one before, up to [`PARK_GROWTH_MAX`] times the first.
pub fn pause(first: Duration, openings: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(openings.saturating_sub(1)).min(PARK_GROWTH_MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::monotonic;

    const SETTINGS: BreakerSettings = BreakerSettings {
        failure_rate: 0.5,
        window: Duration::from_secs(10),
        min_calls: 4,
        open_for: Duration::from_secs(5),
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// `+` healthy, `-` failing, at one moment.
    fn after(outcomes: &str, settings: BreakerSettings) -> (Breaker, Instant) {
        let (mut breaker, now) = (Breaker::new(settings), monotonic());
        for outcome in outcomes.chars() {
            let health = if outcome == '+' { Health::Healthy } else { Health::Failing };
            let _ = breaker.note(health, now);
        }
        (breaker, now)
    }

    #[test]
    fn it_opens_when_enough_of_enough_calls_have_failed() {
        for (outcomes, state) in [
            ("", BreakerState::Closed),
            ("---", BreakerState::Closed),
            ("----", BreakerState::Open),
            ("++--", BreakerState::Open),
            ("+++--", BreakerState::Closed),
            ("+++---", BreakerState::Open),
            ("++++++++", BreakerState::Closed),
        ] {
            let (breaker, now) = after(outcomes, SETTINGS);
            assert_eq!(breaker.state(now), state, "{outcomes}");
        }
    }

    #[test]
    fn what_lies_before_the_window_does_not_count() {
        let (mut breaker, now) = after("---", SETTINGS);
        assert_eq!(breaker.note(Health::Failing, now + seconds(12)), None);
        assert_eq!(breaker.state(now + seconds(12)), BreakerState::Closed);
        assert_eq!(breaker.note(Health::Failing, now + seconds(13)), None);
        assert_eq!(breaker.note(Health::Failing, now + seconds(13)), None);
        assert_eq!(breaker.note(Health::Failing, now + seconds(14)), Some(Change::Opened(seconds(5))));
    }

    #[test]
    fn one_probe_passes_when_the_pause_is_over_and_decides() {
        let (mut breaker, now) = after("----", SETTINGS);
        assert!(!breaker.try_pass(now + seconds(4)));
        let then = now + seconds(5);
        assert_eq!(breaker.state(then), BreakerState::HalfOpen);
        assert!(breaker.try_pass(then) && !breaker.try_pass(then));
        assert_eq!(breaker.note(Health::Failing, then), Some(Change::Opened(seconds(10))));
        assert!(!breaker.try_pass(then + seconds(9)) && breaker.try_pass(then + seconds(10)));
        assert_eq!(breaker.note(Health::Healthy, then + seconds(10)), Some(Change::Closed));
        assert!(breaker.try_pass(then + seconds(10)) && breaker.try_pass(then + seconds(10)));
    }

    #[test]
    fn a_probe_that_is_never_heard_of_again_is_followed_by_another() {
        let (mut breaker, now) = after("----", SETTINGS);
        assert!(breaker.try_pass(now + seconds(5)));
        assert!(!breaker.try_pass(now + seconds(9)));
        assert!(breaker.try_pass(now + seconds(10)));
    }

    #[test]
    fn late_results_do_not_move_an_open_breaker() {
        let (mut breaker, now) = after("----", SETTINGS);
        assert_eq!(breaker.note(Health::Healthy, now), None);
        assert_eq!(breaker.note(Health::Failing, now), None);
        assert_eq!(breaker.state(now), BreakerState::Open);
    }

    #[test]
    fn a_third_party_may_ask_for_a_pause() {
        let (mut breaker, now) = after("", SETTINGS);
        breaker.open_for(seconds(60), now);
        assert!(!breaker.would_pass(now + seconds(59)) && breaker.would_pass(now + seconds(60)));
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        let pauses: Vec<u64> = (1..=6).map(|openings| pause(seconds(15), openings).as_secs()).collect();
        assert_eq!(pauses, [15, 30, 30, 30, 30, 30]);
        assert_eq!(pause(seconds(1), u32::MAX), seconds(1) * PARK_GROWTH_MAX);
    }

    #[test]
    fn a_refusal_is_a_sign_of_life() {
        assert_eq!(Health::of(Verdict::Rejected), Some(Health::Healthy));
        assert_eq!(Health::of(Verdict::Ambiguous), Some(Health::Failing));
        assert_eq!(Health::of(Verdict::Limited), None);
    }

    proptest! {
        /// Whatever happens: a healthy third party is never cut off, and while it is open at most one call passes in each pause.
        #[test]
        fn an_open_breaker_lets_one_call_through_a_pause(steps in prop::collection::vec((0_u64..8_000, any::<bool>()), 1..300)) {
            let mut now = monotonic();
            let mut breaker = Breaker::new(SETTINGS);
            let mut last_probe: Option<Instant> = None;
            for (wait_ms, healthy) in steps {
                now += Duration::from_millis(wait_ms);
                let before = breaker.state(now);
                if !breaker.try_pass(now) {
                    prop_assert!(before != BreakerState::Closed);
                    continue;
                }
                if before == BreakerState::Closed {
                    last_probe = None;
                } else {
                    if let Some(last) = last_probe {
                        prop_assert!(now - last >= SETTINGS.open_for);
                    }
                    last_probe = Some(now);
                }
                let change = breaker.note(if healthy { Health::Healthy } else { Health::Failing }, now);
                if healthy {
                    prop_assert!(!matches!(change, Some(Change::Opened(_))));
                    prop_assert_eq!(breaker.state(now), BreakerState::Closed);
                }
            }
        }
    }
}
