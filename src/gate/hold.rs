//! A hold: an endpoint is parked, in all processes, until something happens.

use std::time::Duration;

use super::breaker::{BreakerState, pause};
use crate::call::{EndpointName, WorkerName, named};
use crate::clock::Timestamp;
use crate::limits::{PARK_MAX, PARK_MIN};

named! {
    /// Why an endpoint is parked.
    HoldKind {
        /// An operator said so; until an operator says otherwise.
        Paused = "paused",
        /// The third party asked for a pause.
        Limited = "limited",
        /// Too many calls failed.
        Breaker = "breaker",
    }
}

/// An endpoint that is held, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The endpoint.
    pub endpoint: EndpointName,
    /// Why.
    pub kind: HoldKind,
    /// Since when.
    pub since: Timestamp,
    /// The operator, if it was one.
    pub actor: Option<String>,
    /// The operator's words, or what the third party did.
    pub note: String,
    /// Parked so often in a row, without a healthy answer between.
    pub parks: u32,
    /// How far it has got.
    pub phase: Phase,
}

/// How far a hold has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing goes out until then; `None`: until an operator resumes it. Past that time one probe may.
    Parked {
        /// By the ledger's clock.
        until: Option<Timestamp>,
    },
    /// One process makes one attempt, and has until then to say what came of it.
    Probing {
        /// Who.
        by: WorkerName,
        /// By the ledger's clock.
        until: Timestamp,
    },
    /// Calls go out again, a few at first.
    Ramping {
        /// When that began.
        since: Timestamp,
        /// When all may go out.
        until: Timestamp,
    },
}

impl Hold {
    /// Whether nothing but a probe may go out.
    pub const fn is_shut(&self) -> bool {
        match self.phase {
            Phase::Parked { .. } | Phase::Probing { .. } => true,
            Phase::Ramping { .. } => false,
        }
    }

    /// Until when it lasts, as far as that is known.
    pub const fn until(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Parked { until } => until,
            Phase::Probing { until, .. } | Phase::Ramping { until, .. } => Some(until),
        }
    }

    /// How long calls will not go out because of the third party, and so keep their rung when they fail.
    pub fn parked(&self, now: Timestamp) -> Option<Duration> {
        let by_third_party = self.is_shut() && self.kind != HoldKind::Paused;
        by_third_party.then(|| self.until().map_or(Duration::ZERO, |until| until.since(now)))
    }

    /// Whether one probe may go out: the pause is over, or the last probe was not heard of again.
    pub fn wants_probe(&self, now: Timestamp) -> bool {
        match self.phase {
            Phase::Parked { until } => until.is_some_and(|until| until <= now),
            Phase::Probing { until, .. } => until <= now,
            Phase::Ramping { .. } => false,
        }
    }

    /// Whether it has done its work.
    pub fn is_over(&self, now: Timestamp) -> bool {
        match self.phase {
            Phase::Parked { .. } | Phase::Probing { .. } => false,
            Phase::Ramping { until, .. } => until <= now,
        }
    }
}

/// Where the breaker of an endpoint stands that has one, given what holds the endpoint.
pub fn breaker_state(hold: Option<&Hold>, now: Timestamp) -> BreakerState {
    match hold.filter(|hold| hold.kind == HoldKind::Breaker && hold.is_shut()) {
        None => BreakerState::Closed,
        Some(Hold { phase: Phase::Probing { .. }, .. }) => BreakerState::HalfOpen,
        Some(hold) if hold.wants_probe(now) => BreakerState::HalfOpen,
        Some(_) => BreakerState::Open,
    }
}

/// How long to park: what the third party asked for, or else `usual`, doubled each time in a row.
pub fn park_for(asked_for: Option<Duration>, usual: Duration, parks_before: u32) -> Duration {
    let grown = pause(usual, parks_before.saturating_add(1));
    asked_for.unwrap_or(grown).clamp(PARK_MIN, PARK_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_micros(seconds * 1_000_000)
    }

    fn hold(phase: Phase) -> Hold {
        Hold {
            endpoint: EndpointName::parse("sms").unwrap(),
            kind: HoldKind::Limited,
            since: at(0),
            actor: None,
            note: String::new(),
            parks: 1,
            phase,
        }
    }

    #[test]
    fn a_probe_may_go_when_the_pause_is_over_or_the_last_one_was_lost() {
        let by = || WorkerName::parse("w").unwrap();
        for (phase, shut, wants_probe, over) in [
            (Phase::Parked { until: None }, true, false, false),
            (Phase::Parked { until: Some(at(11)) }, true, false, false),
            (Phase::Parked { until: Some(at(10)) }, true, true, false),
            (Phase::Probing { by: by(), until: at(11) }, true, false, false),
            (Phase::Probing { by: by(), until: at(10) }, true, true, false),
            (Phase::Ramping { since: at(1), until: at(11) }, false, false, false),
            (Phase::Ramping { since: at(1), until: at(10) }, false, false, true),
        ] {
            let hold = hold(phase);
            let found = (hold.is_shut(), hold.wants_probe(at(10)), hold.is_over(at(10)));
            assert_eq!(found, (shut, wants_probe, over), "{hold:?}");
        }
    }

    #[test]
    fn a_breaker_is_open_until_a_probe_may_go_and_closed_once_calls_go_out() {
        let by = WorkerName::parse("w").unwrap();
        let breaker = |phase| Hold { kind: HoldKind::Breaker, ..hold(phase) };
        let parked = |until| Phase::Parked { until: Some(at(until)) };
        for (hold, expected) in [
            (None, BreakerState::Closed),
            (Some(breaker(parked(11))), BreakerState::Open),
            (Some(breaker(parked(10))), BreakerState::HalfOpen),
            (Some(breaker(Phase::Probing { by, until: at(11) })), BreakerState::HalfOpen),
            (Some(breaker(Phase::Ramping { since: at(1), until: at(11) })), BreakerState::Closed),
            // The third party asked for a pause: that is no failure.
            (Some(hold(parked(11))), BreakerState::Closed),
        ] {
            assert_eq!(breaker_state(hold.as_ref(), at(10)), expected, "{hold:?}");
        }
    }

    #[test]
    fn what_the_third_party_asks_for_counts_and_otherwise_pauses_grow() {
        let seconds = Duration::from_secs;
        for (asked_for, parks_before, expected) in [
            (Some(seconds(2)), 5, seconds(2)),
            (Some(Duration::ZERO), 0, PARK_MIN),
            (Some(seconds(10_000_000)), 0, PARK_MAX),
            (None, 0, seconds(15)),
            (None, 1, seconds(30)),
            (None, 9, seconds(30)),
        ] {
            assert_eq!(park_for(asked_for, seconds(15), parks_before), expected);
        }
    }
}
