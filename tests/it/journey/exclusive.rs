//! One process where only one may be: a second one on the same embedded ledger is refused with a sentence.

use super::load::call;
use crate::support::service::Service;
use crate::support::stage::{EVERYTHING, Plan, Stage, Store, Transport};

async fn a_second_process_is_refused(transport: Transport, store: Store) {
    let stage = Stage::set(Plan::new(transport, store, "shop", "ladder = [\"1s\"]")).await;
    let mut first = Service::start(&stage.program("first", EVERYTHING)).await;
    let mut second = Service::spawn(&stage.program("second", EVERYTHING));
    let status = second.ended().await;
    assert_eq!(status.code(), Some(1), "{}", second.said());
    let sentence = second.said();
    assert!(sentence.contains("error: ") && sentence.contains("another process"), "{sentence}");
    assert!(!sentence.contains("panicked"), "{sentence}");
    // The first one is not disturbed.
    first.client().submit_new(&call("shop", "first", "/ok")).await;
    first.client().all_at_rest(1).await;

    // Whoever is gone, however it went, holds nothing.
    first.kill();
    let third = Service::start(&stage.program("third", EVERYTHING)).await;
    third.client().submit_new(&call("shop", "third", "/ok")).await;
    third.client().all_at_rest(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_sqlite_file_is_refused() {
    a_second_process_is_refused(Transport::Embedded, Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_sqlite_file_is_refused_with_rabbitmq_too() {
    a_second_process_is_refused(Transport::RabbitMq, Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_with_the_embedded_transport_on_the_same_postgresql_is_refused() {
    a_second_process_is_refused(Transport::Embedded, Store::Postgres).await;
}
