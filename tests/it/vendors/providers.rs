//! Interchangeable providers behind one endpoint.

use redial::simulator::Simulator;
use serde_json::{Value, json};
use tokio_util::sync::DropGuard;

use super::{nobody, third_party};
use crate::support::amqp_client::AmqpClient;
use crate::support::in_process::{Service, Setup};
use crate::support::wait_for;

/// The table of an endpoint `pay` with two providers.
fn pay(keys: &str, alpha: &str, of_alpha: &str, beta: &str, of_beta: &str) -> String {
    format!(
        "[endpoints.pay]\nladder = [\"200ms x2\"]\n{keys}\n\
         [[endpoints.pay.providers]]\nname = \"alpha\"\nbase_url = \"{alpha}\"\n{of_alpha}\n\
         [[endpoints.pay.providers]]\nname = \"beta\"\nbase_url = \"{beta}\"\n{of_beta}\n"
    )
}

fn to(key: &str, path: &str) -> Value {
    json!({ "endpoint": "pay", "idempotency_key": key, "request": { "path": path, "body": { "to": "+86 1", "text": "paid" } } })
}

/// Who made the attempts of a call, in order.
fn providers_of(call: &Value) -> Vec<&str> {
    call["attempts"].as_array().unwrap().iter().map(|attempt| attempt["provider"].as_str().unwrap()).collect()
}

async fn done(service: &Service, document: &Value) -> Value {
    let id = service.submit(document).await;
    service.call_in(&id, "succeeded").await
}

