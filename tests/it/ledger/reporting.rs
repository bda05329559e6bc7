//! What third parties report by themselves, and the newest attempts of an endpoint.

use bytes::Bytes;
use redial::call::{
    AttemptNumber, Call, CallId, ErrorKind, Outcome, ReviewReason, Rung, Status, Trigger, Verdict,
};
use redial::endpoint::reporting::Report;
use redial::ledger::{
    Acted, Channel, Ledger, NewCall, Next, OperatorAction, Order, Record, Recorded, Settled, Settlement,
    Start,
};
use sha2::{Digest, Sha256};

use super::calls::{
    LONG, accept, attempt, claim, due, endpoint, failure, find, key, record, running, status, success,
    waiting,
};
use crate::support::database::Database;

on_both_ledgers!(
    a_word_that_it_is_done_ends_a_call_that_waits,
    a_word_that_it_failed_sends_a_waiting_call_to_review,
    a_word_during_an_attempt_is_not_lost,
    a_word_changes_nothing_that_is_settled,
    a_word_settles_no_call_of_another_endpoint,
    the_same_message_is_kept_once,
    calls_are_found_by_the_key_that_goes_out,
    the_newest_attempts_of_an_endpoint_come_first,
);

/// A third party's word on a call.
pub(crate) fn word(call: &Call, report: Report, body: &'static str) -> Settlement {
    Settlement {
        call: call.id,
        endpoint: call.endpoint.clone(),
        report,
        rule: Some("callback.rules[0]: true".to_owned()),
        body: Bytes::from_static(body.as_bytes()),
        digest: Sha256::digest(body).into(),
    }
}

async fn settle(ledger: &dyn Ledger, call: &Call, report: Report) -> Settled {
    ledger.settle(&word(call, report, "{}")).await.unwrap()
}

/// The states of a call that somebody was told of.
async fn told(ledger: &dyn Ledger, call: &Call) -> Vec<Status> {
    let notices = ledger.take_notices(Channel::ALL, 100, LONG).await.unwrap();
    notices
        .into_iter()
        .filter(|notice| notice.event.call == call.id)
        .map(|notice| notice.event.status)
        .collect()
}

async fn a_word_that_it_is_done_ends_a_call_that_waits(database: Database) {
    let ledger = database.ledger();
    let waits = accept(&*ledger, waiting("waits")).await;
    let review = NewCall { start: Start::Review(ReviewReason::Ambiguous), ..due("review") };
    let review = accept(&*ledger, review).await;
    for call in [&waits, &review] {
        let Settled::Changed(changed) = settle(&*ledger, call, Report::Done).await else {
            panic!("{call:?}")
        };
        assert_eq!(changed.state.status(), Status::Succeeded);
        assert_eq!(changed.last.as_ref().map(|last| last.verdict), Some(Verdict::Success));
        assert_eq!(*changed, find(&*ledger, call).await);
        let kept = ledger.reports(call.id).await.unwrap();
        assert_eq!((kept.len(), kept[0].report, &kept[0].body[..]), (1, Report::Done, &b"{}"[..]));
    }
}

async fn a_word_that_it_failed_sends_a_waiting_call_to_review(database: Database) {
    let ledger = database.ledger();
    let call = accept(&*ledger, waiting("call")).await;
    let Settled::Changed(changed) = settle(&*ledger, &call, Report::Failed).await else { panic!() };
    assert_eq!(changed.state.review_reason(), Some(ReviewReason::Rejected));
    let last = changed.last.clone().unwrap();
    assert_eq!(last.verdict, Verdict::Rejected);
    assert_eq!(last.error.as_deref(), Some("the third party reported that it failed"));
    assert!(told(&*ledger, &call).await.contains(&Status::Review));
}

async fn a_word_during_an_attempt_is_not_lost(database: Database) {
    let ledger = database.ledger();
    let call = running(&*ledger, "call").await;
    assert_eq!(settle(&*ledger, &call, Report::Failed).await, Settled::Busy);
    assert!(ledger.reports(call.id).await.unwrap().is_empty(), "what has to be sent again is not kept");
    assert_eq!(settle(&*ledger, &call, Report::Done).await, Settled::WhenClosed);
    assert_eq!(status(&*ledger, &call).await, Status::Running);
    let Recorded::Applied { state, .. } = record(&*ledger, failure(&call)).await else { panic!() };
    assert_eq!(state.status(), Status::Succeeded, "whoever closes the attempt ends the call");
}

