//! Endpoints that are held, and what is done with their calls.

use std::time::Duration;

use redial::call::{ReviewReason, Rung, State, Submission};
use redial::gate::{Hold, HoldKind, Phase};
use redial::ledger::{HoldChange, Ledger, Park, ParkKind, SetAside};

use super::calls::{
    ENDPOINT, LONG, accept, claim, due, due_with, endpoint, failure, find, next_ticket, record, running,
    submission, ticket, waiting, worker,
};
use crate::support::database::Database;

on_both_ledgers!(
    what_is_parked_is_parked_for_everybody_until_the_pause_is_over,
    a_longer_park_stays_and_a_shorter_one_gives_way,
    an_operators_hold_wins_over_everything_and_ends_only_by_hand,
    of_many_workers_one_gets_the_probe,
    a_good_probe_leads_to_the_ramp_and_then_the_hold_is_forgotten,
    a_probe_that_fails_parks_again_and_one_that_was_not_made_is_given_back,
    what_is_put_off_keeps_its_rung_and_its_attempt,
    what_expires_while_it_is_put_off_can_be_set_aside,
    rungs_are_given_back_to_calls_that_still_wait,
);

const MOMENT: Duration = Duration::ZERO;

fn park(kind: ParkKind, pause: Duration) -> HoldChange {
    HoldChange::Park(Park { kind, pause, parks: 1, note: "429".to_owned() })
}

fn pause() -> HoldChange {
    HoldChange::Pause { actor: "ops".to_owned(), note: "maintenance".to_owned() }
}

fn probe(name: &str) -> HoldChange {
    HoldChange::TakeProbe { worker: worker(name), lease: LONG }
}

async fn change(ledger: &dyn Ledger, change: HoldChange) -> Option<Hold> {
    ledger.change_hold(&endpoint(ENDPOINT), &change).await.unwrap()
}

async fn hold(ledger: &dyn Ledger) -> Option<Hold> {
    let (_, mut holds) = ledger.holds().await.unwrap();
    assert!(holds.len() <= 1);
    holds.pop()
}

async fn what_is_parked_is_parked_for_everybody_until_the_pause_is_over(database: Database) {
    let ledger = database.ledger();
    assert_eq!(hold(&*ledger).await, None);
    let parked = change(&*ledger, park(ParkKind::Limited, LONG)).await.unwrap();
    assert_eq!((parked.kind, parked.parks, parked.note.as_str()), (HoldKind::Limited, 1, "429"));
    assert!(parked.is_shut() && parked.actor.is_none());
    let (now, holds) = ledger.holds().await.unwrap();
    assert_eq!(holds, std::slice::from_ref(&parked));
    let left = parked.until().unwrap().since(now);
    assert!(left > LONG / 2 && left <= LONG, "{left:?}");
    assert!(!parked.wants_probe(now) && parked.wants_probe(now.plus(LONG)));
}

async fn a_longer_park_stays_and_a_shorter_one_gives_way(database: Database) {
    let ledger = database.ledger();
    let long = change(&*ledger, park(ParkKind::Limited, LONG)).await;
    assert_eq!(change(&*ledger, park(ParkKind::Breaker, MOMENT)).await, None);
    assert_eq!(hold(&*ledger).await, long);
    let longer = change(&*ledger, park(ParkKind::Breaker, LONG * 2)).await.unwrap();
    assert_eq!(longer.kind, HoldKind::Breaker);
    assert_eq!(longer.since, long.unwrap().since, "it is held since it was first parked");
}

