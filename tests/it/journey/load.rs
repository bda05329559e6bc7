//! Calls to submit, and doors to submit them through.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::publisher::Publisher;

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

/// Publishes calls, one after the other.
pub(super) async fn publish_all(publisher: &Publisher, keys: &[String], document: impl Fn(&str) -> Value) {
    for key in keys {
        publisher.submit(&document(key)).await;
    }
}
