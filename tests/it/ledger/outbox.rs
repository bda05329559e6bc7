//! Notices: what is written for whom, and how it is taken.

use std::time::Duration;

use redial::call::{Event, Failure, ReviewReason, Status, Submission};
use redial::ledger::{
    Channel, Ledger, NewCall, Next, Notice, OperatorAction, Order, Record, SetAside, Start,
};

use super::calls::{
    LONG, accept, claim, due, due_with, failure, find, given_up, lost, next_ticket, record, submission,
    success, versioned,
};
use crate::support::database::Database;
use crate::support::wait_for;

on_both_ledgers!(
    every_outcome_is_told_to_whom_it_concerns,
    a_notice_keeps_the_event_of_its_moment,
    before_the_first_attempt_a_notice_tells_what_the_publisher_met,
    a_notice_is_taken_once_and_again_later,
    a_channel_takes_only_its_own,
    of_many_takers_each_notice_goes_to_one,
    what_was_told_is_forgotten,
);

const BOTH: &[Channel] = &[Channel::Broker, Channel::Callback];

async fn take(ledger: &dyn Ledger) -> Vec<Notice> {
    ledger.take_notices(BOTH, 100, LONG).await.unwrap()
}

fn with_callback(name: &str) -> NewCall {
    due_with(called_back(submission(name)))
}

fn called_back(submission: Submission) -> Submission {
    Submission { callback_url: Some("https://shop.example/redial".parse().unwrap()), ..submission }
}

/// Who is told what since the last look.
async fn told(ledger: &dyn Ledger) -> Vec<(Channel, Status)> {
    let mut told: Vec<_> =
        take(ledger).await.iter().map(|notice| (notice.channel, notice.event.status)).collect();
    told.sort_unstable();
    told
}

async fn every_outcome_is_told_to_whom_it_concerns(database: Database) {
    let ledger = database.ledger();
    let (broker, callback) = (Channel::Broker, Channel::Callback);
    let action = |call: &redial::call::Call, order| OperatorAction {
        call: call.id,
        actor: "ada".into(),
        note: String::new(),
        if_revision: None,
        order,
    };

    // Without a callback only reviews are told; a call that goes on is no outcome.
    let quiet = claim(&*ledger, &accept(&*ledger, due("quiet")).await).await;
    drop(record(&*ledger, failure(&quiet)).await);
    assert_eq!(told(&*ledger).await, []);
    let again = claim(&*ledger, &find(&*ledger, &quiet).await).await;
    drop(record(&*ledger, Record { next: Next::Review(ReviewReason::Exhausted), ..failure(&again) }).await);
    assert_eq!(told(&*ledger).await, [(broker, Status::Review)]);
    drop(ledger.act(&action(&quiet, Order::Resolve)).await.unwrap());
    assert_eq!(told(&*ledger).await, []);

    let call = claim(&*ledger, &accept(&*ledger, with_callback("done")).await).await;
    drop(record(&*ledger, success(&call)).await);
    assert_eq!(told(&*ledger).await, [(callback, Status::Succeeded)]);

    let start = Start::Review(ReviewReason::Ambiguous);
    let call = accept(&*ledger, NewCall { start, ..with_callback("reviewed") }).await;
    assert_eq!(told(&*ledger).await, [(broker, Status::Review), (callback, Status::Review)]);
    drop(ledger.act(&action(&call, Order::Cancel)).await.unwrap());
    assert_eq!(told(&*ledger).await, [(callback, Status::Cancelled)]);

    let call = accept(&*ledger, with_callback("aside")).await;
    let order = SetAside { ticket: next_ticket(&call), reason: ReviewReason::Unroutable };
    drop(ledger.set_aside(&[order]).await.unwrap());
    assert_eq!(told(&*ledger).await, [(broker, Status::Review), (callback, Status::Review)]);
    drop(ledger.act(&action(&call, Order::Resolve)).await.unwrap());
    assert_eq!(told(&*ledger).await, [(callback, Status::Resolved)]);

    let old = versioned("old", "deal", 1);
    let old = NewCall { submission: called_back(old.submission.clone()), ..old };
    drop(accept(&*ledger, old).await);
    drop(accept(&*ledger, versioned("new", "deal", 2)).await);
    assert_eq!(told(&*ledger).await, [(broker, Status::Superseded), (callback, Status::Superseded)]);

    let late = accept(&*ledger, with_callback("late")).await;
    let wish = redial::ledger::ClaimWish { lease: Duration::ZERO, ..super::calls::wish(&late) };
    let Some(redial::ledger::Claimed::Won(late)) = ledger.claim(&[wish]).await.unwrap().pop() else {
        panic!()
    };
    drop(record(&*ledger, given_up(&late)).await);
    drop(record(&*ledger, success(&late)).await);
    assert_eq!(told(&*ledger).await, [(callback, Status::Succeeded)]);
}

async fn a_notice_keeps_the_event_of_its_moment(database: Database) {
    let ledger = database.ledger();
    let call = claim(&*ledger, &accept(&*ledger, with_callback("a")).await).await;
    drop(record(&*ledger, Record { next: Next::Review(ReviewReason::Rejected), ..failure(&call) }).await);
    let reviewed = find(&*ledger, &call).await;
    let action = OperatorAction {
        call: call.id,
        actor: "ada".into(),
        note: String::new(),
        if_revision: None,
        order: Order::Replay { request: None, new_key: false },
    };
    drop(ledger.act(&action).await.unwrap());
    for notice in take(&*ledger).await {
        assert_eq!(notice.event, Event::of(&reviewed));
        let url = (notice.channel == Channel::Callback).then(|| "https://shop.example/redial".to_owned());
        assert_eq!((notice.callback_url, notice.tries), (url, 0));
    }
}

