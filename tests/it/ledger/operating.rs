//! Operator actions: what each state allows, and what a replay changes.

use std::time::Duration;

use redial::call::{
    ActionKind, Call, CallId, IdempotencyKey, ReviewReason, Revision, Rung, State, Status, Submission,
    Trigger,
};
use redial::ledger::{Acted, Ledger, NewCall, OperatorAction, Order, Start};

use super::calls::{
    LONG, accept, claim, due, due_with, failure, find, next_ticket, record, request, running, submission,
    success, versioned, waiting,
};
use crate::support::database::Database;
use crate::support::wait_for;

on_both_ledgers!(
    each_state_allows_its_actions,
    a_replay_starts_from_the_ground,
    a_replay_may_edit_the_request,
    a_replay_may_send_a_new_key,
    a_replay_moves_a_deadline_that_has_passed,
    a_replay_does_not_bring_back_what_a_higher_version_overtook,
    of_two_operators_the_second_learns_of_the_first,
    every_action_is_kept,
    the_ticket_from_before_a_replay_still_fits,
    notes_may_hold_anything,
);

fn by_ada(call: &Call, order: Order) -> OperatorAction {
    OperatorAction { call: call.id, actor: "ada".into(), note: "because".into(), if_revision: None, order }
}

const fn plain_replay() -> Order {
    Order::Replay { request: None, new_key: false }
}

async fn act(ledger: &dyn Ledger, call: &Call, order: Order) -> Call {
    let acted = ledger.act(&by_ada(call, order)).await.unwrap();
    let Acted::Done(call) = acted else { panic!("not done: {acted:?}") };
    *call
}

async fn in_review(ledger: &dyn Ledger, name: &str) -> Call {
    accept(ledger, NewCall { start: Start::Review(ReviewReason::Rejected), ..due(name) }).await
}

/// A call in this state.
async fn in_state(ledger: &dyn Ledger, status: Status, name: &str) -> Call {
    match status {
        Status::Scheduled => accept(ledger, waiting(name)).await,
        Status::Running => running(ledger, name).await,
        Status::Review => in_review(ledger, name).await,
        Status::Succeeded => {
            let call = running(ledger, name).await;
            drop(record(ledger, success(&call)).await);
            find(ledger, &call).await
        }
        Status::Resolved => act(ledger, &in_review(ledger, name).await, Order::Resolve).await,
        Status::Cancelled => act(ledger, &in_review(ledger, name).await, Order::Cancel).await,
        Status::Superseded => {
            drop(accept(ledger, versioned(&format!("{name}-newer"), name, 2)).await);
            accept(ledger, versioned(name, name, 1)).await
        }
    }
}

async fn each_state_allows_its_actions(database: Database) {
    let ledger = database.ledger();
    let (replay, cancel, resolve) = (ActionKind::Replay, ActionKind::Cancel, ActionKind::Resolve);
    for (status, allowed) in [
        (Status::Scheduled, &[replay, cancel, resolve][..]),
        (Status::Running, &[]),
        (Status::Review, &[replay, cancel, resolve]),
        (Status::Succeeded, &[]),
        (Status::Resolved, &[replay]),
        (Status::Cancelled, &[replay]),
        (Status::Superseded, &[]),
    ] {
        for order in [plain_replay(), Order::Cancel, Order::Resolve] {
            let kind = order.kind();
            let call = in_state(&*ledger, status, &format!("{status}-{kind}")).await;
            assert_eq!(call.state.status(), status);
            let acted = ledger.act(&by_ada(&call, order)).await.unwrap();
            if !allowed.contains(&kind) {
                assert_eq!(acted, Acted::NotAllowed(status), "{kind} of {status}");
                assert_eq!(find(&*ledger, &call).await, call, "{kind} of {status}");
                continue;
            }
            let expected = match kind {
                ActionKind::Replay => Status::Scheduled,
                ActionKind::Cancel => Status::Cancelled,
                ActionKind::Resolve => Status::Resolved,
            };
            let Acted::Done(done) = acted else { panic!("{kind} of {status}: {acted:?}") };
            assert_eq!(done.state.status(), expected, "{kind} of {status}");
            assert_eq!(find(&*ledger, &call).await, *done, "{kind} of {status}");
        }
    }
    let unknown = Call { id: CallId::generate(), ..in_review(&*ledger, "x").await };
    assert_eq!(ledger.act(&by_ada(&unknown, Order::Cancel)).await.unwrap(), Acted::Unknown);
}