async fn an_operators_hold_wins_over_everything_and_ends_only_by_hand(database: Database) {
    let ledger = database.ledger();
    drop(change(&*ledger, park(ParkKind::Limited, MOMENT)).await);
    let paused = change(&*ledger, pause()).await.unwrap();
    assert_eq!((paused.kind, paused.actor.as_deref()), (HoldKind::Paused, Some("ops")));
    assert_eq!(paused.phase, Phase::Parked { until: None });
    for nothing in [
        park(ParkKind::Breaker, LONG),
        probe("w"),
        HoldChange::ProbeSucceeded { worker: worker("w"), ramp: LONG },
        HoldChange::ProbeUnused { worker: worker("w") },
        HoldChange::Forget,
    ] {
        assert_eq!(change(&*ledger, nothing.clone()).await, None, "{nothing:?}");
    }
    assert_eq!(hold(&*ledger).await, Some(paused));
    let resumed = change(&*ledger, HoldChange::Resume { ramp: LONG }).await.unwrap();
    assert!(!resumed.is_shut() && matches!(resumed.phase, Phase::Ramping { .. }));
    assert_eq!(change(&*ledger, HoldChange::Resume { ramp: LONG }).await, None);
    // While calls go out again, the third party may ask for a pause.
    let parked = change(&*ledger, park(ParkKind::Limited, LONG)).await.unwrap();
    assert_eq!((parked.kind, parked.actor), (HoldKind::Limited, None));
}

async fn of_many_workers_one_gets_the_probe(database: Database) {
    let ledger = database.ledger();
    drop(change(&*ledger, park(ParkKind::Breaker, LONG)).await);
    assert_eq!(change(&*ledger, probe("early")).await, None);
    assert_eq!(
        change(&*ledger, HoldChange::Resume { ramp: MOMENT }).await.map(|hold| hold.kind),
        Some(HoldKind::Breaker)
    );
    drop(change(&*ledger, park(ParkKind::Breaker, MOMENT)).await);
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..6 {
        let ledger = database.ledger();
        workers.spawn(async move { change(&*ledger, probe(&format!("w{number}"))).await });
    }
    let winners: Vec<Hold> = workers.join_all().await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    // One that is not heard of again is followed by another.
    let past = database.hours(2);
    database.run(&format!("update holds set until = until - {past}")).await.unwrap();
    let next = change(&*ledger, probe("next")).await.unwrap();
    assert!(matches!(next.phase, Phase::Probing { by, .. } if by == worker("next")));
}

async fn a_good_probe_leads_to_the_ramp_and_then_the_hold_is_forgotten(database: Database) {
    let ledger = database.ledger();
    drop(change(&*ledger, park(ParkKind::Limited, MOMENT)).await);
    drop(change(&*ledger, probe("w")).await.unwrap());
    let succeeded = |name| HoldChange::ProbeSucceeded { worker: worker(name), ramp: LONG };
    assert_eq!(change(&*ledger, succeeded("somebody-else")).await, None);
    let ramping = change(&*ledger, succeeded("w")).await.unwrap();
    assert!(!ramping.is_shut());
    assert_eq!(change(&*ledger, HoldChange::Forget).await, None, "it is not over");
    let past = database.hours(2);
    database.run(&format!("update holds set until = until - {past}")).await.unwrap();
    assert!(change(&*ledger, HoldChange::Forget).await.is_some());
    assert_eq!(hold(&*ledger).await, None);
}

async fn a_probe_that_fails_parks_again_and_one_that_was_not_made_is_given_back(database: Database) {
    let ledger = database.ledger();
    drop(change(&*ledger, park(ParkKind::Breaker, MOMENT)).await);
    drop(change(&*ledger, probe("w")).await.unwrap());
    assert!(change(&*ledger, HoldChange::ProbeUnused { worker: worker("w") }).await.is_some());
    drop(change(&*ledger, probe("v")).await.unwrap());
    let again = Park { kind: ParkKind::Breaker, pause: LONG, parks: 2, note: "503".to_owned() };
    let parked = change(&*ledger, HoldChange::Park(again)).await.unwrap();
    assert_eq!((parked.parks, parked.is_shut()), (2, true));
    assert!(matches!(parked.phase, Phase::Parked { until: Some(_) }));
}

