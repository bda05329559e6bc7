//! The life of a server as its machine sees it: starting without its ledger, stopping in the middle, coming back to what it left.

use std::net::TcpListener;
use std::time::Duration;

use redial::clock::Timestamp;
use serde_json::{Value, json};

use crate::support::program::{Running, Workplace};
use crate::support::wait_for;

fn client() -> reqwest::Client {
    redial::cli::http::client(Duration::from_mins(1)).unwrap()
}

async fn asked(url: &str) -> (u16, Value) {
    let answer = client().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// A configuration of one endpoint that a third party plays.
fn configuration(endpoint: &str, third_party: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[endpoints.{endpoint}]\nbase_url = {third_party:?}\nladder = [\"1s\"]\n"
    )
}

async fn third_party(place: &Workplace) -> (Running, String) {
    let simulator = place.start(&["simulate", "--listen", "127.0.0.1:0"], &[]);
    let url = simulator.url().await;
    (simulator, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_its_ledger_is_alive_but_confirms_nothing() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    drop(held);
    let place = Workplace::with(&configuration("sms", "http://127.0.0.1:9"));
    let listen = address.to_string();
    let variables = [
        ("REDIAL_SERVER__LISTEN", listen.as_str()),
        ("REDIAL_DATABASE__URL", "postgres://nobody@127.0.0.1:9/nowhere"),
    ];
    let server = place.start(&["serve"], &variables);
    let url = format!("http://{address}");
    wait_for("the server is alive", || async {
        client().get(format!("{url}/healthz")).send().await.ok().filter(|answer| answer.status() == 200)
    })
    .await;
    assert_eq!(asked(&format!("{url}/readyz")).await, (503, json!({ "status": "starting", "away": [] })));
    let document = json!({ "endpoint": "sms", "request": { "path": "/ok" } });
    let answer = client().post(format!("{url}/v1/calls")).json(&document).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert!(answer.headers().contains_key("retry-after"));
    let health = place.run(&["health", "--server", &url]).await.with(1);
    assert!(health.out.contains("starting"), "{}", health.out);
    server.stop().await.with(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_progress_is_answered_before_the_server_stops() {
    let place = Workplace::new();
    let (simulator, third_party) = third_party(&place).await;
    place.write("redial.toml", &configuration("sms", &third_party));
    let server = place.start(&["serve"], &[]);
    let url = server.url().await;
    let document = json!({ "endpoint": "sms", "request": { "path": "/slow?ms=2000" } });
    let request = client().post(format!("{url}/v1/calls")).header("prefer", "wait=30").json(&document);
    let answer = tokio::spawn(request.send());
    wait_for("the third party has the request", || async {
        (asked(&format!("{third_party}/_simulator/summary")).await.1["requests"] == 1).then_some(())
    })
    .await;
    server.stop().await.with(0);
    let answer = answer.await.unwrap().unwrap();
    let (status, call) = (answer.status(), answer.json::<Value>().await.unwrap());
    assert_eq!((status.as_u16(), &call["status"]), (200, &json!("succeeded")), "{call}");
    simulator.stop().await.with(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_goes_on_with_what_waits_and_reviews_what_it_no_longer_knows() {
    let place = Workplace::new();
    let (simulator, third_party) = third_party(&place).await;
    let both = configuration("sms", &third_party) + &format!("[endpoints.old]\nbase_url = {third_party:?}\n");
    place.write("redial.toml", &both);
    let server = place.start(&["serve"], &[]);
    let url = server.url().await;
    let soon = Timestamp::now().plus(Duration::from_secs(4)).to_string();
    let mut ids = Vec::new();
    for endpoint in ["sms", "old"] {
        let document = json!({ "endpoint": endpoint, "request": { "path": "/ok" }, "not_before": soon });
        let answer = client().post(format!("{url}/v1/calls")).json(&document).send().await.unwrap();
        ids.push(answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned());
    }
    server.stop().await.with(0);

    place.write("redial.toml", &configuration("sms", &third_party));
    let server = place.start(&["serve"], &[]);
    let url = server.url().await;
    for (id, status, reason) in
        [(&ids[0], "succeeded", Value::Null), (&ids[1], "review", json!("unroutable"))]
    {
        let what = format!("{id} is {status}");
        let call = wait_for(&what, || async {
            Some(asked(&format!("{url}/v1/calls/{id}")).await.1).filter(|call| call["status"] == status)
        })
        .await;
        assert_eq!(call["review_reason"], reason, "{call}");
    }
    server.stop().await.with(0);
    simulator.stop().await.with(0);
}
