//! `kill -9` of a process in the middle of calls: nothing is lost, and attempt numbers have no gap.

use super::invariants::{Faults, History, Terms, assert_hold};
use super::load::{call, keys, publish_all, submit_all};
use crate::support::service::Service;
use crate::support::stage::{EVERYTHING, Plan, Stage, Store, Transport};

const LADDER_MS: [u64; 6] = [300; 6];
/// A short lease, so that what a dead worker held comes back soon; not so short that a busy machine loses those of the living.
const SHOP: &str = "ladder = [\"300ms x6\"]\nlease = \"5s\"\n\
                    timeout = { connect = \"1s\", read = \"2s\", overall = \"2s\" }";
/// Fails once, and takes its time: long enough to be killed in the middle.
const PATH: &str = "/fail/1?ms=200";

/// What the dead worker held is closed as lost, and the attempt after it says why it was made.
fn lost_attempts_are_recovered(history: &History, dead: &str) -> u64 {
    let mut lost = 0;
    for call in &history.calls {
        for (position, attempt) in call.attempts.iter().enumerate() {
            if attempt.error_kind.as_deref() != Some("worker_lost") {
                continue;
            }
            lost += 1;
            assert_eq!((attempt.worker.as_str(), attempt.verdict.as_str()), (dead, "ambiguous"), "{call:?}");
            assert_eq!(call.attempts[position + 1].trigger, "recovery", "{call:?}");
        }
    }
    assert!(lost > 0, "nothing was in flight when {dead} was killed");
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_in_the_middle_of_calls_loses_nothing() {
    let stage = Stage::set(Plan::new(Transport::RabbitMq, Store::Postgres, "shop", SHOP)).await;
    let door = Service::start(&stage.program("door", "api,intake,sweeper")).await;
    let _left = Service::start(&stage.program("left", "api,worker")).await;
    let mut right = Service::start(&stage.program("right", "api,worker,sweeper")).await;
    let publisher = stage.publisher().await;
    let keys = keys("killed", 300);
    let in_the_middle = async {
        right.client().in_the_middle_of(8).await;
        right.kill();
    };
    tokio::join!(publish_all(&publisher, &keys, |key| call("shop", key, PATH)), in_the_middle);
    let heir = Service::start(&stage.program("heir", "api,worker,sweeper")).await;
    door.client().all_at_rest(300).await;

    let history = History::gather(&door.client(), &stage.third_party, keys).await;
    assert_hold(&history, &Terms::new(&LADDER_MS, Faults::Some, 300));
    let lost = lost_attempts_are_recovered(&history, "right");
    let rescued = door.client().rescued("worker_lost").await + heir.client().rescued("worker_lost").await;
    assert_eq!(rescued, lost);
    publisher.close().await;
}

async fn a_killed_process_goes_on_after_its_start(store: Store) {
    let stage = Stage::set(Plan::new(Transport::Embedded, store, "shop", SHOP)).await;
    let mut before = Service::start(&stage.program("before", EVERYTHING)).await;
    let keys = keys("killed", 200);
    submit_all(&before.client(), &keys, |key| call("shop", key, PATH)).await;
    before.client().in_the_middle_of(8).await;
    before.kill();
    let after = Service::start(&stage.program("after", EVERYTHING)).await;
    after.client().all_at_rest(200).await;

    let history = History::gather(&after.client(), &stage.third_party, keys).await;
    assert_hold(&history, &Terms::new(&LADDER_MS, Faults::Some, 200));
    let lost = lost_attempts_are_recovered(&history, "before");
    assert_eq!(after.client().rescued("worker_lost").await, lost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_on_the_embedded_transport_and_sqlite_goes_on_after_its_start() {
    a_killed_process_goes_on_after_its_start(Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_on_the_embedded_transport_and_postgresql_goes_on_after_its_start() {
    a_killed_process_goes_on_after_its_start(Store::Postgres).await;
}