async fn a_replay_starts_from_the_ground(database: Database) {
    let ledger = database.ledger();
    let call = claim(&*ledger, &accept(&*ledger, due("a")).await).await;
    drop(record(&*ledger, failure(&call)).await);
    let cancelled = act(&*ledger, &call, Order::Cancel).await;
    let replayed = act(&*ledger, &call, plain_replay()).await;
    assert_eq!(replayed.state, State::Scheduled { due_at: replayed.updated_at, trigger: Trigger::Replay });
    assert_eq!((replayed.rung, replayed.attempts_made.get()), (Rung::GROUND, 1));
    assert_eq!((replayed.revision.get(), replayed.sent_key.clone()), (3, None), "every action counts");
    assert_eq!((replayed.deadline, &replayed.request), (cancelled.deadline, &cancelled.request));
    let again = claim(&*ledger, &replayed).await;
    assert!(
        matches!(&again.state, State::Running(held) if held.attempt.get() == 2 && held.trigger == Trigger::Replay)
    );
}

async fn a_replay_may_edit_the_request(database: Database) {
    let ledger = database.ledger();
    let call = in_review(&*ledger, "a").await;
    let edited = Order::Replay { request: Some(request("/v2")), new_key: false };
    let replayed = act(&*ledger, &call, edited).await;
    assert_eq!((replayed.revision.get(), replayed.request.clone()), (2, request("/v2")));
    assert_eq!(replayed.outgoing_key(), &call.idempotency_key);
    let story = ledger.story(call.id).await.unwrap().unwrap();
    assert_eq!(story.revisions.len(), 1);
    let past = &story.revisions[0];
    assert_eq!((past.revision.get(), &past.request), (1, &call.request));
    assert_eq!((past.replaced_by.as_str(), past.replaced_at), ("ada", replayed.updated_at));
}

async fn a_replay_may_send_a_new_key(database: Database) {
    let ledger = database.ledger();
    let call = in_review(&*ledger, "a").await;
    let renewed = Order::Replay { request: None, new_key: true };
    let replayed = act(&*ledger, &call, renewed.clone()).await;
    assert_eq!(replayed.outgoing_key(), &IdempotencyKey::parse("a~2").unwrap());
    assert_eq!((replayed.revision.get(), &replayed.idempotency_key), (2, &call.idempotency_key));
    let kept = act(&*ledger, &call, plain_replay()).await;
    assert_eq!((kept.outgoing_key(), kept.revision.get()), (replayed.outgoing_key(), 3));
    let again = act(&*ledger, &call, renewed).await;
    assert_eq!(again.outgoing_key(), &IdempotencyKey::parse("a~4").unwrap());
}

async fn a_replay_moves_a_deadline_that_has_passed(database: Database) {
    let ledger = database.ledger();
    let now = ledger.now().await.unwrap();
    let deadline = now.plus(Duration::from_millis(300));
    let short = Submission { deadline: Some(deadline), ..submission("short") };
    let call = accept(&*ledger, due_with(short)).await;
    let span = deadline.since(call.created_at);
    let late = accept(&*ledger, due_with(Submission { deadline: Some(now), ..submission("late") })).await;
    wait_for("the deadline passes", || async { (ledger.now().await.unwrap() > deadline).then_some(()) })
        .await;
    for _ in 0..2 {
        wait_for("the deadline passes again", || async {
            let passed = ledger.now().await.unwrap() > find(&*ledger, &call).await.deadline;
            passed.then_some(())
        })
        .await;
        let replayed = act(&*ledger, &call, plain_replay()).await;
        assert_eq!(replayed.deadline, replayed.updated_at.plus(span), "the original span, each time");
    }
    let replayed = act(&*ledger, &late, plain_replay()).await;
    assert_eq!(replayed.deadline, replayed.updated_at.plus(redial::limits::DEADLINE_DEFAULT));
    assert!(replayed.deadline > now.plus(LONG));
}

