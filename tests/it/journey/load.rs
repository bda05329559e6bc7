//! Calls to submit, and doors to submit them through.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::publisher::Publisher;
use crate::support::stage::Stage;
use crate::support::wait_for;

/// The keys of a number of calls.
pub(super) fn keys(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name}-{number:04}")).collect()
}

/// A call with this key.
pub(super) fn call(endpoint: &str, key: &str, path: &str) -> Value {
    json!({
        "endpoint": endpoint,
        "idempotency_key": key,
        "request": { "method": "POST", "path": path, "body": { "key": key } },
    })
}

/// A call that its publisher has tried already: its first attempt comes after the first rung.
pub(super) fn failed_call(endpoint: &str, key: &str, path: &str) -> Value {
    let mut call = call(endpoint, key, path);
    call["failure"] = json!({ "status": 503, "error": "upstream timeout", "attempts": 1 });
    call
}

/// Submits calls by HTTP, together.
pub(super) async fn submit_all(client: &Client, keys: &[String], document: impl Fn(&str) -> Value) {
    let documents: Vec<Value> = keys.iter().map(|key| document(key)).collect();
    client.submit_all(&documents).await;
}

/// Publishes calls, a few dozen at a time, as a busy publisher does.
pub(super) async fn publish_all(publisher: &Publisher, keys: &[String], document: impl Fn(&str) -> Value) {
    let documents: Vec<Value> = keys.iter().map(|key| document(key)).collect();
    for window in documents.chunks(50) {
        publisher.submit_all(window).await;
    }
}

/// Waits until the third party has seen so many requests in all.
pub(super) async fn third_party_sees(stage: &Stage, requests: u64) {
    wait_for(&format!("the third party sees {requests} requests"), || {
        std::future::ready((stage.third_party.summary().requests >= requests).then_some(()))
    })
    .await;
}
