//! Erasure: nothing personal of a call is left, and what waits is not sent without it.

use std::sync::Arc;

use bytes::Bytes;
use redial::call::attempt::{Answer, SentRequest};
use redial::call::{
    Body, Call, CallId, Failure, Headers, Method, Outcome, Request, RequestPath, ReviewReason, Status,
    Submission, TagKey, Verdict,
};
use redial::endpoint::reporting::Report;
use redial::ledger::{
    Acted, Channel, Erased, Erasure, ErasureMode, Filter, Ledger, Next, OperatorAction, Order, Record,
    Settled,
};
use sqlx::{AssertSqlSafe, Connection};

use super::calls::{
    accept, attempt, claim, due, due_with, find, given_up, lost, record, status, submission, success,
};
use super::reporting::word;
use crate::support::database::{Database, Place};

on_both_ledgers!(
    nothing_of_an_erased_call_is_left_in_any_table,
    what_waits_is_cancelled_and_what_runs_is_left,
    a_count_changes_nothing,
    what_comes_late_is_kept_without_its_content,
    what_a_third_party_reports_later_is_kept_without_its_content,
);

/// What must be found nowhere.
const MARKER: &str = "Josephine-Baker";

fn marked(name: &str) -> Submission {
    let mut headers = Headers::default();
    headers.insert("x-customer", MARKER).unwrap();
    Submission {
        request: Request {
            method: Method::Post,
            path: RequestPath::parse(&format!("/customers/{MARKER}?q={MARKER}")).unwrap(),
            headers,
            body: Body::Json(Bytes::from(format!("{{\"name\":\"{MARKER}\"}}"))),
        },
        failure: Some(Failure { error: Some(MARKER.to_owned()), status: Some(503), ..Failure::default() }),
        tags: vec![(TagKey::parse("customer").unwrap(), MARKER.to_owned())],
        callback_url: Some(url::Url::parse(&format!("https://shop.example/{MARKER}")).unwrap()),
        ..submission(name)
    }
}

fn marked_answer(status: u16) -> Outcome {
    Outcome::Answered(Answer {
        status,
        headers: vec![("x-customer".to_owned(), MARKER.to_owned())],
        body: Bytes::from_static(MARKER.as_bytes()),
        body_bytes: 15,
    })
}

/// The record of a failure whose every part is marked.
fn marked_record(call: &Call, outcome: Outcome, next: Next) -> Record {
    let mut attempt = attempt(call, Verdict::Transient, outcome);
    attempt.ruling.notes = Some(MARKER.to_owned());
    attempt.request = Some(SentRequest {
        url: format!("https://x.example/{MARKER}"),
        headers: vec![("x-customer".to_owned(), MARKER.to_owned())],
        ..attempt.request.unwrap()
    });
    Record { call: call.id, attempt: attempt.into(), next, course: call.course.clone() }
}

fn erasure(mode: ErasureMode) -> Erasure {
    Erasure { actor: "ada".to_owned(), note: "asked for".to_owned(), mode }
}

async fn marked_ids(ledger: &dyn Ledger) -> Vec<CallId> {
    let filter =
        Filter { tags: vec![(TagKey::parse("customer").unwrap(), MARKER.to_owned())], ..Filter::default() };
    ledger.list(&filter, None, 100).await.unwrap().into_iter().map(|call| call.id).collect()
}

/// Every row of every table as text.
async fn dump(database: &Database) -> String {
    let url = database.place().url();
    let mut text = String::new();
    match database.place() {
        Place::Postgres(_) => {
            let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
            let tables: Vec<String> =
                sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
                    .fetch_all(&mut connection)
                    .await
                    .unwrap();
            for table in tables {
                // `bytea` shows as hexadecimal digits; `escape` shows letters as letters.
                sqlx::raw_sql("set bytea_output = 'escape'").execute(&mut connection).await.unwrap();
                let query = format!("select t::text from {table} t");
                let rows: Vec<String> =
                    sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut connection).await.unwrap();
                text.push_str(&rows.join("\n"));
            }
        }
        Place::Sqlite(_) => {
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            let columns: Vec<(String, String)> = sqlx::query_as(
                "select m.name, p.name from sqlite_schema m, pragma_table_info(m.name) p where m.type = 'table'",
            )
            .fetch_all(&mut connection)
            .await
            .unwrap();
            for (table, column) in columns {
                let query = format!("select coalesce(cast(\"{column}\" as text), '') from \"{table}\"");
                let values: Vec<Vec<u8>> = sqlx::query_scalar(AssertSqlSafe(format!(
                    "select cast(v as blob) from ({})",
                    query.replace("'') from", "'') as v from")
                )))
                .fetch_all(&mut connection)
                .await
                .unwrap();
                for value in values {
                    text.push_str(&String::from_utf8_lossy(&value));
                    text.push('\n');
                }
            }
        }
    }
    text
}

