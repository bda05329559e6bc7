//! What one process knows of the way to one endpoint: whether it is held, how fast calls may go, how the last ones went.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::adaptive::{Adaptive, Bounds};
use super::breaker::{Health, Window};
use super::bucket::Bucket;
use super::hold::{Hold, HoldKind, Phase, park_for};
use super::ramp::{Admission, Ramp};
use crate::call::{Rung, Ticket, Verdict};
use crate::clock::Timestamp;
use crate::endpoint::Protection;
use crate::limits::{FAILURES_REMEMBERED, PARK_USUAL, RAMP_MIN_CALLS};

/// The entrance to one endpoint, as one process sees it.
#[derive(Debug, Default)]
pub struct Entrance {
    hold: Option<Held>,
    window: Option<Window>,
    bucket: Option<Bucket>,
    adaptive: Adaptive,
    /// Calls whose failures used a rung and still lie in the window.
    failures: VecDeque<(Instant, Ticket, Rung)>,
}

#[derive(Debug)]
struct Held {
    kind: HoldKind,
    parks: u32,
    stage: Stage,
    source: Source,
}

#[derive(Debug)]
enum Stage {
    Parked { until: Option<Instant> },
    Probing { until: Instant },
    Ramping(Ramp),
}

/// Where the knowledge of a hold comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// From the ledger.
    Ledger,
    /// Found here; the ledger does not know it yet.
    Here,
}

/// What the entrance says to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may go.
    Pass,
    /// Not before so long.
    Wait(Duration),
    /// The endpoint is held, as far as is known for so long.
    Shut(Option<Duration>),
}

/// What an attempt was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// For its call.
    Call,
    /// For its call, and to find out whether the endpoint can be released.
    Probe,
}

/// An endpoint that has to be parked, as found here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Why.
    pub kind: HoldKind,
    /// For how long.
    pub pause: Duration,
    /// So often in a row.
    pub parks: u32,
}

impl Entrance {
    /// Whether nothing but a probe may go, and for how long, as far as is known.
    pub fn shut(&self, now: Instant) -> Option<Option<Duration>> {
        match self.hold.as_ref()?.stage {
            Stage::Parked { until } => Some(until.map(|until| until.saturating_duration_since(now))),
            Stage::Probing { until } => Some(Some(until.saturating_duration_since(now))),
            Stage::Ramping(_) => None,
        }
    }

    /// How long calls of this endpoint will not go out because of the third party, and so keep their rung when they fail.
    pub fn parked(&self, now: Instant) -> Option<Duration> {
        let kind = self.hold.as_ref()?.kind;
        let remaining = self.shut(now)?;
        (kind != HoldKind::Paused).then(|| remaining.unwrap_or_default())
    }

    /// Asks for one call, hold and ramp only. Who may pass then needs a turn of the rate limit.
    pub fn ask(&mut self, now: Instant) -> Answer {
        if let Some(remaining) = self.shut(now) {
            return Answer::Shut(remaining);
        }
        match &mut self.hold {
            Some(Held { stage: Stage::Ramping(ramp), .. }) => match ramp.ask(now) {
                Admission::Pass => Answer::Pass,
                Admission::Wait(wait) => Answer::Wait(wait),
            },
            Some(_) | None => Answer::Pass,
        }
    }

    /// Takes the next turn of the rate limit; answers how long until it comes.
    pub fn turn(&mut self, protection: &Protection, now: Instant) -> Duration {
        self.bucket(protection).map_or(Duration::ZERO, |bucket| bucket.reserve(now))
    }

    /// Asks for one call that goes now or not at all.
    pub fn try_pass(&mut self, protection: &Protection, now: Instant) -> bool {
        self.ask(now) == Answer::Pass && self.bucket(protection).is_none_or(|bucket| bucket.try_take(now))
    }

    fn bucket(&mut self, protection: &Protection) -> Option<&mut Bucket> {
        let rate = protection.rate_limit?;
        if self.bucket.is_none_or(|bucket| !bucket.is_for(rate)) {
            self.bucket = Some(Bucket::new(rate));
        }
        self.bucket.as_mut()
    }

