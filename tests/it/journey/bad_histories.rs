//! The checker is checked: one bad history for each invariant, and each must be refused for the right reason.

use std::time::Duration;

use redial::clock::Timestamp;
use redial::simulator::Arrival;

use super::invariants::{Faults, History, Repetition, Terms, check};
use crate::support::client::{Attempt, Story, Time};

const LADDER_MS: [u64; 2] = [1_000, 2_000];

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_micros(ms * 1_000)
}

fn attempt(number: u32, started_ms: i64, verdict: &str, status: u16) -> Attempt {
    Attempt {
        number,
        trigger: if number == 1 { "first" } else { "ladder" }.to_owned(),
        worker: "w".to_owned(),
        started_at: Time(at(started_ms)),
        duration_ms: 10,
        verdict: verdict.to_owned(),
        http_status: Some(status),
        error_kind: None,
        late: None,
    }
}

fn arrival(at_ms: u64, status: u16) -> Arrival {
    Arrival {
        at: at(i64::try_from(at_ms).unwrap()),
        since_start: Duration::from_millis(at_ms),
        answered: Some(Duration::from_millis(at_ms + 2)),
        status: Some(status),
        effect: status == 200,
        path: "/".into(),
    }
}

/// Fails twice, succeeds at the third attempt, everything in time.
fn good() -> History {
    let attempts = vec![
        attempt(1, 100, "transient", 503),
        attempt(2, 1_200, "transient", 503),
        attempt(3, 3_300, "success", 200),
    ];
    let call = Story {
        id: "id".to_owned(),
        key: "a".to_owned(),
        status: "succeeded".to_owned(),
        review_reason: None,
        attempts_made: 3,
        rung: 2,
        failure: None,
        created_at: Time(at(100)),
        attempts,
        actions: Vec::new(),
    };
    let arrivals = vec![arrival(101, 503), arrival(1_201, 503), arrival(3_301, 200)];
    History {
        confirmed: ["a".to_owned()].into(),
        calls: vec![call],
        arrivals: [("a".to_owned(), arrivals)].into(),
        keys_seen: 1,
    }
}

fn terms() -> Terms {
    Terms::new(&LADDER_MS, Faults::None, 1)
}

/// Which invariants a good history breaks after this change.
fn broken_by(terms: &Terms, change: impl FnOnce(&mut History)) -> Vec<&'static str> {
    let mut history = good();
    change(&mut history);
    let mut names: Vec<_> = check(&history, terms).iter().map(|violation| violation.invariant).collect();
    names.dedup();
    names
}

fn refused(invariant: &str, change: impl FnOnce(&mut History)) {
    let names = broken_by(&terms(), change);
    assert!(names.contains(&invariant), "{invariant} should be broken, but only these are: {names:?}");
}

fn journal(history: &mut History) -> &mut Vec<Arrival> {
    history.arrivals.get_mut("a").unwrap()
}

#[test]
fn a_good_history_is_accepted() {
    assert_eq!(broken_by(&terms(), |_| {}), Vec::<&str>::new());
}

#[test]
fn a_lost_a_doubled_and_an_invented_call_are_refused() {
    refused("I1", |history| history.confirmed.extend(["lost".to_owned()]));
    refused("I1", |history| history.calls.extend(history.calls.clone()));
    refused("I2", |history| history.confirmed.clear());
    refused("I2", |history| history.keys_seen = 2);
}

#[test]
fn gaps_and_doubles_in_attempt_numbers_are_refused() {
    refused("I4", |history| drop(history.calls[0].attempts.remove(1)));
    refused("I4", |history| history.calls[0].attempts[1].number = 1);
    refused("I4", |history| history.calls[0].attempts_made = 4);
}

#[test]
fn requests_without_an_attempt_of_their_own_are_refused() {
    refused("I5", |history| journal(history).insert(0, arrival(50, 503)));
    refused("I5", |history| journal(history).insert(1, arrival(105, 503)));
    refused("I5", |history| drop(journal(history).remove(1)));
    refused("I5", |history| history.calls[0].attempts[1].error_kind = Some("not_sent".to_owned()));
}

#[test]
fn an_attempt_after_a_success_is_refused() {
    refused("I6", |history| "success".clone_into(&mut history.calls[0].attempts[0].verdict));
    refused("I6", |history| "review".clone_into(&mut history.calls[0].status));
}

#[test]
fn attempts_that_overlap_are_refused() {
    refused("I7", |history| history.calls[0].attempts[0].duration_ms = 1_500);
}

#[test]
fn a_blind_repetition_is_refused_where_it_is_forbidden() {
    let forbidding = Terms { repetition: Repetition::Forbidden, ..terms() };
    let repeat = |history: &mut History| "ambiguous".clone_into(&mut history.calls[0].attempts[0].verdict);
    assert!(broken_by(&forbidding, repeat).contains(&"I8"));
    assert_eq!(broken_by(&terms(), repeat), Vec::<&str>::new());
}

#[test]
fn a_success_that_the_third_party_does_not_know_of_is_refused() {
    refused("I9", |history| {
        let last = journal(history).last_mut().unwrap();
        (last.status, last.effect) = (Some(503), false);
    });
}

#[test]
fn an_attempt_before_its_time_is_refused_on_either_clock() {
    refused("I11", |history| history.calls[0].attempts[1].started_at = Time(at(1_090)));
    refused("I11", |history| journal(history)[1].since_start = Duration::from_millis(1_090));
    refused("I11", |history| {
        // Taken over from its publisher: the first rung comes before the first attempt.
        history.calls[0].failure = Some(serde_json::Value::Null);
    });
}

#[test]
fn a_call_that_does_not_come_to_rest_is_refused() {
    refused("I13", |history| "scheduled".clone_into(&mut history.calls[0].status));
    refused("I13", |history| "running".clone_into(&mut history.calls[0].status));
}

#[test]
fn more_attempts_than_rungs_are_refused() {
    let short = Terms { ladder: vec![Duration::from_millis(10)], ..terms() };
    assert!(broken_by(&short, |_| {}).contains(&"I14"));
    refused("I14", |history| history.calls[0].rung = 1);
}

#[test]
fn effects_and_losses_without_a_fault_are_refused() {
    refused("I17", |history| journal(history)[0].effect = true);
    refused("I17", |history| history.calls[0].attempts[0].error_kind = Some("worker_lost".to_owned()));
    refused("I17", |history| drop(journal(history).pop()));
}

#[test]
fn a_run_in_which_too_little_succeeded_is_refused() {
    refused("activity", |history| {
        history.calls[0].status = "review".to_owned();
    });
}
