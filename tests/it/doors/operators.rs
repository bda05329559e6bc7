//! The operators' side over HTTP: groups, filters, revisions, the audit log, and bulk jobs.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::in_process::{Service, Setup, in_an_hour, keyed};
use crate::support::wait_for;

async fn as_operator(service: &Service, path: &str, document: &Value) -> Answer {
    Answer::to(service.request_as("operator", Method::POST, path).json(document)).await
}

/// A call that the third party has answered so, and that now waits for a person.
async fn in_review(service: &Service, key: &str, path: &str) -> String {
    let id = service.submit(&keyed(key, path)).await;
    service.call_in(&id, "review").await;
    id
}

/// What a query parameter must look like.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_grouped_by_endpoint_reason_and_error() {
    let service = Setup::embedded().start().await;
    let mut refused = Vec::new();
    for key in ["a", "b", "c"] {
        refused.push(in_review(&service, key, "/status/422").await);
    }
    drop(in_review(&service, "gone", "/status/410").await);
    drop(in_review(&service, "down", "/status/503").await);
    service.submit(&in_an_hour("later")).await;

    let answer = service.get("/v1/groups?status=review").await;
    let groups = answer.body["groups"].as_array().unwrap();
    let lines: Vec<_> = groups
        .iter()
        .map(|group| format!("{} {} {}", group["review_reason"], group["error"], group["count"]))
        .collect();
    assert_eq!(lines[0], r#""rejected" "the third party answered 422" 3"#, "{lines:?}");
    let mut others = lines[1..].to_vec();
    others.sort_unstable();
    let expected =
        [r#""exhausted" "the third party answered 503" 1"#, r#""rejected" "the third party answered 410" 1"#];
    assert_eq!(others, expected);
    let largest = &groups[0];
    assert_eq!((&largest["endpoint"], &largest["example"]), (&json!("sms"), &json!(refused[2])));
    assert!(largest["first_at"].as_str() <= largest["last_at"].as_str(), "{largest}");

    // What a group shows finds its calls.
    let error = encoded(largest["error"].as_str().unwrap());
    assert_eq!(service.count(&format!("status=review&reason=rejected&error={error}")).await, 3);
    assert_eq!(service.call(&refused[0]).await["error_group"], largest["error"]);
    let narrowed = service.get(&format!("/v1/groups?q={}", refused[1])).await;
    assert_eq!(narrowed.body["groups"][0]["count"], 1);
    assert_eq!(service.get("/v1/groups?endpoint=patient").await.body, json!({ "groups": [] }));
    service.get("/v1/groups?sort=asc").await.refuses(400, "unknown_parameter", "sort");
    service.get("/v1/groups?status=lost").await.refuses(400, "invalid_parameter", "status");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_found_by_error_mode_and_pieces_of_their_id() {
    let service = Setup::embedded().start().await;
    let told = json!({
        "endpoint": "careful", "idempotency_key": "told", "request": { "path": "/ok" },
        "failure": { "ambiguous": true, "error": "order 17: read timeout" },
    });
    let silent = json!({
        "endpoint": "careful", "idempotency_key": "silent", "request": { "path": "/ok" },
        "failure": { "ambiguous": true },
    });
    let told = service.submit(&told).await;
    service.submit(&silent).await;
    for (conditions, expected) in [
        ("error=order%20%3Cn%3E%3A%20read%20timeout".to_owned(), 1),
        ("error=order%2017%3A%20read%20timeout".to_owned(), 0),
        ("error=none&status=review".to_owned(), 1),
        ("dry_run=false".to_owned(), 2),
        ("dry_run=true".to_owned(), 0),
        ("provider=alpha".to_owned(), 0),
        (format!("q={told}"), 1),
        (format!("q={}", &told[told.len() - 12..]), 1),
        ("q=%25".to_owned(), 0),
        ("q=_old".to_owned(), 0),
    ] {
        assert_eq!(service.count(&conditions).await, expected, "{conditions}");
    }
    service.get("/v1/calls?dry_run=perhaps").await.refuses(400, "invalid_parameter", "dry_run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_operators_who_saw_the_same_call_one_is_carried_out() {
    let service = Setup::embedded().start().await;
    let id = in_review(&service, "k", "/status/422").await;
    let shown = service.get(&format!("/v1/calls/{id}")).await;
    let seen = shown.header("etag").to_owned();
    assert_eq!((seen.as_str(), &shown.body["revision"]), ("\"1\"", &json!(1)));
    let act = |action: &'static str| {
        let path = format!("/v1/calls/{id}/{action}");
        let request = service.request_as("operator", Method::POST, &path).header("if-match", &seen);
        Answer::to(request.json(&json!({})))
    };
    let answers = futures_util::future::join_all([
        act("replay"),
        act("replay"),
        act("cancel"),
        act("resolve"),
        act("replay"),
    ])
    .await;
    let done: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(done.len(), 1, "{answers:?}");
    assert_eq!(done[0].header("etag"), "\"2\"");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.refuses(412, "revision_outdated", "the others");
    }
    // Also when the call is in review again and looks as it did.
    if done[0].body["status"] == "scheduled" {
        service.call_in(&id, "review").await;
    }
    act("cancel").await.refuses(412, "revision_outdated", "later");
    assert_eq!(service.call(&id).await["actions"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_revision_shows_what_the_next_one_changed() {
    let service = Setup::embedded().start().await;
    let mut document = keyed("k", "/status/422");
    document["request"]["headers"] = json!({ "x-tenant": "7", "authorization": "Bearer canary-one" });
    document["request"]["body"] = json!({ "to": "+1", "text": "hi" });
    let id = service.submit(&document).await;
    service.call_in(&id, "review").await;
    for edit in [
        json!({ "request": { "body": { "to": "+2", "text": "hi" } } }),
        json!({ "request": { "path": "/status/422?n=2", "headers": { "x-tenant": "8", "authorization": "Bearer canary-two" } } }),
    ] {
        assert_eq!(as_operator(&service, &format!("/v1/calls/{id}/replay"), &edit).await.status, 200);
        service.call_in(&id, "review").await;
    }
    let call = service.call(&id).await;
    let changes = |revision: &Value| -> Vec<String> {
        let lines = revision["diff"].as_array().unwrap().iter();
        lines
            .map(|line| format!("{}{}", line["op"].as_str().unwrap(), line["text"].as_str().unwrap()))
            .filter(|line| !line.starts_with('='))
            .collect()
    };
    let revisions = call["revisions"].as_array().unwrap();
    assert_eq!(revisions.iter().map(|one| one["revision"].clone()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(changes(&revisions[0]), ["-  \"to\": \"+1\"", "+  \"to\": \"+2\""]);
    let expected = [
        "-POST /status/422",
        "-authorization: [redacted]",
        "-x-tenant: 7",
        "+POST /status/422?n=2",
        "+authorization: [redacted] (another value)",
        "+x-tenant: 8",
    ];
    assert_eq!(changes(&revisions[1]), expected);
    assert!(!call.to_string().contains("canary"), "{call}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_says_who_did_what() {
    let service = Setup::embedded().start().await;
    assert_eq!(service.get("/v1/audit").await.body, json!({ "entries": [], "next_cursor": null }));
    let first = service.submit(&in_an_hour("a")).await;
    let second = service.submit(&in_an_hour("b")).await;
    as_operator(&service, &format!("/v1/calls/{first}/cancel"), &json!({ "note": "twice" })).await;
    service.post(&format!("/v1/calls/{second}/resolve"), &json!({})).await;
    let bulk = json!({ "action": "cancel", "filter": { "q": "nowhere" }, "note": "tidy" });
    let job = as_operator(&service, "/v1/bulk", &bulk).await.id();

    let entries = service.get("/v1/audit").await.body["entries"].clone();
    let shown: Vec<_> = entries
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| [&entry["actor"], &entry["action"], &entry["call"], &entry["subject"], &entry["note"]])
        .collect();
    let null = Value::Null;
    let expected = [
        [&json!("operator"), &json!("bulk_start"), &null, &json!(job), &json!("tidy")],
        [&json!("tester"), &json!("resolve"), &json!(second), &null, &json!("")],
        [&json!("operator"), &json!("cancel"), &json!(first), &null, &json!("twice")],
    ];
    assert_eq!(shown, expected);

    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let page = service.get(&format!("/v1/audit?limit=1{next}")).await.body;
        seen.extend(page["entries"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("&cursor={cursor}");
    }
    assert_eq!(Value::from(seen), entries);
    for (conditions, expected) in [
        ("actor=operator", 2),
        ("action=cancel", 1),
        ("actor=operator&action=resolve", 0),
        ("from=2099-01-01T00:00:00Z", 0),
        ("to=2099-01-01T00:00:00Z", 3),
    ] {
        let found = service.get(&format!("/v1/audit?{conditions}")).await;
        assert_eq!(found.body["entries"].as_array().unwrap().len(), expected, "{conditions}");
    }
    for (conditions, code) in [
        ("action=delete", "invalid_parameter"),
        ("who=ada", "unknown_parameter"),
        ("cursor=AAAA", "invalid_parameter"),
    ] {
        service.get(&format!("/v1/audit?{conditions}")).await.refuses(400, code, conditions);
    }
    let page = service.get("/v1/audit?limit=1").await.body;
    let foreign = format!("/v1/audit?actor=operator&cursor={}", page["next_cursor"].as_str().unwrap());
    service.get(&foreign).await.refuses(400, "invalid_parameter", "another list's cursor");
    let publisher = Answer::to(service.request_as("billing", Method::GET, "/v1/audit")).await;
    publisher.refuses(403, "role_missing", "a publisher");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_job_is_counted_first_and_changes_nothing_by_that() {
    let service = Setup::embedded().start().await;
    for key in ["a", "b", "c"] {
        in_review(&service, key, "/status/422").await;
    }
    let later = service.submit(&in_an_hour("later")).await;
    let count = |filter: Value| {
        let document = json!({ "action": "replay", "filter": filter, "dry_run": true });
        let service = &service;
        async move { as_operator(service, "/v1/bulk", &document).await }
    };
    let answer = count(json!({ "endpoint": "sms" })).await;
    assert_eq!((answer.status, &answer.body["count"]), (200, &json!(3)), "{answer:?}");
    assert_eq!(answer.body["by_endpoint"], json!({ "sms": 3 }));
    assert_eq!(answer.body["by_status"], json!({ "review": 3 }), "nothing but what waits, unless asked for");
    assert_eq!(answer.body["sample"].as_array().unwrap().len(), 3);
    let both = count(json!({ "status": "review,scheduled" })).await;
    assert_eq!(both.body["by_status"], json!({ "review": 3, "scheduled": 1 }));
    assert_eq!(count(json!({ "ids": [later] })).await.body["count"], 1);
    assert_eq!(service.get("/v1/bulk").await.body, json!({ "jobs": [], "next_cursor": null }));
    assert_eq!(service.count("status=review").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_job_is_carried_out_and_shows_what_became_of_each_call() {
    let service = Setup::embedded().start().await;
    let mended = in_review(&service, "mended", "/fail/1/422").await;
    let broken = in_review(&service, "broken", "/status/422").await;
    let cancelled = service.submit(&in_an_hour("cancelled")).await;
    let document = json!({
        "action": "replay", "filter": { "ids": [mended, broken, cancelled] }, "rate": "20/s", "note": "try again",
    });
    let answer = as_operator(&service, "/v1/bulk", &document).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let path = format!("/v1/bulk/{}", answer.id());
    assert_eq!(answer.header("location"), path);
    for (member, expected) in [
        ("action", json!("replay")),
        ("actor", json!("operator")),
        ("note", json!("try again")),
        ("rate", json!("20/s")),
        ("canary", json!(0)),
        ("status", json!("running")),
        ("stop_at_failure_rate", Value::Null),
        ("total", json!(3)),
        ("filter", json!({ "ids": [mended, broken, cancelled] })),
    ] {
        assert_eq!(answer.body[member], expected, "{member} in {answer:?}");
    }
    // The third is due in an hour no more.
    let job = wait_for("all outcomes are known", || async {
        let job = service.get(&path).await.body;
        (job["status"] == "done" && job["pending"] == 0).then_some(job)
    })
    .await;
    let counts = ["acted", "skipped", "succeeded", "failed"].map(|member| job[member].clone());
    assert_eq!(counts, [3, 0, 2, 1].map(Value::from), "{job}");
    assert!(job["finished_at"].is_string() && job["reason"].is_null(), "{job}");
    let calls = service.get(&format!("{path}/calls")).await.body;
    let expected = json!([
        { "call": mended, "result": "succeeded", "detail": null },
        { "call": broken, "result": "failed", "detail": "it came back to review: rejected" },
        { "call": cancelled, "result": "succeeded", "detail": null },
    ]);
    assert_eq!((&calls["calls"], &calls["next_cursor"]), (&expected, &Value::Null));
    let failed = service.get(&format!("{path}/calls?result=failed")).await.body;
    assert_eq!(failed["calls"][0]["call"], json!(broken));
    let first = service.get(&format!("{path}/calls?limit=2")).await.body;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = service.get(&format!("{path}/calls?limit=2&cursor={cursor}")).await.body;
    assert_eq!(rest["calls"], json!([expected[2]]));
    assert_eq!(service.get("/v1/bulk").await.body["jobs"], json!([job]));
    let action = &service.call(&mended).await["actions"][0];
    assert_eq!(action["actor"], "operator");
    assert!(action["note"].as_str().unwrap().starts_with("try again (bulk "), "{action}");
    as_operator(&service, &format!("{path}/abort"), &json!({})).await.refuses(
        409,
        "not_allowed_in_this_state",
        "an ended job",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_wish_that_is_wrong_is_refused_with_its_places() {
    let service = Setup::embedded().start().await;
    for (wish, pointer, code) in [
        (json!({ "filter": {} }), "/action", "missing_field"),
        (json!({ "action": "replay" }), "/filter", "missing_field"),
        (json!({ "action": "delete", "filter": {} }), "/action", "invalid_value"),
        (json!({ "action": "replay", "filter": { "colour": "red" } }), "/filter/colour", "unknown_field"),
        (json!({ "action": "replay", "filter": { "error": "" } }), "/filter/error", "invalid_value"),
        (
            json!({ "action": "cancel", "filter": { "status": "succeeded" } }),
            "/filter/status",
            "invalid_value",
        ),
        (json!({ "action": "replay", "filter": {}, "rate": "fast" }), "/rate", "invalid_value"),
        (json!({ "action": "replay", "filter": {}, "rate": 50 }), "/rate", "wrong_type"),
        (json!({ "action": "replay", "filter": {}, "canary": 1.5 }), "/canary", "invalid_value"),
        (
            json!({ "action": "replay", "filter": {}, "stop_at_failure_rate": 2 }),
            "/stop_at_failure_rate",
            "invalid_value",
        ),
        (json!({ "action": "replay", "filter": {}, "dry_run": "yes" }), "/dry_run", "wrong_type"),
        (json!([]), "", "wrong_type"),
    ] {
        let answer = as_operator(&service, "/v1/bulk", &wish).await;
        answer.refuses(422, code, &wish.to_string());
        assert_eq!(answer.faults()[0], (pointer, code), "{wish}");
    }
    let unknown = "/v1/bulk/0197a2b4-7c1e-7d0a-9f5e-2f6d1c3b4a59";
    service.get(unknown).await.refuses(404, "unknown_bulk_job", "unknown");
    service.get(&format!("{unknown}/calls")).await.refuses(404, "unknown_bulk_job", "calls of unknown");
    let abort = as_operator(&service, &format!("{unknown}/abort"), &json!({})).await;
    abort.refuses(404, "unknown_bulk_job", "abort of unknown");
    service.get("/v1/bulk/7").await.refuses(400, "invalid_id", "no id");
    service.get("/v1/bulk?result=failed").await.refuses(400, "unknown_parameter", "result of jobs");
    let wish = json!({ "action": "replay", "filter": {} });
    let viewer = service.request_as("auditor", Method::POST, "/v1/bulk").json(&wish);
    Answer::to(viewer).await.refuses(403, "role_missing", "a viewer");
    assert_eq!(service.get("/v1/bulk").await.body["jobs"], json!([]));
}
