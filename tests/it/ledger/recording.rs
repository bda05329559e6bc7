//! Recording: the fence, lost answers, late results.

use std::time::Duration;

use redial::call::{
    Attempt, ErrorKind, LastOutcome, Outcome, ReviewReason, Rung, State, Status, Trigger, Verdict,
};
use redial::ledger::{Next, Record, Recorded};

use super::calls::{
    accept, answered, attempt, claim, due, failure, find, given_up, lost, record, running, status, success,
    versioned,
};
use crate::support::database::Database;

on_both_ledgers!(
    a_success_ends_the_call_and_is_logged,
    a_failure_is_followed_by_what_was_asked,
    what_a_third_party_says_never_spoils_a_record,
    a_record_without_its_claim_changes_nothing,
    a_record_whose_answer_was_lost_is_applied_once,
    records_that_come_twice_in_a_batch_are_written_once,
    a_late_success_ends_a_waiting_call,
    a_late_success_ends_a_call_in_review,
    a_late_success_while_a_newer_attempt_runs_decides_when_that_is_closed,
    a_late_success_beats_a_higher_version,
    a_late_success_leaves_final_calls_alone,
    a_late_failure_is_evidence_only,
    late_evidence_is_kept_once,
    a_sweeper_that_comes_second_leaves_no_trace,
    a_batch_is_answered_in_its_order,
);

async fn logged(database: &Database, call: &redial::call::Call) -> Vec<Attempt> {
    database.ledger().story(call.id).await.unwrap().unwrap().attempts
}

async fn a_success_ends_the_call_and_is_logged(database: Database) {
    let ledger = database.ledger();
    let call = running(&*ledger, "a").await;
    let written = success(&call);
    let Recorded::Applied { state: State::Succeeded { finished_at }, wake_at: None } =
        record(&*ledger, written.clone()).await
    else {
        panic!("not succeeded");
    };
    let found = find(&*ledger, &call).await;
    assert_eq!(found.state, State::Succeeded { finished_at });
    let last = LastOutcome { verdict: Verdict::Success, http_status: Some(200), error: None };
    assert_eq!(found.last, Some(last));
    assert_eq!(logged(&database, &call).await, [Attempt::clone(&written.attempt)]);
}

async fn a_failure_is_followed_by_what_was_asked(database: Database) {
    let ledger = database.ledger();
    let call = running(&*ledger, "a").await;
    let next =
        Next::Scheduled { delay: Duration::from_secs(600), rung: Rung::new(4), trigger: Trigger::Ladder };
    let written = Record { next, ..failure(&call) };
    let Recorded::Applied { state: State::Scheduled { due_at, trigger: Trigger::Ladder }, wake_at } =
        record(&*ledger, written).await
    else {
        panic!("not scheduled");
    };
    let found = find(&*ledger, &call).await;
    assert_eq!(wake_at, Some(due_at));
    assert_eq!(due_at, found.updated_at.plus(Duration::from_secs(600)));
    assert_eq!((found.rung, found.attempts_made.get()), (Rung::new(4), 1));
    let error = Some("the third party answered 503".to_owned());
    assert_eq!(found.last, Some(LastOutcome { verdict: Verdict::Transient, http_status: Some(503), error }));

    let other = running(&*ledger, "b").await;
    let written = Record { next: Next::Review(ReviewReason::Rejected), ..failure(&other) };
    let reviewed =
        Recorded::Applied { state: State::Review { reason: ReviewReason::Rejected }, wake_at: None };
    assert_eq!(record(&*ledger, written).await, reviewed);
    assert_eq!(database.number("select count(*) from notices where channel = 'broker'").await, 1);
}

async fn what_a_third_party_says_never_spoils_a_record(database: Database) {
    let ledger = database.ledger();
    let call = running(&*ledger, "a").await;
    let outcome = Outcome::Failed { kind: ErrorKind::Malformed, detail: "\0\u{1b}[31m ü".to_owned() };
    let written = Record { attempt: attempt(&call, Verdict::Ambiguous, outcome).into(), ..failure(&call) };
    drop(record(&*ledger, written).await);
    let outcome = Outcome::Failed { kind: ErrorKind::Malformed, detail: "\u{fffd}\u{1b}[31m ü".to_owned() };
    assert_eq!(logged(&database, &call).await[0].outcome, outcome);
}

