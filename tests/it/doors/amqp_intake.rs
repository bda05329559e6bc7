//! Submitting by AMQP: what is accepted under which name, and what lies in the queue of the rejected with its reason.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};

use crate::support::amqp_client::{AmqpClient, Taken, json_properties};
use crate::support::in_process::{Service, Setup, in_an_hour, in_ms, keyed, past_deadline, to};
use crate::support::wait_for;

/// A service with small bodies, and a publisher.
async fn start() -> (Service, AmqpClient) {
    let service = Setup::rabbitmq().await.max_body("64KiB").start().await;
    let client = AmqpClient::connect(service.broker_url()).await;
    (service, client)
}

async fn publish(service: &Service, client: &AmqpClient, properties: BasicProperties, body: &[u8]) {
    client.publish(&service.names().submit(), "sms", properties, body).await;
}

/// The call that a list with these conditions finds, when it does.
async fn found(service: &Service, conditions: &str) -> Value {
    wait_for(conditions, || async {
        let answer = service.get(&format!("/v1/calls?{conditions}")).await;
        answer.body["calls"].as_array().unwrap_or_else(|| panic!("{answer:?}")).first().cloned()
    })
    .await
}

/// Waits until the queue of submissions is empty and nothing of it is in hand.
async fn rejected(service: &Service, client: &AmqpClient, count: usize) -> Vec<Taken> {
    client.take_many(&service.names().rejected(), count).await
}

fn header(name: &str, value: AMQPValue) -> BasicProperties {
    let mut table = FieldTable::default();
    table.insert(name.into(), value);
    json_properties().with_headers(table)
}

/// One bad message: a name, how it is published, its body, and the code it is rejected with.
struct Bad {
    name: &'static str,
    properties: BasicProperties,
    body: Vec<u8>,
    code: &'static str,
}

fn bad(name: &'static str, body: impl Into<Vec<u8>>, code: &'static str) -> Bad {
    Bad { name, properties: json_properties(), body: body.into(), code }
}

fn badly_sent(name: &'static str, properties: BasicProperties, code: &'static str) -> Bad {
    Bad { name, properties, body: keyed(name, "/ok").to_string().into(), code }
}

fn edited(name: &'static str, code: &'static str, edit: impl FnOnce(&mut Value)) -> Bad {
    let mut document = keyed(name, "/ok");
    edit(&mut document);
    bad(name, document.to_string(), code)
}

