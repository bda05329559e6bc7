//! SIGTERM under load: what runs is recorded, the exit code is 0, and the next start goes on where this one ended.

use std::time::Duration;

use redial::clock::monotonic;

use super::invariants::{Faults, History, Terms, assert_hold};
use super::load::{call, keys, submit_all, third_party_sees};
use crate::support::client::Client;
use crate::support::stage::{Plan, Stage, Store, Transport};
use crate::support::wait_for;

const LADDER_MS: [u64; 2] = [300, 600];
const SHOP: &str = "ladder = [\"300ms\", \"600ms\"]\nconcurrency = 16";
/// What the contract allows for a stop.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Waits until it says that it drains. It must never call itself ready once it was told to stop and has said so.
async fn says_that_it_drains(client: &Client) {
    wait_for("/readyz says that the process drains", || async {
        let (status, document) = client.readiness().await.ok()?;
        (status == 503 && document["status"] == "draining").then_some(())
    })
    .await;
}

async fn a_stopped_process_goes_on_at_its_next_start(transport: Transport, store: Store) {
    let stage = Stage::set(Plan::new(transport, store, "shop", SHOP)).await;
    let mut first = stage.serve().await;
    let keys = keys("stopped", 150);
    submit_all(&first.client(), &keys, |key| call("shop", key, "/fail/1?ms=600")).await;
    third_party_sees(&stage, 20).await;
    first.client().in_the_middle_of(4).await;
    let client = first.client();
    let told = monotonic();
    first.terminate();
    says_that_it_drains(&client).await;
    let status = first.ended().await;
    assert_eq!(status.code(), Some(0), "{}", first.said());
    assert!(told.elapsed() < STOP_MAX, "it took {:?}", told.elapsed());
    assert!(first.said().contains("every attempt is recorded"), "{}", first.said());

    let second = stage.serve().await;
    let at_start = second.client().totals().await.unwrap();
    second.client().all_at_rest(150).await;
    let history = History::gather(&second.client(), &stage.third_party, keys).await;
    // As strict as without any fault: no request that is not recorded, none lost, none repeated.
    assert_hold(&history, &Terms::new(&LADDER_MS, Faults::None, 150));
    assert!(at_start["succeeded"] < 150, "nothing was left for the next start: {at_start:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_process_on_rabbitmq_and_postgresql_goes_on_at_its_next_start() {
    a_stopped_process_goes_on_at_its_next_start(Transport::RabbitMq, Store::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_process_on_the_embedded_transport_and_sqlite_goes_on_at_its_next_start() {
    a_stopped_process_goes_on_at_its_next_start(Transport::Embedded, Store::Sqlite).await;
}
