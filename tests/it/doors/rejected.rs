//! Messages that could not be accepted: looked at, corrected, resubmitted, discarded, moved back.

use std::time::Duration;

use lapin::types::{AMQPValue, FieldTable};
use redial::clock::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::amqp_client::{AmqpClient, json_properties};
use crate::support::answer::Answer;
use crate::support::in_process::{Service, Setup, keyed, to};
use crate::support::wait_for;

async fn start() -> (Service, AmqpClient) {
    let service = Setup::rabbitmq().await.start().await;
    let client = AmqpClient::connect(service.broker_url()).await;
    (service, client)
}

/// What is kept, when there are so many.
async fn kept(service: &Service, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} messages are kept"), || async {
        let answer = service.get("/v1/rejected").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let messages = answer.body["messages"].as_array().unwrap().clone();
        (answer.body["count"] == count && messages.len() == count).then_some(messages)
    })
    .await
}

fn time(value: &Value) -> Timestamp {
    Timestamp::parse_rfc3339(value.as_str().unwrap_or_else(|| panic!("{value} is no time"))).unwrap()
}

/// Publishes a submission as the program `till` does.
async fn publish(service: &Service, client: &AmqpClient, message_id: &str, body: &[u8]) {
    let properties = json_properties().with_app_id("till".into()).with_message_id(message_id.into());
    client.publish(&service.names().submit(), "sms", properties, body).await;
}