async fn what_is_put_off_keeps_its_rung_and_its_attempt(database: Database) {
    let ledger = database.ledger();
    let now_due = accept(&*ledger, due("due")).await;
    let later = accept(&*ledger, waiting("later")).await;
    let busy = running(&*ledger, "busy").await;
    let tickets = [next_ticket(&now_due), ticket(&now_due, 2), next_ticket(&later), ticket(&busy, 1)];
    let mut put_off = ledger.postpone(&tickets, LONG / 2).await.unwrap();
    put_off.sort();
    let mut expected = [next_ticket(&now_due), next_ticket(&later)];
    expected.sort_unstable();
    assert_eq!(put_off.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), expected);
    for (ticket, wait) in put_off {
        let about = if ticket.call == now_due.id { LONG / 2 } else { LONG };
        assert!(wait > about.checked_sub(LONG / 4).unwrap() && wait <= about, "{wait:?}");
    }
    let after = find(&*ledger, &now_due).await;
    assert_eq!((after.rung, after.attempts_made), (now_due.rung, now_due.attempts_made));
    let State::Scheduled { due_at, .. } = after.state else { panic!("{after:?}") };
    assert!(due_at > now_due.created_at.plus(LONG / 4));
    let before = now_due.created_at.plus(LONG / 4);
    assert!(
        ledger.waiting(&endpoint(ENDPOINT), None, before, 10).await.unwrap().is_empty(),
        "its wake time has moved too"
    );
    assert!(ledger.postpone(&[], LONG).await.unwrap().is_empty());
}

async fn what_expires_while_it_is_put_off_can_be_set_aside(database: Database) {
    let ledger = database.ledger();
    let now = ledger.now().await.unwrap();
    let past = accept(&*ledger, due_with(Submission { deadline: Some(now), ..submission("past") })).await;
    let in_time = accept(&*ledger, due("in time")).await;
    let put_off = ledger.postpone(&[next_ticket(&past), next_ticket(&in_time)], LONG).await.unwrap();
    assert_eq!(put_off.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [next_ticket(&in_time)]);
    let expired = ledger.expired(&endpoint(ENDPOINT), 10).await.unwrap();
    assert_eq!(expired.iter().map(|waiting| waiting.ticket).collect::<Vec<_>>(), [next_ticket(&past)]);
    assert!(expired[0].expired);
    assert!(ledger.expired(&endpoint("other"), 10).await.unwrap().is_empty());
    let order = SetAside { ticket: expired[0].ticket, reason: ReviewReason::Expired };
    assert!(ledger.set_aside(&[order]).await.unwrap()[0].is_some());
    assert!(ledger.expired(&endpoint(ENDPOINT), 10).await.unwrap().is_empty());
}

async fn rungs_are_given_back_to_calls_that_still_wait(database: Database) {
    let ledger = database.ledger();
    let mut failed = Vec::new();
    for name in ["a", "b", "c"] {
        let held = running(&*ledger, name).await;
        drop(record(&*ledger, failure(&held)).await);
        failed.push(find(&*ledger, &held).await);
    }
    let rung = failed[0].rung;
    assert_eq!(rung, Rung::GROUND.next(), "a failure uses a rung");
    // One has gone on since, one never was on that rung.
    drop(claim(&*ledger, &failed[1]).await);
    let given_back = ledger
        .give_back_rungs(&[
            (next_ticket(&failed[0]), Rung::GROUND),
            (next_ticket(&failed[1]), Rung::GROUND),
            (next_ticket(&failed[2]), Rung::new(7)),
        ])
        .await
        .unwrap();
    assert_eq!(given_back, 1);
    let after = find(&*ledger, &failed[0]).await;
    assert_eq!((after.rung, &after.state), (Rung::GROUND, &failed[0].state), "its due time stays");
    assert_eq!(find(&*ledger, &failed[2]).await.rung, rung);
}