/// Tells of everything that is to be told, so that the outbox is empty.
async fn tell_all(ledger: &dyn Ledger) {
    let notices = ledger.take_notices(Channel::ALL, 100, std::time::Duration::from_secs(60)).await.unwrap();
    let ids: Vec<i64> = notices.iter().map(|notice| notice.id).collect();
    ledger.forget_notices(&ids).await.unwrap();
}

async fn nothing_of_an_erased_call_is_left_in_any_table(database: Database) {
    let ledger = database.ledger();
    let call = claim(&*ledger, &accept(&*ledger, due_with(marked("a"))).await).await;
    drop(
        record(&*ledger, marked_record(&call, marked_answer(503), Next::Review(ReviewReason::Rejected)))
            .await,
    );
    let edit = Order::Replay { request: Some(marked("b").request), new_key: false };
    let edit = OperatorAction {
        call: call.id,
        actor: "ada".into(),
        note: String::new(),
        if_revision: None,
        order: edit,
    };
    assert!(matches!(ledger.act(&edit).await.unwrap(), Acted::Done(_)));
    let again = claim(&*ledger, &find(&*ledger, &call).await).await;
    let broken = Outcome::Failed { kind: redial::call::ErrorKind::Broken, detail: MARKER.to_owned() };
    drop(record(&*ledger, marked_record(&again, broken, Next::Review(ReviewReason::Ambiguous))).await);
    let before = dump(&database).await;
    assert!(before.matches(MARKER).count() > 12, "{before}");

    let erased = ledger.erase(&marked_ids(&*ledger).await, &erasure(ErasureMode::Erase)).await.unwrap();
    assert_eq!((erased.calls, erased.attempts, erased.revisions, erased.running_skipped), (1, 2, 1, 0));
    tell_all(&*ledger).await;
    let after = dump(&database).await;
    assert!(!after.contains(MARKER), "{after}");

    let story = ledger.story(call.id).await.unwrap().unwrap();
    assert_eq!(story.call.state.status(), Status::Cancelled);
    assert!(story.call.erased_at.is_some() && story.call.body_erased_at.is_some());
    assert_eq!(story.call.tags, [(TagKey::parse("customer").unwrap(), "[erased]".to_owned())]);
    assert_eq!(story.call.failure.as_ref().unwrap().status, Some(503));
    let outcomes: Vec<_> = story.attempts.iter().map(redial::call::Attempt::http_status).collect();
    assert_eq!((outcomes, story.revisions.len()), (vec![Some(503), None], 1));
    let last = story.actions.last().unwrap();
    assert_eq!((last.actor.as_str(), last.kind.as_str()), ("ada", "cancel"));
    assert!(last.note.contains("asked for"), "{last:?}");
    assert!(marked_ids(&*ledger).await.is_empty(), "it is not found by its tag any more");
    let replay = OperatorAction { order: Order::Replay { request: None, new_key: false }, ..edit };
    assert!(matches!(ledger.act(&replay).await.unwrap(), Acted::BodyErased(_)));
    // The last to leave moves the log into the file.
    ledger.close().await;
    if let Place::Sqlite(folder) = database.place() {
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            assert!(
                !bytes.windows(MARKER.len()).any(|piece| piece == MARKER.as_bytes()),
                "{}",
                path.display()
            );
        }
    }
}

