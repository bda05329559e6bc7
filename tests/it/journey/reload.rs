//! Endpoints follow their file while the program runs.

use reqwest::Method;
use serde_json::{Value, json};

use super::load::call;
use crate::support::client::Client;
use crate::support::service::Service;
use crate::support::stage::{Plan, Stage, Store, Transport};
use crate::support::wait_for;

async fn configuration(client: &Client) -> Value {
    client.ask(Method::GET, "/v1/endpoints", None).await.unwrap().1["configuration"].clone()
}

/// Waits until the program shows another state of its configuration than `before`.
async fn moved_on(client: &Client, before: &Value) -> Value {
    wait_for("the configuration is looked at", || async {
        let now = configuration(client).await;
        (now != *before).then_some(now)
    })
    .await
}

async fn endpoints_come_change_and_go(transport: Transport, store: Store) {
    let mut stage = Stage::set(Plan::new(transport, store, "shop", "ladder = [\"300ms\"]")).await;
    let service = stage.serve().await;
    let client = service.client();
    let at_first = configuration(&client).await;
    let (refused, problem) = client.submit(&call("mail", "too-early", "/ok")).await;
    assert_eq!((refused, problem["code"].as_str()), (422, Some("unknown_endpoint")), "{problem}");

    // A new endpoint with a rung and a lane that nobody knew; and another ladder for the one that was there.
    stage.configure(|endpoints| {
        endpoints[0].1 = String::from("ladder = [\"700ms\"]");
        endpoints.push(("mail", "ladder = [\"450ms\"]\nlane = \"slow\"".to_owned()));
    });
    let with_mail = moved_on(&client, &at_first).await;
    assert!(with_mail["refused"].is_null(), "{with_mail}");
    client.submit_new(&call("mail", "mail-1", "/fail/1")).await;
    client.submit_new(&call("shop", "shop-1", "/fail/1")).await;
    client.all_at_rest(2).await;
    assert_eq!(stage.third_party.summary().effects, 2);
    assert_eq!(rescued(&client).await, 0, "the new lane was consumed and the new tier was there");

    // What is faulty changes nothing and is shown.
    stage.configure(|endpoints| endpoints[0].1 = String::from("ladder = [\"10 parsecs\"]"));
    let with_faults = moved_on(&client, &with_mail).await;
    let faults = with_faults["refused"]["faults"].as_str().unwrap();
    assert!(faults.contains("endpoints.shop.ladder") && faults.contains("10 parsecs"), "{faults}");
    assert_eq!(with_faults["adopted_at"], with_mail["adopted_at"]);
    client.submit_new(&call("shop", "shop-2", "/ok")).await;
    client.all_at_rest(3).await;

    // A call of an endpoint that is removed goes to a person when it is due.
    let orphan = client.submit_new(&call("mail", "mail-2", "/fail/9")).await;
    stage.configure(|endpoints| {
        endpoints.pop();
        endpoints[0].1 = String::from("ladder = [\"300ms\"]");
    });
    moved_on(&client, &with_faults).await;
    client.all_at_rest(4).await;
    let orphan = client.story(&orphan).await;
    let found = (orphan.status.as_str(), orphan.review_reason.as_deref());
    assert!(matches!(found, ("review", Some("unroutable" | "exhausted"))), "{found:?}");
    let (known, call_again) = client.submit(&call("mail", "mail-2", "/fail/9")).await;
    assert_eq!((known, call_again["id"].as_str()), (200, Some(orphan.id.as_str())), "{call_again}");
    asks_by_signal(&client, &service).await;
}

/// SIGHUP reads the file again even if it has not changed.
async fn asks_by_signal(client: &Client, service: &Service) {
    let before = configuration(client).await;
    service.hang_up();
    let after = moved_on(client, &before).await;
    assert!(after["refused"].is_null() && after["adopted_at"] != before["adopted_at"], "{after}");
}

async fn rescued(client: &Client) -> u64 {
    client.rescued("overdue").await + client.rescued("unroutable").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_follow_their_file_on_rabbitmq_and_postgresql() {
    endpoints_come_change_and_go(Transport::RabbitMq, Store::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_follow_their_file_on_the_embedded_transport_and_sqlite() {
    endpoints_come_change_and_go(Transport::Embedded, Store::Sqlite).await;
}

/// While nobody ran, a queue was left bound that nobody takes from any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_an_endpoint_removed_across_a_restart_go_to_review_and_none_of_their_tickets_is_left_behind()
{
    let plan = Plan::new(Transport::RabbitMq, Store::Postgres, "shop", "ladder = [\"300ms\"]")
        .and("mail", "ladder = [\"1s x50\"]");
    let mut stage = Stage::set(plan).await;
    let publisher = stage.publisher().await;
    let lane = "due.mail";
    let mut before = stage.serve().await;
    let id = before.client().submit_new(&call("mail", "mail-1", "/fail/99")).await;
    before.stop().await;
    wait_for("the ticket lies in a lane that nobody takes from", || async {
        (publisher.ready(lane).await > 0).then_some(())
    })
    .await;

    stage.configure(Vec::pop);
    let after = stage.serve().await;
    let orphan = after.client().at_rest(&id).await;
    assert_eq!((&orphan["status"], &orphan["review_reason"]), (&json!("review"), &json!("unroutable")));
    wait_for("the lane is empty", || async { (publisher.ready(lane).await == 0).then_some(()) }).await;
    assert!(publisher.publish("due", "now.mail", br#"{"tickets":[]}"#).await);
    assert_eq!(publisher.ready(lane).await, 0, "nothing leads there any more");
    publisher.close().await;
}
