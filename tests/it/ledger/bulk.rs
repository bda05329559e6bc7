//! Bulk jobs: calls are frozen, acted on once each, and counted right, whoever does the work.

use std::collections::BTreeMap;
use std::time::Duration;

use redial::call::{ActionKind, Call, CallId, ReviewReason, Status, Trigger};
use redial::ledger::audit::AuditFilter;
use redial::ledger::bulk::{
    Aborted, Bulk, BulkCreated, BulkId, BulkMove, BulkPlan, BulkResult, BulkStatus, NewBulk, Rate,
};
use redial::ledger::{Filter, Ledger, NewCall, OperatorAction, Order, Start};

use super::calls::{
    LONG, accept, claim, due, endpoint, failure, find, record, status, submission, success, waiting,
};
use crate::support::database::Database;
use crate::support::wait_for;

on_both_ledgers!(
    the_calls_of_a_job_are_those_at_its_beginning,
    a_count_says_what_a_job_would_be_for,
    each_call_is_acted_on_once,
    what_an_operator_touched_since_is_passed_over,
    what_its_state_does_not_allow_is_passed_over,
    outcomes_are_looked_up_and_counted_once,
    a_cancellation_has_its_outcome_at_once,
    a_job_is_held_by_one_process_until_its_lease_ends,
    a_job_that_is_not_held_is_not_moved,
    an_aborted_job_acts_on_no_call_any_more,
    a_call_can_be_passed_over,
    jobs_and_their_calls_are_paged,
    starting_and_aborting_are_in_the_audit_log,
    many_holders_act_on_each_call_once,
);

const HOLDER: &str = "holder-1";

fn plan(action: ActionKind) -> BulkPlan {
    BulkPlan {
        action,
        new_key: false,
        actor: "ada".to_owned(),
        note: "mended".to_owned(),
        rate: Rate::DEFAULT,
        canary: 0,
        stop_at_failure_rate: Some(0.25),
        filter: r#"{"status":"review"}"#.to_owned(),
    }
}

/// A job that is made.
pub(super) async fn job(ledger: &dyn Ledger, action: ActionKind, filter: Filter) -> Bulk {
    let new = NewBulk { id: BulkId::generate(), plan: plan(action), filter };
    match ledger.create_bulk(&new).await.unwrap() {
        BulkCreated::Created(job) => *job,
        BulkCreated::TooMany(calls) => panic!("{calls} are too many"),
    }
}

/// A job that is made and held.
async fn held(ledger: &dyn Ledger, action: ActionKind, filter: Filter) -> Bulk {
    let job = job(ledger, action, filter).await;
    assert_eq!(ledger.take_bulks(HOLDER, LONG, 10).await.unwrap().len(), 1);
    job
}

fn in_review() -> Filter {
    Filter { statuses: vec![Status::Review], ..Filter::default() }
}

async fn review(ledger: &dyn Ledger, name: &str) -> Call {
    accept(ledger, NewCall { start: Start::Review(ReviewReason::Rejected), ..due(name) }).await
}

async fn reviews(ledger: &dyn Ledger, count: usize) -> Vec<Call> {
    let mut calls = Vec::with_capacity(count);
    for number in 0..count {
        calls.push(review(ledger, &format!("call-{number:03}")).await);
    }
    calls
}

async fn act(ledger: &dyn Ledger, call: CallId, order: Order) {
    let action =
        OperatorAction { call, actor: "bob".to_owned(), note: String::new(), if_revision: None, order };
    drop(ledger.act(&action).await.unwrap());
}

const fn replay() -> Order {
    Order::Replay { request: None, new_key: false }
}

/// How many of a job's calls stand in each result, as its list has them.
async fn results(ledger: &dyn Ledger, id: BulkId) -> BTreeMap<&'static str, usize> {
    let mut results = BTreeMap::new();
    for call in ledger.bulk_calls(id, None, None, 1_000).await.unwrap() {
        *results.entry(call.result.as_str()).or_insert(0) += 1;
    }
    results
}