fn unreadable() -> Vec<Bad> {
    let deep =
        format!(r#"{{"endpoint":"sms","request":{{"body":{}1{}}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    vec![
        bad("empty", "", "malformed_json"),
        bad("spaces", "  ", "malformed_json"),
        bad("not JSON", "hello", "malformed_json"),
        bad("half a document", r#"{"endpoint":"sms","#, "malformed_json"),
        bad("two documents", r#"{"endpoint":"sms","request":{}} {}"#, "malformed_json"),
        bad("bad UTF-8", b"{\"endpoint\":\"sms\xff\"}".to_vec(), "malformed_json"),
        bad("binary", vec![0, 159, 146, 150], "malformed_json"),
        bad("a doubled key", r#"{"endpoint":"sms","endpoint":"sms","request":{}}"#, "malformed_json"),
        bad("too deep", deep, "malformed_json"),
        bad("a lone surrogate", r#"{"endpoint":"sms","request":{"body":"\udc00"}}"#, "malformed_json"),
        bad("beyond a double", r#"{"endpoint":"sms","request":{"body":1e999}}"#, "malformed_json"),
    ]
}

fn wrong() -> Vec<Bad> {
    vec![
        bad("a list", "[]", "wrong_type"),
        bad("no fields", "{}", "missing_field"),
        edited("no request", "missing_field", |document| {
            document.as_object_mut().unwrap().remove("request");
        }),
        edited("an unknown endpoint", "unknown_endpoint", |document| document["endpoint"] = "mms".into()),
        edited("an endpoint that is no name", "invalid_value", |document| {
            document["endpoint"] = "S M S".into();
        }),
        edited("an unknown field", "unknown_field", |document| document["priority"] = 5.into()),
        edited("a past deadline", "deadline_passed", |document| {
            document["deadline"] = "2020-01-01T00:00:00Z".into();
        }),
        edited("a far deadline", "invalid_value", |document| {
            document["deadline"] = "9999-01-01T00:00:00Z".into();
        }),
        edited("an empty key", "invalid_value", |document| document["idempotency_key"] = "".into()),
        edited("a long key", "invalid_value", |document| {
            document["idempotency_key"] = "k".repeat(256).into();
        }),
        edited("a path that leaves", "invalid_value", |document| {
            document["request"]["path"] = "/../x".into();
        }),
        edited("another host", "invalid_value", |document| {
            document["request"]["path"] = "//evil.test".into();
        }),
        edited("a host header", "invalid_value", |document| {
            document["request"]["headers"] = json!({ "host": "evil.test" });
        }),
        edited("a broken line in a header", "invalid_value", |document| {
            document["request"]["headers"] = json!({ "x-a": "1\r\nx-b: 2" });
        }),
        edited("NUL in the body", "invalid_value", |document| document["request"]["body"] = "\0".into()),
        edited("a version beyond 63 bits", "invalid_value", |document| {
            document["entity"] = json!({ "key": "e", "version": 1_u64 << 63 });
        }),
        edited("a tag that is a number", "wrong_type", |document| document["tags"] = json!({ "a": 1 })),
    ]
}

fn badly_published() -> Vec<Bad> {
    let plain = BasicProperties::default;
    vec![
        badly_sent(
            "another content type",
            plain().with_content_type("text/plain".into()),
            "unsupported_media_type",
        ),
        badly_sent("an empty content type", plain().with_content_type("".into()), "unsupported_media_type"),
        badly_sent(
            "compressed",
            json_properties().with_content_encoding("gzip".into()),
            "unsupported_content_encoding",
        ),
        badly_sent(
            "somebody else's name",
            json_properties().with_app_id("billing".into()).with_user_id("guest".into()),
            "publisher_mismatch",
        ),
        badly_sent(
            "a name that is none",
            json_properties().with_app_id("a\u{7}b".into()),
            "invalid_publisher",
        ),
        badly_sent(
            "a message id that is no key",
            json_properties().with_message_id("a\nb".into()),
            "invalid_message_id",
        ),
        bad("too large", vec![b' '; 2 * 1024 * 1024], "body_too_large"),
        bad("one byte too large", vec![b' '; 64 * 1024 + 1], "body_too_large"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_messages_between_good_ones_are_kept_with_their_reason_and_hold_nobody_up() {
    let (service, client) = start().await;
    let taken = json!({ "endpoint": "sms", "idempotency_key": "taken", "request": { "path": "/ok" } });
    publish(&service, &client, json_properties(), taken.to_string().as_bytes()).await;
    let conflict = edited("another document under a known key", "idempotency_key_reused", |document| {
        document["idempotency_key"] = "taken".into();
    });
    found(&service, "q=taken").await;

    let all: Vec<Bad> =
        unreadable().into_iter().chain(wrong()).chain(badly_published()).chain([conflict]).collect();
    assert!(all.len() >= 30, "{}", all.len());
    for (number, bad) in all.iter().enumerate() {
        let good = keyed(&format!("good-{number}"), "/ok").to_string();
        publish(&service, &client, json_properties(), good.as_bytes()).await;
        publish(&service, &client, bad.properties.clone(), &bad.body).await;
    }
    let last = keyed("good-last", "/ok").to_string();
    publish(&service, &client, json_properties(), last.as_bytes()).await;

    let kept = rejected(&service, &client, all.len()).await;
    let mut by_body: BTreeMap<(&[u8], String), usize> = BTreeMap::new();
    for message in &kept {
        assert!(message.header("x-redial-detail").len() > 5, "{message:?}");
        *by_body.entry((message.body.as_slice(), message.header("x-redial-error"))).or_default() += 1;
    }
    for bad in &all {
        let expected = (bad.body.as_slice(), bad.code.to_owned());
        let count = by_body.get_mut(&expected).filter(|count| **count > 0);
        *count.unwrap_or_else(|| panic!("{} is not kept with {}", bad.name, bad.code)) -= 1;
    }
    wait_for("all good calls have succeeded", || async {
        (service.count("status=succeeded").await == all.len() + 2).then_some(())
    })
    .await;
    assert_eq!(service.count("").await, all.len() + 2);
    assert!(client.take(&service.names().rejected()).await.is_none());
    assert_eq!(client.depth(&service.names().submit()).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reason_names_the_place_and_the_message_keeps_what_came_with_it() {
    let (service, client) = start().await;
    let mut document = keyed("k", "/ok");
    document["colour"] = "red".into();
    document["endpoint"] = "mms".into();
    let properties = json_properties().with_app_id("billing".into()).with_message_id("m-1".into());
    publish(&service, &client, properties, document.to_string().as_bytes()).await;
    let kept = rejected(&service, &client, 1).await.remove(0);
    let detail = kept.header("x-redial-detail");
    for part in ["/endpoint", "mms", "sms", "/colour"] {
        assert!(detail.contains(part), "{part} in {detail}");
    }
    assert_eq!(kept.header("x-redial-routing-key"), "sms");
    assert_eq!(kept.header("x-redial-exchange"), service.names().submit());
    assert_eq!(kept.header("x-redial-message-id"), "m-1");
    let properties = &kept.properties;
    assert_eq!(properties.app_id().as_ref().unwrap().as_str(), "billing");
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/json");
    assert_eq!(*properties.delivery_mode(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_from_any_client_is_accepted() {
    let (service, client) = start().await;
    let mut deep = FieldTable::default();
    for _ in 0..100 {
        let mut around = FieldTable::default();
        around.insert("nested".into(), AMQPValue::FieldTable(deep));
        deep = around;
    }
    let plain = BasicProperties::default;
    let variants = [
        ("no properties", plain()),
        ("a charset", plain().with_content_type("application/json; charset=utf-8".into())),
        ("an encoding that is a charset", json_properties().with_content_encoding("utf-8".into())),
        ("transient", json_properties().with_delivery_mode(1)),
        ("all that is ignored", {
            let odd = json_properties().with_expiration("60000".into()).with_priority(9).with_timestamp(1);
            odd.with_reply_to("nowhere".into()).with_correlation_id("c".into()).with_type("t".into())
        }),
        ("a nested header table", header("nested", AMQPValue::FieldTable(deep))),
        ("a timestamp that is text", header("timestamp", AMQPValue::LongString("yesterday".into()))),
        ("a forged x-death", header("x-death", AMQPValue::LongString("[]".into()))),
        ("a traceparent that is a number", header("traceparent", AMQPValue::LongInt(7))),
        ("an empty app_id's message_id", json_properties().with_message_id("".into())),
    ];
    for (name, properties) in &variants {
        let document = keyed(name, "/ok").to_string();
        publish(&service, &client, properties.clone(), document.as_bytes()).await;
    }
    wait_for("all have succeeded", || async {
        (service.count("status=succeeded").await == variants.len()).then_some(())
    })
    .await;
    assert_eq!(client.depth(&service.names().rejected()).await, 0);
    for (name, _) in &variants {
        assert_eq!(service.seen(name).len(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_message_id_serves_as_key_and_the_app_id_names_the_publisher() {
    let (service, client) = start().await;
    let keyless = json!({ "endpoint": "sms", "request": { "path": "/ok" }, "tags": { "of": "message-id" } });
    let body = keyless.to_string();
    let properties = json_properties().with_message_id("m-1".into()).with_app_id("billing".into());
    for _ in 0..3 {
        publish(&service, &client, properties.clone(), body.as_bytes()).await;
    }
    let call = found(&service, "tag.of=message-id").await;
    assert_eq!((&call["idempotency_key"], &call["publisher"]), (&json!("m-1"), &json!("billing")));

    // The document's own key goes before the message's, and every publisher has keys of its own.
    let mut document = in_an_hour("m-1");
    document["tags"] = json!({ "of": "document" });
    let properties = json_properties().with_message_id("m-2".into()).with_user_id("guest".into());
    publish(&service, &client, properties, document.to_string().as_bytes()).await;
    let call = found(&service, "tag.of=document").await;
    assert_eq!((&call["idempotency_key"], &call["publisher"]), (&json!("m-1"), &json!("guest")));

    // Without any name of its own a call is known by its id.
    publish(&service, &client, json_properties(), body.as_bytes()).await;
    let call = found(&service, "publisher=anonymous").await;
    assert_eq!(call["idempotency_key"], call["id"]);
    assert_eq!(service.count("").await, 3);
    assert_eq!(client.depth(&service.names().rejected()).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_that_comes_again_after_its_success_is_only_acknowledged() {
    let (service, client) = start().await;
    let document = keyed("k", "/ok").to_string();
    publish(&service, &client, json_properties(), document.as_bytes()).await;
    found(&service, "status=succeeded").await;
    for _ in 0..5 {
        publish(&service, &client, json_properties(), document.as_bytes()).await;
    }
    let marker = keyed("marker", "/ok").to_string();
    publish(&service, &client, json_properties(), marker.as_bytes()).await;
    found(&service, "q=marker&status=succeeded").await;
    assert_eq!(service.seen("k").len(), 1);
    assert_eq!(service.count("").await, 2);
    for queue in [service.names().submit(), service.names().rejected()] {
        assert_eq!(client.depth(&queue).await, 0, "{queue}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_that_comes_again_after_its_deadline_is_only_acknowledged() {
    let (service, client) = start().await;
    let mut document = json!({ "endpoint": "sms", "request": { "path": "/ok" }, "deadline": in_ms(1_000) });
    let under = |id: &str| json_properties().with_message_id(id.into());
    publish(&service, &client, under("m-1"), document.to_string().as_bytes()).await;
    found(&service, "status=succeeded").await;
    past_deadline(&document).await;
    for id in ["m-1", "m-2", "m-1"] {
        publish(&service, &client, under(id), document.to_string().as_bytes()).await;
    }
    document["request"]["path"] = "/other".into();
    publish(&service, &client, under("m-1"), document.to_string().as_bytes()).await;
    let kept = rejected(&service, &client, 2).await;
    let mut reasons: Vec<_> = kept
        .iter()
        .map(|message| (message.header("x-redial-message-id"), message.header("x-redial-error")))
        .collect();
    reasons.sort();
    let reasons: Vec<_> = reasons.iter().map(|(id, code)| (id.as_str(), code.as_str())).collect();
    assert_eq!(reasons, [("m-1", "idempotency_key_reused"), ("m-2", "deadline_passed")]);
    for queue in [service.names().submit(), service.names().rejected()] {
        assert_eq!(client.depth(&queue).await, 0, "{queue}");
    }
    assert_eq!(service.count("").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_routing_key_decides_nothing() {
    let (service, client) = start().await;
    for key in ["", "sms", "somebody.elses.words", "*.#"] {
        let document = keyed(&format!("by-{key}"), "/ok").to_string();
        client.publish(&service.names().submit(), key, json_properties(), document.as_bytes()).await;
    }
    wait_for("all have succeeded", || async { (service.count("status=succeeded").await == 4).then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_doors_lead_to_the_same_keys() {
    let (service, client) = start().await;
    let document = in_an_hour("k");
    let id = service.submit(&document).await;
    let as_tester = || json_properties().with_app_id("tester".into());
    publish(&service, &client, as_tester(), document.to_string().as_bytes()).await;
    publish(&service, &client, as_tester(), keyed("k", "/other").to_string().as_bytes()).await;
    let kept = rejected(&service, &client, 1).await.remove(0);
    assert_eq!(kept.header("x-redial-error"), "idempotency_key_reused");
    assert!(kept.header("x-redial-detail").contains(&id), "{kept:?}");
    assert_eq!(service.count("").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_message_that_is_mended_and_moved_back_is_the_publishers_own() {
    let (service, client) = start().await;
    let names = service.names();
    let properties = json_properties().with_app_id("shop".into()).with_message_id("order-7".into());
    let (bad, good) = (json!({ "endpoint": "smss", "request": { "path": "/ok" } }), to("/ok"));
    client.publish(&names.submit(), "smss", properties, bad.to_string().as_bytes()).await;
    let first = rejected(&service, &client, 1).await.remove(0);

    // Moved back as it is, by the default exchange as the management UI does, it is rejected once more, and nothing is forgotten.
    client.publish("", &names.submit(), first.properties.clone(), &first.body).await;
    let second = rejected(&service, &client, 1).await.remove(0);
    assert_eq!(second.body, first.body);
    for header in ["x-redial-message-id", "x-redial-exchange", "x-redial-routing-key", "x-redial-error"] {
        assert_eq!(second.header(header), first.header(header), "{header}");
    }
    assert_eq!(second.header("x-redial-message-id"), "order-7");

    // Mended, twice: it is one call, under the publisher's name and key.
    for _ in 0..2 {
        client.publish("", &names.submit(), second.properties.clone(), good.to_string().as_bytes()).await;
    }
    let list = wait_for("the call is there", || async {
        let list = service.get("/v1/calls?publisher=shop").await.body;
        (list["calls"].as_array().is_some_and(|calls| !calls.is_empty())).then_some(list)
    })
    .await;
    assert_eq!(list["calls"][0]["idempotency_key"], "order-7");
    client
        .publish(&names.submit(), "sms", json_properties(), keyed("marker", "/ok").to_string().as_bytes())
        .await;
    wait_for("what came after both messages is there", || async {
        (service.count("publisher=anonymous").await == 1).then_some(())
    })
    .await;
    assert_eq!(service.count("publisher=shop").await, 1);
    assert_eq!(client.depth(&names.rejected()).await, 0);
}