async fn a_word_changes_nothing_that_is_settled(database: Database) {
    let ledger = database.ledger();
    let done = running(&*ledger, "done").await;
    drop(record(&*ledger, success(&done)).await);
    for report in [Report::Failed, Report::Done] {
        assert_eq!(settle(&*ledger, &done, report).await, Settled::Beyond(Status::Succeeded));
    }
    let review = NewCall { start: Start::Review(ReviewReason::Exhausted), ..due("review") };
    let review = accept(&*ledger, review).await;
    assert_eq!(settle(&*ledger, &review, Report::Failed).await, Settled::Beyond(Status::Review));
    assert_eq!(find(&*ledger, &review).await.state, review.state);
    assert_eq!(ledger.reports(review.id).await.unwrap().len(), 1, "it is evidence all the same");
}

async fn a_word_settles_no_call_of_another_endpoint(database: Database) {
    let ledger = database.ledger();
    let call = accept(&*ledger, waiting("call")).await;
    let foreign = Settlement { endpoint: endpoint("other"), ..word(&call, Report::Done, "{}") };
    assert_eq!(ledger.settle(&foreign).await.unwrap(), Settled::Unknown);
    assert_eq!(status(&*ledger, &call).await, Status::Scheduled);
    let nobody = Settlement { call: CallId::generate(), ..word(&call, Report::Done, "{}") };
    assert_eq!(ledger.settle(&nobody).await.unwrap(), Settled::Unknown);
}

async fn the_same_message_is_kept_once(database: Database) {
    let ledger = database.ledger();
    let call = accept(&*ledger, waiting("call")).await;
    for body in ["a", "a", "b", "a"] {
        drop(ledger.settle(&word(&call, Report::Done, body)).await.unwrap());
    }
    let kept: Vec<_> = ledger.reports(call.id).await.unwrap().into_iter().map(|kept| kept.body).collect();
    assert_eq!(kept, ["a", "b"]);
}

async fn calls_are_found_by_the_key_that_goes_out(database: Database) {
    let ledger = database.ledger();
    let plain = accept(&*ledger, waiting("order-1")).await;
    drop(accept(&*ledger, waiting("order-2")).await);
    let sms = plain.endpoint.clone();
    let found = async |name: &str| -> Vec<Call> { ledger.sent_with(&sms, &key(name)).await.unwrap() };
    assert_eq!(found("order-1").await, std::slice::from_ref(&plain));
    assert_eq!(found("order-3").await, []);
    assert_eq!(ledger.sent_with(&endpoint("other"), &key("order-1")).await.unwrap(), []);

    let order = Order::Replay { request: None, new_key: true };
    let action =
        OperatorAction { call: plain.id, actor: "ada".into(), note: String::new(), if_revision: None, order };
    let Acted::Done(replayed) = ledger.act(&action).await.unwrap() else { panic!() };
    let renewed = replayed.outgoing_key().as_str().to_owned();
    assert_eq!(found("order-1").await, [], "the third party knows it by another key now");
    assert_eq!(found(&renewed).await, [*replayed]);
}

async fn the_newest_attempts_of_an_endpoint_come_first(database: Database) {
    let ledger = database.ledger();
    let older = running(&*ledger, "older").await;
    drop(record(&*ledger, Record { next: again(Trigger::Confirm), ..failure(&older) }).await);
    let query = claim(&*ledger, &find(&*ledger, &older).await).await;
    let nothing = Outcome::Failed { kind: ErrorKind::Timeout, detail: String::new() };
    let asked = Record {
        call: query.id,
        attempt: attempt(&query, Verdict::Pending, nothing).into(),
        next: again(Trigger::Ladder),
        course: query.course.clone(),
    };
    drop(record(&*ledger, asked).await);
    let newer = running(&*ledger, "newer").await;
    drop(record(&*ledger, failure(&newer)).await);
    drop(accept(&*ledger, waiting("untried")).await);

    let sms = older.endpoint.clone();
    let found = ledger.newest_attempts(&sms, 10).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|(call, attempt)| (call, attempt.number)).collect();
    let first = AttemptNumber::FIRST;
    assert_eq!(found, [(newer.id, first), (older.id, first)], "queries are left out");
    assert_eq!(ledger.newest_attempts(&sms, 1).await.unwrap().len(), 1);
    assert!(ledger.newest_attempts(&endpoint("other"), 10).await.unwrap().is_empty());
}

const fn again(trigger: Trigger) -> Next {
    Next::Scheduled { delay: std::time::Duration::ZERO, rung: Rung::new(1), trigger }
}