async fn the_calls_of_a_job_are_those_at_its_beginning(database: Database) {
    let ledger = database.ledger();
    let calls = reviews(&*ledger, 3).await;
    drop(accept(&*ledger, waiting("scheduled")).await);
    let job = job(&*ledger, ActionKind::Replay, in_review()).await;
    drop(review(&*ledger, "later").await);
    assert_eq!((job.total, job.waiting(), job.acted, job.skipped), (3, 3, 0, 0));
    assert_eq!((job.status, &job.reason, job.finished_at), (BulkStatus::Running, &None, None));
    assert_eq!(job.plan, plan(ActionKind::Replay));
    assert_eq!(ledger.find_bulk(job.id).await.unwrap(), Some(job.clone()));
    let frozen = ledger.bulk_calls(job.id, None, None, 10).await.unwrap();
    assert_eq!(
        frozen.iter().map(|call| call.call).collect::<Vec<_>>(),
        calls.iter().map(|call| call.id).collect::<Vec<_>>()
    );
    assert!(frozen.iter().all(|call| call.result == BulkResult::Waiting && call.detail.is_none()));

    let canary = BulkPlan { canary: 2, ..plan(ActionKind::Replay) };
    let new = NewBulk { id: BulkId::generate(), plan: canary, filter: in_review() };
    let BulkCreated::Created(second) = ledger.create_bulk(&new).await.unwrap() else { panic!("not made") };
    assert_eq!((second.status, second.total), (BulkStatus::Canary, 4));
    assert_eq!(ledger.find_bulk(BulkId::generate()).await.unwrap(), None);
}

async fn a_count_says_what_a_job_would_be_for(database: Database) {
    let ledger = database.ledger();
    drop(reviews(&*ledger, 3).await);
    drop(accept(&*ledger, waiting("scheduled")).await);
    let mut elsewhere = submission("elsewhere");
    elsewhere.endpoint = endpoint("crm");
    drop(accept(&*ledger, super::calls::due_with(elsewhere)).await);
    let counts = ledger.count_calls(&Filter::default()).await.unwrap();
    let counts: Vec<_> =
        counts.iter().map(|count| (count.endpoint.as_str(), count.status, count.calls)).collect();
    let expected = [("crm", Status::Scheduled, 1), ("sms", Status::Review, 3), ("sms", Status::Scheduled, 1)];
    assert_eq!(counts, expected);
    assert_eq!(ledger.count_calls(&in_review()).await.unwrap()[0].calls, 3);
}

async fn each_call_is_acted_on_once(database: Database) {
    let ledger = database.ledger();
    let calls = reviews(&*ledger, 5).await;
    let job = held(&*ledger, ActionKind::Replay, in_review()).await;
    let mut acted = Vec::new();
    for (limit, left) in [(2, 3), (2, 1), (2, 0), (2, 0)] {
        let step = ledger.step_bulk(job.id, HOLDER, limit).await.unwrap();
        let now = step.job.unwrap();
        assert_eq!((now.waiting(), now.pending()), (left, 5 - left), "{now:?}");
        assert_eq!(now.acted_at.is_some(), now.acted > 0);
        acted.extend(step.acted);
    }
    assert_eq!(
        acted.iter().map(|call| call.id).collect::<Vec<_>>(),
        calls.iter().map(|call| call.id).collect::<Vec<_>>(),
        "oldest first"
    );
    for call in &acted {
        assert_eq!(*call, find(&*ledger, call).await);
        let actions = ledger.story(call.id).await.unwrap().unwrap().actions;
        let [action] = actions.as_slice() else { panic!("{actions:?}") };
        assert_eq!((action.kind, action.actor.as_str()), (ActionKind::Replay, "ada"));
        assert_eq!(action.note, format!("mended (bulk {})", job.id));
    }
    assert_eq!(results(&*ledger, job.id).await, BTreeMap::from([("acted", 5)]));
}

