//! Looking at calls: filters, pages, totals, endpoints, health and counters.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::in_process::{ENDPOINT_SECRET, Service, Setup, in_an_hour, keyed};

/// The keys of the calls that a list with these conditions has, in its order.
async fn keys(service: &Service, conditions: &str) -> Vec<String> {
    let answer = service.get(&format!("/v1/calls?{conditions}")).await;
    let calls = answer.body["calls"].as_array().unwrap_or_else(|| panic!("{conditions}: {answer:?}"));
    calls.iter().map(|call| call["idempotency_key"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_filter_finds_what_it_names_newest_first() {
    let service = Setup::embedded().start().await;
    let mut tagged = in_an_hour("tagged");
    tagged["tags"] = json!({ "order": "7", "shop": "north" });
    let mut other = in_an_hour("other-tag");
    other["tags"] = json!({ "order": "8", "shop": "north" });
    let mut patient = in_an_hour("patient");
    patient["endpoint"] = "patient".into();
    let by_billing = service.request_as("billing", Method::POST, "/v1/calls").json(&in_an_hour("by-billing"));

    service.submit(&tagged).await;
    service.submit(&other).await;
    service.submit(&patient).await;
    assert_eq!(Answer::to(by_billing).await.status, 202);
    let done = service.submit(&keyed("done", "/ok")).await;
    let refused = service.submit(&keyed("refused", "/status/422")).await;
    let exhausted = service.submit(&keyed("exhausted", "/status/503")).await;
    service.call_in(&done, "succeeded").await;
    let refused = service.call_in(&refused, "review").await;
    service.call_in(&exhausted, "review").await;

    let all = ["exhausted", "refused", "done", "by-billing", "patient", "other-tag", "tagged"];
    let at = refused["created_at"].as_str().unwrap();
    for (conditions, expected) in [
        (String::new(), &all[..]),
        ("status=&endpoint=".to_owned(), &all),
        ("status=scheduled".to_owned(), &["by-billing", "patient", "other-tag", "tagged"]),
        ("status=succeeded,review".to_owned(), &["exhausted", "refused", "done"]),
        ("status=cancelled".to_owned(), &[]),
        ("endpoint=patient".to_owned(), &["patient"]),
        ("endpoint=nobody".to_owned(), &[]),
        ("publisher=billing".to_owned(), &["by-billing"]),
        ("publisher=Billing".to_owned(), &[]),
        ("tag.order=7".to_owned(), &["tagged"]),
        ("tag.shop=north".to_owned(), &["other-tag", "tagged"]),
        ("tag.shop=north&tag.order=8".to_owned(), &["other-tag"]),
        ("tag.shop=nor".to_owned(), &[]),
        ("reason=rejected".to_owned(), &["refused"]),
        ("reason=exhausted&status=review".to_owned(), &["exhausted"]),
        ("q=-tag".to_owned(), &["other-tag"]),
        ("q=STATUS/4".to_owned(), &["refused"]),
        ("q=answered%20503".to_owned(), &["exhausted"]),
        ("q=nort".to_owned(), &["other-tag", "tagged"]),
        ("from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z".to_owned(), &[]),
        ("to=2020-01-01T00:00:00Z".to_owned(), &[]),
        ("from=2099-01-01T00:00:00Z".to_owned(), &[]),
        ("limit=2".to_owned(), &all[..2]),
        ("status=scheduled&publisher=tester&endpoint=sms&q=tag&limit=1".to_owned(), &["other-tag"]),
    ] {
        assert_eq!(keys(&service, &conditions).await, expected, "{conditions}");
    }
    // Times are shown in milliseconds, so one beside the call's own may fall on either side of it.
    let (before, after) =
        (keys(&service, &format!("to={at}")).await, keys(&service, &format!("from={at}")).await);
    assert!(before.contains(&"done".to_owned()) && !before.contains(&"exhausted".to_owned()), "{before:?}");
    assert!(after.contains(&"exhausted".to_owned()) && !after.contains(&"tagged".to_owned()), "{after:?}");
}

/// Digits that a floating point number cannot hold, and members that are not in the order of the alphabet.
const EXACT: &str = r#"{"z":12345678901234567890123,"a":19.90}"#;

/// Asks for something, and holds the text of the answer to show the body as it was handed over.
async fn is_exact(request: RequestBuilder, what: &str) -> String {
    let text = request.send().await.unwrap().text().await.unwrap();
    assert!(text.contains(EXACT), "{what}: {text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_keeps_every_digit_in_every_answer_that_shows_it() {
    let service = Setup::embedded().start().await;
    let document = |key: &str, path: &str| {
        format!(
            r#"{{"endpoint":"sms","idempotency_key":"{key}","request":{{"path":"{path}","body":{EXACT}}}}}"#
        )
    };
    let ask = |method: Method, path: &str| service.request_as("tester", method, path);
    let post = |path: &str, text: String| {
        ask(Method::POST, path).header("content-type", "application/json").body(text)
    };
    let refused = document("refused", "/status/422");
    let shown = is_exact(post("/v1/calls", refused.clone()), "submitting").await;
    let id = serde_json::from_str::<Value>(&shown).unwrap()["id"].as_str().unwrap().to_owned();
    service.call_in(&id, "review").await;
    is_exact(post("/v1/calls/batch", format!("[{refused}]")), "a batch").await;
    is_exact(ask(Method::GET, "/v1/calls"), "the list").await;
    is_exact(ask(Method::GET, &format!("/v1/calls/{id}")), "one call").await;
    let wish = json!({ "action": "cancel", "filter": {}, "dry_run": true });
    is_exact(post("/v1/bulk", wish.to_string()), "the sample of a bulk job").await;
    is_exact(post(&format!("/v1/calls/{id}/replay"), "{}".to_owned()), "a replay").await;
    let encoded: String = url::form_urlencoded::byte_serialize(EXACT.as_bytes()).collect();
    let echoed = format!("/ok?body={encoded}");
    let waiting = post("/v1/calls", document("done", &echoed)).header("prefer", "wait=30");
    let text = is_exact(waiting, "waiting").await;
    assert_eq!(text.matches(EXACT).count(), 2, "the request and the third party's answer: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_have_no_gap_and_no_double_while_new_calls_come_in() {
    let service = Setup::embedded().start().await;
    let batch: Vec<Value> = (0..95).map(|number| in_an_hour(&format!("old-{number:02}"))).collect();
    assert_eq!(service.post("/v1/calls/batch", &json!(batch)).await.status, 200);
    let newest_first: Vec<String> = (0..95).rev().map(|number| format!("old-{number:02}")).collect();

    let mut seen = Vec::new();
    let mut next = String::new();
    for page in 0.. {
        let answer = service.get(&format!("/v1/calls?status=scheduled&limit=10{next}")).await;
        let calls = answer.body["calls"].as_array().unwrap();
        seen.extend(calls.iter().map(|call| call["idempotency_key"].as_str().unwrap().to_owned()));
        service.submit(&in_an_hour(&format!("new-{page}"))).await;
        match answer.body["next_cursor"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
        assert_eq!(calls.len(), 10, "a page before the last one is full");
        assert!(page < 20, "the list has no end");
    }
    assert_eq!(seen, newest_first);
    assert_eq!(service.count("q=new-").await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_page_has_no_cursor_also_when_it_is_full() {
    let service = Setup::embedded().start().await;
    assert_eq!(service.get("/v1/calls").await.body, json!({ "calls": [], "next_cursor": null }));
    for number in 0..4 {
        service.submit(&in_an_hour(&number.to_string())).await;
    }
    let first = service.get("/v1/calls?limit=2").await;
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let last = service.get(&format!("/v1/calls?limit=2&cursor={cursor}")).await;
    assert_eq!(
        (last.body["calls"].as_array().map(Vec::len), &last.body["next_cursor"]),
        (Some(2), &Value::Null)
    );
    assert!(service.get("/v1/calls?limit=4").await.body["next_cursor"].is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_totals_add_up() {
    let service = Setup::embedded().start().await;
    let mut ids = Vec::new();
    for (key, path) in
        [("a", "/ok"), ("b", "/ok"), ("c", "/fail/1"), ("d", "/status/422"), ("e", "/status/422")]
    {
        ids.push(service.submit(&keyed(key, path)).await);
    }
    for id in &ids[..3] {
        service.call_in(id, "succeeded").await;
    }
    for id in &ids[3..] {
        service.call_in(id, "review").await;
    }
    for (key, action) in [("f", "cancel"), ("g", "resolve"), ("h", "")] {
        let id = service.submit(&in_an_hour(key)).await;
        if !action.is_empty() {
            assert_eq!(service.post(&format!("/v1/calls/{id}/{action}"), &json!({})).await.status, 200);
        }
    }
    let stats = service.get("/v1/stats").await.body;
    let expected = json!({
        "scheduled": 1, "running": 0, "review": 2, "succeeded": 3, "resolved": 1, "cancelled": 1, "superseded": 0,
    });
    assert_eq!(stats["calls"], expected, "{stats}");
    assert_eq!((&stats["attempts"], &stats["running_here"]), (&json!(6), &json!(0)), "{stats}");
    assert_eq!(stats["waiting"], json!({ "sms": { "scheduled": 1, "due": 0 } }), "{stats}");
    assert_eq!(stats["broker_away"], false);
    for rate in ["attempts_per_second", "succeeded_per_second"] {
        assert!(stats["rates"][rate].is_number(), "the first look has rates too: {stats}");
    }
    let sum: u64 = stats["calls"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(usize::try_from(sum).unwrap(), service.count("").await);
    for (status, count) in expected.as_object().unwrap() {
        assert_eq!(json!(service.count(&format!("status={status}")).await), *count, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_show_their_configuration_and_backlog_but_no_secret() {
    let service = Setup::embedded().start().await;
    service.submit(&in_an_hour("k")).await;
    let all = service.get("/v1/endpoints").await.body;
    let endpoints = all["endpoints"].as_array().unwrap();
    let names: BTreeSet<&str> = endpoints.iter().map(|endpoint| endpoint["name"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["careful", "patient", "sms"]));
    let sms = service.get("/v1/endpoints/sms").await.body;
    assert!(endpoints.contains(&sms), "{sms}");
    for (member, expected) in [
        ("base_url", json!(service.third_party.url())),
        ("ladder", json!(["200ms", "200ms"])),
        (
            "timeout",
            json!({ "connect_ms": 2_000, "read_ms": 20_000, "overall_ms": 20_000, "adaptive_floor_ms": null }),
        ),
        ("lease_ms", json!(25_000)),
        ("on_ambiguous", json!("retry")),
        ("lane", json!("sms")),
        ("backlog", json!({ "scheduled": 1, "due": 0 })),
    ] {
        assert_eq!(sms[member], expected, "{member} in {sms}");
    }
    let headers: BTreeSet<&str> =
        sms["headers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(headers, BTreeSet::from(["authorization", "x-region"]), "names, no values");
    assert!(
        !all.to_string().contains(ENDPOINT_SECRET) && !all.to_string().contains("north-by-northwest"),
        "{all}"
    );
    assert_eq!(service.get("/v1/endpoints/careful").await.body["on_ambiguous"], "review");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_in_order_says_so() {
    let service = Setup::embedded().start().await;
    let health = Answer::to(service.request(Method::GET, "/healthz")).await;
    assert_eq!((health.status, health.body), (200, json!({ "status": "ok" })));
    let ready = Answer::to(service.request(Method::GET, "/readyz")).await;
    assert_eq!((ready.status, ready.body), (200, json!({ "status": "ok", "away": [] })));
    let head = Answer::to(service.request(Method::HEAD, "/healthz")).await;
    assert_eq!(head.status, 200);
}

/// One line of Prometheus' text format.
#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads Prometheus' text format; panics with the line that is none of it.
fn parse_metrics(text: &str) -> Vec<Sample> {
    let mut types = BTreeMap::new();
    let mut samples = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "EOF"] => {}
            ["#", "TYPE", name, kind] => {
                assert!(["counter", "gauge", "histogram"].contains(kind), "{line}");
                assert!(types.insert((*name).to_owned(), *kind).is_none(), "declared twice: {line}");
            }
            ["#", "HELP" | "UNIT", name, text] => assert!(!name.is_empty() && !text.is_empty(), "{line}"),
            _ => samples.push(parse_sample(line)),
        }
    }
    for sample in &samples {
        let declared =
            types.keys().any(|name| sample.name == *name || sample.name.starts_with(&format!("{name}_")));
        assert!(declared, "without a type: {sample:?}");
    }
    samples
}

fn parse_sample(line: &str) -> Sample {
    try_sample(line).unwrap_or_else(|| panic!("no sample: {line}"))
}

fn try_sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let legal = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let label = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'))?;
        legal(key).then(|| (key.to_owned(), value.to_owned()))
    };
    let labels = labels.split(',').filter(|pair| !pair.is_empty()).map(label).collect::<Option<_>>()?;
    let value = if value == "+Inf" { f64::INFINITY } else { value.parse().ok()? };
    legal(name).then(|| Sample { name: name.to_owned(), labels, value })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_counters_are_prometheus_text_and_count_what_happened() {
    let service = Setup::embedded().start().await;
    for (key, path) in [("a", "/ok"), ("b", "/fail/1"), ("c", "/status/422")] {
        let id = service.submit(&keyed(key, path)).await;
        service.call_in(&id, if key == "c" { "review" } else { "succeeded" }).await;
    }
    assert_eq!(service.post("/v1/calls", &keyed("a", "/ok")).await.status, 200);
    assert_eq!(service.post("/v1/calls", &keyed("a", "/other")).await.status, 422);

    let answer = Answer::to(service.request(Method::GET, "/metrics")).await;
    assert!(answer.header("content-type").contains("text"), "{answer:?}");
    let text = answer.body.as_str().unwrap();
    let samples = parse_metrics(text);
    let value = |name: &str, labels: &[(&str, &str)]| {
        let fits = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|held| held == value))
        };
        samples.iter().find(fits).map(|sample| sample.value)
    };
    for (name, labels, expected) in [
        ("redial_submissions_total", &[("kind", "stored")][..], 3.0),
        ("redial_submissions_total", &[("kind", "known")], 1.0),
        ("redial_submissions_total", &[("kind", "key_reused")], 1.0),
        ("redial_attempts_total", &[("endpoint", "sms"), ("verdict", "success")], 2.0),
        ("redial_attempts_total", &[("endpoint", "sms"), ("verdict", "transient")], 1.0),
        ("redial_attempts_total", &[("endpoint", "sms"), ("verdict", "rejected")], 1.0),
        ("redial_attempt_duration_seconds_count", &[("endpoint", "sms")], 4.0),
        ("redial_running", &[], 0.0),
    ] {
        assert_eq!(value(name, labels), Some(expected), "{name} {labels:?} in\n{text}");
    }
    let rescued: f64 = samples
        .iter()
        .filter(|sample| sample.name == "redial_rescued_total")
        .map(|sample| sample.value)
        .sum();
    assert!(rescued.abs() < f64::EPSILON, "nothing needed rescuing:\n{text}");
    assert!(text.trim_end().ends_with("# EOF"));
}

#[test]
fn samples_are_read_as_they_are_meant() {
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    assert_eq!(parse_sample("x_total{a=\"b\"} 2"), Sample { name: "x_total".to_owned(), labels, value: 2.0 });
    assert_eq!(parse_sample("x 1.5").labels, BTreeMap::new());
    assert!(std::panic::catch_unwind(|| parse_sample("x y z")).is_err());
    assert!(std::panic::catch_unwind(|| parse_metrics("# TYPE x counter\ny_total 1")).is_err());
}
