//! An endpoint's own rules, doubts that are settled by asking, and results that the third party reports by itself.

use std::time::Duration;

use redial::clock::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::load::{call, third_party_sees};
use crate::support::client::{Client, Story};
use crate::support::stage::{Plan, Stage, Store, Transport};
use crate::support::wait_for;

/// The simulator's own account of a key stands in for a third party's query by key.
const CONFIRM: &str = r#"confirm = { path = "/_simulator/keys/{{ idempotency_key }}", after = "200ms", times = 2, rules = [
  { when = "status == 200 && body.effects > 0", answer = "done" },
  { when = "status == 200 && body.effects == 0", answer = "absent" },
] }
"#;
const QUICK: &str =
    "ladder = [\"200ms x4\"]\ntimeout = { connect = \"1s\", read = \"1s\", overall = \"1s\" }\n";
const TOKEN: &str = "token-of-the-third-party";

async fn stage(lines: &str) -> Stage {
    Stage::set(Plan::new(Transport::Embedded, Store::Sqlite, "shop", lines)).await
}

async fn at_rest(client: &Client, key: &str) -> Story {
    client.all_at_rest(1).await;
    client.story_of(key).await
}

fn triggers(story: &Story) -> Vec<&str> {
    story.attempts.iter().map(|attempt| attempt.trigger.as_str()).collect()
}

