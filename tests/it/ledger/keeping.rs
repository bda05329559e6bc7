//! Retention: what is old is removed in small steps, what waits is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redial::call::{ActionKind, Call, ReviewReason, Status, Submission, TagKey};
use redial::ledger::audit::{AuditFilter, Audited};
use redial::ledger::upkeep::Pause;
use redial::ledger::{
    Accepted, Acted, Filter, Ledger, NewCall, Next, OperatorAction, Order, Record, Retention, Start, Tidied,
};

use super::calls::{
    LONG, accept, due, due_with, failure, find, record, request, running, submission, success, waiting,
};
use crate::support::database::Database;

on_both_ledgers!(
    what_is_old_is_removed_with_all_that_belongs_to_it,
    what_waits_is_never_removed,
    bodies_go_before_their_calls,
    a_call_without_its_bodies_is_not_sent_again,
    a_walk_takes_small_steps_and_begins_again,
    a_step_waits_for_its_time,
    old_tallies_are_forgotten,
    ended_bulk_jobs_go_with_their_lists,
);

/// Everything that is finished goes at once, bodies too.
const AT_ONCE: Retention = Retention {
    finished: Duration::ZERO,
    bodies: Duration::ZERO,
    batch: 100,
    pause: Duration::ZERO,
    rest: Duration::ZERO,
};
/// Only bodies go at once.
const BODIES: Retention = Retention { finished: LONG, ..AT_ONCE };

/// Takes steps until a walk is at its end; answers how many calls were removed and blanked, and in how many steps.
async fn walk(ledger: &dyn Ledger, retention: &Retention) -> (u64, u64, usize) {
    let (mut removed_in_all, mut blanked_in_all, mut steps) = (0, 0, 0);
    loop {
        match ledger.tidy(retention).await.unwrap() {
            Tidied::NotYet => tokio::time::sleep(Duration::from_millis(1)).await,
            Tidied::Step { removed, blanked, pause } => {
                removed_in_all += removed;
                blanked_in_all += blanked;
                steps += 1;
                if pause == Pause::BetweenWalks {
                    return (removed_in_all, blanked_in_all, steps);
                }
            }
        }
    }
}

/// Accepts a call with a tag and lets its first attempt succeed.
async fn done(ledger: &dyn Ledger, name: &str) -> Call {
    let tagged =
        Submission { tags: vec![(TagKey::parse("k").unwrap(), name.to_owned())], ..submission(name) };
    let call = super::calls::claim(ledger, &accept(ledger, due_with(tagged)).await).await;
    drop(record(ledger, success(&call)).await);
    find(ledger, &call).await
}

fn order(call: &Call, order: Order) -> OperatorAction {
    OperatorAction { call: call.id, actor: "ada".into(), note: String::new(), if_revision: None, order }
}

async fn rows(database: &Database) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in ["calls", "attempts", "actions", "revisions", "call_tags"] {
        counts.push(database.number(&format!("select count(*) from {table}")).await);
    }
    counts
}

async fn what_is_old_is_removed_with_all_that_belongs_to_it(database: Database) {
    let ledger = database.ledger();
    done(&*ledger, "a").await;
    let edited = running(&*ledger, "b").await;
    drop(record(&*ledger, Record { next: Next::Review(ReviewReason::Rejected), ..failure(&edited) }).await);
    let replay = Order::Replay { request: Some(request("/v2")), new_key: false };
    drop(ledger.act(&order(&edited, replay)).await.unwrap());
    drop(ledger.act(&order(&edited, Order::Cancel)).await.unwrap());
    assert_eq!(rows(&database).await, [2, 2, 2, 1, 1]);
    assert_eq!(walk(&*ledger, &Retention { finished: LONG, bodies: LONG, ..AT_ONCE }).await, (0, 0, 1));
    assert_eq!(rows(&database).await, [2, 2, 2, 1, 1]);
    let log = ledger.audit_log(&AuditFilter::default(), None, 10).await.unwrap();
    assert_eq!(walk(&*ledger, &AT_ONCE).await, (2, 0, 1));
    assert_eq!(rows(&database).await, [0; 5]);
    // Who did what outlives the calls.
    let kept = ledger.audit_log(&AuditFilter::default(), None, 10).await.unwrap();
    let shown = |log: &[Audited]| -> Vec<_> {
        log.iter()
            .map(|entry| (entry.place.at, entry.actor.clone(), entry.action.clone(), entry.call))
            .collect()
    };
    assert_eq!((shown(&kept), kept.len()), (shown(&log), 2));
    // Its key is free again.
    assert!(matches!(ledger.accept(&[due("a")]).await.unwrap()[..], [Accepted::Stored(_)]));
}

