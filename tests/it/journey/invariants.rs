//! What must hold after every run, whatever was done to it: checked from three journals, those of submitter, ledger and third party.
//!
//! The numbers are those of the reliability notes: I1 accepted once, I2 nothing invented, I4 attempts without gap, I5 one request an
//! attempt, I6 nothing after a success, I7 no overlap, I8 no blind repetition, I9 success is the third party's word, I11 never early,
//! I13 everything comes to rest, I14 attempts within the ladder, I17 repeats are explained by faults.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use redial::clock::Timestamp;
use redial::simulator::{Arrival, Simulator};

use crate::support::client::{Attempt, Client, Story};

/// What two clocks of one machine, their rounding and the tolerance for early tickets may come to.
const EARLY_MAX: Duration = Duration::from_millis(5);
/// The API shows whole milliseconds: a start that is shown may lie this much before the true one, a duration too.
const ROUNDING: Duration = Duration::from_millis(2);

/// What was promised to happen in a run.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The ladder of every call.
    pub ladder: Vec<Duration>,
    /// Whether something was done to the run.
    pub faults: Faults,
    /// Whether ambiguous outcomes are repeated.
    pub repetition: Repetition,
    /// At least so many calls succeed; a run in which nothing happened proves nothing.
    pub succeed_at_least: usize,
}

/// Whether something was done to the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Faults {
    /// Nothing: no attempt is lost and no request repeated.
    None,
    /// Something.
    Some,
}

/// Whether ambiguous outcomes are repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repetition {
    /// They are.
    Allowed,
    /// A person decides first.
    Forbidden,
}

impl Terms {
    /// Terms of a run in which every call succeeds at last.
    pub(crate) fn new(ladder_ms: &[u64], faults: Faults, succeed_at_least: usize) -> Self {
        let ladder = ladder_ms.iter().copied().map(Duration::from_millis).collect();
        Self { ladder, faults, repetition: Repetition::Allowed, succeed_at_least }
    }
}

/// What happened in a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Keys whose submission was confirmed. The tests' publishers try again until it is.
    pub confirmed: BTreeSet<String>,
    /// The ledger.
    pub calls: Vec<Story>,
    /// The third party's journal, by key.
    pub arrivals: BTreeMap<String, Vec<Arrival>>,
    /// Keys that the third party saw.
    pub keys_seen: u64,
}

impl History {
    /// Reads ledger and third party.
    pub(crate) async fn gather<I>(client: &Client, third_party: &Simulator, confirmed: I) -> Self
    where
        I: IntoIterator<Item = String>,
    {
        let calls = client.stories().await;
        let arrivals = calls.iter().map(|call| (call.key.clone(), third_party.arrivals(&call.key))).collect();
        let keys_seen = third_party.summary().keys;
        let confirmed = confirmed.into_iter().collect();
        Self { confirmed, calls, arrivals, keys_seen }
    }

    /// The call under a key.
    pub(crate) fn call(&self, key: &str) -> &Story {
        self.calls.iter().find(|call| call.key == key).unwrap()
    }

    /// All attempts of all calls.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.calls.iter().flat_map(|call| &call.attempts)
    }
}

/// Something that must not be.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

/// Fails the test if anything is that must not be.
pub(crate) fn assert_hold(history: &History, terms: &Terms) {
    let violations = check(history, terms);
    let shown: Vec<String> = violations.iter().take(20).map(ToString::to_string).collect();
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), shown.join("\n"));
}

/// Everything that must not be.
pub(crate) fn check(history: &History, terms: &Terms) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    check_acceptance(history, &mut found);
    for call in &history.calls {
        let nothing = Vec::new();
        let arrivals = history.arrivals.get(&call.key).unwrap_or(&nothing);
        let case = Case { call, arrivals, terms };
        case.check_numbers(&mut found);
        case.check_requests(&mut found);
        case.check_overlap(&mut found);
        case.check_success(&mut found);
        case.check_times(&mut found);
        case.check_repeats(&mut found);
        case.check_rest(&mut found);
    }
    let succeeded = history.calls.iter().filter(|call| call.status == "succeeded").count();
    found.unless(succeeded >= terms.succeed_at_least, "activity", || {
        format!("{succeeded} calls succeeded; at least {} should have", terms.succeed_at_least)
    });
    found.0
}