fn verdicts(story: &Story) -> Vec<&str> {
    story.attempts.iter().map(|attempt| attempt.verdict.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_code_in_a_good_status_is_judged_by_the_endpoints_rules() {
    let rules = r#"rules = [
      { when = "status == 200 && body.code == 0", verdict = "success" },
      { when = "status == 200 && body.code == 4002", verdict = "success" },
      { when = "status == 200 && body.code in [4001, 4003]", verdict = "rejected" },
      { when = "status == 200 && body.detail.code == 1", verdict = "rejected" },
      { when = "status == 200", verdict = "transient" },
    ]
    ladder = ["200ms"]"#;
    for (transport, store) in [(Transport::RabbitMq, Store::Postgres), (Transport::Embedded, Store::Sqlite)] {
        let stage = Stage::set(Plan::new(transport, store, "shop", rules)).await;
        let service = stage.serve().await;
        let client = service.client();
        for (key, path) in
            [("fine", "/ok"), ("there", "/code/4002"), ("bad", "/code/4003"), ("busy", "/code/5000")]
        {
            client.submit_new(&call("shop", key, path)).await;
        }
        client.all_at_rest(4).await;
        for (key, status, reason, wanted) in [
            ("fine", "succeeded", None, &["success"][..]),
            ("there", "succeeded", None, &["success"]),
            ("bad", "review", Some("rejected"), &["rejected"]),
            ("busy", "review", Some("exhausted"), &["transient", "transient"]),
        ] {
            let story = client.story_of(key).await;
            assert_eq!((story.status.as_str(), story.review_reason.as_deref()), (status, reason), "{key}");
            assert_eq!(verdicts(&story), wanted, "{key}");
        }
        let busy = client.view_of("busy").await;
        assert_eq!(busy["attempts"][0]["rule"], "rules[4]: status == 200", "{busy}");
        let notes = busy["attempts"][0]["rule_notes"].as_str().unwrap();
        assert!(notes.starts_with("rules[3]: "), "{notes}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_code_at_the_end_of_a_long_answer_is_found() {
    let long = format!(r#"{{"text":"{}","code":4003}}"#, "x".repeat(100 * 1024));
    let url = third_party_that_answers(long.clone()).await;
    let rules =
        format!("base_url = \"{url}\"\nrules = [{{ when = \"body.code != 0\", verdict = \"rejected\" }}]");
    let stage = stage(&rules).await;
    let service = stage.serve().await;
    let client = service.client();
    client.submit_new(&call("shop", "long", "/ok")).await;
    let story = at_rest(&client, "long").await;
    assert_eq!(
        (story.status.as_str(), story.review_reason.as_deref()),
        ("review", Some("rejected")),
        "the rule must see the end of the answer"
    );
    let shown = client.view_of("long").await;
    let attempt = &shown["attempts"][0];
    assert_eq!(attempt["rule"], "rules[0]: body.code != 0");
    assert_eq!(attempt["response_body_bytes"], long.len());
    assert_eq!(attempt["response_body"].as_str().unwrap(), &long[..16 * 1024], "its beginning is kept");
}

/// A third party that answers everything with this JSON.
async fn third_party_that_answers(json: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = move || async move { ([("content-type", "application/json")], json) };
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_carried_out_before_the_connection_broke_is_found_out_and_not_repeated() {
    for (transport, store) in [(Transport::RabbitMq, Store::Postgres), (Transport::Embedded, Store::Sqlite)] {
        let lines = format!("on_ambiguous = \"confirm\"\n{QUICK}{CONFIRM}");
        let stage = Stage::set(Plan::new(transport, store, "shop", &lines)).await;
        let service = stage.serve().await;
        let client = service.client();
        client.submit_new(&call("shop", "order-1", "/drop")).await;
        let story = at_rest(&client, "order-1").await;
        assert_eq!(story.status, "succeeded", "{story:?}");
        assert_eq!(triggers(&story), ["first", "confirm"]);
        assert_eq!(verdicts(&story), ["ambiguous", "success"]);
        assert_eq!(story.rung, 0, "asking uses no rung");
        let arrivals = stage.third_party.arrivals("order-1");
        assert_eq!((arrivals.len(), arrivals[0].effect), (1, true), "it was carried out once");
        let view = client.view_of("order-1").await;
        let query = &view["attempts"][1];
        assert_eq!(query["request"]["method"], "GET", "{query}");
        assert!(query["request"]["url"].as_str().unwrap().ends_with("/_simulator/keys/order-1"), "{query}");
        assert!(query["request"]["headers"].get("idempotency-key").is_none(), "{query}");
        assert!(query["rule"].as_str().unwrap().starts_with("confirm.rules[0]: "), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_absent_often_enough_goes_out_again() {
    let stage = stage(&format!("on_ambiguous = \"confirm\"\n{QUICK}{CONFIRM}")).await;
    let service = stage.serve().await;
    let client = service.client();
    client.submit_new(&call("shop", "order-1", "/fail/1/500")).await;
    let story = at_rest(&client, "order-1").await;
    assert_eq!(story.status, "succeeded", "{story:?}");
    assert_eq!(triggers(&story), ["first", "confirm", "confirm", "ladder"]);
    assert_eq!(verdicts(&story), ["ambiguous", "transient", "transient", "success"]);
    assert_eq!(story.rung, 1);
    assert_eq!(stage.third_party.arrivals("order-1").iter().filter(|arrival| arrival.effect).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_finds_nothing_out_is_asked_again_and_ends_with_a_person() {
    let confirm = r#"confirm = { path = "/_simulator/keys/{{ body.nothing }}", after = "100ms", rules = [{ when = "true", answer = "done" }] }"#;
    let lines = format!("on_ambiguous = \"confirm\"\n{}{confirm}", QUICK.replace("x4", "x2"));
    let stage = stage(&lines).await;
    let service = stage.serve().await;
    let client = service.client();
    client.submit_new(&call("shop", "order-1", "/status/500")).await;
    let story = at_rest(&client, "order-1").await;
    assert_eq!((story.status.as_str(), story.review_reason.as_deref()), ("review", Some("ambiguous")));
    assert_eq!(triggers(&story), ["first", "confirm", "confirm", "confirm"]);
    assert_eq!(story.attempts[1].error_kind.as_deref(), Some("unsendable"));
    assert_eq!(stage.third_party.arrivals("order-1").len(), 1, "it was sent once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_whose_worker_is_lost_found_nothing_out_and_is_asked_again() {
    let lines = r#"ladder = ["200ms x4"]
        timeout = { connect = "1s", read = "4s", overall = "4s" }
        lease = "6s"
        on_ambiguous = "confirm"
        confirm = { path = "/hang", after = "100ms", rules = [{ when = "status == 200", answer = "done" }] }"#;
    let stage = stage(lines).await;
    let mut service = stage.serve().await;
    service.client().submit_new(&call("shop", "order-1", "/status/500")).await;
    third_party_sees(&stage, 2).await;
    service.kill();
    let service = stage.serve().await;
    let client = service.client();
    let story = wait_for("the question is put again", || async {
        let story = client.story_of("order-1").await;
        (story.attempts.len() >= 3).then_some(story)
    })
    .await;
    assert_eq!(triggers(&story)[..3], ["first", "confirm", "confirm"]);
    // The doubt is about the first attempt. A query changes nothing at the third party: there is nothing to doubt about it.
    assert_eq!(verdicts(&story)[..2], ["ambiguous", "pending"]);
    assert_eq!(story.attempts[1].error_kind.as_deref(), Some("worker_lost"));
    assert_eq!((story.rung, stage.third_party.arrivals("order-1").len()), (0, 1), "it was sent once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_final_result_of_a_pending_call_is_asked_for() {
    let pending = r#"rules = [{ when = "status == 202", verdict = "pending" }]"#;
    let stage = stage(&format!("{QUICK}{CONFIRM}{pending}")).await;
    let service = stage.serve().await;
    let client = service.client();
    client.submit_new(&call("shop", "order-1", "/status/202")).await;
    let story = at_rest(&client, "order-1").await;
    assert_eq!(story.status, "succeeded", "{story:?}");
    assert_eq!((triggers(&story), verdicts(&story)), (vec!["first", "confirm"], vec!["pending", "success"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_key_is_forgotten_by_the_time_it_is_due_is_not_sent_again() {
    // The rung is longer than the third party remembers the key.
    let lines = "ladder = [\"700ms x4\"]\nidempotency_window = \"500ms\"\n\
                 timeout = { connect = \"1s\", read = \"1s\", overall = \"1s\" }";
    let stage = stage(lines).await;
    let service = stage.serve().await;
    let client = service.client();
    client.submit_new(&call("shop", "order-1", "/status/500")).await;
    let story = at_rest(&client, "order-1").await;
    assert_eq!((story.status.as_str(), story.review_reason.as_deref()), ("review", Some("ambiguous")));
    assert_eq!(stage.third_party.arrivals("order-1").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waited_too_long_in_its_lane_is_withheld() {
    let lines = "ladder = [\"1500ms x4\"]\nidempotency_window = \"2s\"\n\
                 timeout = { connect = \"1s\", read = \"1s\", overall = \"1s\" }";
    let stage = stage(lines).await;
    let mut service = stage.serve().await;
    let client = service.client();
    client.submit_new(&call("shop", "order-1", "/status/500")).await;
    wait_for("the first attempt is recorded", || async {
        let story = client.story_of("order-1").await;
        (story.attempts.len() == 1).then_some(())
    })
    .await;
    // Nobody works until the key is forgotten.
    service.kill();
    let forgotten = Timestamp::now().plus(Duration::from_millis(2_500));
    wait_for("the key is forgotten", || async { (Timestamp::now() >= forgotten).then_some(()) }).await;
    let service = stage.serve().await;
    let client = service.client();
    let story = at_rest(&client, "order-1").await;
    assert_eq!((story.status.as_str(), story.review_reason.as_deref()), ("review", Some("ambiguous")));
    let last = story.attempts.last().unwrap();
    assert_eq!((last.verdict.as_str(), last.error_kind.as_deref()), ("transient", Some("not_sent")));
    let sent = story.attempts.iter().filter(|attempt| attempt.http_status.is_some()).count();
    assert_eq!(stage.third_party.arrivals("order-1").len(), sent, "what is withheld does not arrive");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_party_settles_pending_calls_by_itself() {
    let lines = format!(
        r#"rules = [{{ when = "status == 202", verdict = "pending" }}]
        callback = {{ token = {{ secret = "{TOKEN}" }}, call = "{{{{ body.order }}}}", rules = [
          {{ when = "body.state == 'delivered'", answer = "done" }},
          {{ when = "body.state == 'bounced'", answer = "failed" }},
        ] }}"#
    );
    for (transport, store) in [(Transport::RabbitMq, Store::Postgres), (Transport::Embedded, Store::Sqlite)] {
        let stage = Stage::set(Plan::new(transport, store, "shop", &lines).and("other", "")).await;
        let service = stage.serve().await;
        let client = service.client();
        for key in ["order-1", "order-2", "order-3"] {
            client.submit_new(&call("shop", key, "/status/202")).await;
        }
        for key in ["order-1", "order-2", "order-3"] {
            wait_for("the call is pending", || async {
                let story = client.story_of(key).await;
                (story.attempts.len() == 1 && story.status == "scheduled").then_some(())
            })
            .await;
        }
        let report = async |path: &str, token: &str, body: Value| -> (u16, Value) {
            client.ask_with(Method::POST, path, Some(&body), &[("authorization", token)]).await.unwrap()
        };
        let delivered = |key: &str| json!({ "order": key, "state": "delivered" });
        let good = format!("Bearer {TOKEN}");
        // Whoever cannot prove anything learns nothing.
        let unknown = report("/v1/callbacks/nobody", &good, delivered("order-1")).await;
        let no_callback = report("/v1/callbacks/other", &good, delivered("order-1")).await;
        let no_proof = report("/v1/callbacks/shop", "Bearer wrong", delivered("order-1")).await;
        assert_eq!((unknown.0, no_callback.0, no_proof.0), (404, 404, 404));
        assert_eq!(unknown.1["code"], no_proof.1["code"]);
        assert_eq!(client.story_of("order-1").await.status, "scheduled");

        let shop = "/v1/callbacks/shop";
        for (body, status, result) in [
            (json!({ "order": "order-1", "state": "on its way" }), 202, "unknown"),
            (delivered("order-1"), 200, "settled"),
            (delivered("order-1"), 200, "kept"),
            (json!({ "order": "order-2", "state": "bounced" }), 200, "settled"),
        ] {
            let (answered, document) = report(shop, &good, body.clone()).await;
            assert_eq!((answered, document["result"].as_str()), (status, Some(result)), "{body}: {document}");
        }
        assert_eq!(report(shop, &good, delivered("order-9")).await.1["code"], "unknown_call");
        assert_eq!(report(shop, &good, json!({ "state": "delivered" })).await.1["code"], "call_not_named");

        let done = client.story_of("order-1").await;
        assert_eq!((done.status.as_str(), done.attempts.len()), ("succeeded", 1));
        let refused = client.story_of("order-2").await;
        assert_eq!((refused.status.as_str(), refused.review_reason.as_deref()), ("review", Some("rejected")));
        assert_eq!(client.story_of("order-3").await.status, "scheduled", "nobody said anything of it");
        let view = client.view_of("order-1").await;
        assert_eq!(view["reports"].as_array().unwrap().len(), 1, "the same message is kept once: {view}");
        assert_eq!(view["reports"][0]["rule"], "callback.rules[0]: body.state == 'delivered'");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_overtakes_the_answer_is_not_lost() {
    let lines = format!(
        r#"timeout = {{ connect = "1s", read = "3s", overall = "3s" }}
        callback = {{ token = {{ header = "x-token", secret = "{TOKEN}" }}, by = "tag:order", call = "{{{{ body.order }}}}", rules = [
          {{ when = "body.ok", answer = "done" }},
          {{ when = "true", answer = "failed" }},
        ] }}"#
    );
    let stage = stage(&lines).await;
    let service = stage.serve().await;
    let client = service.client();
    for order in ["good", "bad"] {
        let mut document = call("shop", order, "/hang");
        document["tags"] = json!({ "order": order });
        client.submit_new(&document).await;
        wait_for("the attempt runs", || async {
            (client.story_of(order).await.status == "running").then_some(())
        })
        .await;
    }
    let report = async |body: Value| -> (u16, Value) {
        client.ask_with(Method::POST, "/v1/callbacks/shop", Some(&body), &[("x-token", TOKEN)]).await.unwrap()
    };
    let (status, document) = report(json!({ "order": "good", "ok": true })).await;
    assert_eq!((status, document["result"].as_str()), (200, Some("settled_with_its_attempt")), "{document}");
    // A refusal waits until the attempt, which hangs, is closed as ambiguous.
    let (status, document) = report(json!({ "order": "bad", "ok": false })).await;
    assert_eq!((status, document["result"].as_str()), (200, Some("settled")), "{document}");
    client.all_at_rest(2).await;
    assert_eq!(client.story_of("good").await.status, "succeeded");
    assert_eq!(client.story_of("bad").await.review_reason.as_deref(), Some("rejected"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_are_tried_on_the_attempts_that_were_made() {
    let stage = stage("ladder = [\"100ms\"]").await;
    let service = stage.serve().await;
    let client = service.client();
    for (key, path) in [("a", "/ok"), ("b", "/ok"), ("c", "/code/4003"), ("d", "/status/409")] {
        client.submit_new(&call("shop", key, path)).await;
    }
    client.all_at_rest(4).await;
    let judge = async |document: Value| {
        client.ask_with(Method::POST, "/v1/endpoints/shop/judge", Some(&document), &[]).await.unwrap()
    };
    let rules = json!([
        { "when": "status == 200 && body.code == 4003", "verdict": "rejected" },
        { "when": "status == 409", "verdict": "success" },
    ]);
    let (status, judged) = judge(json!({ "rules": rules, "last": 100 })).await;
    assert_eq!((status, &judged["judged"], &judged["changed"]), (200, &json!(4), &json!(2)), "{judged}");
    let row = |position: usize| {
        let row = &judged["table"][position];
        (row["old"].as_str().unwrap(), row["new"].as_str().unwrap(), row["count"].as_u64().unwrap())
    };
    assert_eq!(row(0), ("success", "success", 2));
    let mut changed = [row(1), row(2)];
    changed.sort_unstable();
    assert_eq!(changed, [("rejected", "success", 1), ("success", "rejected", 1)]);
    assert!(judged["table"][1]["examples"][0]["call"].is_string(), "{judged}");
    assert_eq!(judge(json!({ "last": 2 })).await.1["judged"], 2, "without rules those in force are tried");
    let (_, faulty) = judge(json!({ "rules": [{ "when": "bdy == 1", "verdict": "fine" }] })).await;
    assert_eq!(faulty["faults"].as_array().unwrap().len(), 2, "{faulty}");
    assert_eq!(judge(json!({ "last": 1_001 })).await.0, 422);
    assert_eq!(judge(json!({ "rule": [] })).await.0, 422);
    let nobody =
        client.ask_with(Method::POST, "/v1/endpoints/nobody/judge", Some(&json!({})), &[]).await.unwrap();
    assert_eq!(nobody.0, 404);
}