async fn what_waits_is_never_removed(database: Database) {
    let ledger = database.ledger();
    let kept = [
        accept(&*ledger, waiting("waiting")).await,
        accept(&*ledger, due("due")).await,
        running(&*ledger, "running").await,
        accept(&*ledger, NewCall { start: Start::Review(ReviewReason::Ambiguous), ..due("review") }).await,
    ];
    database
        .run(&format!("update calls set created_at = created_at - {}", database.hours(10_000)))
        .await
        .unwrap();
    let before: Vec<Call> = [find(&*ledger, &kept[0]).await, find(&*ledger, &kept[3]).await].into();
    assert_eq!(walk(&*ledger, &AT_ONCE).await, (0, 0, 1));
    assert_eq!([find(&*ledger, &kept[0]).await, find(&*ledger, &kept[3]).await], before[..]);
    assert_eq!(rows(&database).await[0], 4);
}

async fn bodies_go_before_their_calls(database: Database) {
    let ledger = database.ledger();
    let call = done(&*ledger, "a").await;
    let waits = accept(&*ledger, waiting("b")).await;
    assert_eq!(walk(&*ledger, &BODIES).await, (0, 1, 1));
    assert_eq!(walk(&*ledger, &BODIES).await, (0, 0, 1), "what is blanked is not blanked again");
    let story = ledger.story(call.id).await.unwrap().unwrap();
    assert!(story.call.request.body.bytes().is_empty());
    assert!(story.call.body_erased_at >= Some(call.updated_at) && story.call.erased_at.is_none());
    assert_eq!((&story.call.request.path, &story.call.tags), (&call.request.path, &call.tags));
    let redial::call::Outcome::Answered(answer) = &story.attempts[0].outcome else { panic!("{story:?}") };
    assert_eq!((answer.status, answer.body.len(), answer.body_bytes), (200, 0, 70_000));
    assert!(!find(&*ledger, &waits).await.request.body.bytes().is_empty());
    assert_eq!(walk(&*ledger, &AT_ONCE).await, (1, 0, 1));
}

async fn a_call_without_its_bodies_is_not_sent_again(database: Database) {
    let ledger = database.ledger();
    let call = accept(&*ledger, due("a")).await;
    drop(ledger.act(&order(&call, Order::Cancel)).await.unwrap());
    let _ = walk(&*ledger, &BODIES).await;
    for request in [None, Some(request("/v2"))] {
        let acted = ledger.act(&order(&call, Order::Replay { request, new_key: false })).await.unwrap();
        assert!(matches!(acted, Acted::BodyErased(_)), "{acted:?}");
    }
    assert_eq!(find(&*ledger, &call).await.state.status(), Status::Cancelled);
}

async fn a_walk_takes_small_steps_and_begins_again(database: Database) {
    let ledger = database.ledger();
    let small = Retention { batch: 4, ..AT_ONCE };
    for round in 0..2 {
        for number in 0..10 {
            done(&*ledger, &format!("{round}-{number}")).await;
            drop(accept(&*ledger, waiting(&format!("{round}-{number}-waits"))).await);
        }
        let (removed, _, steps) = walk(&*ledger, &small).await;
        assert_eq!(removed, 10);
        assert!(steps >= 5, "{steps} steps");
    }
    assert_eq!(rows(&database).await[0], 20);
}

async fn a_step_waits_for_its_time(database: Database) {
    let ledger = database.ledger();
    let patient = Retention { rest: LONG, ..AT_ONCE };
    done(&*ledger, "a").await;
    assert_eq!(walk(&*ledger, &patient).await.0, 1);
    done(&*ledger, "b").await;
    assert_eq!(ledger.tidy(&patient).await.unwrap(), Tidied::NotYet);
    assert_eq!(rows(&database).await[0], 1);
}

