//! RabbitMQ away under load: calls go on without it, and it is used again when it is back.

use std::time::Duration;

use redial::clock::monotonic;
use serde_json::json;

use super::invariants::{Faults, History, Terms, assert_hold};
use super::load::{call, keys, publish_all, submit_all, third_party_sees};
use crate::support::broker::{Plugins, PrivateBroker};
use crate::support::stage::{Plan, Stage, Store, Transport};
use crate::support::wait_for;

const LADDER_MS: [u64; 3] = [500; 3];
const SHOP: &str = "ladder = [\"500ms x3\"]";
const PATH: &str = "/fail/2?ms=20";

/// After this long RabbitMQ keeps a quorum queue through anything.
const SETTLED: Duration = Duration::from_secs(4);

/// How the broker goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Going {
    /// As an operator stops it.
    Stopped,
    /// Without warning.
    Killed,
}

async fn calls_go_on_while_the_broker_is_away(going: Going) {
    let mut broker = PrivateBroker::start(Plugins::None).await;
    let plan = Plan::new(Transport::RabbitMq, Store::Postgres, "shop", SHOP);
    let stage = Stage::set(Plan { broker_url: Some(broker.url()), ..plan }).await;
    let service = stage.serve().await;
    let client = service.client();
    let declared = monotonic();
    let (before, during) = (keys("before", 40), keys("during", 40));
    let (meanwhile, after) = (keys("meanwhile", 80), keys("after", 80));
    submit_all(&client, &before, |key| call("shop", key, PATH)).await;
    third_party_sees(&stage, 40).await;
    // RabbitMQ forgets how to start a quorum queue that was declared just before it was killed.
    wait_for("the queues are old enough", || {
        std::future::ready((declared.elapsed() > SETTLED).then_some(()))
    })
    .await;
    submit_all(&client, &during, |key| call("shop", key, PATH)).await;
    third_party_sees(&stage, 100).await;
    match going {
        Going::Stopped => broker.stop().await,
        Going::Killed => broker.kill(),
    }
    client.says_of_itself(200, json!({ "status": "degraded", "away": ["broker"] })).await;
    submit_all(&client, &meanwhile, |key| call("shop", key, PATH)).await;
    // Everything ends although no ticket can travel.
    client.all_at_rest(160).await;
    assert!(client.rescued("handed").await > 0, "no call was handed over");

    broker.start_again().await;
    client.says_of_itself(200, json!({ "status": "ok", "away": [] })).await;
    let publisher = stage.publisher().await;
    publish_all(&publisher, &after, |key| call("shop", key, PATH)).await;
    client.all_at_rest(240).await;
    publisher.close().await;

    let history =
        History::gather(&client, &stage.third_party, [before, during, meanwhile, after].concat()).await;
    // Neither the broker's going nor its coming back costs a call an attempt.
    assert_hold(&history, &Terms::new(&LADDER_MS, Faults::None, 240));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_while_rabbitmq_is_stopped() {
    calls_go_on_while_the_broker_is_away(Going::Stopped).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_after_rabbitmq_was_killed() {
    calls_go_on_while_the_broker_is_away(Going::Killed).await;
}
