//! What the sweeper and the transports see and mark.

use std::collections::HashSet;
use std::time::Duration;

use redial::call::{Call, ReviewReason, State, Status, Submission};
use redial::clock::Timestamp;
use redial::ledger::{LaneReport, Ledger, NewCall, SetAside, Start, Waiting};

use super::calls::{
    ENDPOINT, LONG, accept, claim, due, due_with, endpoint, failure, find, lost, next_ticket, record,
    running, submission, ticket, waiting, worker,
};
use crate::support::database::Database;

on_both_ledgers!(
    leases_that_ran_out_are_found_oldest_first,
    what_waits_is_paged_by_wake_time,
    a_call_wakes_at_its_deadline_if_that_comes_first,
    endpoints_with_waiting_calls_are_listed_once,
    of_many_sweepers_one_rescues_each_ticket,
    only_what_still_waits_for_the_attempt_is_rescued,
    a_rescued_call_keeps_its_due_time,
    a_call_past_its_deadline_is_set_aside,
    a_call_of_a_lost_endpoint_is_set_aside_when_it_is_due,
    only_what_stands_as_named_is_set_aside,
    lane_reports_are_replaced_and_grow_old,
    the_clock_goes_on,
);

async fn leases_that_ran_out_are_found_oldest_first(database: Database) {
    let ledger = database.ledger();
    let mut expected = Vec::new();
    for name in ["a", "b", "c"] {
        expected.push(lost(&*ledger, name).await);
    }
    drop(running(&*ledger, "leased").await);
    drop(accept(&*ledger, due("waiting")).await);
    assert_eq!(ledger.expired_leases(10).await.unwrap(), expected);
    assert_eq!(ledger.expired_leases(2).await.unwrap(), expected[..2]);
}