async fn with_two(keys: &str) -> (Service, Simulator, Simulator, [DropGuard; 2]) {
    let (alpha, stop_alpha) = third_party().await;
    let (beta, stop_beta) = third_party().await;
    let lines = pay(keys, &alpha.url(), "weight = 3\ncost = 0.045", &beta.url(), "cost = 0.039");
    let service = Setup::embedded().with(&lines).start().await;
    (service, alpha, beta, [stop_alpha, stop_beta])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_certainly_did_not_arrive_goes_to_another_provider_at_once_and_everybody_is_told() {
    let (beta, _stop) = third_party().await;
    let keys = "strategy = \"ordered\"";
    let lines =
        pay(keys, &nobody().await, "cost = 0.045", &beta.url(), "cost = 0.039").replace("200ms x2", "1h");
    let service = Setup::rabbitmq().await.with(&lines).start().await;
    let client = AmqpClient::connect(service.broker_url()).await;
    let failovers = client.listen(&service.names().events(), "call.failover.pay").await;

    // The next rung is an hour away: only a failover can be this quick.
    let call = done(&service, &to("first", "/ok")).await;
    let attempts = call["attempts"].as_array().unwrap();
    assert_eq!(providers_of(&call), ["alpha", "beta"]);
    assert_eq!((&attempts[0]["error_kind"], &attempts[0]["cost"]), (&json!("connect"), &json!(null)));
    assert_eq!(attempts[0]["provider_reason"], "first in order");
    assert_eq!((&attempts[1]["verdict"], &attempts[1]["cost"]), (&json!("success"), &json!(0.039)));
    assert_eq!(attempts[1]["provider_reason"], "failover from alpha: connect; the only one left");
    assert_eq!((&call["rung"], attempts.len()), (&json!(0), 2));

    let event = client.take_many(&failovers, 1).await.remove(0).json();
    assert_eq!(event["event"], "call.failover");
    assert_eq!(
        (&event["from"], &event["to"], &event["reason"]),
        (&json!("alpha"), &json!("beta"), &json!("connect"))
    );
    assert_eq!(
        (&event["call"], &event["endpoint"], &event["dry_run"]),
        (&call["id"], &json!("pay"), &json!(false))
    );

    // After enough failures nobody is sent to alpha any more.
    wait_for("alpha is offline", || async {
        let call = done(&service, &json!({ "endpoint": "pay", "request": { "path": "/ok" } })).await;
        (providers_of(&call) == ["beta"]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_for_now_goes_elsewhere_and_a_final_one_does_not() {
    let (service, alpha, beta, _stops) = with_two("strategy = \"ordered\"").await;
    for (key, path, who) in
        [("busy", "/status/503", &["alpha", "beta"][..]), ("limited", "/fail/1/429", &["alpha", "beta"])]
    {
        let id = service.submit(&to(key, path)).await;
        let call = wait_for("two attempts are made", || async {
            Some(service.call(&id).await).filter(|call| call["attempts"].as_array().unwrap().len() >= 2)
        })
        .await;
        assert_eq!(providers_of(&call)[..2], *who, "{key}: {call}");
    }
    assert_eq!((!alpha.arrivals("busy").is_empty(), !beta.arrivals("busy").is_empty()), (true, true));

    let (service, alpha, beta, _stops) = with_two("strategy = \"ordered\"").await;
    let id = service.submit(&to("refused", "/status/422")).await;
    let call = service.call_in(&id, "review").await;
    assert_eq!((providers_of(&call), alpha.arrivals("refused").len()), (vec!["alpha"], 1));
    assert!(beta.arrivals("refused").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_arrived_stays_where_it_is_unless_doubles_are_tolerated() {
    let (service, alpha, beta, _stops) = with_two("strategy = \"ordered\"").await;
    let call = done(&service, &to("unknown", "/fail/1/500")).await;
    assert_eq!((providers_of(&call), beta.arrivals("unknown").len()), (vec!["alpha", "alpha"], 0));
    assert_eq!(call["attempts"][1]["provider_reason"], "an earlier attempt may have arrived there");
    assert_eq!(call["attempts"][0]["cost"], 0.045, "it may have been carried out, so it may have to be paid");
    assert_eq!(alpha.arrivals("unknown").len(), 2);
    // Not even the weights, or a price, lead it away.
    for strategy in ["weighted", "cheapest"] {
        let (service, alpha, beta, _stops) = with_two(&format!("strategy = \"{strategy}\"")).await;
        for round in 0..8 {
            let key = format!("unknown-{round}");
            done(&service, &to(&key, "/fail/1/500")).await;
            let (at_alpha, at_beta) = (alpha.arrivals(&key).len(), beta.arrivals(&key).len());
            assert!(matches!((at_alpha, at_beta), (2, 0) | (0, 2)), "{strategy}: {at_alpha} {at_beta}");
        }
    }

    let (service, _alpha, _beta, _stops) =
        with_two("strategy = \"ordered\"\nduplicates = \"tolerated\"").await;
    let call = done(&service, &to("unknown", "/fail/1/500")).await;
    assert_eq!(providers_of(&call), ["alpha", "beta", "alpha"]);
    assert!(
        call["attempts"][1]["provider_reason"].as_str().unwrap().starts_with("failover from alpha: 500"),
        "{call}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_provider_of_the_ambiguous_attempt_is_asked_whatever_the_weights_say() {
    let confirm = r#"on_ambiguous = "confirm"
        confirm = { path = "/_simulator/keys/{{ idempotency_key }}", after = "200ms", rules = [
          { when = "status == 200 && body.effects > 0", answer = "done" },
          { when = "status == 200 && body.effects == 0", answer = "absent" },
        ] }"#;
    for strategy in ["weighted", "ordered", "cheapest"] {
        let (service, alpha, beta, _stops) = with_two(&format!("strategy = \"{strategy}\"\n{confirm}")).await;
        // It takes effect there and then is not answered; the other one knows nothing of it, and would be given it.
        for (wanted, other, name) in [(&beta, &alpha, "beta"), (&alpha, &beta, "alpha")] {
            for round in 0..4 {
                let key = format!("{name}-{round}");
                let mut document = to(&key, "/drop");
                document["provider"] = name.into();
                let call = done(&service, &document).await;
                assert_eq!(providers_of(&call), [name, name], "{strategy}: {call}");
                let query = &call["attempts"][1];
                assert_eq!((&query["trigger"], &query["verdict"]), (&json!("confirm"), &json!("success")));
                assert_eq!(query["provider_reason"], "an earlier attempt may have arrived there");
                assert_eq!((wanted.arrivals(&key).len(), other.arrivals(&key).len()), (1, 0), "{strategy}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_prices_and_wishes_say_who_comes_first() {
    let (service, alpha, beta, _stops) = with_two("").await;
    for number in 0..80 {
        service.submit(&to(&format!("share-{number}"), "/ok")).await;
    }
    wait_for("all have arrived", || async {
        (alpha.summary().requests + beta.summary().requests == 80).then_some(())
    })
    .await;
    let (of_alpha, of_beta) = (alpha.summary().requests, beta.summary().requests);
    assert!(of_alpha > of_beta && of_beta > 0, "3 to 1: {of_alpha} {of_beta}");

    for _ in 0..4 {
        let mut document = json!({ "endpoint": "pay", "provider": "beta", "request": { "path": "/ok" } });
        let call = done(&service, &document).await;
        assert_eq!((providers_of(&call), &call["provider"]), (vec!["beta"], &json!("beta")));
        assert_eq!(call["attempts"][0]["provider_reason"], "named by the publisher");
        document["provider"] = "gamma".into();
        let answer = service.post("/v1/calls", &document).await;
        answer.refuses(422, "unknown_provider", "a provider that is not there");
    }
    let mut document = json!({ "endpoint": "sms", "provider": "beta", "request": { "path": "/ok" } });
    service.post("/v1/calls", &document).await.refuses(
        422,
        "unknown_provider",
        "an endpoint without providers",
    );

    // A wish is where to begin, not the only place: there is another one.
    document["endpoint"] = "pay".into();
    document["request"]["path"] = "/fail/1".into();
    document["idempotency_key"] = "wish".into();
    let id = service.submit(&document).await;
    let call = wait_for("two attempts are made", || async {
        Some(service.call(&id).await).filter(|call| call["attempts"].as_array().unwrap().len() >= 2)
    })
    .await;
    assert_eq!(providers_of(&call)[..2], ["beta", "alpha"]);

    let (service, _alpha, _beta, _stops) = with_two("strategy = \"cheapest\"").await;
    for _ in 0..4 {
        let call = done(&service, &json!({ "endpoint": "pay", "request": { "path": "/ok" } })).await;
        assert_eq!(call["attempts"][0]["provider_reason"], "cheapest: 0.039");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_provider_is_spoken_to_and_judged_in_its_own_way() {
    let (beta, _stop) = third_party().await;
    let own = r#"headers = { x-token = "secret-of-beta" }
                 request = { method = "PUT", path = "/code/7/{{ tags.order }}", headers = { x-to = "{{ body.to }}" }, body = '{"mobile": {{ body.to | tojson }}}' }
                 rules = [{ when = "status == 200 && body.code == 7", verdict = "success" }, { when = "status == 200", verdict = "rejected" }]"#;
    let lines = pay("strategy = \"ordered\"", &beta.url(), own, &nobody().await, "");
    let service = Setup::embedded().with(&lines).start().await;
    let mut document = to("own", "/ignored");
    document["tags"] = json!({ "order": "a/b" });
    let call = done(&service, &document).await;
    let seen = &beta.requests()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("PUT", "/code/7/a%2Fb"));
    assert_eq!(&seen.body[..], br#"{"mobile": "+86 1"}"#);
    for (name, value) in
        [("x-token", "secret-of-beta"), ("x-to", "+86 1"), ("content-type", "application/json")]
    {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    let attempt = &call["attempts"][0];
    assert_eq!(attempt["request"]["headers"]["x-token"], "[redacted]");
    assert!(attempt["rule"].as_str().unwrap().contains("body.code == 7"), "{attempt}");

    // What a template asks for and a call does not have is no reason to try again.
    let id = service.submit(&to("lacking", "/ignored")).await;
    let call = service.call_in(&id, "review").await;
    assert_eq!(
        (&call["review_reason"], &call["attempts"][0]["error_kind"]),
        (&json!("rejected"), &json!("unsendable"))
    );
    assert!(call["last_error"].as_str().unwrap().contains("the request for provider alpha"), "{call}");
    assert!(beta.arrivals("lacking").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_was_offline_comes_back_by_itself() {
    let breaker = "breaker = { failure_rate = 0.5, window = \"10s\", min_calls = 2, open_for = \"1s\" }";
    let (service, alpha, _beta, _stops) = with_two(&format!("strategy = \"ordered\"\n{breaker}")).await;
    alpha.go_down(None);
    let first = |call: Value| providers_of(&call)[0].to_owned();
    let submit =
        || async { first(done(&service, &json!({ "endpoint": "pay", "request": { "path": "/ok" } })).await) };
    wait_for("alpha is offline", || async { (submit().await == "beta").then_some(()) }).await;
    let shown = service.get("/v1/endpoints/pay").await.body;
    assert_eq!(shown["providers"][0]["name"], "alpha");
    assert_ne!(shown["providers"][0]["breaker"], "closed", "{shown}");
    alpha.go_up();
    wait_for("alpha is back", || async { (submit().await == "alpha").then_some(()) }).await;
    assert_eq!(service.get("/v1/endpoints/pay").await.body["providers"][0]["breaker"], "closed");
}