struct Found(Vec<Violation>);

impl Found {
    fn unless(&mut self, holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Violation { invariant, detail: detail() });
        }
    }
}

fn check_acceptance(history: &History, found: &mut Found) {
    let mut keys = BTreeSet::new();
    for call in &history.calls {
        found.unless(keys.insert(call.key.clone()), "I1", || format!("{} is there twice", call.key));
        found.unless(history.confirmed.contains(&call.key), "I2", || {
            format!("{} is there, and nobody submitted it", call.key)
        });
    }
    for key in &history.confirmed {
        found.unless(keys.contains(key), "I1", || format!("{key} was confirmed and is not there"));
    }
    let with_arrivals = history.arrivals.values().filter(|arrivals| !arrivals.is_empty()).count();
    found.unless(history.keys_seen == with_arrivals as u64, "I2", || {
        format!("the third party saw {} keys, {with_arrivals} of them of calls", history.keys_seen)
    });
}

/// One call in all journals.
struct Case<'a> {
    call: &'a Story,
    arrivals: &'a [Arrival],
    terms: &'a Terms,
}

impl Case<'_> {
    fn told(&self, what: impl fmt::Display) -> String {
        let arrivals: Vec<_> = self.arrivals.iter().map(|one| (one.since_start, one.status)).collect();
        format!("{what}; arrivals {arrivals:?}; {:?}", self.call)
    }

    /// I4: attempts are 1..n, each closed once. I14: no more of them than the ladder allows.
    fn check_numbers(&self, found: &mut Found) {
        let numbers: Vec<u32> = self.call.attempts.iter().map(|attempt| attempt.number).collect();
        let complete = numbers.iter().copied().eq(1..=self.call.attempts_made);
        found.unless(complete, "I4", || self.told("its attempts are not 1 to n"));
        if self.call.actions.is_empty() {
            let counted = self.call.attempts.iter().filter(|attempt| attempt.verdict != "limited").count();
            let most = self.terms.ladder.len() + 1;
            found.unless(counted <= most, "I14", || self.told("it was attempted too often"));
        }
    }

    /// The attempt that a request belongs to: the last one claimed before it.
    fn attempt_of(&self, arrival: &Arrival) -> Option<&Attempt> {
        let claimed_by = arrival.at.plus(ROUNDING);
        self.call.attempts.iter().rev().find(|attempt| attempt.started_at.0 <= claimed_by)
    }

    /// I5: every request has an attempt claimed before it, and no attempt more than one request.
    fn check_requests(&self, found: &mut Found) {
        let mut seen = BTreeSet::new();
        for arrival in self.arrivals {
            let Some(attempt) = self.attempt_of(arrival) else {
                found.unless(false, "I5", || self.told("a request arrived before any attempt"));
                continue;
            };
            let once = seen.insert(attempt.number);
            found.unless(once, "I5", || self.told(format!("attempt {} arrived twice", attempt.number)));
            let unsent = matches!(attempt.error_kind.as_deref(), Some("not_sent" | "dns" | "unsendable"));
            found.unless(!unsent, "I5", || self.told("a request arrived that was not sent"));
        }
        for attempt in self.call.attempts.iter().filter(|attempt| attempt.http_status.is_some()) {
            found.unless(seen.contains(&attempt.number), "I5", || {
                self.told(format!("attempt {} has an answer to a request that never arrived", attempt.number))
            });
        }
    }

    /// I7: no attempt begins before the one before it has ended.
    fn check_overlap(&self, found: &mut Found) {
        for pair in self.call.attempts.windows(2) {
            let apart = pair[1].started_at.0.plus(ROUNDING) >= end(&pair[0]);
            found.unless(apart, "I7", || self.told(format!("attempt {} began too soon", pair[1].number)));
        }
    }

    /// I6: nothing follows a success. I9: who is called succeeded was told so by the third party.
    fn check_success(&self, found: &mut Found) {
        if !self.call.actions.is_empty() {
            return;
        }
        let recorded = self.call.attempts.iter().position(|attempt| attempt.verdict == "success");
        let last = recorded.is_none_or(|position| position + 1 == self.call.attempts.len());
        found.unless(last, "I6", || self.told("it was attempted after a success"));
        if recorded.is_some() {
            found.unless(self.call.status == "succeeded", "I6", || self.told("a success did not end it"));
        }
        if self.call.status == "succeeded" {
            let heard = self.arrivals.iter().any(|arrival| arrival.status.is_some_and(is_success));
            found.unless(heard, "I9", || self.told("the third party never said so"));
        }
    }

    /// I11: no attempt comes before its rung is over, by the ledger's clock and by the third party's.
    fn check_times(&self, found: &mut Found) {
        if !self.call.actions.is_empty() {
            return;
        }
        let attempts = &self.call.attempts;
        // Its publisher had tried before: the first rung comes before the first attempt.
        let mut rung = usize::from(self.call.failure.is_some());
        if let (Some(first), 1) = (attempts.first(), rung) {
            let due = self.call.created_at.0.plus(self.delay(0)).minus(EARLY_MAX);
            found.unless(first.started_at.0.plus(ROUNDING) >= due, "I11", || {
                self.told("attempt 1 came early")
            });
        }
        for pair in attempts.windows(2) {
            let delay = self.delay(rung);
            let due = end(&pair[0]).plus(delay).minus(EARLY_MAX);
            let on_time = pair[1].started_at.0.plus(ROUNDING) >= due && self.arrived_on_time(pair, delay);
            found.unless(on_time, "I11", || self.told(format!("attempt {} came early", pair[1].number)));
            rung += usize::from(pair[0].verdict != "limited");
        }
        let used = self.call.rung as usize;
        found.unless(used == rung || used == rung + 1, "I14", || {
            self.told("its rung does not fit its attempts")
        });
    }

    fn delay(&self, rung: usize) -> Duration {
        let last = self.terms.ladder.last().copied().unwrap_or_default();
        self.terms.ladder.get(rung).copied().unwrap_or(last)
    }

    fn arrived_on_time(&self, pair: &[Attempt], delay: Duration) -> bool {
        let arrival_of = |number| {
            let belongs =
                |arrival: &&Arrival| self.attempt_of(arrival).is_some_and(|one| one.number == number);
            self.arrivals.iter().find(belongs)
        };
        let (Some(before), Some(after)) = (arrival_of(pair[0].number), arrival_of(pair[1].number)) else {
            return true;
        };
        after.since_start + EARLY_MAX >= before.answered.unwrap_or(before.since_start) + delay
    }

    /// I8: what may have been done is not repeated blindly where that is forbidden. I17: what took effect twice was ambiguous in between.
    fn check_repeats(&self, found: &mut Found) {
        let ambiguous = self.call.attempts.iter().filter(|attempt| attempt.verdict == "ambiguous").count();
        if self.terms.repetition == Repetition::Forbidden && self.call.actions.is_empty() {
            let repeated = ambiguous > 1
                || self.call.attempts.iter().rev().skip(1).any(|attempt| attempt.verdict == "ambiguous");
            found.unless(!repeated, "I8", || self.told("an ambiguous attempt was repeated"));
        }
        let effects = self.arrivals.iter().filter(|arrival| arrival.effect).count();
        found.unless(effects <= 1 + ambiguous, "I17", || self.told("it took effect again without reason"));
        if self.terms.faults == Faults::None {
            let exact = self.arrivals.len() == self.call.attempts.len();
            found.unless(exact, "I17", || self.told("requests and attempts differ without any fault"));
            let lost = self.call.attempts.iter().any(|one| one.error_kind.as_deref() == Some("worker_lost"));
            found.unless(!lost, "I17", || self.told("a worker was lost without any fault"));
        }
    }

    /// I13: it is over, or a person decides.
    fn check_rest(&self, found: &mut Found) {
        let moving = matches!(self.call.status.as_str(), "scheduled" | "running");
        found.unless(!moving, "I13", || self.told("it has not come to rest"));
    }
}

fn end(attempt: &Attempt) -> Timestamp {
    attempt.started_at.0.plus(Duration::from_millis(attempt.duration_ms))
}

const fn is_success(status: u16) -> bool {
    matches!(status, 200..=299)
}