    /// Takes over what the ledger says. What was found here and has not been written down yet stays.
    pub fn learn(&mut self, hold: Option<&Hold>, ledger_now: Timestamp, now: Instant) {
        let Some(hold) = hold else {
            if self.hold.as_ref().is_some_and(|held| held.source == Source::Ledger) {
                self.hold = None;
            }
            return;
        };
        let pending = self.hold.as_ref().is_some_and(|held| held.source == Source::Here);
        if pending && !hold.is_shut() {
            return;
        }
        self.hold = Some(self.held(hold, ledger_now, now));
    }

    /// What was found here is written down: the ledger's word counts again.
    pub fn confirm(&mut self) {
        if let Some(held) = &mut self.hold {
            held.source = Source::Ledger;
        }
    }

    fn held(&mut self, hold: &Hold, ledger_now: Timestamp, now: Instant) -> Held {
        let at = |time: Timestamp| {
            let ago = ledger_now.since(time);
            now.checked_sub(ago).unwrap_or(now) + time.since(ledger_now)
        };
        let stage = match &hold.phase {
            Phase::Parked { until } => Stage::Parked { until: until.map(at) },
            Phase::Probing { until, .. } => Stage::Probing { until: at(*until) },
            Phase::Ramping { since, .. } => {
                if let Some(Held { stage: Stage::Ramping(ramp), .. }) = self.hold.take() {
                    Stage::Ramping(ramp)
                } else {
                    self.forget();
                    Stage::Ramping(Ramp::new(at(*since)))
                }
            }
        };
        Held { kind: hold.kind, parks: hold.parks, stage, source: Source::Ledger }
    }

    /// What came before a release says nothing about the time after it.
    fn forget(&mut self) {
        self.window = None;
        self.failures.clear();
    }

    /// Takes note of an attempt that ended now. Answers whether the endpoint has to be parked, and parks it here at once.
    pub fn note(
        &mut self,
        verdict: Verdict,
        retry_after: Option<Duration>,
        errand: Errand,
        protection: &Protection,
        now: Instant,
    ) -> Option<Finding> {
        let finding = match (verdict, Health::of(verdict), errand) {
            (Verdict::Limited, ..) => self.limited(retry_after, errand, protection, now),
            (_, Some(Health::Failing), Errand::Probe) => {
                let kind = self.hold.as_ref().map_or(HoldKind::Breaker, |held| held.kind);
                Some(self.finding(kind, None, protection))
            }
            (_, Some(health), Errand::Call) if self.shut(now).is_none() => self
                .is_failing(health, protection, now)
                .then(|| self.finding(HoldKind::Breaker, None, protection)),
            _ => None,
        }?;
        let stage = Stage::Parked { until: Some(now + finding.pause) };
        self.hold = Some(Held { kind: finding.kind, parks: finding.parks, stage, source: Source::Here });
        self.window = None;
        Some(finding)
    }

    /// A call that left before the endpoint was parked may come back with a longer pause, never with a shorter one; an operator's
    /// hold and a probe under way are not for it to change.
    fn limited(
        &self,
        retry_after: Option<Duration>,
        errand: Errand,
        protection: &Protection,
        now: Instant,
    ) -> Option<Finding> {
        let finding = self.finding(HoldKind::Limited, retry_after, protection);
        match (errand, self.hold.as_ref().map(|held| &held.stage)) {
            (Errand::Probe, _) | (Errand::Call, None | Some(Stage::Ramping(_))) => Some(finding),
            (Errand::Call, Some(Stage::Parked { until: Some(until) })) => {
                let parks = self.hold.as_ref().map_or(1, |held| held.parks);
                let longer = retry_after.is_some() && now + finding.pause > *until;
                longer.then_some(Finding { parks, ..finding })
            }
            (Errand::Call, Some(Stage::Parked { until: None } | Stage::Probing { .. })) => None,
        }
    }

    fn finding(&self, kind: HoldKind, asked_for: Option<Duration>, protection: &Protection) -> Finding {
        let before = self.hold.as_ref().map_or(0, |held| held.parks);
        let usual = protection.breaker.map_or(PARK_USUAL, |breaker| breaker.open_for);
        Finding { kind, pause: park_for(asked_for, usual, before), parks: before.saturating_add(1) }
    }