async fn a_replay_does_not_bring_back_what_a_higher_version_overtook(database: Database) {
    let ledger = database.ledger();
    let old = accept(&*ledger, versioned("a", "deal", 1)).await;
    drop(act(&*ledger, &old, Order::Cancel).await);
    drop(act(&*ledger, &old, plain_replay()).await);
    drop(act(&*ledger, &old, Order::Cancel).await);
    drop(accept(&*ledger, versioned("b", "deal", 2)).await);
    let acted = ledger.act(&by_ada(&old, plain_replay())).await.unwrap();
    assert_eq!(acted, Acted::NotAllowed(Status::Superseded));
    assert_eq!(find(&*ledger, &old).await.state.status(), Status::Cancelled);
}

async fn of_two_operators_the_second_learns_of_the_first(database: Database) {
    let ledger = database.ledger();
    let call = in_review(&*ledger, "a").await;
    let edit = |path: &str| OperatorAction {
        if_revision: Some(Revision::FIRST),
        ..by_ada(&call, Order::Replay { request: Some(request(path)), new_key: false })
    };
    let (first, second) = (edit("/first"), edit("/second"));
    let (one, other) = tokio::join!(ledger.act(&first), ledger.act(&second));
    let answers = [one.unwrap(), other.unwrap()];
    let done = answers.iter().filter(|acted| matches!(acted, Acted::Done(_))).count();
    assert_eq!(done, 1, "{answers:?}");
    assert!(answers.contains(&Acted::Outdated(Revision::new(2))), "{answers:?}");
    assert_eq!(ledger.story(call.id).await.unwrap().unwrap().actions.len(), 1);
}

async fn every_action_is_kept(database: Database) {
    let ledger = database.ledger();
    let call = in_review(&*ledger, "a").await;
    let edit = Order::Replay { request: Some(request("/v2")), new_key: false };
    for order in [plain_replay(), Order::Cancel, edit, Order::Resolve, plain_replay()] {
        drop(act(&*ledger, &call, order).await);
    }
    let story = ledger.story(call.id).await.unwrap().unwrap();
    let kept: Vec<_> = story.actions.iter().map(|action| (action.kind, action.revision.get())).collect();
    let (replay, cancel, resolve) = (ActionKind::Replay, ActionKind::Cancel, ActionKind::Resolve);
    assert_eq!(kept, [(replay, 2), (cancel, 3), (replay, 4), (resolve, 5), (replay, 6)]);
    assert!(story.actions.iter().all(|action| action.actor == "ada" && action.note == "because"));
    assert!(story.actions.is_sorted_by_key(|action| action.at));
}

async fn the_ticket_from_before_a_replay_still_fits(database: Database) {
    let ledger = database.ledger();
    let call = accept(&*ledger, waiting("a")).await;
    let replayed = act(&*ledger, &call, plain_replay()).await;
    assert_eq!(next_ticket(&replayed), next_ticket(&call), "no attempt was made, so the number stands");
    drop(claim(&*ledger, &replayed).await);
}

async fn notes_may_hold_anything(database: Database) {
    let ledger = database.ledger();
    let call = in_review(&*ledger, "a").await;
    let note = "\0 ü \u{1f600} '; drop table calls; --";
    let action = OperatorAction { note: note.to_owned(), ..by_ada(&call, Order::Cancel) };
    drop(ledger.act(&action).await.unwrap());
    let story = ledger.story(call.id).await.unwrap().unwrap();
    assert_eq!(story.actions[0].note, note.replace('\0', "\u{fffd}"));
}
