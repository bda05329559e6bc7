//! Submitting by HTTP: what is accepted, under which key, and when it is confirmed.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::in_process::{Service, Setup, in_an_hour, in_ms, keyed, past_deadline, to};
use crate::support::raw_http::{RawHttp, head};
use crate::support::wait_for;

/// Submitters that do not wait for their answer.
const GONE: u64 = 300;

async fn submit_as(service: &Service, token: &str, document: &Value) -> Answer {
    Answer::to(service.request_as(token, Method::POST, "/v1/calls").json(document)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_call_is_answered_202_with_its_place_and_is_in_the_ledger() {
    let service = Setup::embedded().start().await;
    let mut document = in_an_hour("order-1");
    document["tags"] = json!({ "order": "1" });
    let answer = service.post("/v1/calls", &document).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = answer.id();
    assert_eq!(answer.header("location"), format!("/v1/calls/{id}"));
    for (member, expected) in [
        ("endpoint", json!("sms")),
        ("publisher", json!("tester")),
        ("idempotency_key", json!("order-1")),
        ("status", json!("scheduled")),
        ("attempts_made", json!(0)),
        ("rung", json!(0)),
        ("due_at", document["not_before"].clone()),
        ("tags", json!({ "order": "1" })),
        ("revision", json!(1)),
        ("request", json!({ "method": "POST", "path": "/ok", "headers": {}, "body": { "text": "hello" } })),
    ] {
        assert_eq!(answer.body[member], expected, "{member} in {answer:?}");
    }
    let found = service.get(answer.header("location")).await;
    assert_eq!(found.status, 200);
    for (member, value) in answer.body.as_object().unwrap() {
        assert_eq!(&found.body[member], value, "{member}");
    }
    for story in ["attempts", "actions", "revisions"] {
        assert_eq!(found.body[story], json!([]), "{story}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_due_at_once_reaches_the_third_party_and_succeeds() {
    let service = Setup::embedded().start().await;
    let id = service.submit(&keyed("k", "/v1/messages?lang=en")).await;
    let call = service.call_in(&id, "succeeded").await;
    assert_eq!(call["attempts"][0]["trigger"], "first");
    assert!(call["finished_at"].is_string() && call["due_at"].is_null(), "{call}");
    let seen = service.seen("k");
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("POST", "/v1/messages?lang=en"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_key_with_an_equal_document_is_answered_200_and_adds_nothing() {
    let service = Setup::embedded().start().await;
    let first = r#"{"endpoint":"sms","idempotency_key":"k","request":{"path":"/ok","body":{"n":1,"list":[1,2.50],"text":"é"}}}"#;
    let again = [
        first,
        r#" { "request" : { "body" : {"text":"\u00e9", "list":[1.0, 25e-1],"n":1.0}, "path":"\/ok" }, "idempotency_key":"k","endpoint":"sms"} "#,
    ];
    let id = service.post_text("/v1/calls", first).await.id();
    for text in again {
        let answer = service.post_text("/v1/calls", text).await;
        assert_eq!((answer.status, answer.id()), (200, id.clone()), "{text}");
    }
    // A known key is known for as long as the call is: also when it is over.
    service.call_in(&id, "succeeded").await;
    let answer = service.post_text("/v1/calls", first).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("succeeded")));
    assert_eq!(service.count("").await, 1);
    assert_eq!(service.seen("k").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_call_is_known_after_its_deadline_too() {
    let service = Setup::embedded().start().await;
    let mut document = keyed("k", "/ok");
    document["deadline"] = in_ms(800).into();
    let id = service.submit(&document).await;
    service.call_in(&id, "succeeded").await;
    past_deadline(&document).await;
    let again = service.post("/v1/calls", &document).await;
    assert_eq!((again.status, again.id()), (200, id.clone()), "{again:?}");
    let mut other = document.clone();
    other["request"]["path"] = "/other".into();
    service.post("/v1/calls", &other).await.refuses(422, "idempotency_key_reused", "another document");
    let mut unheard_of = document.clone();
    unheard_of["idempotency_key"] = "never handed over".into();
    service.post("/v1/calls", &unheard_of).await.refuses(422, "deadline_passed", "a key that nobody has");
    let as_shop = submit_as(&service, "shop", &document).await;
    as_shop.refuses(422, "deadline_passed", "another publisher's key");
    document["colour"] = "red".into();
    service.post("/v1/calls", &document).await.refuses(422, "unknown_field", "wrong at any time");
    assert_eq!(service.seen("k").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_could_only_expire_is_refused_and_one_with_a_deadline_of_its_own_is_not() {
    let service = Setup::embedded().start().await;
    let days = |days: u64| in_ms(days * 24 * 3_600_000);
    let mut document = keyed("k", "/ok");
    document["not_before"] = days(8).into();
    let refused = service.post("/v1/calls", &document).await;
    refused.refuses(422, "invalid_value", "beyond the default deadline");
    assert_eq!(refused.body["faults"][0]["pointer"], "/not_before", "{refused:?}");
    for part in ["7 days", "deadline"] {
        assert!(refused.body["detail"].as_str().unwrap().contains(part), "{part} in {refused:?}");
    }
    document["deadline"] = days(9).into();
    let id = service.submit(&document).await;
    assert_eq!(service.call(&id).await["due_at"], document["not_before"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_key_with_another_document_is_refused_and_changes_nothing() {
    let service = Setup::embedded().start().await;
    let id = service.submit(&in_an_hour("k")).await;
    let before = service.call(&id).await;
    for other in [keyed("k", "/ok"), keyed("k", "/other"), {
        let mut other = keyed("k", "/ok");
        other["endpoint"] = "patient".into();
        other
    }] {
        let answer = service.post("/v1/calls", &other).await;
        answer.refuses(422, "idempotency_key_reused", &other.to_string());
        assert!(answer.body["detail"].as_str().unwrap().contains(&id), "{answer:?}");
    }
    assert_eq!(service.call(&id).await, before);
    assert_eq!(service.count("").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_100_submissions_at_once_with_one_key_one_is_new_and_99_are_known() {
    let service = Setup::embedded().start().await;
    let document = keyed("k", "/slow?ms=300");
    let answers =
        futures_util::future::join_all((0..100).map(|_| service.post("/v1/calls", &document))).await;
    let mut statuses = BTreeMap::<u16, usize>::new();
    for answer in &answers {
        *statuses.entry(answer.status).or_default() += 1;
        assert_eq!(answer.id(), answers[0].id());
    }
    assert_eq!(statuses, BTreeMap::from([(202, 1), (200, 99)]));
    assert_eq!(service.count("").await, 1);
    service.call_in(&answers[0].id(), "succeeded").await;
    assert_eq!(service.seen("k").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_a_key_is_known_by_its_id_and_never_taken_for_another() {
    let service = Setup::embedded().start().await;
    let (one, two) = (service.submit_to("/ok").await, service.submit_to("/ok").await);
    assert_ne!(one, two);
    for id in [one, two] {
        let call = service.call_in(&id, "succeeded").await;
        assert_eq!(call["idempotency_key"], id);
        assert_eq!(service.seen(&id).len(), 1, "the key goes out");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_belong_to_their_publisher_whose_name_is_the_tokens() {
    let service = Setup::embedded().start().await;
    let mut ids = Vec::new();
    for publisher in ["billing", "shop"] {
        let answer = submit_as(&service, publisher, &in_an_hour("k")).await;
        assert_eq!((answer.status, &answer.body["publisher"]), (202, &json!(publisher)), "{answer:?}");
        ids.push(answer.id());
    }
    assert_ne!(ids[0], ids[1]);
    submit_as(&service, "shop", &keyed("k", "/other")).await.refuses(422, "idempotency_key_reused", "shop");
    assert_eq!(submit_as(&service, "operator", &to("/ok")).await.code(), "role_missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_version_of_an_entity_is_superseded_and_a_newer_one_supersedes() {
    let service = Setup::embedded().start().await;
    let version = |version: i64| {
        let mut document = in_an_hour(&format!("v{version}"));
        document["entity"] = json!({ "key": "deal-42", "version": version });
        document
    };
    let seven = service.submit(&version(7)).await;
    let six = service.submit(&version(6)).await;
    assert_eq!(service.call(&six).await["status"], "superseded");
    assert_eq!(service.call(&seven).await["status"], "scheduled");
    let eight = service.submit(&version(8)).await;
    assert_eq!(service.call(&seven).await["status"], "superseded");
    assert_eq!(service.call(&eight).await["entity"], json!({ "key": "deal-42", "version": 8 }));
    assert_eq!(service.post(&format!("/v1/calls/{six}/replay"), &json!({})).await.status, 409);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submitter_that_goes_away_in_the_middle_leaves_no_call_behind() {
    let service = Setup::rabbitmq().await.start().await;
    let address = service.address;
    let gone = (0..GONE).map(|number| {
        tokio::spawn(async move {
            let body = keyed(&format!("gone-{number}"), "/ok").to_string();
            let request = format!("{}content-length: {}\r\n\r\n{body}", head(), body.len());
            let mut connection = RawHttp::connect(address).await;
            assert!(connection.write(request.as_bytes()).await);
            // Each goes at another moment: some before, some while, some after it is stored.
            tokio::time::sleep(Duration::from_micros(number * 200)).await;
        })
    });
    for submitter in gone.collect::<Vec<_>>() {
        submitter.await.unwrap();
    }
    let stored = wait_for("no call is under way", || async {
        let (running, scheduled) =
            (service.count("status=running").await, service.count("status=scheduled").await);
        (running + scheduled == 0).then_some(())?;
        Some(service.count("status=succeeded").await)
    })
    .await;
    assert!(stored > 0, "all went away too early to prove anything");
    let list = service.get("/v1/calls?limit=500").await.body;
    for call in list["calls"].as_array().unwrap() {
        let found = (&call["status"], &call["attempts_made"]);
        assert_eq!(found, (&json!("succeeded"), &json!(1)), "stored, and then nobody's: {call}");
    }
}