async fn before_the_first_attempt_a_notice_tells_what_the_publisher_met(database: Database) {
    let ledger = database.ledger();
    let taken_over = |name: &str| {
        let error = Some("upstream \0 timeout".to_owned());
        let failure = Some(Failure { error, ..Failure::default() });
        due_with(called_back(Submission { failure, ..submission(name) }))
    };
    let start = Start::Review(ReviewReason::Ambiguous);
    let reviewed = accept(&*ledger, NewCall { start, ..taken_over("reviewed") }).await;
    let told = take(&*ledger).await;
    assert_eq!(told.len(), 2);
    for notice in told {
        assert_eq!(notice.event, Event::of(&reviewed));
        assert_eq!(notice.event.last_error.as_deref(), Some("upstream \0 timeout"));
    }

    let done = claim(&*ledger, &accept(&*ledger, taken_over("done")).await).await;
    drop(record(&*ledger, success(&done)).await);
    assert_eq!(take(&*ledger).await[0].event.last_error, None, "an attempt says more than the publisher");
}

async fn a_notice_is_taken_once_and_again_later(database: Database) {
    let ledger = database.ledger();
    drop(accept(&*ledger, NewCall { start: Start::Review(ReviewReason::Rejected), ..due("a") }).await);
    let soon = Duration::from_millis(200);
    let first = ledger.take_notices(BOTH, 10, soon).await.unwrap();
    assert_eq!(first.iter().map(|notice| notice.tries).collect::<Vec<_>>(), [0]);
    let again = wait_for("the notice comes back", || async {
        let taken = ledger.take_notices(BOTH, 10, LONG).await.unwrap();
        (!taken.is_empty()).then_some(taken)
    })
    .await;
    assert_eq!((again[0].id, again[0].tries, &again[0].event), (first[0].id, 1, &first[0].event));
    assert!(take(&*ledger).await.is_empty(), "now it is put off for long");
}

async fn a_channel_takes_only_its_own(database: Database) {
    let ledger = database.ledger();
    let start = Start::Review(ReviewReason::Rejected);
    for name in ["a", "b", "c"] {
        drop(accept(&*ledger, NewCall { start: start.clone(), ..with_callback(name) }).await);
    }
    let broker = ledger.take_notices(&[Channel::Broker], 2, LONG).await.unwrap();
    assert!(broker.iter().all(|notice| notice.channel == Channel::Broker));
    let keys: Vec<_> = broker.iter().map(|notice| notice.event.idempotency_key.to_string()).collect();
    assert_eq!(keys, ["a", "b"], "oldest first");
    assert!(ledger.take_notices(&[], 10, LONG).await.unwrap().is_empty());
    assert_eq!(ledger.take_notices(&[Channel::Callback], 10, LONG).await.unwrap().len(), 3);
    assert_eq!(ledger.take_notices(BOTH, 10, LONG).await.unwrap().len(), 1);
}

async fn of_many_takers_each_notice_goes_to_one(database: Database) {
    let start = Start::Review(ReviewReason::Rejected);
    let batch: Vec<_> =
        (0..60).map(|number| NewCall { start: start.clone(), ..due(&format!("call-{number}")) }).collect();
    drop(database.ledger().accept(&batch).await.unwrap());
    let mut takers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let ledger = database.ledger();
        takers.spawn(async move {
            let mut ids = Vec::new();
            loop {
                let taken = ledger.take_notices(BOTH, 7, LONG).await.unwrap();
                if taken.is_empty() {
                    return ids;
                }
                ids.extend(taken.iter().map(|notice| notice.id));
            }
        });
    }
    let mut ids: Vec<_> = takers.join_all().await.into_iter().flatten().collect();
    // A taker passes over what another is just taking, so all may stop with some left.
    ids.extend(take(&*database.ledger()).await.iter().map(|notice| notice.id));
    ids.sort_unstable();
    assert_eq!(ids.len(), 60);
    ids.dedup();
    assert_eq!(ids.len(), 60);
}

async fn what_was_told_is_forgotten(database: Database) {
    let ledger = database.ledger();
    drop(
        accept(&*ledger, NewCall { start: Start::Review(ReviewReason::Rejected), ..with_callback("a") })
            .await,
    );
    let ids: Vec<_> = take(&*ledger).await.iter().map(|notice| notice.id).collect();
    ledger.forget_notices(&ids).await.unwrap();
    ledger.forget_notices(&ids).await.unwrap();
    ledger.forget_notices(&[]).await.unwrap();
    assert_eq!(database.number("select count(*) from notices").await, 0);
    // A number is not given twice, or forgetting late would hit a notice that nobody was told.
    drop(lost(&*ledger, "b").await);
    drop(accept(&*ledger, NewCall { start: Start::Review(ReviewReason::Rejected), ..due("c") }).await);
    assert!(take(&*ledger).await.iter().all(|notice| !ids.contains(&notice.id)));
}
