//! `POST /v1/erase` over HTTP.

use serde_json::{Value, json};

use crate::support::in_process::{Service, Setup, in_an_hour, keyed};
use crate::support::wait_for;

/// What must be found nowhere.
const MARKER: &str = "josephine";

fn marked(mut document: Value) -> Value {
    document["request"]["body"] = json!({ "name": MARKER });
    document["request"]["headers"] = json!({ "x-customer": MARKER });
    document["tags"] = json!({ "customer": MARKER });
    document
}

async fn start() -> (Service, Vec<String>) {
    let service = Setup::embedded().start().await;
    let mut ids = Vec::new();
    for (key, path, status) in [("done", "/ok", "succeeded"), ("stuck", "/status/422", "review")] {
        let id = service.submit(&marked(keyed(key, path))).await;
        service.call_in(&id, status).await;
        ids.push(id);
    }
    ids.push(service.submit(&marked(in_an_hour("waits"))).await);
    (service, ids)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_whose_operator_goes_away_is_finished_and_audited() {
    let (service, ids) = start().await;
    let wish = json!({ "tags": { "customer": MARKER }, "note": "asked for by letter" });
    let request = service.request_as("tester", reqwest::Method::POST, "/v1/erase").json(&wish);
    // Given up while it is under way, or before or after: it is erased and audited, or neither.
    let _ = request.timeout(std::time::Duration::from_millis(15)).send().await;
    let audited =
        async || service.get("/v1/audit?action=erase").await.body["entries"].as_array().map(Vec::len);
    wait_for("what was erased is audited", || async {
        let erased = service.call(&ids[0]).await["erased_at"].is_string();
        (audited().await == Some(usize::from(erased))).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasing_by_a_tag_says_what_it_did_and_leaves_nothing() {
    let (service, ids) = start().await;
    let other = service.submit(&in_an_hour("other")).await;
    let wish = json!({ "tags": { "customer": MARKER }, "note": "asked for by letter", "dry_run": true });
    let counts = json!({ "calls": 3, "attempts": 2, "revisions": 0, "running_skipped": 0 });
    let counted = service.post("/v1/erase", &wish).await;
    assert_eq!((counted.status, &counted.body), (200, &counts));
    assert_eq!(service.count(&format!("tag.customer={MARKER}")).await, 3, "that was a dry run");

    let wish = json!({ "tags": { "customer": MARKER }, "note": "asked for by letter" });
    let erased = service.post("/v1/erase", &wish).await;
    assert_eq!((erased.status, &erased.body), (200, &counts));
    for (id, status) in ids.iter().zip(["succeeded", "cancelled", "cancelled"]) {
        let call = service.call(id).await;
        assert!(!call.to_string().contains(MARKER), "{call}");
        assert_eq!((&call["status"], &call["tags"]), (&json!(status), &json!({ "customer": "[erased]" })));
        assert!(call["erased_at"].is_string() && call["body_erased_at"].is_string(), "{call}");
        let replay = service.post(&format!("/v1/calls/{id}/replay"), &json!({})).await;
        assert_eq!(replay.status, 409, "{replay:?}");
    }
    let stuck = service.call(&ids[1]).await;
    let action = &stuck["actions"][0];
    assert_eq!((&action["action"], &action["actor"]), (&json!("cancel"), &json!("tester")));
    assert!(action["note"].as_str().unwrap().contains("asked for by letter"), "{action}");
    let whole = service.get("/v1/calls?limit=500").await.body.to_string();
    assert!(!whole.contains(MARKER) && whole.contains(&other), "{whole}");
    let again = service.post("/v1/erase", &wish).await;
    assert_eq!(again.body, json!({ "calls": 0, "attempts": 0, "revisions": 0, "running_skipped": 0 }));
    assert!(service.call(&other).await["erased_at"].is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_call_cannot_be_replayed_and_says_why() {
    let (service, ids) = start().await;
    assert_eq!(service.post("/v1/erase", &json!({ "tags": { "customer": MARKER } })).await.status, 200);
    let edit = json!({ "request": { "path": "/ok", "body": { "a": 1 } } });
    let refused = service.post(&format!("/v1/calls/{}/replay", ids[1]), &edit).await;
    refused.refuses(409, "body_erased", "a replay of an erased call");
    // The same document under the same key is the same call, erased or not.
    let known = service.post("/v1/calls", &marked(keyed("done", "/ok"))).await;
    assert_eq!((known.status, known.id()), (200, ids[0].clone()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_erasure_is_refused() {
    let (service, _) = start().await;
    for (wish, code) in [
        (json!({}), "missing_field"),
        (json!({ "tags": {} }), "invalid_value"),
        (json!({ "tags": { "customer": 7 } }), "wrong_type"),
        (json!({ "tags": { "": "x" } }), "invalid_value"),
        (json!({ "tags": { "customer": MARKER }, "all": true }), "unknown_field"),
        (json!({ "tags": { "customer": MARKER }, "dry_run": "yes" }), "wrong_type"),
    ] {
        let refused = service.post("/v1/erase", &wish).await;
        refused.refuses(422, code, &wish.to_string());
    }
    let request = service.request_as("auditor", reqwest::Method::POST, "/v1/erase");
    let refused =
        crate::support::answer::Answer::to(request.json(&json!({ "tags": { "customer": MARKER } }))).await;
    refused.refuses(403, "role_missing", "an auditor");
    assert_eq!(service.count(&format!("tag.customer={MARKER}")).await, 3);
}