fn path(message: &Value, action: &str) -> String {
    format!("/v1/rejected/{}/{action}", message["id"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_shown_with_its_reason_and_stays() {
    let (service, client) = start().await;
    publish(&service, &client, "m-1", br#"{"endpoint":"nowhere","request":{}}"#).await;
    publish(&service, &client, "m-2", b"no json at all").await;
    publish(&service, &client, "m-3", b"\xff\xfe").await;
    let messages = kept(&service, 3).await;
    let by_id = |id: &str| messages.iter().find(|message| message["message_id"] == id).unwrap();
    for (id, code, body, base64) in [
        ("m-1", "unknown_endpoint", json!({ "endpoint": "nowhere", "request": {} }), Value::Null),
        ("m-2", "malformed_json", json!("no json at all"), Value::Null),
        ("m-3", "malformed_json", Value::Null, json!("//4=")),
    ] {
        let message = by_id(id);
        assert_eq!(
            (&message["code"], &message["body"], &message["body_base64"]),
            (&json!(code), &body, &base64),
            "{message}"
        );
        assert_eq!((&message["publisher"], &message["routing_key"]), (&json!("till"), &json!("sms")));
        assert!(message["detail"].as_str().unwrap().len() > 10, "{message}");
        assert!(message["rejected_at"].as_str().unwrap().ends_with('Z'), "{message}");
    }
    let ids = |messages: &[Value]| {
        let mut ids: Vec<String> = messages.iter().map(|message| message["id"].to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&kept(&service, 3).await), ids(&messages), "looking changes nothing");
    assert_eq!(client.depth(&service.names().rejected()).await, 3);
    let first = service.get("/v1/rejected?limit=1").await.body;
    assert_eq!((&first["count"], first["messages"].as_array().unwrap().len()), (&json!(3), 1));
    for (query, code) in
        [("limit=0", "invalid_parameter"), ("limit=x", "invalid_parameter"), ("q=1", "unknown_parameter")]
    {
        service.get(&format!("/v1/rejected?{query}")).await.refuses(400, code, query);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_look_sees_everything() {
    let (service, client) = start().await;
    for number in 0..12 {
        publish(&service, &client, &format!("m-{number}"), b"broken").await;
    }
    kept(&service, 12).await;
    for look in 0..30 {
        // Of a page that shows less nothing is missing either, nor after somebody who did not wait for the answer.
        let limit = if look % 3 == 0 { 5 } else { 12 };
        let path = format!("/v1/rejected?limit={limit}");
        if look % 5 == 0 {
            let hasty = service.request_as("tester", Method::GET, "/v1/rejected");
            let _ = hasty.timeout(Duration::from_millis(look)).send().await;
        }
        let shown = service.get(&path).await.body;
        let messages = shown["messages"].as_array().map(Vec::len);
        assert_eq!((&shown["count"], messages), (&json!(12), Some(limit)), "look {look}");
        let depth = client.depth(&service.names().rejected()).await;
        assert_eq!(depth, 12, "look {look}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrected_message_becomes_a_call_of_its_publisher_and_leaves() {
    let (service, client) = start().await;
    publish(&service, &client, "m-1", br#"{"endpoint":"smss","request":{"path":"/ok"}}"#).await;
    publish(&service, &client, "m-2", b"another").await;
    let messages = kept(&service, 2).await;
    let wrong = messages.iter().find(|message| message["message_id"] == "m-1").unwrap();
    let resubmit = path(wrong, "resubmit");

    let refused = service.post(&resubmit, &json!({})).await;
    refused.refuses(422, "unknown_endpoint", "the message as it was");
    service.post(&resubmit, &json!({ "body": {} })).await.refuses(422, "unknown_field", "not a document");
    kept(&service, 2).await;

    let accepted = service.post(&resubmit, &json!({ "document": to("/ok") })).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    assert_eq!(
        (&accepted.body["publisher"], &accepted.body["idempotency_key"]),
        (&json!("till"), &json!("m-1"))
    );
    assert_eq!(accepted.header("location"), format!("/v1/calls/{}", accepted.id()));
    service.call_in(&accepted.id(), "succeeded").await;
    assert_eq!(kept(&service, 1).await[0]["message_id"], "m-2");
    service.post(&resubmit, &json!({})).await.refuses(404, "unknown_rejection", "it is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_call_is_known_leaves_without_a_second_call() {
    let (service, client) = start().await;
    publish(&service, &client, "m-1", b"broken").await;
    let message = kept(&service, 1).await.remove(0);
    // The publisher has mended it by itself meanwhile.
    let body = to("/ok").to_string();
    publish(&service, &client, "m-1", body.as_bytes()).await;
    wait_for("the call is there", || async { (service.count("publisher=till").await == 1).then_some(()) })
        .await;
    let known = service.post(&path(&message, "resubmit"), &json!({ "document": to("/ok") })).await;
    assert_eq!(known.status, 200, "{known:?}");
    kept(&service, 0).await;
    assert_eq!(service.count("publisher=till").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discarded_message_is_gone_and_others_stay() {
    let (service, client) = start().await;
    publish(&service, &client, "m-1", b"one").await;
    publish(&service, &client, "m-2", b"two").await;
    let messages = kept(&service, 2).await;
    let as_auditor = service.request_as("auditor", Method::POST, &path(&messages[0], "discard"));
    Answer::to(as_auditor).await.refuses(403, "role_missing", "an auditor may look only");
    let gone = service.post(&path(&messages[0], "discard"), &json!({ "note": "a test of theirs" })).await;
    assert_eq!(gone.status, 204, "{gone:?}");
    assert_eq!(kept(&service, 1).await[0]["id"], messages[1]["id"]);
    let again = service.post(&path(&messages[0], "discard"), &json!({})).await;
    again.refuses(404, "unknown_rejection", "a second time");
    service.post("/v1/rejected/7/discard", &json!({})).await.refuses(400, "invalid_id", "no id");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_put_there_by_hand_has_an_id_as_well() {
    let (service, client) = start().await;
    let document = keyed("by-hand", "/ok").to_string();
    client.publish("", &service.names().rejected(), json_properties(), document.as_bytes()).await;
    let message = kept(&service, 1).await.remove(0);
    assert_eq!(kept(&service, 1).await[0]["id"], message["id"]);
    let request = service.request_as("tester", Method::POST, &path(&message, "resubmit"));
    let accepted = Answer::to(request).await;
    assert_eq!((accepted.status, &accepted.body["publisher"]), (202, &json!("anonymous")), "{accepted:?}");
    kept(&service, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_moved_back_after_a_fix_is_accepted_under_its_first_name() {
    let (service, client) = start().await;
    publish(&service, &client, "m-1", b"broken").await;
    let (rejected, submit) = (service.names().rejected(), service.names().submit());
    let first = client.take_many(&rejected, 1).await.remove(0);
    assert_eq!(
        (first.body.as_slice(), first.header("x-redial-error").as_str()),
        (&b"broken"[..], "malformed_json")
    );

    // Moved back as it is, it comes back: with the name it had at first, as a rejection of its own.
    client.publish("", &submit, first.properties.clone(), &first.body).await;
    let second = client.take_many(&rejected, 1).await.remove(0);
    assert_eq!(second.header("x-redial-message-id"), "m-1");
    assert_ne!(second.header("x-redial-rejection"), first.header("x-redial-rejection"));
    assert_eq!(second.properties.app_id().as_ref().unwrap().as_str(), "till");

    // What was wrong is right now: here the body, elsewhere an endpoint that was missing in the configuration.
    let body = to("/ok").to_string();
    client.publish("", &submit, second.properties.clone(), body.as_bytes()).await;
    wait_for("the call is there", || async { (service.count("publisher=till").await == 1).then_some(()) })
        .await;
    let calls = service.get("/v1/calls?publisher=till").await.body;
    assert_eq!(calls["calls"][0]["idempotency_key"], "m-1");
    assert_eq!(client.depth(&rejected).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_message_keeps_what_its_publisher_put_around_it_and_its_trace_goes_on() {
    let (service, client) = start().await;
    let (rejected, submit) = (service.names().rejected(), service.names().submit());
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString(trace.into()));
    headers.insert("tenant".into(), AMQPValue::LongInt(7));
    headers.insert("x-death".into(), AMQPValue::LongString("forged".into()));
    headers.insert("x-redial-detail".into(), AMQPValue::LongString("forged".into()));
    headers.insert("huge".into(), AMQPValue::LongString("x".repeat(40_000).into()));
    let properties = json_properties().with_headers(headers).with_timestamp(1_000);
    let properties = properties.with_correlation_id("c-1".into()).with_type("order".into());
    client.publish(&submit, "sms", properties, b"broken").await;
    let listed = kept(&service, 1).await.remove(0);
    let age = Timestamp::now().since(time(&listed["rejected_at"]));
    assert!(age < Duration::from_mins(5), "rejected now, not when its publisher says: {listed}");

    let first = client.take_many(&rejected, 1).await.remove(0);
    let headers = first.properties.headers().as_ref().unwrap();
    let names = headers.inner().keys().map(lapin::types::ShortString::as_str);
    // RabbitMQ counts that the list has looked at it.
    let counts = ["x-delivery-count", "x-acquired-count"];
    let foreign: Vec<_> =
        names.filter(|name| !name.starts_with("x-redial-") && !counts.contains(name)).collect();
    assert_eq!(foreign, ["tenant", "traceparent"]);
    assert_eq!(first.header("traceparent"), trace);
    assert!(first.header("x-redial-detail").contains("JSON"), "{first:?}");
    assert_eq!(first.properties.correlation_id().as_ref().unwrap().as_str(), "c-1");
    assert_eq!(first.properties.kind().as_ref().unwrap().as_str(), "order");
    assert_eq!(*first.properties.timestamp(), Some(1_000));

    let body = to("/ok").to_string();
    client.publish("", &submit, first.properties.clone(), body.as_bytes()).await;
    let call = wait_for("the call is there", || async {
        service.get("/v1/calls").await.body["calls"].as_array()?.first().cloned()
    })
    .await;
    assert_eq!(call["traceparent"], trace, "{call}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_the_broker_says_the_publisher_is_counts_more_than_what_it_says() {
    let (service, client) = start().await;
    let properties = json_properties().with_user_id("guest".into()).with_app_id("someone-else".into());
    let body = keyed("k", "/ok").to_string();
    client.publish(&service.names().submit(), "sms", properties, body.as_bytes()).await;
    let message = kept(&service, 1).await.remove(0);
    assert_eq!((&message["code"], &message["publisher"]), (&json!("publisher_mismatch"), &json!("guest")));
    let accepted = service.post(&path(&message, "resubmit"), &json!({})).await;
    assert_eq!((accepted.status, &accepted.body["publisher"]), (202, &json!("guest")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_headers_do_not_disturb() {
    let (service, client) = start().await;
    let mut headers = FieldTable::default();
    headers.insert("x-redial-error".into(), AMQPValue::LongString("malformed_json".into()));
    headers.insert("x-redial-rejection".into(), AMQPValue::LongLongInt(7));
    headers.insert("x-death".into(), AMQPValue::Boolean(true));
    let body = to("/ok").to_string();
    client
        .publish(&service.names().submit(), "sms", json_properties().with_headers(headers), body.as_bytes())
        .await;
    wait_for("the call is there", || async {
        (service.count("publisher=anonymous").await == 1).then_some(())
    })
    .await;
    kept(&service, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rabbitmq_gave_up_tells_why_also_after_an_earlier_rejection() {
    let (service, client) = start().await;
    let mut death = FieldTable::default();
    let text = |text: &str| AMQPValue::LongString(text.into());
    death.insert("queue".into(), text(&service.names().submit()));
    death.insert("reason".into(), text("delivery_limit"));
    death.insert("routing-keys".into(), AMQPValue::FieldArray(vec![text("sms")].into()));
    let mut headers = FieldTable::default();
    headers.insert("x-death".into(), AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into()));
    headers.insert("x-redial-error".into(), text("unknown_endpoint"));
    let body = keyed("dead", "/ok").to_string();
    let properties = json_properties().with_headers(headers);
    client.publish("", &service.names().rejected(), properties, body.as_bytes()).await;
    let message = kept(&service, 1).await.remove(0);
    assert_eq!((&message["code"], &message["routing_key"]), (&json!("delivery_limit"), &json!("sms")));
    assert!(message["detail"].as_str().unwrap().contains(&service.names().submit()), "{message}");
    assert_eq!(service.post(&path(&message, "resubmit"), &json!({})).await.status, 202);
    kept(&service, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_to_replay_does_not_become_a_call() {
    let (service, client) = start().await;
    let order = json!({ "call": uuid::Uuid::now_v7().to_string() }).to_string();
    client.publish("", &service.names().replay(), json_properties(), order.as_bytes()).await;
    let message = kept(&service, 1).await.remove(0);
    for document in [json!({}), json!({ "document": to("/ok") })] {
        let refused = service.post(&path(&message, "resubmit"), &document).await;
        refused.refuses(422, "replay_order", "no submission");
    }
    assert_eq!(service.post(&path(&message, "discard"), &json!({})).await.status, 204);
    assert_eq!(service.count("").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_rabbitmq_nothing_is_kept() {
    let service = Setup::embedded().start().await;
    assert_eq!(service.get("/v1/rejected").await.body, json!({ "count": 0, "messages": [] }));
    let id = uuid::Uuid::now_v7();
    let refused = service.post(&format!("/v1/rejected/{id}/resubmit"), &json!({})).await;
    refused.refuses(404, "unknown_rejection", "nothing is kept");
}
