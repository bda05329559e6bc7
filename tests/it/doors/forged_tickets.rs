//! Tickets that nobody in the service wrote: a ticket is a hint, so a forged one changes nothing and holds nobody up.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};

use crate::support::amqp_client::{AmqpClient, json_properties};
use crate::support::in_process::{Service, Setup, in_an_hour, keyed};
use crate::support::wait_for;

async fn start() -> (Service, AmqpClient) {
    let service = Setup::rabbitmq().await.start().await;
    let client = AmqpClient::connect(service.broker_url()).await;
    (service, client)
}

/// Puts a message where expired tickets arrive.
async fn forge(service: &Service, client: &AmqpClient, properties: BasicProperties, body: &[u8]) {
    client.publish(&service.names().due(), "1s.sms", properties, body).await;
}

fn ticket(call: &str, attempt: i64) -> Value {
    json!({ "call": call, "attempt": attempt })
}

async fn lane_is_empty(service: &Service, client: &AmqpClient) {
    wait_for("the lane is empty", || async {
        (client.depth(&service.names().lane("sms")).await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_ticket_is_passed_over() {
    let (service, client) = start().await;
    let id = service.submit(&in_an_hour("k")).await;
    let before = service.call(&id).await;
    let unknown = uuid::Uuid::now_v7().to_string();
    let many: Vec<Value> = (1..=5_000).map(|attempt| ticket(&id, attempt)).collect();
    let nested = "[".repeat(10_000);
    for body in [
        String::new(),
        "tick".to_owned(),
        nested,
        "[]".to_owned(),
        "{}".to_owned(),
        json!({ "tickets": [] }).to_string(),
        json!({ "tickets": [{ "call": id }] }).to_string(),
        json!({ "tickets": [{ "attempt": 1 }] }).to_string(),
        json!({ "tickets": [ticket("7", 1)] }).to_string(),
        json!({ "tickets": [ticket(&unknown, 1)] }).to_string(),
        json!({ "tickets": [ticket(&id, 0)] }).to_string(),
        json!({ "tickets": [ticket(&id, -1)] }).to_string(),
        json!({ "tickets": [ticket(&id, 2)] }).to_string(),
        json!({ "tickets": [ticket(&id, i64::MAX)] }).to_string(),
        json!({ "tickets": many }).to_string(),
    ] {
        forge(&service, &client, json_properties(), body.as_bytes()).await;
    }
    let marker = service.submit(&keyed("marker", "/fail/1")).await;
    service.call_in(&marker, "succeeded").await;
    lane_is_empty(&service, &client).await;
    assert_eq!(service.call(&id).await, before);
    assert!(service.seen("k").is_empty(), "it was not due");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_ticket_goes_on_waiting_and_the_call_is_attempted_on_time() {
    let (service, client) = start().await;
    let document =
        json!({ "endpoint": "patient", "idempotency_key": "k", "request": { "path": "/ok" }, "failure": {} });
    let id = service.submit(&document).await;
    // The right attempt, before its time, in its own lane and in others.
    let body = json!({ "tickets": [ticket(&id, 1)] }).to_string();
    for _ in 0..20 {
        for key in ["1s.patient", "1s.sms", "now.nobody"] {
            client.publish(&service.names().due(), key, json_properties(), body.as_bytes()).await;
        }
    }
    let call = service.call_in(&id, "succeeded").await;
    let at = |value: &Value| redial::clock::Timestamp::parse_rfc3339(value.as_str().unwrap()).unwrap();
    let waited = at(&call["attempts"][0]["started_at"]).since(at(&call["created_at"]));
    assert!(waited >= std::time::Duration::from_millis(995), "{waited:?}: {call}");
    assert_eq!(call["attempts_made"], 1, "{call}");
    assert_eq!(service.third_party.summary().requests, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_tickets_of_one_attempt_make_one_attempt() {
    let (service, client) = start().await;
    let id = service.submit(&keyed("k", "/fail/2?ms=100")).await;
    let tickets: Vec<Value> =
        (0..50).flat_map(|_| [ticket(&id, 1), ticket(&id, 2), ticket(&id, 3)]).collect();
    let body = json!({ "tickets": tickets }).to_string();
    let mut table = FieldTable::default();
    table.insert("x-death".into(), AMQPValue::LongString("forged".into()));
    while service.call(&id).await["status"] != "succeeded" {
        forge(&service, &client, json_properties().with_headers(table.clone()), body.as_bytes()).await;
    }
    lane_is_empty(&service, &client).await;
    let call = service.call(&id).await;
    let numbers: Vec<&Value> =
        call["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["number"]).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(service.seen("k").len(), 3);
}