async fn old_tallies_are_forgotten(database: Database) {
    let ledger = database.ledger();
    let tallies = redial::tally::Tallies::default();
    let now = redial::clock::Timestamp::now();
    for hours in [0, 24 * 7, 24 * 9] {
        tallies.accepted(&super::calls::endpoint("sms"), now.minus(Duration::from_hours(hours)));
    }
    ledger.add_tallies(&tallies.take()).await.unwrap();
    let _ = walk(&*ledger, &AT_ONCE).await;
    assert_eq!(database.number("select count(*) from tallies").await, 2);
}

async fn ended_bulk_jobs_go_with_their_lists(database: Database) {
    let ledger = database.ledger();
    for number in 0..10 {
        drop(accept(&*ledger, waiting(&number.to_string())).await);
    }
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(super::bulk::job(&*ledger, ActionKind::Cancel, Filter::default()).await.id);
    }
    for ended in [jobs[0], jobs[2]] {
        drop(ledger.abort_bulk(ended, "ada", "").await.unwrap());
    }
    let left = async || {
        let mut ids: Vec<_> = ledger.list_bulks(None, 10).await.unwrap().iter().map(|job| job.id).collect();
        ids.reverse();
        (ids, database.number("select count(*) from bulk_calls").await)
    };
    assert_eq!(walk(&*ledger, &Retention { finished: LONG, bodies: LONG, ..AT_ONCE }).await, (0, 0, 1));
    assert_eq!(left().await, (jobs.clone(), 30));

    // A list shrinks by a batch a step, and its job goes with the last of it.
    let small = Retention { batch: 4, ..AT_ONCE };
    let _ = ledger.tidy(&small).await.unwrap();
    assert_eq!(left().await, (jobs.clone(), 26));
    let (removed, _, steps) = walk(&*ledger, &small).await;
    assert_eq!(left().await, (vec![jobs[1]], 10), "what has not ended stays");
    assert_eq!((removed, steps), (0, 8), "five for the lists, and then a whole walk");
    // Who did what outlives the jobs.
    assert_eq!(ledger.audit_log(&AuditFilter::default(), None, 10).await.unwrap().len(), 5);
}

#[tokio::test]
async fn many_processes_share_one_walk() {
    let database = Database::postgres().await;
    let ledger = database.ledger();
    for number in 0..60 {
        done(&*ledger, &number.to_string()).await;
    }
    let removed = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (ledger, removed) = (database.place().open().await.unwrap(), Arc::clone(&removed));
        tasks.spawn(async move {
            while removed.load(Ordering::SeqCst) < 60 {
                let tidied = ledger.tidy(&Retention { batch: 5, ..AT_ONCE }).await.unwrap();
                if let Tidied::Step { removed: step, .. } = tidied {
                    removed.fetch_add(step, Ordering::SeqCst);
                }
            }
            ledger.close().await;
        });
    }
    let walks = tokio::time::timeout(Duration::from_mins(1), tasks.join_all()).await;
    walks.expect("the walk comes to its end");
    assert_eq!(removed.load(Ordering::SeqCst), 60, "each is removed once");
    assert_eq!(rows(&database).await, [0; 5]);
}

#[tokio::test]
async fn a_call_that_somebody_holds_is_passed_over() {
    let database = Database::postgres().await;
    let ledger = database.ledger();
    let (held, free) = (done(&*ledger, "held").await, done(&*ledger, "free").await);
    let mut other = <sqlx::PgConnection as sqlx::Connection>::connect(&database.place().url()).await.unwrap();
    let mut transaction = sqlx::Connection::begin(&mut other).await.unwrap();
    sqlx::query("select id from calls where id = $1 for update")
        .bind(held.id.uuid())
        .execute(&mut *transaction)
        .await
        .unwrap();
    assert_eq!(walk(&*ledger, &AT_ONCE).await, (1, 0, 1));
    assert_eq!(ledger.find(free.id).await.unwrap(), None);
    transaction.rollback().await.unwrap();
    assert_eq!(walk(&*ledger, &AT_ONCE).await, (1, 0, 1));
}
