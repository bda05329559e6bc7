//! Versions of an entity: what a higher version has overtaken is never sent any more.

use serde_json::{Value, json};

use super::invariants::{Faults, History, Terms, assert_hold};
use super::load::{call, failed_call, third_party_sees};
use crate::support::client::Client;
use crate::support::stage::{Plan, Stage, Store, Transport};

const SHOP: &str = "ladder = [\"10s\"]";
const LADDER_MS: [u64; 1] = [10_000];

fn version(mut document: Value, entity: &str, version: u64) -> Value {
    document["entity"] = json!({ "key": entity, "version": version });
    document
}

async fn submit(client: &Client, document: Value) -> String {
    client.submit_new(&document).await
}

/// Every way in which one version can meet another, side by side.
async fn overtaken_calls_are_never_sent(transport: Transport, store: Store) {
    let stage = Stage::set(Plan::new(transport, store, "shop", SHOP)).await;
    let service = stage.serve().await;
    let client = service.client();
    // Runs when a higher version comes, and fails: not repeated.
    submit(&client, version(call("shop", "runs-and-fails", "/fail/9?ms=1200"), "a", 1)).await;
    // Runs when a higher version comes, and succeeds: that is true all the same.
    submit(&client, version(call("shop", "runs-and-succeeds", "/ok?ms=1200"), "b", 1)).await;
    third_party_sees(&stage, 2).await;
    // Waits when a higher version comes.
    submit(&client, version(failed_call("shop", "waits", "/ok"), "c", 1)).await;
    for (entity, key) in [("a", "after-failure"), ("b", "after-success"), ("c", "after-waiting")] {
        submit(&client, version(call("shop", key, "/ok"), entity, 7)).await;
    }
    // Comes when a higher version has been accepted.
    let (status, late) = client.submit(&version(call("shop", "comes-late", "/ok"), "c", 6)).await;
    assert_eq!((status, late["status"].as_str()), (202, Some("superseded")), "{late}");
    // The same version again is not overtaken, and another entity is another matter.
    submit(&client, version(call("shop", "same-version", "/ok"), "c", 7)).await;
    submit(&client, version(call("shop", "other-entity", "/ok"), "d", 1)).await;
    if transport == Transport::RabbitMq {
        let publisher = stage.publisher().await;
        publisher.submit(&version(call("shop", "published-late", "/ok"), "c", 5)).await;
        publisher.close().await;
    } else {
        submit(&client, version(call("shop", "published-late", "/ok"), "c", 5)).await;
    }
    client.all_at_rest(10).await;

    let keys: Vec<String> = client.stories().await.into_iter().map(|call| call.key).collect();
    let history = History::gather(&client, &stage.third_party, keys).await;
    assert_hold(&history, &Terms::new(&LADDER_MS, Faults::None, 6));
    for (key, status, requests) in [
        ("runs-and-fails", "superseded", 1),
        ("runs-and-succeeds", "succeeded", 1),
        ("waits", "superseded", 0),
        ("after-failure", "succeeded", 1),
        ("after-success", "succeeded", 1),
        ("after-waiting", "succeeded", 1),
        ("comes-late", "superseded", 0),
        ("same-version", "succeeded", 1),
        ("other-entity", "succeeded", 1),
        ("published-late", "superseded", 0),
    ] {
        let seen = stage.third_party.arrivals(key).len();
        assert_eq!((history.call(key).status.as_str(), seen), (status, requests), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overtaken_calls_are_never_sent_on_rabbitmq_and_postgresql() {
    overtaken_calls_are_never_sent(Transport::RabbitMq, Store::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overtaken_calls_are_never_sent_on_the_embedded_transport_and_sqlite() {
    overtaken_calls_are_never_sent(Transport::Embedded, Store::Sqlite).await;
}