    fn is_failing(&mut self, health: Health, protection: &Protection, now: Instant) -> bool {
        let Some(settings) = protection.breaker else { return false };
        let ramping = self.hold.is_some();
        let window = self.window.get_or_insert_with(|| Window::new(settings.window));
        window.note(health, now);
        let enough = if ramping { settings.min_calls.min(RAMP_MIN_CALLS) } else { settings.min_calls };
        health == Health::Failing && window.is_failing(settings.failure_rate, enough, now)
    }

    /// Remembers that a call has used a rung for a failure, which may turn out to be the beginning of an outage. `None` of it is kept
    /// where there is no breaker.
    pub fn remember(&mut self, ticket: Ticket, rung: Rung, protection: &Protection, now: Instant) {
        let Some(settings) = protection.breaker else { return };
        while self
            .failures
            .front()
            .is_some_and(|(at, ..)| now.saturating_duration_since(*at) > settings.window)
            || self.failures.len() >= FAILURES_REMEMBERED
        {
            self.failures.pop_front();
        }
        self.failures.push_back((now, ticket, rung));
    }

    /// The calls whose failures turn out to have been the outage's: empty unless the endpoint is parked for failing.
    pub fn outage(&mut self, now: Instant) -> Vec<(Ticket, Rung)> {
        let broken = self.hold.as_ref().is_some_and(|held| held.kind == HoldKind::Breaker);
        if !broken || self.shut(now).is_none() {
            return Vec::new();
        }
        self.failures.drain(..).map(|(_, ticket, rung)| (ticket, rung)).collect()
    }

    /// An answer came after this long.
    pub fn note_answer(&mut self, took: Duration) {
        self.adaptive.note_answer(took);
    }

    /// No answer came in time.
    pub fn note_timeout(&mut self, bounds: Bounds) {
        self.adaptive.note_timeout(bounds);
    }

