//! `POST /v1/calls/batch`: many documents, each with its own result.

use serde_json::{Value, json};

use crate::support::in_process::{Setup, in_an_hour, in_ms, keyed, past_deadline};
use crate::support::wait_for;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_1000_mixed_documents_each_has_its_own_result_in_order() {
    let service = Setup::embedded().start().await;
    let known = service.submit(&in_an_hour("known")).await;
    let again = service.call(&known).await["due_at"].clone();
    let documents: Vec<(Value, u16, &str)> = (0..1_000)
        .map(|number| {
            let key = format!("key-{number}");
            match number % 10 {
                0 => (json!({ "endpoint": "mms", "request": {} }), 422, "unknown_endpoint"),
                1 => (keyed("known", "/other"), 422, "idempotency_key_reused"),
                2 => {
                    let mut document = keyed("known", "/ok");
                    document["not_before"] = again.clone();
                    (document, 200, "")
                }
                3 => (
                    json!({ "endpoint": "sms", "idempotency_key": key, "request": { "path": "x" } }),
                    422,
                    "invalid_value",
                ),
                4 => (json!(7), 422, "wrong_type"),
                _ => (keyed(&key, "/ok"), 202, ""),
            }
        })
        .collect();
    let batch: Vec<&Value> = documents.iter().map(|(document, ..)| document).collect();
    let answer = service.post("/v1/calls/batch", &json!(batch)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let results = answer.body["results"].as_array().unwrap();
    assert_eq!(results.len(), 1_000);
    for (number, ((document, status, code), result)) in documents.iter().zip(results).enumerate() {
        assert_eq!(result["status"], *status, "{number}: {document} -> {result}");
        match status {
            202 => assert_eq!(result["call"]["idempotency_key"], format!("key-{number}")),
            200 => assert_eq!(result["call"]["id"], known),
            _ => {
                let problem = &result["problem"];
                assert_eq!(
                    (&problem["code"], &problem["status"]),
                    (&json!(code), &json!(status)),
                    "{result}"
                );
                assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{result}");
            }
        }
    }
    let stats = wait_for("all have succeeded", || async {
        let stats = service.get("/v1/stats").await.body;
        (stats["calls"]["succeeded"] == 500).then_some(stats)
    })
    .await;
    assert_eq!(stats["calls"]["scheduled"], 1, "the known one: {stats}");
    assert_eq!(service.third_party.summary().requests, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_within_a_batch_is_one_call() {
    let service = Setup::embedded().start().await;
    let document = in_an_hour("k");
    let batch = json!({ "calls": [document, document, keyed("k", "/other"), document] });
    let answer = service.post("/v1/calls/batch", &batch).await;
    let results = answer.body["results"].as_array().unwrap_or_else(|| panic!("{answer:?}"));
    let statuses: Vec<u64> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [202, 200, 422, 200]);
    assert_eq!(results[3]["call"]["id"], results[0]["call"]["id"]);
    assert_eq!(service.count("").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_is_told_from_what_comes_too_late() {
    let service = Setup::embedded().start().await;
    let deadline = in_ms(800);
    let document = |key: &str, path: &str| {
        let mut document = keyed(key, path);
        document["deadline"] = deadline.clone().into();
        document
    };
    let id = service.submit(&document("k", "/ok")).await;
    past_deadline(&document("k", "/ok")).await;
    let batch = json!([
        document("never", "/ok"),
        document("k", "/ok"),
        keyed("new", "/ok"),
        document("k", "/other"),
        { "endpoint": "mms", "request": {} },
        document("k", "/ok"),
    ]);
    let answer = service.post("/v1/calls/batch", &batch).await;
    let results = answer.body["results"].as_array().unwrap_or_else(|| panic!("{answer:?}"));
    let found: Vec<_> = results
        .iter()
        .map(|result| (result["status"].as_u64().unwrap(), &result["problem"]["code"]))
        .collect();
    let (late, reused) = (json!("deadline_passed"), json!("idempotency_key_reused"));
    let (unknown, none) = (json!("unknown_endpoint"), Value::Null);
    let expected = [(422, &late), (200, &none), (202, &none), (422, &reused), (422, &unknown), (200, &none)];
    assert_eq!(found, expected, "{answer:?}");
    assert_eq!((&results[1]["call"]["id"], &results[5]["call"]["id"]), (&json!(id), &json!(id)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_batch_is_refused_whole() {
    let service = Setup::embedded().start().await;
    let of =
        |count: usize| Value::Array((0..count).map(|number| in_an_hour(&format!("k-{number}"))).collect());
    for (document, code) in [
        (of(1_001), "invalid_value"),
        (json!({ "calls": of(1_001) }), "invalid_value"),
        (json!([]), "invalid_value"),
        (json!({ "calls": [] }), "invalid_value"),
        (json!({}), "wrong_type"),
        (json!({ "calls": 7 }), "wrong_type"),
        (json!({ "calls": of(1), "atomic": true }), "wrong_type"),
        (json!("text"), "wrong_type"),
        (in_an_hour("k"), "wrong_type"),
    ] {
        let what: String = document.to_string().chars().take(80).collect();
        service.post("/v1/calls/batch", &document).await.refuses(422, code, &what);
    }
    service.post_text("/v1/calls/batch", "[{},").await.refuses(400, "malformed_json", "half a list");
    assert_eq!(service.count("").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_malformed_inside_a_batch_disturbs_no_other() {
    let service = Setup::embedded().start().await;
    let text = format!(
        r#"[{}, {{"endpoint":"sms","endpoint":"sms","request":{{}}}}, {{"endpoint":"sms","request":{{"body":1e999}}}}, {}]"#,
        in_an_hour("first"),
        in_an_hour("last")
    );
    let answer = service.post_text("/v1/calls/batch", text).await;
    let results = answer.body["results"].as_array().unwrap_or_else(|| panic!("{answer:?}"));
    let statuses: Vec<u64> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [202, 400, 400, 202]);
    assert_eq!(service.count("").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_of_bodies_are_shown_as_they_came_wherever_calls_are_shown() {
    let service = Setup::embedded().start().await;
    let body = r#"{"z":12345678901234567890.5,"price":19.90,"a":1e300}"#;
    let document = format!(
        r#"{{"endpoint":"sms","idempotency_key":"exact","request":{{"path":"/status/422","body":{body}}}}}"#
    );
    let text = async |request: reqwest::RequestBuilder| request.send().await.unwrap().text().await.unwrap();
    let post = |path: &str, body: String| {
        let request = service.request_as("tester", reqwest::Method::POST, path);
        request.header("content-type", "application/json").body(body)
    };
    let batch = text(post("/v1/calls/batch", format!("[{document}]"))).await;
    let id = service.get("/v1/calls?q=exact").await.body["calls"][0]["id"].as_str().unwrap().to_owned();
    service.call_in(&id, "review").await;
    let preview =
        text(post("/v1/bulk", r#"{"action":"replay","filter":{},"dry_run":true}"#.to_owned())).await;
    let get = |path: &str| service.request_as("tester", reqwest::Method::GET, path);
    let (list, call) = (text(get("/v1/calls")).await, text(get(&format!("/v1/calls/{id}"))).await);
    for shown in [batch, preview, list, call] {
        assert!(shown.contains(body), "{shown}");
    }
}
