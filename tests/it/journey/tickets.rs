//! Tickets that are doubled, early, late, foreign, forged or no tickets at all: nothing changes, and the good ones go on.

use serde_json::json;

use super::invariants::{Faults, History, Terms, assert_hold};
use super::load::{call, failed_call, keys, publish_all, submit_all, third_party_sees};
use crate::support::publisher::Publisher;
use crate::support::stage::{Plan, Stage, Store, Transport};
use crate::support::wait_for;

const STRANGER: &str = "01970000-0000-7000-8000-000000000001";

/// A ticket message.
fn message(tickets: &[(&str, i64)]) -> Vec<u8> {
    let tickets: Vec<_> =
        tickets.iter().map(|(call, attempt)| json!({ "call": call, "attempt": attempt })).collect();
    json!({ "tickets": tickets }).to_string().into_bytes()
}

/// Bodies that are no ticket message, or hardly.
fn nonsense() -> Vec<Vec<u8>> {
    let texts = [
        "",
        "{",
        "null",
        "[]",
        "7",
        "{}",
        r#"{"tickets":7}"#,
        r#"{"tickets":[]}"#,
        r#"{"tickets":[null,7,"x"]}"#,
        r#"{"tickets":[{"call":"x","attempt":1}]}"#,
        r#"{"tickets":[{"attempt":1}]}"#,
    ];
    let mut bodies: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    bodies.push(format!(r#"{{"tickets":[{{"call":"{STRANGER}"}}]}}"#).into_bytes());
    bodies.push(format!(r#"{{"tickets":[{{"call":"{STRANGER}","attempt":"1"}}]}}"#).into_bytes());
    bodies.push(vec![0xff, 0x00, 0xfe]);
    bodies.push("[".repeat(20_000).into_bytes());
    bodies
}

/// Publishes to everywhere a ticket of the shop can be put.
async fn put_everywhere(publisher: &Publisher, body: &[u8]) {
    for (exchange, key) in [
        ("delay", "1s.shop"),
        ("due", "now.shop"),
        ("due", "1s.shop"),
        ("due", "now.other"),
        ("delay", "1s.other"),
        ("due", "now.ghost"),
        ("delay", "1s.ghost"),
        ("due", "nonsense"),
    ] {
        assert!(publisher.publish(exchange, key, body).await, "{exchange} {key} took it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_ticket_that_does_not_fit_changes_anything() {
    let ladder = "ladder = [\"1s\", \"1s\"]";
    let plan = Plan::new(Transport::RabbitMq, Store::Postgres, "shop", ladder).and("other", ladder);
    let stage = Stage::set(plan).await;
    let service = stage.serve().await;
    let client = service.client();
    let publisher = stage.publisher().await;
    let keys = keys("plain", 40);
    publish_all(&publisher, &keys, |key| call("shop", key, "/fail/2")).await;
    // The first attempt has failed, and the second waits.
    third_party_sees(&stage, 40).await;
    for story in client.stories().await {
        for attempt in [0, -1, 1, 2, 3, 4, 5, i64::from(i32::MAX), i64::MAX] {
            put_everywhere(&publisher, &message(&[(&story.id, attempt)])).await;
        }
    }
    put_everywhere(&publisher, &message(&[(STRANGER, 1), (STRANGER, 2)])).await;
    for body in nonsense() {
        put_everywhere(&publisher, &body).await;
    }
    client.all_at_rest(40).await;
    wait_for("the lanes are empty", || async {
        let lanes = [publisher.ready("due.shop").await, publisher.ready("due.default").await];
        (lanes == [0, 0]).then_some(())
    })
    .await;

    let history = History::gather(&client, &stage.third_party, keys).await;
    assert_hold(&history, &Terms::new(&[1_000, 1_000], Faults::None, 40));
    assert!(history.calls.iter().all(|call| call.attempts.len() == 3), "{:?}", history.calls);
    assert!(client.counter("redial_claims_total", "\"stale\"").await > 0);
    assert_eq!(client.counter("redial_rescued_total", "").await, 0, "good tickets were lost");
    publisher.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_copies_of_a_ticket_make_one_attempt() {
    let plan = Plan::new(Transport::RabbitMq, Store::Postgres, "shop", "ladder = [\"2s\"]");
    let stage = Stage::set(plan).await;
    let service = stage.serve().await;
    let client = service.client();
    let publisher = stage.publisher().await;
    let id = client.submit_new(&failed_call("shop", "copied", "/ok?ms=200")).await;
    for tickets in [1, 50, 449] {
        let copies = vec![(id.as_str(), 1); tickets];
        for (exchange, key) in [("due", "now.shop"), ("delay", "1s.shop")] {
            assert!(publisher.publish(exchange, key, &message(&copies)).await);
        }
    }
    client.all_at_rest(1).await;
    // Copies that go on travelling must not wake a call that is done.
    wait_for("no copy is left", || async {
        let queues = ["due.shop", "delay.1s", "delay.2s"].map(|queue| publisher.ready(queue));
        let left: u32 = futures_util::future::join_all(queues).await.iter().sum();
        (left == 0).then_some(())
    })
    .await;

    let history = History::gather(&client, &stage.third_party, ["copied".to_owned()]).await;
    assert_hold(&history, &Terms::new(&[2_000], Faults::None, 1));
    assert_eq!((history.calls[0].attempts.len(), stage.third_party.summary().requests), (1, 1));
    publisher.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_ticket_cannot_take_a_due_call_away_from_its_endpoint() {
    let shop = "ladder = [\"1s\"]\nconcurrency = 1";
    let plan =
        Plan::new(Transport::RabbitMq, Store::Postgres, "shop", shop).and("other", "ladder = [\"1s\"]");
    let stage = Stage::set(plan).await;
    let service = stage.serve().await;
    let client = service.client();
    let publisher = stage.publisher().await;
    // All are due, and wait for the one slot: for a moment everything that guards them is the ledger.
    let keys = keys("waiting", 12);
    submit_all(&client, &keys, |key| call("shop", key, "/ok?ms=250")).await;
    for story in client.stories().await {
        for attempt in [1, 2] {
            for key in ["now.ghost", "now.other", "1s.ghost", "nonsense", "now.Not-A-Name"] {
                assert!(publisher.publish("due", key, &message(&[(&story.id, attempt)])).await);
            }
        }
    }
    client.all_at_rest(12).await;

    let history = History::gather(&client, &stage.third_party, keys).await;
    assert_hold(&history, &Terms::new(&[1_000], Faults::None, 12));
    publisher.close().await;
}
