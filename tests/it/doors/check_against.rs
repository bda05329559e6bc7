//! `redial check --against`: what a reload of a configuration would change on a running server, before it does.

use std::fmt::Write as _;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::in_process::{ENDPOINT_SECRET, Setup};
use crate::support::program::{Ended, Workplace};
use crate::support::stage::{EVERYTHING, Plan, Stage, Store, Transport};
use crate::support::wait_for;

/// What stands in a header, and must never be shown.
const SECRET: &str = "canary-in-a-header";

/// Compares a file of this text with a server.
async fn check(place: &Workplace, text: &str, server: &str, more: &[&str]) -> Ended {
    place.write("redial.toml", text);
    let ended = place.run(&[&["check", "--against", server], more].concat()).await;
    assert!(!ended.out.contains(SECRET) && !ended.err.contains(SECRET), "{ended:?}");
    ended
}

async fn in_force(client: &Client) -> Value {
    client.ask(Method::GET, "/v1/configuration", None).await.unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reload_would_change_is_told_and_then_is_what_it_changes() {
    let shop = format!("ladder = [\"1s\"]\nheaders = {{ authorization = \"Bearer {SECRET}\" }}");
    let plan = Plan::new(Transport::RabbitMq, Store::Postgres, "shop", &shop).and("fax", "ladder = [\"1s\"]");
    let mut stage = Stage::set(plan).await;
    let service = stage.serve().await;
    let (client, place) = (service.client(), Workplace::new());
    let file = stage.program("any", EVERYTHING).config;
    let read = || std::fs::read_to_string(&file).unwrap();

    let none = check(&place, &read(), client.url(), &[]).await.with(0);
    assert_eq!(none.out.trim(), format!("a reload would change nothing at {}", client.url()));
    assert!(none.err.contains("not compared: values of headers"), "{none:?}");

    let before = in_force(&client).await;
    let changed = read().replace("[endpoints.fax]", "[endpoints.mail]\nrate_limit = \"5/s\"");
    let changed = changed
        .replace("ladder = [\"1s\"]\nheaders", "ladder = [\"1s\", \"450ms\"]\nconcurrency = 7\nheaders");
    let table = check(&place, &changed, client.url(), &[]).await.with(0).out;
    for part in [
        "added                  mail",
        "removed                fax",
        "tiers                  450ms",
        "lanes                  mail",
        "one process at a time  mail",
        "shop      concurrency  64   7",
        "shop      ladder       1s   1s, 450ms",
        "unroutable",
    ] {
        assert!(table.contains(part), "{part:?} in\n{table}");
    }
    let document = check(&place, &changed, client.url(), &["--json"]).await.with(0).out;
    let document: Value = serde_json::from_str(&document).unwrap();
    let expected = json!({
        "added": ["mail"], "removed": ["fax"], "tiers": ["450ms"], "lanes": ["mail"], "single_lanes": ["mail"],
        "changed": [
            { "endpoint": "shop", "key": "concurrency", "old": 64, "new": 7 },
            { "endpoint": "shop", "key": "ladder", "old": ["1s"], "new": ["1s", "450ms"] },
        ],
    });
    assert_eq!(document, expected);
    assert_eq!(in_force(&client).await, before, "asking changes nothing");

    // The server takes the same file over: nothing is left to change.
    stage.configure(|endpoints| {
        endpoints[0].1 = shop.replace("[\"1s\"]", "[\"1s\", \"450ms\"]\nconcurrency = 7");
        endpoints[1] = ("mail", "rate_limit = \"5/s\"\nladder = [\"1s\"]".to_owned());
    });
    wait_for("the file is taken over", || async {
        (in_force(&client).await["endpoints"]["mail"].is_object()).then_some(())
    })
    .await;
    let after = check(&place, &changed, client.url(), &[]).await.with(0);
    assert_eq!(after.out.trim(), format!("a reload would change nothing at {}", client.url()));
    let after = in_force(&client).await;
    assert_eq!(after["endpoints"]["shop"]["headers"], json!(["authorization"]));
    assert!(after["tiers"].as_array().unwrap().contains(&json!("450ms")), "{after}");
    assert!(!after.to_string().contains(SECRET), "{after}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hinders_a_comparison_shows_in_the_exit_code() {
    let service = Setup::embedded().start().await;
    let (server, place) = (service.url(""), Workplace::new());
    let sound = "[endpoints.sms]\nbase_url = \"http://127.0.0.1:9\"\n";
    for (token, code, part) in
        [("auditor", 0, "removed"), ("billing", 6, "role"), ("nobody", 6, "token"), ("", 6, "token")]
    {
        let ended = check(&place, sound, &server, &["--token", token]).await.with(code);
        assert!(ended.out.contains(part) || ended.err.contains(part), "{token}: {ended:?}");
        assert!(!ended.out.contains(ENDPOINT_SECRET), "{ended:?}");
    }
    let refused = check(&place, sound, &server, &["--json"]).await.with(6);
    assert_eq!(serde_json::from_str::<Value>(&refused.out).unwrap()["code"], "token_missing");
    check(&place, sound, "http://127.0.0.1:9", &[]).await.with(5);
    check(&place, sound, "nowhere", &[]).await.with(2);

    let mut faulty = sound.to_owned();
    let _ = writeln!(faulty, "ladder = [\"10 parsecs\"]");
    let ended = check(&place, &faulty, &server, &["--token", "auditor"]).await.with(2);
    assert!(ended.out.is_empty() && ended.err.contains("10 parsecs"), "{ended:?}");
    // Without a server there is nothing to print as a document.
    place.write("redial.toml", sound);
    place.run(&["check", "--json"]).await.with(2);
    place.run_with(&["check"], &[("REDIAL_TOKEN", "auditor")]).await.with(0);
}
