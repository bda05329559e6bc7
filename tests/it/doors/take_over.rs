//! Taking a call over: where it starts, when it is given up, and that what leaves is what was handed over.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redial::clock::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::amqp_client::{AmqpClient, json_properties};
use crate::support::answer::Answer;
use crate::support::in_process::{ENDPOINT_SECRET, Service, Setup, in_ms, keyed};
use crate::support::wait_for;
use lapin::types::{AMQPValue, FieldTable};

fn time(value: &Value) -> Timestamp {
    Timestamp::parse_rfc3339(value.as_str().unwrap_or_else(|| panic!("{value} is no time"))).unwrap()
}

/// How long after its acceptance the first attempt of a call began.
fn first_attempt_after(call: &Value) -> Duration {
    time(&call["attempts"][0]["started_at"]).since(time(&call["created_at"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_has_failed_before_waits_for_its_first_rung() {
    let service = Setup::embedded().start().await;
    let failure = json!({
        "occurred_at": "2026-11-21T10:00:00Z", "status": 503, "error": "upstream timeout", "ambiguous": false, "attempts": 3,
    });
    for failure in [failure, json!({}), json!({ "ambiguous": true })] {
        let document = json!({ "endpoint": "patient", "request": { "path": "/ok" }, "failure": failure });
        let answer = service.post("/v1/calls", &document).await;
        assert_eq!(
            (&answer.body["status"], &answer.body["rung"]),
            (&json!("scheduled"), &json!(1)),
            "{answer:?}"
        );
        let wait = time(&answer.body["due_at"]).since(time(&answer.body["created_at"]));
        assert_eq!(wait, Duration::from_secs(1), "{answer:?}");
        let shown = &answer.body["failure"];
        assert_eq!(shown["ambiguous"], failure.get("ambiguous").cloned().unwrap_or(json!(false)));
        let call = service.call_in(&answer.id(), "succeeded").await;
        // A timer may fire 5 ms early.
        assert!(first_attempt_after(&call) >= Duration::from_millis(995), "{call}");
        assert_eq!((&call["attempts"][0]["number"], &call["attempts_made"]), (&json!(1), &json!(1)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_nobody_knows_goes_to_review_where_it_may_not_be_repeated() {
    let service = Setup::embedded().start().await;
    let document = |ambiguous: bool| json!({ "endpoint": "careful", "request": { "path": "/ok" }, "failure": { "ambiguous": ambiguous } });
    let answer = service.post("/v1/calls", &document(true)).await;
    assert_eq!((answer.status, &answer.body["status"]), (202, &json!("review")), "{answer:?}");
    assert_eq!(
        (&answer.body["review_reason"], &answer.body["attempts_made"]),
        (&json!("ambiguous"), &json!(0))
    );
    assert_eq!(service.third_party.summary().requests, 0);
    let known = service.submit(&document(false)).await;
    service.call_in(&known, "succeeded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_not_attempted_before_its_time() {
    let service = Setup::embedded().start().await;
    let mut document = keyed("later", "/ok");
    document["not_before"] = in_ms(900).into();
    let id = service.submit(&document).await;
    let call = service.call_in(&id, "succeeded").await;
    let started = time(&call["attempts"][0]["started_at"]);
    let not_before = time(&document["not_before"]);
    assert!(started >= not_before.minus(Duration::from_millis(5)), "{started} is before {not_before}");
    // What is past already holds nothing up, and a rung that ends later goes before.
    document = json!({ "endpoint": "patient", "request": { "path": "/ok" }, "failure": {}, "not_before": "2020-01-01T00:00:00Z" });
    let answer = service.post("/v1/calls", &document).await;
    let wait = time(&answer.body["due_at"]).since(time(&answer.body["created_at"]));
    assert_eq!(wait, Duration::from_secs(1), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_defaults_to_a_week_and_is_kept_as_given() {
    let service = Setup::embedded().start().await;
    let id = service.submit(&keyed("week", "/ok")).await;
    let call = service.call_in(&id, "succeeded").await;
    let span = time(&call["deadline"]).since(time(&call["created_at"]));
    assert_eq!(span.as_secs(), 7 * 24 * 3_600, "{call}");
    let mut document = keyed("hour", "/ok");
    document["deadline"] = in_ms(3_600_000).into();
    let id = service.submit(&document).await;
    assert_eq!(service.call(&id).await["deadline"], document["deadline"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_deadline_passes_while_it_waits_goes_to_review() {
    let service = Setup::embedded()
        .with("[endpoints.slow]\nbase_url = \"{third_party}\"\nladder = [\"1h\"]\n")
        .start()
        .await;
    let id = {
        let deadline = in_ms(2_000);
        let document = json!({ "endpoint": "slow", "request": { "path": "/status/503" }, "deadline": deadline, "idempotency_key": "k" });
        service.submit(&document).await
    };
    let call = service.call_in(&id, "review").await;
    assert_eq!((&call["review_reason"], &call["attempts_made"]), (&json!("expired"), &json!(1)), "{call}");
    assert!(time(&call["updated_at"]) >= time(&call["deadline"]).minus(Duration::from_millis(5)), "{call}");
    assert_eq!(service.seen("k").len(), 1);
}

/// A body that a careless JSON library would change: big and precise numbers, spaces, escapes, order, repeated zeros.
const ODD_BODY: &str = "{ \"z\" : 12345678901234567890123456789 ,\n\t\"a\":1.10, \"e\":1E+2,\"s\":\"\\u00e9\\/ é \\ud83d\\ude00\", \"n\":null, \"l\":[ ],\"d\":0.1e-7 }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_json_body_leaves_byte_for_byte_as_it_came() {
    let service = Setup::embedded().start().await;
    for (key, body) in [
        ("odd", ODD_BODY),
        ("text", "\" a \\u0041 \""),
        ("number", "1.0"),
        ("null", "null"),
        ("list", "[1, 2 ,3]"),
    ] {
        let text = format!(
            r#"{{"endpoint":"sms","idempotency_key":"{key}","request":{{"path":"/ok","body":  {body} }}}}"#
        );
        let answer = service.post_text("/v1/calls", text).await;
        service.call_in(&answer.id(), "succeeded").await;
        let seen = service.seen(key).remove(0);
        assert_eq!(std::str::from_utf8(&seen.body).unwrap(), body);
        assert_eq!(seen.header("content-type"), Some("application/json"));
        // It is shown as it is, too.
        let shown = service
            .request_as("tester", Method::GET, &format!("/v1/calls/{}", answer.id()))
            .send()
            .await
            .unwrap();
        assert!(shown.text().await.unwrap().contains(body), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_bodies_leave_byte_for_byte_under_their_own_content_type() {
    let service = Setup::embedded().start().await;
    let every_byte: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    for (key, content_type, bytes) in [
        ("binary", "application/octet-stream", every_byte.as_slice()),
        ("form", "application/x-www-form-urlencoded", b"a=1&b=%20"),
        ("xml", "text/xml; charset=utf-8", "<?xml version=\"1.0\"?><a>é</a>".as_bytes()),
    ] {
        let id = service
            .submit(&json!({ "endpoint": "sms", "idempotency_key": key, "request": {
                "method": "PUT", "path": "/ok", "headers": { "Content-Type": content_type }, "body_base64": STANDARD.encode(bytes),
            } }))
            .await;
        let call = service.call_in(&id, "succeeded").await;
        assert_eq!(call["request"]["body_base64"], STANDARD.encode(bytes));
        assert_eq!(call["attempts"][0]["request"]["body_bytes"], bytes.len());
        let seen = service.seen(key).remove(0);
        assert_eq!((seen.body.as_ref(), seen.method.as_str()), (bytes, "PUT"), "{key}");
        assert_eq!(seen.header("content-type"), Some(content_type));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attempt_carries_the_calls_headers_the_endpoints_and_one_key() {
    let service = Setup::embedded().start().await;
    let id = service
        .submit(
            &json!({ "endpoint": "sms", "idempotency_key": "k", "request": { "path": "/fail/2", "headers": {
            "X-Tenant": "7", "x-api-key": "canary-of-the-call", "x-region": "south",
        } } }),
        )
        .await;
    let call = service.call_in(&id, "succeeded").await;
    let seen = service.seen("k");
    assert_eq!(seen.len(), 3, "{call}");
    for request in &seen {
        for (name, value) in [
            ("x-tenant", "7"),
            ("x-api-key", "canary-of-the-call"),
            ("x-region", "north-by-northwest"),
            ("idempotency-key", "k"),
            ("authorization", &format!("Bearer {ENDPOINT_SECRET}")),
        ] {
            assert_eq!(request.header(name), Some(value), "{name} in {request:?}");
        }
        assert!(
            request.header("user-agent").is_some_and(|agent| agent.starts_with("redial/")),
            "{request:?}"
        );
    }
    for attempt in call["attempts"].as_array().unwrap() {
        let headers = &attempt["request"]["headers"];
        assert_eq!(
            (&headers["x-tenant"], &headers["idempotency-key"]),
            (&json!("7"), &json!("k")),
            "{headers}"
        );
        for secret in ["x-api-key", "authorization", "x-region"] {
            assert_eq!(headers[secret], "[redacted]", "{headers}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_shown_nowhere() {
    let service = Setup::rabbitmq().await.start().await;
    let client = AmqpClient::connect(service.broker_url()).await;
    let events = client.listen(&service.names().events(), "#").await;
    let secret = json!({ "authorization": "Bearer canary-of-the-call", "cookie": "canary-of-the-call" });
    // What a third party repeats of the call's own headers is its answer; the endpoint's secrets are masked even there.
    for (path, headers) in [
        ("/echo", json!({})),
        ("/echo?status=422", json!({})),
        ("/ok", secret.clone()),
        ("/status/422", secret),
    ] {
        let mut document = keyed(path, path);
        document["request"]["headers"] = headers;
        let id = service.submit(&document).await;
        wait_for("the call has ended", || async {
            Some(service.call(&id).await)
                .filter(|call| call["status"] != "running" && call["attempts_made"] == 1)
        })
        .await;
        let mut shown = service.call(&id).await.to_string();
        for place in ["/v1/calls", "/v1/endpoints", "/v1/endpoints/sms", "/v1/stats", "/metrics", "/readyz"] {
            shown.push_str(&service.get(place).await.body.to_string());
        }
        shown.push_str(&client.take_many(&events, 1).await[0].json().to_string());
        assert!(shown.contains("[redacted]"), "{shown}");
        for secret in [ENDPOINT_SECRET, "canary-of-the-call", "north-by-northwest"] {
            assert!(!shown.contains(secret), "{path}: {secret} in {shown}");
        }
    }
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trace_of_the_publisher_is_passed_on() {
    let service = Setup::rabbitmq().await.start().await;
    let with_trace = |key: &str, trace: &str| {
        let request =
            service.request_as("tester", Method::POST, "/v1/calls").header("traceparent", trace.to_owned());
        Answer::to(request.json(&keyed(key, "/fail/1")))
    };
    let by_http = with_trace("http", TRACE).await.id();
    let ignored = with_trace("ignored", "00-xyz-1").await.id();
    let client = AmqpClient::connect(service.broker_url()).await;
    let mut table = FieldTable::default();
    table.insert("traceparent".into(), AMQPValue::LongString(TRACE.into()));
    let properties = json_properties().with_headers(table);
    client
        .publish(
            &service.names().submit(),
            "sms",
            properties,
            keyed("amqp", "/fail/1").to_string().as_bytes(),
        )
        .await;
    wait_for("all have succeeded", || async { (service.count("status=succeeded").await == 3).then_some(()) })
        .await;
    for (key, trace) in [("http", Some(TRACE)), ("amqp", Some(TRACE)), ("ignored", None)] {
        let seen = service.seen(key);
        assert_eq!(seen.len(), 2, "{key}");
        assert!(seen.iter().all(|request| request.header("traceparent") == trace), "{key}: {seen:?}");
    }
    assert_eq!(service.call(&by_http).await["traceparent"], TRACE);
    assert!(service.call(&ignored).await["traceparent"].is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_arrives_as_it_was_asked_for() {
    let service: Service = Setup::embedded().start().await;
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
        let document = json!({ "endpoint": "sms", "idempotency_key": method, "request": { "method": method, "path": "/v1/x?a=%20b&c" } });
        let id = service.submit(&document).await;
        service.call_in(&id, "succeeded").await;
        let seen = service.seen(method).remove(0);
        assert_eq!(
            (seen.method.as_str(), seen.target.as_str(), seen.body.len()),
            (method, "/v1/x?a=%20b&c", 0)
        );
    }
}