async fn what_an_operator_touched_since_is_passed_over(database: Database) {
    let ledger = database.ledger();
    let calls = reviews(&*ledger, 3).await;
    let job = held(&*ledger, ActionKind::Replay, in_review()).await;
    // Replayed by somebody else, and back in review: it looks as it did, but it was decided on.
    act(&*ledger, calls[1].id, replay()).await;
    let running = claim(&*ledger, &find(&*ledger, &calls[1]).await).await;
    let next = redial::ledger::Next::Review(ReviewReason::Rejected);
    drop(record(&*ledger, redial::ledger::Record { next, ..failure(&running) }).await);
    let step = ledger.step_bulk(job.id, HOLDER, 10).await.unwrap();
    let now = step.job.unwrap();
    assert_eq!((step.acted.len(), step.skipped, now.acted, now.skipped), (2, 1, 2, 1));
    assert_eq!(status(&*ledger, &calls[1]).await, Status::Review);
    let passed_over = ledger.bulk_calls(job.id, Some(BulkResult::Skipped), None, 10).await.unwrap();
    assert_eq!(passed_over[0].call, calls[1].id);
    assert!(passed_over[0].detail.as_ref().unwrap().contains("operator"), "{passed_over:?}");
}

async fn what_its_state_does_not_allow_is_passed_over(database: Database) {
    let ledger = database.ledger();
    let call = accept(&*ledger, due("runs")).await;
    let job = held(&*ledger, ActionKind::Cancel, Filter::default()).await;
    drop(claim(&*ledger, &call).await);
    let step = ledger.step_bulk(job.id, HOLDER, 10).await.unwrap();
    assert_eq!((step.acted.len(), step.skipped), (0, 1));
    let detail = ledger.bulk_calls(job.id, None, None, 10).await.unwrap()[0].detail.clone().unwrap();
    assert!(detail.contains("running"), "{detail}");
    assert_eq!(status(&*ledger, &call).await, Status::Running);
}

async fn outcomes_are_looked_up_and_counted_once(database: Database) {
    let ledger = database.ledger();
    let calls = reviews(&*ledger, 4).await;
    let job = held(&*ledger, ActionKind::Replay, in_review()).await;
    drop(ledger.step_bulk(job.id, HOLDER, 10).await.unwrap());
    let untouched = ledger.settle_bulk(job.id).await.unwrap().unwrap();
    assert_eq!((untouched.pending(), untouched.succeeded, untouched.failed), (4, 0, 0));

    let done = claim(&*ledger, &find(&*ledger, &calls[0]).await).await;
    drop(record(&*ledger, success(&done)).await);
    let refused = claim(&*ledger, &find(&*ledger, &calls[1]).await).await;
    let next = redial::ledger::Next::Review(ReviewReason::Exhausted);
    drop(record(&*ledger, redial::ledger::Record { next, ..failure(&refused) }).await);
    act(&*ledger, calls[2].id, Order::Resolve).await;
    let again = claim(&*ledger, &find(&*ledger, &calls[3]).await).await;
    drop(record(&*ledger, failure(&again)).await);
    for _ in 0..2 {
        let now = ledger.settle_bulk(job.id).await.unwrap().unwrap();
        assert_eq!((now.succeeded, now.failed, now.pending()), (1, 2, 1), "{now:?}");
    }
    let expected = BTreeMap::from([("acted", 1), ("failed", 2), ("succeeded", 1)]);
    assert_eq!(results(&*ledger, job.id).await, expected);
    let failed = ledger.bulk_calls(job.id, Some(BulkResult::Failed), None, 10).await.unwrap();
    let details: Vec<_> = failed.iter().map(|call| call.detail.as_deref().unwrap()).collect();
    assert_eq!(details, ["it came back to review: exhausted", "it is resolved"]);

    // An outcome stays, whatever becomes of the call afterwards; what is open is looked up after the job's end as well.
    act(&*ledger, calls[1].id, replay()).await;
    assert!(ledger.unsettled_bulks(10).await.unwrap().is_empty(), "it has not ended");
    drop(ledger.move_bulk(job.id, HOLDER, &BulkMove::Finish).await.unwrap());
    assert_eq!(ledger.unsettled_bulks(10).await.unwrap(), [job.id]);
    let again = claim(&*ledger, &find(&*ledger, &calls[3]).await).await;
    drop(record(&*ledger, success(&again)).await);
    let now = ledger.settle_bulk(job.id).await.unwrap().unwrap();
    assert_eq!((now.succeeded, now.failed, now.pending()), (2, 2, 0));
    assert!(ledger.unsettled_bulks(10).await.unwrap().is_empty());
}

