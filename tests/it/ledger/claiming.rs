//! Claiming: who gets a call, and who does not.

use std::time::Duration;

use redial::call::{CallId, State, Status, Submission, Trigger};
use redial::ledger::{ClaimWish, Claimed};

use super::calls::{
    LONG, accept, claim, due, due_with, endpoint, failure, find, record, submission, ticket, waiting, wish,
    worker,
};
use crate::support::database::Database;

on_both_ledgers!(
    a_claim_answers_the_whole_call,
    a_batch_is_answered_in_its_order,
    of_two_claimers_one_wins,
    a_wish_that_comes_twice_is_granted_once,
    a_ticket_that_does_not_fit_is_stale,
    a_call_that_is_not_due_is_early,
    a_call_past_its_deadline_is_expired,
    each_claim_has_a_higher_number,
);

async fn a_claim_answers_the_whole_call(database: Database) {
    let ledger = database.ledger();
    let accepted = accept(&*ledger, due("a")).await;
    let claimed = claim(&*ledger, &accepted).await;
    let State::Running(held) = &claimed.state else { panic!("{claimed:?}") };
    assert_eq!((held.number.get(), held.attempt.get(), held.trigger), (1, 1, Trigger::First));
    assert_eq!(
        (held.worker.clone(), held.lease_until),
        (worker("worker-1"), held.started_at.plus(Duration::from_secs(60)))
    );
    assert_eq!(claimed.request, accepted.request);
    assert_eq!(find(&*ledger, &accepted).await, claimed);
}

async fn a_batch_is_answered_in_its_order(database: Database) {
    let ledger = database.ledger();
    let mut calls = Vec::new();
    for name in ["a", "b", "c"] {
        calls.push(accept(&*ledger, due(name)).await);
    }
    calls.reverse();
    let late = accept(&*ledger, waiting("d")).await;
    let mut wishes: Vec<_> = calls.iter().map(wish).collect();
    wishes.insert(1, wish(&late));
    let answers = ledger.claim(&wishes).await.unwrap();
    for (wish, answer) in wishes.iter().zip(answers) {
        match &answer {
            Claimed::Won(call) => assert_eq!(call.id, wish.ticket.call),
            Claimed::Early(_) => assert_eq!(late.id, wish.ticket.call),
            Claimed::Expired | Claimed::Stale => panic!("{answer:?}"),
        }
    }
}

async fn of_two_claimers_one_wins(database: Database) {
    for round in 0..20 {
        let mut calls = Vec::new();
        for place in 0..5 {
            calls.push(accept(&*database.ledger(), due(&format!("{round}-{place}"))).await);
        }
        let mut tasks = tokio::task::JoinSet::new();
        for name in ["w1", "w2", "w3"] {
            let ledger = database.ledger();
            let mut wishes: Vec<_> =
                calls.iter().map(|call| ClaimWish { worker: worker(name), ..wish(call) }).collect();
            if name == "w2" {
                wishes.reverse();
            }
            tasks.spawn(async move { ledger.claim(&wishes).await.unwrap() });
        }
        let answers: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        let won = answers.iter().filter(|answer| matches!(answer, Claimed::Won(_))).count();
        let stale = answers.iter().filter(|answer| matches!(answer, Claimed::Stale)).count();
        assert_eq!((won, stale), (5, 10), "round {round}");
    }
}

async fn a_wish_that_comes_twice_is_granted_once(database: Database) {
    let ledger = database.ledger();
    let call = accept(&*ledger, due("a")).await;
    let first = ClaimWish { worker: worker("first"), ..wish(&call) };
    let answers = ledger.claim(&[first, wish(&call), wish(&call)]).await.unwrap();
    let Claimed::Won(won) = &answers[0] else { panic!("{answers:?}") };
    assert!(matches!(&won.state, State::Running(claim) if claim.worker == worker("first")));
    assert_eq!(answers[1..], [Claimed::Stale, Claimed::Stale]);
}

async fn a_ticket_that_does_not_fit_is_stale(database: Database) {
    let ledger = database.ledger();
    let call = accept(&*ledger, due("a")).await;
    let unknown = ticket(&redial::call::Call { id: CallId::generate(), ..call.clone() }, 1);
    let misfits = [
        ClaimWish { ticket: ticket(&call, 2), ..wish(&call) },
        ClaimWish { ticket: ticket(&call, i32::MAX), ..wish(&call) },
        ClaimWish { ticket: unknown, ..wish(&call) },
        ClaimWish { endpoint: endpoint("other"), ..wish(&call) },
    ];
    for answer in ledger.claim(&misfits).await.unwrap() {
        assert_eq!(answer, Claimed::Stale);
    }
    // The ticket of an attempt that was made.
    let running = claim(&*ledger, &call).await;
    drop(record(&*ledger, failure(&running)).await);
    assert_eq!(ledger.claim(&[wish(&call)]).await.unwrap(), [Claimed::Stale]);
    assert_eq!(find(&*ledger, &call).await.state.status(), Status::Scheduled);
}

async fn a_call_that_is_not_due_is_early(database: Database) {
    let ledger = database.ledger();
    let call = accept(&*ledger, waiting("a")).await;
    let answers = ledger.claim(&[wish(&call)]).await.unwrap();
    let [Claimed::Early(wait)] = answers[..] else { panic!("{answers:?}") };
    assert!(wait <= LONG && wait > LONG.checked_sub(Duration::from_secs(60)).unwrap(), "{wait:?}");
    // A call that expires before it is due is early until then.
    let now = ledger.now().await.unwrap();
    let short = Submission {
        deadline: Some(now.plus(Duration::from_secs(600))),
        not_before: Some(now.plus(LONG)),
        ..submission("b")
    };
    let call = accept(&*ledger, due_with(short)).await;
    let answers = ledger.claim(&[wish(&call)]).await.unwrap();
    assert!(matches!(answers[..], [Claimed::Early(wait)] if wait <= Duration::from_secs(600)), "{answers:?}");
}

async fn a_call_past_its_deadline_is_expired(database: Database) {
    let ledger = database.ledger();
    let now = ledger.now().await.unwrap();
    for (name, not_before) in [("a", None), ("b", Some(now.plus(LONG)))] {
        let past = Submission { deadline: Some(now), not_before, ..submission(name) };
        let call = accept(&*ledger, due_with(past)).await;
        assert_eq!(ledger.claim(&[wish(&call)]).await.unwrap(), [Claimed::Expired], "{name}");
    }
}

async fn each_claim_has_a_higher_number(database: Database) {
    let ledger = database.ledger();
    let mut call = accept(&*ledger, due("a")).await;
    for number in 1..=3 {
        call = claim(&*ledger, &call).await;
        let State::Running(held) = &call.state else { panic!("{call:?}") };
        assert_eq!((held.number.get(), held.attempt.get()), (i64::from(number), number));
        drop(record(&*ledger, failure(&call)).await);
        call = find(&*ledger, &call).await;
    }
}