/// All pages of what waits at an endpoint.
async fn pages(ledger: &dyn Ledger, name: &str, before: Timestamp, limit: usize) -> Vec<Waiting> {
    let mut all: Vec<Waiting> = Vec::new();
    loop {
        let after = all.last().map(|last| (last.wake_at, last.ticket.call));
        let page = ledger.waiting(&endpoint(name), after, before, limit).await.unwrap();
        assert!(page.len() <= limit);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

async fn what_waits_is_paged_by_wake_time(database: Database) {
    let ledger = database.ledger();
    // Many wake at the same moment: a page must be able to end in the middle of them.
    let batch: Vec<_> = (0..25).map(|number| waiting(&format!("same-{number}"))).collect();
    drop(ledger.accept(&batch).await.unwrap());
    for number in 0..5_u64 {
        let start = Start::Waiting {
            trigger: redial::call::Trigger::First,
            delay: LONG * 2 + Duration::from_secs(number),
            rung: redial::call::Rung::GROUND,
        };
        drop(accept(&*ledger, NewCall { start, ..due(&format!("later-{number}")) }).await);
    }
    drop(running(&*ledger, "running").await);
    let elsewhere = Submission { endpoint: endpoint("other"), ..submission("elsewhere") };
    drop(accept(&*ledger, due_with(elsewhere)).await);

    let now = ledger.now().await.unwrap();
    for limit in [1, 7, 25, 1000] {
        let all = pages(&*ledger, ENDPOINT, now.plus(LONG * 9), limit).await;
        let calls: HashSet<_> = all.iter().map(|waiting| waiting.ticket.call).collect();
        assert_eq!((all.len(), calls.len()), (30, 30), "pages of {limit}");
        assert!(all.is_sorted_by_key(|waiting| (waiting.wake_at, waiting.ticket.call)));
    }
    assert_eq!(pages(&*ledger, ENDPOINT, now.plus(LONG + LONG / 2), 7).await.len(), 25);
    assert!(pages(&*ledger, ENDPOINT, now, 7).await.is_empty());
    assert_eq!(pages(&*ledger, "other", now.plus(LONG), 7).await.len(), 1);
}

async fn a_call_wakes_at_its_deadline_if_that_comes_first(database: Database) {
    let ledger = database.ledger();
    let now = ledger.now().await.unwrap();
    let short = Submission { deadline: Some(now.plus(LONG)), ..submission("short") };
    let start = Start::Waiting {
        delay: LONG * 2,
        rung: redial::call::Rung::GROUND,
        trigger: redial::call::Trigger::First,
    };
    let call = accept(&*ledger, NewCall { start, ..due_with(short) }).await;
    let past = accept(&*ledger, due_with(Submission { deadline: Some(now), ..submission("past") })).await;
    let all = pages(&*ledger, ENDPOINT, now.plus(LONG * 3), 10).await;
    let seen = |call: &Call, wake_at, expired| Waiting {
        ticket: ticket(call, 1),
        endpoint: endpoint(ENDPOINT),
        wake_at,
        expired,
    };
    assert_eq!(all, [seen(&past, now, true), seen(&call, now.plus(LONG), false)]);
}

async fn endpoints_with_waiting_calls_are_listed_once(database: Database) {
    let ledger = database.ledger();
    assert!(ledger.waiting_endpoints().await.unwrap().is_empty());
    for name in ["b", "a", "c", "a", "b"] {
        let submission = Submission { endpoint: endpoint(name), idempotency_key: None, ..submission(name) };
        drop(accept(&*ledger, due_with(submission)).await);
    }
    let idle = Submission { endpoint: endpoint("idle"), ..submission("idle") };
    let idle = accept(&*ledger, due_with(idle)).await;
    drop(claim(&*ledger, &idle).await);
    let names = ["a", "b", "c"].map(endpoint);
    assert_eq!(ledger.waiting_endpoints().await.unwrap(), names);
}

/// Makes as if all that waits was to wake two hours ago.
async fn let_two_hours_pass(database: &Database) {
    let hours = database.hours(2);
    database
        .run(&format!("update calls set wake_at = wake_at - {hours} where status = 'scheduled'"))
        .await
        .unwrap();
}

async fn of_many_sweepers_one_rescues_each_ticket(database: Database) {
    let batch: Vec<_> = (0..60).map(|number| due(&format!("call-{number}"))).collect();
    drop(database.ledger().accept(&batch).await.unwrap());
    let_two_hours_pass(&database).await;
    let mut sweepers = tokio::task::JoinSet::new();
    for sweeper in 0..4 {
        let ledger = database.ledger();
        let mut tickets: Vec<_> = batch
            .iter()
            .map(|call| redial::call::Ticket { call: call.id, attempt: redial::call::AttemptNumber::FIRST })
            .collect();
        tickets.rotate_left(sweeper * 15);
        sweepers.spawn(async move { ledger.mark_rescued(&tickets, LONG).await.unwrap() });
    }
    let rescued: Vec<_> = sweepers.join_all().await.into_iter().flatten().collect();
    assert_eq!(rescued.len(), 60);
    assert_eq!(rescued.into_iter().collect::<HashSet<_>>().len(), 60);
}

async fn only_what_still_waits_for_the_attempt_is_rescued(database: Database) {
    let ledger = database.ledger();
    let overdue = accept(&*ledger, due("overdue")).await;
    let_two_hours_pass(&database).await;
    let fresh = accept(&*ledger, due("fresh")).await;
    let running = running(&*ledger, "running").await;
    let tickets = [
        ticket(&overdue, 2),
        ticket(&fresh, 1),
        ticket(&running, 1),
        ticket(&running, 2),
        ticket(&overdue, 1),
    ];
    assert_eq!(ledger.mark_rescued(&tickets, LONG).await.unwrap(), [ticket(&overdue, 1)]);
    assert!(ledger.mark_rescued(&tickets, LONG).await.unwrap().is_empty());
}

async fn a_rescued_call_keeps_its_due_time(database: Database) {
    let ledger = database.ledger();
    let call = accept(&*ledger, due("a")).await;
    let_two_hours_pass(&database).await;
    drop(ledger.mark_rescued(&[next_ticket(&call)], LONG).await.unwrap());
    assert_eq!(find(&*ledger, &call).await, call);
    let after = ledger.waiting(&endpoint(ENDPOINT), None, call.created_at, 10).await.unwrap();
    assert!(after.is_empty(), "its wake time has moved");
    drop(claim(&*ledger, &call).await);
}

async fn a_call_past_its_deadline_is_set_aside(database: Database) {
    let ledger = database.ledger();
    let now = ledger.now().await.unwrap();
    let past =
        due_with(Submission { deadline: Some(now), not_before: Some(now.plus(LONG)), ..submission("past") });
    let past = accept(&*ledger, past).await;
    let in_time = accept(&*ledger, due("in time")).await;
    let orders =
        [&in_time, &past].map(|call| SetAside { ticket: next_ticket(call), reason: ReviewReason::Expired });
    let answers = ledger.set_aside(&orders).await.unwrap();
    assert_eq!(answers[0], None);
    let aside = answers[1].clone().unwrap();
    assert_eq!(aside.state, State::Review { reason: ReviewReason::Expired });
    assert_eq!(find(&*ledger, &past).await, aside);
    assert_eq!(status_of(&*ledger, &in_time).await, Status::Scheduled);
    assert_eq!(database.number("select count(*) from notices where channel = 'broker'").await, 1);
}

async fn a_call_of_a_lost_endpoint_is_set_aside_when_it_is_due(database: Database) {
    let ledger = database.ledger();
    let now_due = accept(&*ledger, due("due")).await;
    let later = accept(&*ledger, waiting("later")).await;
    let orders = [&now_due, &later]
        .map(|call| SetAside { ticket: next_ticket(call), reason: ReviewReason::Unroutable });
    let answers = ledger.set_aside(&orders).await.unwrap();
    let state = answers[0].as_ref().map(|call| call.state.clone());
    assert_eq!(state, Some(State::Review { reason: ReviewReason::Unroutable }));
    assert_eq!(answers[1], None);
}

async fn only_what_stands_as_named_is_set_aside(database: Database) {
    let ledger = database.ledger();
    let call = accept(&*ledger, due("a")).await;
    let order = |attempt| SetAside { ticket: ticket(&call, attempt), reason: ReviewReason::Unroutable };
    assert_eq!(ledger.set_aside(&[order(2)]).await.unwrap(), [None]);
    let held = claim(&*ledger, &call).await;
    assert_eq!(ledger.set_aside(&[order(1), order(2)]).await.unwrap(), [None, None]);
    drop(record(&*ledger, failure(&held)).await);
    let answers = ledger.set_aside(&[order(1), order(2), order(2)]).await.unwrap();
    assert_eq!(answers.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
}

async fn status_of(ledger: &dyn Ledger, call: &Call) -> Status {
    find(ledger, call).await.state.status()
}

async fn lane_reports_are_replaced_and_grow_old(database: Database) {
    let ledger = database.ledger();
    let now = ledger.now().await.unwrap();
    let report =
        |name: &str, at| LaneReport { endpoint: endpoint(name), oldest_held: at, last_taken: Some(now) };
    ledger.report_lanes(&worker("w1"), &[report("a", None), report("b", Some(now))]).await.unwrap();
    ledger.report_lanes(&worker("w2"), &[report("a", Some(now))]).await.unwrap();
    ledger.report_lanes(&worker("w1"), &[report("c", None), report("b", None)]).await.unwrap();
    let expected = vec![
        (worker("w1"), report("b", None)),
        (worker("w1"), report("c", None)),
        (worker("w2"), report("a", Some(now))),
    ];
    assert_eq!(ledger.lane_reports(LONG).await.unwrap(), expected);

    let (hours, days) = (database.hours(2), database.hours(48));
    database
        .run(&format!("update lane_reports set reported_at = reported_at - {hours} where worker = 'w2'"))
        .await
        .unwrap();
    assert_eq!(ledger.lane_reports(LONG).await.unwrap(), expected[..2]);
    database
        .run(&format!("update lane_reports set reported_at = reported_at - {days} where worker = 'w2'"))
        .await
        .unwrap();
    ledger.report_lanes(&worker("w1"), &[]).await.unwrap();
    assert_eq!(
        database.number("select count(*) from lane_reports").await,
        0,
        "who is long gone is forgotten"
    );
}

async fn the_clock_goes_on(database: Database) {
    let ledger = database.ledger();
    let first = ledger.now().await.unwrap();
    crate::support::wait_for("the clock goes on", || async {
        (ledger.now().await.unwrap() > first).then_some(())
    })
    .await;
}