async fn a_cancellation_has_its_outcome_at_once(database: Database) {
    let ledger = database.ledger();
    let calls = reviews(&*ledger, 2).await;
    let job = held(&*ledger, ActionKind::Cancel, in_review()).await;
    let step = ledger.step_bulk(job.id, HOLDER, 10).await.unwrap();
    let now = step.job.unwrap();
    assert_eq!((now.acted, now.succeeded, now.pending()), (2, 2, 0));
    assert_eq!(status(&*ledger, &calls[0]).await, Status::Cancelled);
    assert_eq!(results(&*ledger, job.id).await, BTreeMap::from([("succeeded", 2)]));
}

async fn a_job_is_held_by_one_process_until_its_lease_ends(database: Database) {
    let ledger = database.ledger();
    drop(reviews(&*ledger, 2).await);
    let job = job(&*ledger, ActionKind::Replay, in_review()).await;
    let ids = |jobs: Vec<Bulk>| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(ledger.take_bulks(HOLDER, LONG, 10).await.unwrap()), [job.id]);
    assert_eq!(ids(ledger.take_bulks("other", LONG, 10).await.unwrap()), []);
    assert_eq!(
        ledger.step_bulk(job.id, "other", 1).await.unwrap(),
        redial::ledger::bulk::BulkStep::default()
    );
    // Its holder holds it longer, or for next to nothing.
    assert_eq!(ids(ledger.take_bulks(HOLDER, Duration::ZERO, 10).await.unwrap()), [job.id]);
    let taken = wait_for("the lease ends", || async {
        let taken = ledger.take_bulks("other", LONG, 10).await.unwrap();
        (!taken.is_empty()).then_some(taken)
    });
    assert_eq!(ids(taken.await), [job.id]);
    assert_eq!(ledger.step_bulk(job.id, HOLDER, 1).await.unwrap().job, None);
    assert_eq!(ledger.step_bulk(job.id, "other", 1).await.unwrap().acted.len(), 1);
    ledger.release_bulks("other").await.unwrap();
    assert_eq!(ids(ledger.take_bulks(HOLDER, LONG, 10).await.unwrap()), [job.id]);
}

async fn a_job_that_is_not_held_is_not_moved(database: Database) {
    let ledger = database.ledger();
    drop(reviews(&*ledger, 1).await);
    let job = held(&*ledger, ActionKind::Replay, in_review()).await;
    assert_eq!(ledger.move_bulk(job.id, "other", &BulkMove::Finish).await.unwrap(), None);
    let stop = BulkMove::Stop("too much failed".to_owned());
    let stopped = ledger.move_bulk(job.id, HOLDER, &stop).await.unwrap().unwrap();
    assert_eq!((stopped.status, stopped.reason.as_deref()), (BulkStatus::Stopped, Some("too much failed")));
    assert!(stopped.finished_at.is_some());
    assert_eq!(ledger.move_bulk(job.id, HOLDER, &BulkMove::Go).await.unwrap(), None);
    assert!(ledger.take_bulks(HOLDER, LONG, 10).await.unwrap().is_empty());
    assert_eq!(ledger.step_bulk(job.id, HOLDER, 1).await.unwrap().job, None);
}

async fn an_aborted_job_acts_on_no_call_any_more(database: Database) {
    let ledger = database.ledger();
    drop(reviews(&*ledger, 3).await);
    let job = held(&*ledger, ActionKind::Replay, in_review()).await;
    drop(ledger.step_bulk(job.id, HOLDER, 1).await.unwrap());
    let aborted = ledger.abort_bulk(job.id, "bob", "wrong filter").await.unwrap();
    let Aborted::Done(aborted) = aborted else { panic!("{aborted:?}") };
    assert_eq!((aborted.status, aborted.acted), (BulkStatus::Aborted, 1));
    assert_eq!(aborted.reason.as_deref(), Some("aborted by bob: wrong filter"));
    assert_eq!(ledger.step_bulk(job.id, HOLDER, 1).await.unwrap().job, None);
    assert_eq!(results(&*ledger, job.id).await, BTreeMap::from([("acted", 1), ("waiting", 2)]));
    let again = ledger.abort_bulk(job.id, "bob", "").await.unwrap();
    assert_eq!(again, Aborted::Ended(BulkStatus::Aborted));
    assert_eq!(ledger.abort_bulk(BulkId::generate(), "bob", "").await.unwrap(), Aborted::Unknown);
}

