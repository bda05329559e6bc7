//! Accepting: keys, starts, entities.

use std::time::Duration;

use redial::call::{
    Body, Failure, IdempotencyKey, KeyUse, Request, ReviewReason, Rung, State, Status, Submission, TagKey,
    Trigger,
};
use redial::ledger::{Accepted, LedgerError, NewCall, Start};

use super::calls::{
    LONG, accept, claim, due, due_with, failure, find, record, running, status, submission, success,
    versioned, worker,
};
use crate::support::database::Database;

on_both_ledgers!(
    a_call_comes_back_as_it_was_accepted,
    a_call_without_a_key_is_known_by_its_id,
    bodies_are_kept_byte_for_byte,
    text_with_nul_and_beyond_ascii_is_kept,
    a_key_stands_for_one_document,
    keys_in_use_are_told_without_a_call,
    keys_that_repeat_inside_a_batch_are_stored_once,
    an_accept_that_is_run_again_changes_nothing,
    of_many_tasks_with_one_key_one_is_stored,
    a_call_waits_for_its_delay_and_not_before,
    a_call_may_start_claimed,
    a_call_may_start_in_review,
    a_higher_version_supersedes_what_waits,
    a_lower_version_is_superseded_at_once,
    a_running_call_that_is_overtaken_is_superseded_when_its_attempt_fails,
    a_running_call_that_is_overtaken_may_still_succeed,
    a_refused_call_does_not_raise_its_entity,
    of_two_versions_accepted_at_once_the_lower_never_stays,
    an_empty_batch_is_no_work,
);

async fn a_call_comes_back_as_it_was_accepted(database: Database) {
    let ledger = database.ledger();
    let submission = Submission {
        failure: Some(Failure {
            occurred_at: Some(redial::clock::Timestamp::from_unix_micros(1_700_000_000_123_456)),
            status: Some(503),
            error: Some("upstream timeout".to_owned()),
            ambiguous: true,
            attempts: Some(3),
        }),
        tags: vec![
            (TagKey::parse("order").unwrap(), "1234".to_owned()),
            (TagKey::parse("shop").unwrap(), String::new()),
        ],
        callback_url: Some("https://shop.example/redial".parse().unwrap()),
        trace_parent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        ..submission("a")
    };
    let accepted = accept(&*ledger, due_with(submission)).await;
    assert_eq!(accepted.deadline, accepted.created_at.plus(redial::limits::DEADLINE_DEFAULT));
    assert_eq!(find(&*ledger, &accepted).await, accepted);
}

async fn a_call_without_a_key_is_known_by_its_id(database: Database) {
    let new = due_with(Submission { idempotency_key: None, ..submission("a") });
    let id = new.id;
    let accepted = accept(&*database.ledger(), new).await;
    assert_eq!(accepted.idempotency_key, IdempotencyKey::from(id));
    assert_eq!(find(&*database.ledger(), &accepted).await, accepted);
}

