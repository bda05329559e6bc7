//! PostgreSQL in trouble under load: connections cut again and again, and the server away altogether.

use serde_json::json;

use super::invariants::{Faults, History, Terms, assert_hold};
use super::load::{call, keys, publish_all, submit_all, third_party_sees};
use crate::support::database::Place;
use crate::support::stage::{Plan, Stage, Store, Transport};
use crate::support::tcp_proxy::TcpProxy;
use crate::support::wait_for;

const LADDER_MS: [u64; 5] = [400; 5];
/// What an interrupted commit leaves behind comes back after a short lease.
const SHOP: &str = "ladder = [\"400ms x5\"]\nlease = \"3s\"\n\
                    timeout = { connect = \"1s\", read = \"2s\", overall = \"2s\" }";
const PATH: &str = "/fail/1?ms=20";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_again_and_again_lose_and_double_nothing() {
    let stage = Stage::set(Plan::new(Transport::RabbitMq, Store::Postgres, "shop", SHOP)).await;
    let service = stage.serve().await;
    let client = service.client();
    let publisher = stage.publisher().await;
    let (by_http, by_amqp) = (keys("http", 150), keys("amqp", 150));
    let submitting = async {
        for key in &by_http {
            client.submit_until_confirmed(&call("shop", key, PATH)).await;
        }
    };
    let cutting = async {
        for round in 1..=10 {
            third_party_sees(&stage, round * 25).await;
            stage.database.cut_connections().await;
        }
    };
    tokio::join!(submitting, publish_all(&publisher, &by_amqp, |key| call("shop", key, PATH)), cutting);
    client.all_at_rest(300).await;
    publisher.close().await;

    let history = History::gather(&client, &stage.third_party, [by_http, by_amqp].concat()).await;
    assert_hold(&history, &Terms::new(&LADDER_MS, Faults::Some, 300));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_postgresql_does_not_keep_a_stopping_process() {
    let database = Place::on_postgres().await;
    let (line, url) = TcpProxy::before_database(&database.url()).await;
    let plan = Plan::new(Transport::Embedded, Store::Postgres, "shop", SHOP);
    let stage = Stage::set_on(Plan { database_url: Some(url), ..plan }, database).await;
    let mut service = stage.serve().await;
    let keys = keys("under-way", 20);
    submit_all(&service.client(), &keys, |key| call("shop", key, "/ok?ms=500")).await;
    third_party_sees(&stage, 20).await;
    line.fall_silent();
    // What runs has half a minute to be recorded; goodbyes are said to nobody for ever.
    assert!(service.stop().await.success());
    line.mend();
    let service = stage.serve().await;
    service.client().all_at_rest(20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgresql_is_away_nothing_is_confirmed_and_afterwards_everything_goes_on() {
    let database = Place::on_postgres().await;
    let (line, url) = TcpProxy::before_database(&database.url()).await;
    let plan = Plan::new(Transport::RabbitMq, Store::Postgres, "shop", SHOP);
    let stage = Stage::set_on(Plan { database_url: Some(url), ..plan }, database).await;
    let service = stage.serve().await;
    let client = service.client();
    let publisher = stage.publisher().await;
    let (before, refused, waiting) = (keys("before", 60), keys("refused", 10), keys("waiting", 60));
    submit_all(&client, &before, |key| call("shop", key, PATH)).await;
    third_party_sees(&stage, 30).await;
    line.cut();
    client.says_of_itself(503, json!({ "status": "unavailable", "away": ["ledger"] })).await;
    for key in &refused {
        let (status, problem) = client.submit(&call("shop", key, PATH)).await;
        assert_eq!(status, 503, "{problem}");
        assert!(problem["code"].is_string(), "{problem}");
    }
    publish_all(&publisher, &waiting, |key| call("shop", key, PATH)).await;
    let (alive, _) = client.ask(reqwest::Method::GET, "/healthz", None).await.unwrap();
    assert_eq!(alive, 200);
    line.mend();
    client.says_of_itself(200, json!({ "status": "ok", "away": [] })).await;
    for key in &refused {
        client.submit_until_confirmed(&call("shop", key, PATH)).await;
    }
    client.all_at_rest(130).await;
    wait_for("every submission is acknowledged", || async {
        (publisher.ready("submit").await == 0).then_some(())
    })
    .await;
    assert_eq!(publisher.ready("rejected").await, 0, "an absence was taken for a reason to reject");
    publisher.close().await;

    let history = History::gather(&client, &stage.third_party, [before, refused, waiting].concat()).await;
    assert_hold(&history, &Terms::new(&LADDER_MS, Faults::Some, 130));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_starts_without_its_database_waits_for_it() {
    let database = Place::on_postgres().await;
    let (line, url) = TcpProxy::before_database(&database.url()).await;
    line.cut();
    let plan = Plan::new(Transport::Embedded, Store::Postgres, "shop", SHOP);
    let stage = Stage::set_on(Plan { database_url: Some(url), ..plan }, database).await;
    let mut service = crate::support::service::Service::spawn(&stage.program("early", "api,worker,sweeper"));
    wait_for("it says that it waits", || {
        std::future::ready(service.said().contains("the ledger is away").then_some(()))
    })
    .await;
    line.mend();
    service.ready().await;
    service.client().submit_new(&call("shop", "at-last", "/ok")).await;
    service.client().all_at_rest(1).await;
}