async fn a_record_without_its_claim_changes_nothing(database: Database) {
    let ledger = database.ledger();
    let call = running(&*ledger, "a").await;
    let claim = redial::call::ClaimNumber::new(7);
    let attempt = Attempt { claim, ..attempt(&call, Verdict::Success, answered(200)) };
    let forged = Record { attempt: attempt.into(), ..success(&call) };
    assert_eq!(record(&*ledger, forged).await, Recorded::ClaimLost { closed: false });
    assert_eq!(find(&*ledger, &call).await, call);
    let unknown = Record { call: redial::call::CallId::generate(), ..success(&call) };
    assert_eq!(record(&*ledger, unknown).await, Recorded::ClaimLost { closed: false });
    assert_eq!(database.number("select count(*) from attempts").await, 0);
}

async fn a_record_whose_answer_was_lost_is_applied_once(database: Database) {
    let ledger = database.ledger();
    let call = running(&*ledger, "a").await;
    let first = record(&*ledger, failure(&call)).await;
    assert_eq!(record(&*ledger, failure(&call)).await, first);
    let ended = running(&*ledger, "b").await;
    let first = record(&*ledger, success(&ended)).await;
    assert_eq!(record(&*ledger, success(&ended)).await, first);
    assert_eq!(database.number("select count(*) from attempts").await, 2);
}

async fn records_that_come_twice_in_a_batch_are_written_once(database: Database) {
    let ledger = database.ledger();
    let call = running(&*ledger, "a").await;
    let answers = ledger.record(&[failure(&call), failure(&call)]).await.unwrap();
    assert_eq!(answers[0], answers[1]);
    assert_eq!(logged(&database, &call).await.len(), 1);
}

async fn a_late_success_ends_a_waiting_call(database: Database) {
    let ledger = database.ledger();
    let call = lost(&*ledger, "a").await;
    assert_eq!(ledger.expired_leases(10).await.unwrap(), std::slice::from_ref(&call));
    drop(record(&*ledger, given_up(&call)).await);
    assert_eq!(status(&*ledger, &call).await, Status::Scheduled);
    assert_eq!(record(&*ledger, success(&call)).await, Recorded::ClaimLost { closed: true });
    let found = find(&*ledger, &call).await;
    assert_eq!(found.state.status(), Status::Succeeded);
    assert_eq!(
        found.last,
        Some(LastOutcome { verdict: Verdict::Success, http_status: Some(200), error: None })
    );
    let attempts = logged(&database, &call).await;
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].verdict, Verdict::Ambiguous);
    assert_eq!(attempts[0].late.as_ref().unwrap().verdict, Verdict::Success);
    assert_eq!(attempts[0].outcome, answered(200), "the answer is kept");
    assert!(attempts[0].request.is_some(), "so is what was sent");
}

async fn a_late_success_ends_a_call_in_review(database: Database) {
    let ledger = database.ledger();
    let call = lost(&*ledger, "a").await;
    drop(record(&*ledger, Record { next: Next::Review(ReviewReason::Ambiguous), ..given_up(&call) }).await);
    assert_eq!(record(&*ledger, success(&call)).await, Recorded::ClaimLost { closed: true });
    assert_eq!(status(&*ledger, &call).await, Status::Succeeded);
}

async fn a_late_success_while_a_newer_attempt_runs_decides_when_that_is_closed(database: Database) {
    let ledger = database.ledger();
    let old = lost(&*ledger, "a").await;
    drop(record(&*ledger, given_up(&old)).await);
    let newer = claim(&*ledger, &find(&*ledger, &old).await).await;
    assert_eq!(record(&*ledger, success(&old)).await, Recorded::ClaimLost { closed: false });
    assert_eq!(find(&*ledger, &old).await.state, newer.state, "its request may be about to leave");
    let Recorded::Applied { state, .. } = record(&*ledger, failure(&newer)).await else { panic!() };
    assert_eq!(state.status(), Status::Succeeded);
    let verdicts: Vec<_> = logged(&database, &old).await.iter().map(|attempt| attempt.verdict).collect();
    assert_eq!(verdicts, [Verdict::Ambiguous, Verdict::Transient]);
}

