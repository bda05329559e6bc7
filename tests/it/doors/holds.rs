//! Pausing and resuming an endpoint over HTTP: who may, what is kept of it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::amqp_client::AmqpClient;
use crate::support::answer::Answer;
use crate::support::in_process::{Service, Setup};

async fn act(service: &Service, who: &str, endpoint: &str, action: &str, body: &Value) -> Answer {
    let path = format!("/v1/endpoints/{endpoint}/{action}");
    Answer::to(service.request_as(who, Method::POST, &path).json(body)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_paused_by_who_may_operate_and_the_audit_log_keeps_it() {
    let service = Setup::embedded().start().await;
    let note = json!({ "note": "their maintenance" });
    for (who, endpoint, body, status, code) in [
        ("auditor", "sms", &note, 403, "role_missing"),
        ("operator", "fax", &note, 404, "unknown_endpoint"),
        ("operator", "sms", &json!({ "nota": "" }), 422, "unknown_field"),
    ] {
        let answer = act(&service, who, endpoint, "pause", body).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{answer:?}");
    }
    assert_eq!(service.get("/v1/endpoints/sms").await.body["state"], "active");

    let paused = act(&service, "operator", "sms", "pause", &note).await;
    assert_eq!((paused.status, &paused.body["state"]), (200, &json!("held")), "{paused:?}");
    let hold = &paused.body["hold"];
    assert_eq!(
        (&hold["kind"], &hold["by"], &hold["note"]),
        (&json!("paused"), &json!("operator"), &note["note"])
    );
    let resumed = act(&service, "operator", "sms", "resume", &json!({})).await;
    assert_eq!((resumed.status, &resumed.body["hold"]), (200, &Value::Null), "{resumed:?}");

    let log = service.get("/v1/audit?actor=operator").await.body;
    let entries: Vec<(&str, &str)> = log["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["action"].as_str().unwrap(), entry["subject"].as_str().unwrap()))
        .collect();
    assert_eq!(entries, [("resume", "sms"), ("pause", "sms")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_listens_at_rabbitmq_is_told_when_an_endpoint_is_parked_and_resumed() {
    let service = Setup::rabbitmq().await.start().await;
    let client = AmqpClient::connect(service.broker_url()).await;
    let [parked, resumed, elsewhere] = [
        client.listen(&service.names().events(), "endpoint.parked.sms").await,
        client.listen(&service.names().events(), "endpoint.resumed.*").await,
        client.listen(&service.names().events(), "endpoint.*.patient").await,
    ];
    let told = async |queue: &str| {
        let message = client.take_many(queue, 1).await.remove(0);
        let document = message.json();
        assert_eq!(message.routing_key, format!("{}.sms", document["event"].as_str().unwrap()));
        assert!(document["at"].is_string() && document["endpoint"] == "sms", "{document}");
        document
    };

    // By a person.
    act(&service, "operator", "sms", "pause", &json!({ "note": "their maintenance" })).await;
    let event = told(&parked).await;
    assert_eq!((&event["event"], &event["kind"]), (&json!("endpoint.parked"), &json!("paused")));
    assert_eq!((&event["by"], &event["note"]), (&json!("operator"), &json!("their maintenance")));
    assert_eq!(event["until"], Value::Null, "until somebody resumes it");
    act(&service, "operator", "sms", "resume", &json!({})).await;
    let event = told(&resumed).await;
    assert_eq!((&event["event"], &event["kind"]), (&json!("endpoint.resumed"), &json!("paused")));

    // By the third party; the probe is what resumes it.
    let id = service.submit_to("/fail/1/429?retry_after=1").await;
    let event = told(&parked).await;
    assert_eq!((&event["kind"], &event["by"]), (&json!("limited"), &Value::Null));
    assert!(event["until"].is_string(), "{event}");
    let event = told(&resumed).await;
    assert_eq!((&event["kind"], &event["until"]), (&json!("limited"), &Value::Null));
    service.call_in(&id, "succeeded").await;

    // Each was told once, and of no other endpoint.
    for queue in [&parked, &resumed, &elsewhere] {
        assert_eq!(client.depth(queue).await, 0, "{queue}");
    }
}
