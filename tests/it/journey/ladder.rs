//! The main job: calls that fail twice climb their ladder on time and succeed, on every pair of transport and store.

use super::invariants::{Faults, History, Terms, assert_hold};
use super::load::{call, failed_call, keys, publish_all, submit_all};
use crate::support::service::Service;
use crate::support::stage::{Plan, Stage, Store, Transport};

const LADDER_MS: [u64; 2] = [400, 900];
const LADDER: &str = "ladder = [\"400ms\", \"900ms\"]";

/// A hundred calls through each door that there is.
async fn two_hundred_calls_climb(transport: Transport, store: Store) {
    // The sweeper as it is shipped: it must find nothing to do.
    let plan = Plan { sweeper: "", ..Plan::new(transport, store, "shop", LADDER) };
    let stage = Stage::set(plan).await;
    let mut service = stage.serve().await;
    let client = service.client();
    let (first, second) = (keys("first", 100), keys("second", 100));
    submit_all(&client, &first, |key| call("shop", key, "/fail/2")).await;
    if transport == Transport::RabbitMq {
        let publisher = stage.publisher().await;
        publish_all(&publisher, &second, |key| call("shop", key, "/fail/2")).await;
        publisher.close().await;
    } else {
        submit_all(&client, &second, |key| call("shop", key, "/fail/2")).await;
    }
    client.all_at_rest(200).await;

    let history = History::gather(&client, &stage.third_party, [first, second].concat()).await;
    assert_hold(&history, &Terms::new(&LADDER_MS, Faults::None, 200));
    for call in &history.calls {
        let log: Vec<_> = call
            .attempts
            .iter()
            .map(|one| (one.number, one.trigger.as_str(), one.verdict.as_str(), one.http_status))
            .collect();
        assert_eq!(
            log,
            [
                (1, "first", "transient", Some(503)),
                (2, "ladder", "transient", Some(503)),
                (3, "ladder", "success", Some(200)),
            ]
        );
    }
    // Three requests under each key and none under any other: the key was the same each time.
    let summary = stage.third_party.summary();
    assert_eq!((summary.keys, summary.requests, summary.effects, summary.duplicates), (200, 600, 200, 0));
    nothing_was_rescued(&service).await;
    assert!(service.stop().await.success());
}

async fn nothing_was_rescued(service: &Service) {
    let client = service.client();
    for reason in ["overdue", "worker_lost", "expired", "unroutable", "handed"] {
        assert_eq!(client.rescued(reason).await, 0, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_calls_climb_their_ladder_on_rabbitmq_and_postgresql() {
    two_hundred_calls_climb(Transport::RabbitMq, Store::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_calls_climb_their_ladder_on_rabbitmq_and_sqlite() {
    two_hundred_calls_climb(Transport::RabbitMq, Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_calls_climb_their_ladder_on_the_embedded_transport_and_postgresql() {
    two_hundred_calls_climb(Transport::Embedded, Store::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_calls_climb_their_ladder_on_the_embedded_transport_and_sqlite() {
    two_hundred_calls_climb(Transport::Embedded, Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_their_publishers_have_tried_wait_for_the_first_rung() {
    let stage = Stage::set(Plan::new(Transport::RabbitMq, Store::Postgres, "shop", LADDER)).await;
    let service = stage.serve().await;
    let client = service.client();
    let publisher = stage.publisher().await;
    let keys = keys("taken-over", 50);
    publish_all(&publisher, &keys, |key| failed_call("shop", key, "/fail/1")).await;
    client.all_at_rest(50).await;

    let history = History::gather(&client, &stage.third_party, keys).await;
    assert_hold(&history, &Terms::new(&LADDER_MS, Faults::None, 50));
    assert!(history.calls.iter().all(|call| call.rung == 2 && call.attempts.len() == 2));
    publisher.close().await;
}