async fn a_call_can_be_passed_over(database: Database) {
    let ledger = database.ledger();
    let calls = reviews(&*ledger, 2).await;
    let job = held(&*ledger, ActionKind::Replay, in_review()).await;
    ledger.skip_bulk(job.id, HOLDER, "it cannot be").await.unwrap();
    ledger.skip_bulk(job.id, "other", "not mine").await.unwrap();
    let step = ledger.step_bulk(job.id, HOLDER, 10).await.unwrap();
    assert_eq!(step.acted.iter().map(|call| call.id).collect::<Vec<_>>(), [calls[1].id]);
    let first = &ledger.bulk_calls(job.id, None, None, 1).await.unwrap()[0];
    assert_eq!((first.result, first.detail.as_deref()), (BulkResult::Skipped, Some("it cannot be")));
    assert_eq!(step.job.unwrap().waiting(), 0);
}

async fn jobs_and_their_calls_are_paged(database: Database) {
    let ledger = database.ledger();
    let calls = reviews(&*ledger, 7).await;
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(job(&*ledger, ActionKind::Cancel, in_review()).await.id);
    }
    let mut seen = Vec::new();
    loop {
        let page = ledger.list_bulks(seen.last().copied(), 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page.iter().map(|job| job.id));
    }
    assert_eq!(seen, jobs.iter().rev().copied().collect::<Vec<_>>());
    let mut seen = Vec::new();
    loop {
        let page =
            ledger.bulk_calls(jobs[0], Some(BulkResult::Waiting), seen.last().copied(), 3).await.unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page.iter().map(|call| call.call));
    }
    assert_eq!(seen, calls.iter().map(|call| call.id).collect::<Vec<_>>());
}

async fn starting_and_aborting_are_in_the_audit_log(database: Database) {
    let ledger = database.ledger();
    drop(reviews(&*ledger, 2).await);
    let job = job(&*ledger, ActionKind::Replay, in_review()).await;
    drop(ledger.abort_bulk(job.id, "bob", "no").await.unwrap());
    let entries = ledger.audit_log(&AuditFilter::default(), None, 10).await.unwrap();
    let id = job.id.to_string();
    let shown: Vec<_> = entries
        .iter()
        .map(|entry| {
            (entry.actor.as_str(), entry.action.as_str(), entry.note.as_str(), entry.subject.as_deref())
        })
        .collect();
    let expected =
        [("bob", "bulk_abort", "no", Some(id.as_str())), ("ada", "bulk_start", "mended", Some(id.as_str()))];
    assert_eq!(shown, expected);
    assert!(entries[1].detail.as_ref().unwrap().starts_with("replay of 2 calls"), "{entries:?}");
}

async fn many_holders_act_on_each_call_once(database: Database) {
    const CALLS: usize = 60;
    let ledger = database.ledger();
    let calls = reviews(&*ledger, CALLS).await;
    let job = job(&*ledger, ActionKind::Replay, in_review()).await;
    // Each takes the job from the others whenever it can, as if every lease ended too early.
    let mut tasks = tokio::task::JoinSet::new();
    for holder in 0..4 {
        let (ledger, id) = (database.ledger(), job.id);
        tasks.spawn(async move {
            let holder = format!("holder-{holder}");
            let mut acted = Vec::new();
            loop {
                drop(ledger.take_bulks(&holder, Duration::ZERO, 10).await.unwrap());
                let step = ledger.step_bulk(id, &holder, 3).await.unwrap();
                acted.extend(step.acted.iter().map(|call| call.id));
                if ledger.find_bulk(id).await.unwrap().unwrap().waiting() == 0 {
                    return acted;
                }
            }
        });
    }
    let mut acted: Vec<CallId> = tasks.join_all().await.into_iter().flatten().collect();
    acted.sort_unstable();
    assert_eq!(acted, calls.iter().map(|call| call.id).collect::<Vec<_>>());
    assert_eq!(i64::try_from(CALLS).unwrap(), database.number("select count(*) from actions").await);
    let replayed = find(&*ledger, &calls[0]).await;
    assert!(
        matches!(&replayed.state, redial::call::State::Scheduled { trigger: Trigger::Replay, .. }),
        "{replayed:?}"
    );
}