async fn a_late_success_beats_a_higher_version(database: Database) {
    let ledger = database.ledger();
    let call = accept(&*ledger, versioned("a", "deal", 1)).await;
    let old = claim(&*ledger, &call).await;
    drop(record(&*ledger, given_up(&old)).await);
    let newer = claim(&*ledger, &find(&*ledger, &old).await).await;
    drop(accept(&*ledger, versioned("b", "deal", 2)).await);
    drop(record(&*ledger, success(&old)).await);
    drop(accept(&*ledger, versioned("c", "deal", 3)).await);
    drop(record(&*ledger, failure(&newer)).await);
    assert_eq!(status(&*ledger, &call).await, Status::Succeeded);
}

async fn a_late_success_leaves_final_calls_alone(database: Database) {
    let ledger = database.ledger();
    let call = accept(&*ledger, versioned("a", "deal", 1)).await;
    let old = claim(&*ledger, &call).await;
    drop(record(&*ledger, given_up(&old)).await);
    drop(accept(&*ledger, versioned("b", "deal", 2)).await);
    let before = find(&*ledger, &call).await;
    assert_eq!(before.state.status(), Status::Superseded);
    assert_eq!(record(&*ledger, success(&old)).await, Recorded::ClaimLost { closed: false });
    assert_eq!(find(&*ledger, &call).await, before);
    assert!(logged(&database, &call).await[0].late.is_some(), "the evidence is kept all the same");
}

async fn a_late_failure_is_evidence_only(database: Database) {
    let ledger = database.ledger();
    let old = lost(&*ledger, "a").await;
    drop(record(&*ledger, given_up(&old)).await);
    let before = find(&*ledger, &old).await;
    assert_eq!(record(&*ledger, failure(&old)).await, Recorded::ClaimLost { closed: false });
    let outcome = Outcome::Failed { kind: ErrorKind::Timeout, detail: String::new() };
    assert_eq!(find(&*ledger, &old).await, before);
    assert_eq!(logged(&database, &old).await[0].late.as_ref().unwrap().verdict, Verdict::Transient);

    let silent = lost(&*ledger, "b").await;
    drop(record(&*ledger, given_up(&silent)).await);
    let late = Record { attempt: attempt(&silent, Verdict::Ambiguous, outcome).into(), ..failure(&silent) };
    assert_eq!(record(&*ledger, late).await, Recorded::ClaimLost { closed: false });
    assert_eq!(logged(&database, &silent).await[0].late.as_ref().unwrap().verdict, Verdict::Ambiguous);
}

async fn late_evidence_is_kept_once(database: Database) {
    let ledger = database.ledger();
    let old = lost(&*ledger, "a").await;
    drop(record(&*ledger, given_up(&old)).await);
    drop(record(&*ledger, failure(&old)).await);
    let kept = logged(&database, &old).await;
    assert_eq!(record(&*ledger, success(&old)).await, Recorded::ClaimLost { closed: false });
    assert_eq!(logged(&database, &old).await, kept);
    assert_eq!(status(&*ledger, &old).await, Status::Scheduled);
}

async fn a_sweeper_that_comes_second_leaves_no_trace(database: Database) {
    let ledger = database.ledger();
    let call = lost(&*ledger, "a").await;
    let answers = ledger.record(&[success(&call), given_up(&call)]).await.unwrap();
    assert_eq!(answers[1], Recorded::ClaimLost { closed: false });
    assert_eq!(logged(&database, &call).await, [Attempt::clone(&success(&call).attempt)]);

    let other = lost(&*ledger, "b").await;
    drop(record(&*ledger, given_up(&other)).await);
    assert_eq!(record(&*ledger, given_up(&other)).await, Recorded::ClaimLost { closed: false });
    assert!(logged(&database, &other).await[0].late.is_none());
}

async fn a_batch_is_answered_in_its_order(database: Database) {
    let ledger = database.ledger();
    let mut records = Vec::new();
    for name in ["a", "b", "c"] {
        records.insert(0, success(&running(&*ledger, name).await));
    }
    let stuck = accept(&*ledger, due("d")).await;
    let stuck = claim(&*ledger, &stuck).await;
    records.insert(1, Record { next: Next::Review(ReviewReason::Exhausted), ..failure(&stuck) });
    let answers = ledger.record(&records).await.unwrap();
    let states: Vec<_> = answers
        .iter()
        .map(|answer| match answer {
            Recorded::Applied { state, .. } => state.status(),
            Recorded::ClaimLost { .. } => panic!("{answer:?}"),
        })
        .collect();
    assert_eq!(states, [Status::Succeeded, Status::Review, Status::Succeeded, Status::Succeeded]);
}