async fn bodies_are_kept_byte_for_byte(database: Database) {
    let ledger = database.ledger();
    let every_byte: Vec<u8> = (0..=255).collect();
    let bodies = [
        Body::Empty,
        Body::Json(r#"{ "a" : 1e3,  "b": "ü\u0000" }"#.into()),
        Body::Bytes(Vec::new().into()),
        Body::Bytes(every_byte.into()),
        Body::Bytes(vec![0; 1_000_000].into()),
    ];
    for (place, body) in bodies.into_iter().enumerate() {
        let mut submission = submission(&format!("key-{place}"));
        submission.request = Request { body: body.clone(), ..submission.request };
        let accepted = accept(&*ledger, due_with(submission)).await;
        assert_eq!(find(&*ledger, &accepted).await.request.body, body);
    }
}

async fn text_with_nul_and_beyond_ascii_is_kept(database: Database) {
    let ledger = database.ledger();
    let error = "\0 \u{1f600} ü \\ ' \" \u{fffd}";
    let submission = Submission {
        failure: Some(Failure { error: Some(error.to_owned()), ..Failure::default() }),
        tags: vec![(TagKey::parse("t").unwrap(), "\0ü\u{1f600}".to_owned())],
        ..submission("a")
    };
    let accepted = accept(&*ledger, due_with(submission)).await;
    let found = find(&*ledger, &accepted).await;
    assert_eq!(found.failure.unwrap().error.unwrap(), error);
    assert_eq!(found.tags[0].1, "\u{fffd}ü\u{1f600}", "U+0000 cannot be looked for, so it is replaced");
}

async fn a_key_stands_for_one_document(database: Database) {
    let ledger = database.ledger();
    let first = accept(&*ledger, due("a")).await;
    assert_eq!(ledger.accept(&[due("a")]).await.unwrap(), [Accepted::Known(first.id)]);
    let other = due_with(Submission { fingerprint: [0; 32], ..submission("a") });
    assert_eq!(ledger.accept(&[other]).await.unwrap(), [Accepted::KeyReused(first.id)]);
    let elsewhere = due_with(Submission {
        publisher: redial::call::Publisher::parse("other shop").unwrap(),
        ..submission("a")
    });
    assert!(accept(&*ledger, elsewhere).await.id != first.id);
    assert_eq!(find(&*ledger, &first).await, first);
}

async fn keys_in_use_are_told_without_a_call(database: Database) {
    let ledger = database.ledger();
    let first = accept(&*ledger, due("a")).await;
    let of = |key: &str| {
        let submission = submission(key);
        let key = IdempotencyKey::parse(key).unwrap();
        KeyUse { publisher: submission.publisher, key, fingerprint: submission.fingerprint }
    };
    let elsewhere = KeyUse { publisher: redial::call::Publisher::parse("other shop").unwrap(), ..of("a") };
    let uses = [of("b"), of("a"), KeyUse { fingerprint: [0; 32], ..of("a") }, elsewhere, of("a")];
    let known = Some(Accepted::Known(first.id));
    let reused = Some(Accepted::KeyReused(first.id));
    assert_eq!(ledger.known(&uses).await.unwrap(), [None, known.clone(), reused, None, known]);
    assert_eq!(ledger.known(&[]).await.unwrap(), []);
    assert!(
        matches!(ledger.accept(&[due("b")]).await.unwrap()[..], [Accepted::Stored(_)]),
        "it is free still"
    );
}

async fn keys_that_repeat_inside_a_batch_are_stored_once(database: Database) {
    let ledger = database.ledger();
    let other = due_with(Submission { fingerprint: [0; 32], ..submission("b") });
    let batch = [due("b"), due("a"), due("b"), other, due("c")];
    let ids: Vec<_> = batch.iter().map(|call| call.id).collect();
    let answers = ledger.accept(&batch).await.unwrap();
    for place in [0, 1, 4] {
        assert!(matches!(&answers[place], Accepted::Stored(call) if call.id == ids[place]), "{place}");
    }
    assert_eq!(answers[2], Accepted::Known(ids[0]));
    assert_eq!(answers[3], Accepted::KeyReused(ids[0]));
    assert_eq!(database.number("select count(*) from calls").await, 3);
}

async fn an_accept_that_is_run_again_changes_nothing(database: Database) {
    let ledger = database.ledger();
    let batch = [due("a"), versioned("b", "deal", 1)];
    let ids: Vec<_> = batch.iter().map(|call| call.id).collect();
    drop(ledger.accept(&batch).await.unwrap());
    let again = ledger.accept(&batch).await.unwrap();
    assert_eq!(again, [Accepted::Known(ids[0]), Accepted::Known(ids[1])]);
}

async fn of_many_tasks_with_one_key_one_is_stored(database: Database) {
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..40 {
        let ledger = database.ledger();
        // Each batch holds another key as well, in one order or the other, so that they could stand in each other's way.
        tasks.spawn(async move {
            let mut batch = vec![due("one"), due("two")];
            if task % 2 == 0 {
                batch.reverse();
            }
            ledger.accept(&batch).await.unwrap()
        });
    }
    let answers = tasks.join_all().await;
    let stored = answers.iter().flatten().filter(|answer| matches!(answer, Accepted::Stored(_))).count();
    assert_eq!(stored, 2);
    assert_eq!(database.number("select count(*) from calls").await, 2);
}

async fn a_call_waits_for_its_delay_and_not_before(database: Database) {
    let ledger = database.ledger();
    let now = ledger.now().await.unwrap();
    let start = Start::Waiting {
        delay: Duration::from_secs(600),
        rung: Rung::new(1),
        trigger: redial::call::Trigger::First,
    };
    let call = accept(&*ledger, NewCall { start: start.clone(), ..due("a") }).await;
    let due_at = call.created_at.plus(Duration::from_secs(600));
    assert_eq!(call.state, State::Scheduled { due_at, trigger: Trigger::First });
    assert_eq!((call.rung, call.attempts_made.get()), (Rung::new(1), 0));

    let not_before = now.plus(LONG);
    let later = due_with(Submission { not_before: Some(not_before), ..submission("b") });
    let call = accept(&*ledger, NewCall { start, ..later }).await;
    assert_eq!(call.state, State::Scheduled { due_at: not_before, trigger: Trigger::First });
    assert_eq!(find(&*ledger, &call).await, call);
}

async fn a_call_may_start_claimed(database: Database) {
    let ledger = database.ledger();
    let start = Start::Claimed { worker: worker("w"), lease: Duration::from_secs(60) };
    let call = accept(&*ledger, NewCall { start, ..due("a") }).await;
    let State::Running(claim) = &call.state else { panic!("{call:?}") };
    assert_eq!((claim.number.get(), claim.attempt.get(), claim.trigger), (1, 1, Trigger::First));
    assert_eq!(claim.started_at, call.created_at);
    assert_eq!(claim.lease_until, call.created_at.plus(Duration::from_secs(60)));
    assert_eq!(find(&*ledger, &call).await, call);
    drop(record(&*ledger, success(&call)).await);
    assert_eq!(status(&*ledger, &call).await, Status::Succeeded);
}

async fn a_call_may_start_in_review(database: Database) {
    let ledger = database.ledger();
    let start = Start::Review(ReviewReason::Ambiguous);
    let call = accept(&*ledger, NewCall { start, ..due("a") }).await;
    assert_eq!(call.state, State::Review { reason: ReviewReason::Ambiguous });
    assert_eq!(find(&*ledger, &call).await, call);
    assert_eq!(database.number("select count(*) from notices where channel = 'broker'").await, 1);
}

async fn a_higher_version_supersedes_what_waits(database: Database) {
    let ledger = database.ledger();
    let waits = accept(&*ledger, versioned("a", "deal-42", 1)).await;
    let start = Start::Review(ReviewReason::Ambiguous);
    let reviewed = accept(&*ledger, NewCall { start, ..versioned("b", "deal-42", 2) }).await;
    let other = accept(&*ledger, versioned("c", "deal-43", 1)).await;
    let newest = accept(&*ledger, versioned("d", "deal-42", 3)).await;
    let equal = accept(&*ledger, versioned("e", "deal-42", 3)).await;
    for (call, expected) in [
        (waits, Status::Superseded),
        (reviewed, Status::Superseded),
        (other, Status::Scheduled),
        (newest, Status::Scheduled),
        (equal, Status::Scheduled),
    ] {
        assert_eq!(status(&*ledger, &call).await, expected, "{}", call.idempotency_key);
    }
}

async fn a_lower_version_is_superseded_at_once(database: Database) {
    let ledger = database.ledger();
    drop(accept(&*ledger, versioned("a", "deal", 8)).await);
    let late = accept(&*ledger, versioned("b", "deal", 7)).await;
    assert_eq!(late.state.status(), Status::Superseded);
    assert_eq!(find(&*ledger, &late).await, late);
    // Both in one batch, the higher one first.
    let answers = ledger.accept(&[versioned("c", "x", 2), versioned("d", "x", 1)]).await.unwrap();
    let stands = |answer: &Accepted| match answer {
        Accepted::Stored(call) => call.state.status(),
        Accepted::Known(_) | Accepted::KeyReused(_) => panic!("{answer:?}"),
    };
    assert_eq!(answers.iter().map(stands).collect::<Vec<_>>(), [Status::Scheduled, Status::Superseded]);
}

async fn a_running_call_that_is_overtaken_is_superseded_when_its_attempt_fails(database: Database) {
    let ledger = database.ledger();
    let old = accept(&*ledger, versioned("a", "deal", 1)).await;
    let old = claim(&*ledger, &old).await;
    drop(accept(&*ledger, versioned("b", "deal", 2)).await);
    assert_eq!(status(&*ledger, &old).await, Status::Running);
    drop(record(&*ledger, failure(&old)).await);
    assert_eq!(status(&*ledger, &old).await, Status::Superseded);
}

async fn a_running_call_that_is_overtaken_may_still_succeed(database: Database) {
    let ledger = database.ledger();
    let old = accept(&*ledger, versioned("a", "deal", 1)).await;
    let old = claim(&*ledger, &old).await;
    drop(accept(&*ledger, versioned("b", "deal", 2)).await);
    drop(record(&*ledger, success(&old)).await);
    assert_eq!(status(&*ledger, &old).await, Status::Succeeded);
}

async fn a_refused_call_does_not_raise_its_entity(database: Database) {
    let ledger = database.ledger();
    let call = accept(&*ledger, versioned("a", "deal", 1)).await;
    let mut reused = versioned("a", "deal", 9);
    reused.submission.fingerprint = [0; 32];
    let answers = ledger.accept(&[reused, versioned("a", "deal", 9)]).await.unwrap();
    assert_eq!(answers, [Accepted::KeyReused(call.id), Accepted::Known(call.id)]);
    assert_eq!(status(&*ledger, &call).await, Status::Scheduled);
    assert_eq!(database.number("select version from entities").await, 1);
}

async fn of_two_versions_accepted_at_once_the_lower_never_stays(database: Database) {
    for round in 0..30 {
        let entity = format!("deal-{round}");
        let mut tasks = tokio::task::JoinSet::new();
        for version in [7, 8] {
            let (ledger, entity) = (database.ledger(), entity.clone());
            tasks.spawn(async move {
                accept(&*ledger, versioned(&format!("{entity}-{version}"), &entity, version)).await
            });
        }
        let calls = tasks.join_all().await;
        for call in calls {
            let version = call.entity.as_ref().unwrap().version;
            let expected = if version == 7 { Status::Superseded } else { Status::Scheduled };
            assert_eq!(
                status(&*database.ledger(), &call).await,
                expected,
                "round {round}, version {version}"
            );
        }
    }
}

async fn an_empty_batch_is_no_work(database: Database) {
    let ledger = database.ledger();
    assert!(ledger.accept(&[]).await.unwrap().is_empty());
    assert!(ledger.claim(&[]).await.unwrap().is_empty());
    assert!(ledger.record(&[]).await.unwrap().is_empty());
    assert!(ledger.set_aside(&[]).await.unwrap().is_empty());
    assert!(ledger.mark_rescued(&[], LONG).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_row_that_breaks_a_rule_is_refused_and_the_batch_with_it() {
    let database = Database::postgres().await;
    let bad = versioned("b", "deal", -1);
    let refused = database.ledger().accept(&[due("a"), bad]).await;
    assert!(matches!(refused, Err(LedgerError::Refused(_))), "{refused:?}");
    assert_eq!(database.number("select count(*) from calls").await, 0);
    drop(running(&*database.ledger(), "a").await);
}