async fn what_waits_is_cancelled_and_what_runs_is_left(database: Database) {
    let ledger = database.ledger();
    let waits = accept(&*ledger, due_with(marked("waits"))).await;
    let runs = claim(&*ledger, &accept(&*ledger, due_with(marked("runs"))).await).await;
    let done = claim(&*ledger, &accept(&*ledger, due_with(marked("done"))).await).await;
    drop(record(&*ledger, success(&done)).await);
    let other = accept(&*ledger, due("other")).await;
    let erased = ledger.erase(&marked_ids(&*ledger).await, &erasure(ErasureMode::Erase)).await.unwrap();
    assert_eq!((erased.calls, erased.attempts, erased.running_skipped), (2, 1, 1));
    let cancelled: Vec<CallId> = erased.cancelled.iter().map(|call| call.id).collect();
    assert_eq!(cancelled, [waits.id]);
    for (call, expected) in [
        (&waits, Status::Cancelled),
        (&runs, Status::Running),
        (&done, Status::Succeeded),
        (&other, Status::Scheduled),
    ] {
        assert_eq!(status(&*ledger, call).await, expected);
    }
    assert_eq!(find(&*ledger, &runs).await, runs);
    // The publisher hears of the end of its call all the same.
    let notices = ledger.take_notices(&[Channel::Callback], 10, std::time::Duration::ZERO).await.unwrap();
    let told: Vec<_> = notices.iter().map(|notice| (notice.event.call, notice.event.status)).collect();
    assert!(told.contains(&(waits.id, Status::Cancelled)), "{told:?}");

    drop(record(&*ledger, success(&runs)).await);
    let erased = ledger.erase(&marked_ids(&*ledger).await, &erasure(ErasureMode::Erase)).await.unwrap();
    assert_eq!((erased.calls, erased.running_skipped), (1, 0), "asked again, the rest is erased");
}

async fn a_count_changes_nothing(database: Database) {
    let ledger = database.ledger();
    let call = claim(&*ledger, &accept(&*ledger, due_with(marked("a"))).await).await;
    drop(record(&*ledger, success(&call)).await);
    drop(accept(&*ledger, due_with(marked("b"))).await);
    drop(claim(&*ledger, &accept(&*ledger, due_with(marked("c"))).await).await);
    let before = dump(&database).await;
    let counted = ledger.erase(&marked_ids(&*ledger).await, &erasure(ErasureMode::Count)).await.unwrap();
    let expected = Erased { calls: 2, attempts: 1, running_skipped: 1, ..Erased::default() };
    assert_eq!(counted, expected);
    assert_eq!(dump(&database).await, before);
}

async fn what_comes_late_is_kept_without_its_content(database: Database) {
    let ledger = database.ledger();
    let call = lost(&*ledger, "a").await;
    drop(record(&*ledger, given_up(&call)).await);
    let erased = ledger.erase(&[call.id], &erasure(ErasureMode::Erase)).await.unwrap();
    assert_eq!(erased.calls, 1);
    let mut late = marked_record(&call, marked_answer(200), Next::Succeeded);
    Arc::make_mut(&mut late.attempt).verdict = Verdict::Success;
    drop(record(&*ledger, late).await);
    let story = ledger.story(call.id).await.unwrap().unwrap();
    assert_eq!(story.attempts[0].late.as_ref().unwrap().verdict, Verdict::Success);
    assert_eq!(story.attempts[0].http_status(), Some(200));
    assert_eq!(story.call.state.status(), Status::Cancelled);
    assert!(!dump(&database).await.contains(MARKER));
}

async fn what_a_third_party_reports_later_is_kept_without_its_content(database: Database) {
    let ledger = database.ledger();
    let call = accept(&*ledger, due_with(marked("a"))).await;
    assert_eq!(ledger.erase(&[call.id], &erasure(ErasureMode::Erase)).await.unwrap().calls, 1);
    let settled = ledger.settle(&word(&call, Report::Done, MARKER)).await.unwrap();
    assert_eq!(settled, Settled::Beyond(Status::Cancelled));
    let kept = ledger.reports(call.id).await.unwrap();
    assert_eq!((kept.len(), kept[0].report, kept[0].body.len()), (1, Report::Done, 0));
}