    /// How long the next attempt may take.
    pub fn timeout(&self, bounds: Bounds) -> Duration {
        self.adaptive.timeout(bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{AttemptNumber, CallId, EndpointName};
    use crate::clock::monotonic;
    use crate::endpoint::{BreakerSettings, RateLimit};
    use crate::limits::RAMP_FIRST;

    const LEDGER_NOW: Timestamp = Timestamp::from_unix_micros(1_000_000_000);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn protection() -> Protection {
        let breaker =
            BreakerSettings { failure_rate: 0.5, window: seconds(10), min_calls: 6, open_for: seconds(5) };
        Protection { breaker: Some(breaker), ..Protection::default() }
    }

    fn hold(kind: HoldKind, phase: Phase) -> Hold {
        Hold {
            endpoint: EndpointName::parse("sms").unwrap(),
            kind,
            since: LEDGER_NOW,
            actor: None,
            note: String::new(),
            parks: 1,
            phase,
        }
    }

    fn ticket() -> Ticket {
        Ticket { call: CallId::generate(), attempt: AttemptNumber::FIRST }
    }

    fn fail(entrance: &mut Entrance, times: usize, now: Instant) -> Option<Finding> {
        (0..times).find_map(|_| entrance.note(Verdict::Transient, None, Errand::Call, &protection(), now))
    }

    #[test]
    fn a_429_parks_at_once_for_as_long_as_it_asks() {
        let (mut entrance, now) = (Entrance::default(), monotonic());
        let limited = |entrance: &mut Entrance, asked, errand| {
            entrance.note(Verdict::Limited, asked, errand, &protection(), now)
        };
        let found = limited(&mut entrance, Some(seconds(7)), Errand::Call);
        assert_eq!(found, Some(Finding { kind: HoldKind::Limited, pause: seconds(7), parks: 1 }));
        assert_eq!(entrance.ask(now), Answer::Shut(Some(seconds(7))));
        // Others that were under way: only a longer pause counts.
        assert_eq!(limited(&mut entrance, Some(seconds(3)), Errand::Call), None);
        assert_eq!(limited(&mut entrance, None, Errand::Call), None);
        let longer = limited(&mut entrance, Some(seconds(9)), Errand::Call);
        assert_eq!(longer, Some(Finding { kind: HoldKind::Limited, pause: seconds(9), parks: 1 }));
        // The probe fails without a word about when: pauses grow.
        let again = limited(&mut entrance, None, Errand::Probe);
        assert_eq!(again, Some(Finding { kind: HoldKind::Limited, pause: seconds(10), parks: 2 }));
    }

    #[test]
    fn failures_park_when_there_are_enough_of_them_and_only_with_a_breaker() {
        let (mut entrance, now) = (Entrance::default(), monotonic());
        assert_eq!(fail(&mut entrance, 5, now), None);
        let found = fail(&mut entrance, 1, now);
        assert_eq!(found, Some(Finding { kind: HoldKind::Breaker, pause: seconds(5), parks: 1 }));
        assert_eq!(entrance.parked(now), Some(seconds(5)));
        assert_eq!(fail(&mut entrance, 50, now), None, "what was under way changes nothing");
        let mut bare = Entrance::default();
        let plain = Protection::default();
        assert!((0..100).all(|_| bare.note(Verdict::Transient, None, Errand::Call, &plain, now).is_none()));
    }

    #[test]
    fn the_failures_that_opened_the_breaker_are_the_outages() {
        let (mut entrance, now) = (Entrance::default(), monotonic());
        let (early, late) = (ticket(), ticket());
        entrance.remember(early, Rung::GROUND, &protection(), now);
        assert_eq!(entrance.outage(now + seconds(11)), [], "nothing is parked");
        entrance.remember(late, Rung::GROUND, &protection(), now + seconds(11));
        fail(&mut entrance, 6, now + seconds(11)).unwrap();
        assert_eq!(entrance.outage(now + seconds(11)), [(late, Rung::GROUND)], "the early one is none of it");
        assert_eq!(entrance.outage(now + seconds(11)), []);
    }

    #[test]
    fn a_ramp_follows_a_park_and_takes_less_to_park_again() {
        let (mut entrance, now) = (Entrance::default(), monotonic());
        fail(&mut entrance, 6, now).unwrap();
        entrance.confirm();
        let ramping = Phase::Ramping { since: LEDGER_NOW, until: LEDGER_NOW.plus(seconds(10)) };
        let ramping = hold(HoldKind::Breaker, ramping);
        entrance.learn(Some(&ramping), LEDGER_NOW, now);
        for _ in 0..RAMP_FIRST {
            assert_eq!(entrance.ask(now), Answer::Pass);
            // Told again and again, the ramp does not begin anew.
            entrance.learn(Some(&ramping), LEDGER_NOW, now);
        }
        assert_eq!(entrance.ask(now), Answer::Wait(seconds(1)));
        assert_eq!(entrance.parked(now), None);
        let found = fail(&mut entrance, 5, now);
        assert_eq!(found, Some(Finding { kind: HoldKind::Breaker, pause: seconds(10), parks: 2 }));
    }

    #[test]
    fn what_was_found_here_stays_until_the_ledger_has_it() {
        let (mut entrance, now) = (Entrance::default(), monotonic());
        fail(&mut entrance, 6, now).unwrap();
        entrance.learn(None, LEDGER_NOW, now);
        assert!(entrance.shut(now).is_some());
        entrance.confirm();
        entrance.learn(None, LEDGER_NOW, now);
        assert_eq!(entrance.ask(now), Answer::Pass);
    }

    #[test]
    fn an_operators_hold_is_shut_without_an_end_and_is_no_outage() {
        let (mut entrance, now) = (Entrance::default(), monotonic());
        entrance.learn(Some(&hold(HoldKind::Paused, Phase::Parked { until: None })), LEDGER_NOW, now);
        assert_eq!((entrance.ask(now), entrance.parked(now)), (Answer::Shut(None), None));
        let late = entrance.note(Verdict::Limited, Some(seconds(5)), Errand::Call, &protection(), now);
        assert_eq!(late, None);
    }

    #[test]
    fn a_rate_spreads_calls_evenly() {
        let (mut entrance, now) = (Entrance::default(), monotonic());
        let protection = Protection { rate_limit: RateLimit::parse("10/s"), ..Protection::default() };
        assert!(entrance.try_pass(&protection, now) && !entrance.try_pass(&protection, now));
        assert_eq!(entrance.turn(&protection, now), Duration::from_millis(100));
        assert_eq!(entrance.turn(&protection, now), Duration::from_millis(200));
        assert_eq!(entrance.turn(&Protection::default(), now), Duration::ZERO);
    }
}
