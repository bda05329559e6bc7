//! Statistics over HTTP: the history by minute, and what the last minutes of an endpoint were like.

use serde_json::{Value, json};

use crate::support::in_process::{Service, Setup, keyed};
use crate::support::wait_for;

/// A service that has made three attempts of which two were successes, and has written that down.
async fn busy() -> Service {
    let service = Setup::embedded().start().await;
    for (key, path, status) in
        [("a", "/ok", "succeeded"), ("b", "/ok", "succeeded"), ("c", "/status/422", "review")]
    {
        let id = service.submit(&keyed(key, path)).await;
        service.call_in(&id, status).await;
    }
    wait_for("the counts are in the ledger", || async {
        (sum(&service.get("/v1/stats/history").await.body, "attempts") == 3).then_some(())
    })
    .await;
    service
}

fn sum(history: &Value, member: &str) -> u64 {
    let minutes = history["minutes"].as_array().unwrap_or_else(|| panic!("{history}"));
    minutes.iter().map(|minute| minute[member].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_has_every_minute_and_adds_up() {
    let service = busy().await;
    let history = service.get("/v1/stats/history").await.body;
    let minutes = history["minutes"].as_array().unwrap();
    assert_eq!(minutes.len(), 60);
    assert_eq!((sum(&history, "attempts"), sum(&history, "accepted")), (3, 3));
    let times: Vec<&str> = minutes.iter().map(|minute| minute["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted() && times.iter().all(|at| at.ends_with(":00.000Z")), "{times:?}");
    let verdicts: u64 = minutes.iter().map(|minute| minute["by_verdict"]["rejected"].as_u64().unwrap()).sum();
    assert_eq!(verdicts, 1);
    let buckets: u64 = minutes
        .iter()
        .flat_map(|minute| minute["latency_buckets"].as_object().unwrap().values())
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert_eq!(buckets, 3);
    let quiet = &minutes[0];
    assert_eq!(
        (&quiet["attempts"], &quiet["success_rate"], &quiet["latency_p50_ms"]),
        (&json!(0), &Value::Null, &Value::Null)
    );

    let of_sms = service.get("/v1/stats/history?minutes=5&endpoint=sms").await.body;
    assert_eq!((of_sms["minutes"].as_array().unwrap().len(), sum(&of_sms, "attempts")), (5, 3));
    let of_another = service.get("/v1/stats/history?endpoint=careful").await.body;
    assert_eq!(sum(&of_another, "attempts"), 0);
    for (query, code) in [
        ("minutes=0", "invalid_parameter"),
        ("minutes=many", "invalid_parameter"),
        ("endpoint=A", "invalid_parameter"),
        ("hours=1", "unknown_parameter"),
    ] {
        service.get(&format!("/v1/stats/history?{query}")).await.refuses(400, code, query);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_shows_how_it_has_been_going() {
    let service = busy().await;
    let sms = service.get("/v1/endpoints/sms").await.body;
    let recent = &sms["recent"];
    for (member, expected) in [
        ("window_s", json!(600)),
        ("attempts", json!(3)),
        ("success_rate", json!(0.6667)),
        ("errors", json!({ "422": 1 })),
        (
            "by_verdict",
            json!({ "success": 2, "transient": 0, "limited": 0, "ambiguous": 0, "pending": 0, "rejected": 1 }),
        ),
    ] {
        assert_eq!(recent[member], expected, "{member} in {recent}");
    }
    let (p50, p99) = (recent["latency_p50_ms"].as_f64().unwrap(), recent["latency_p99_ms"].as_f64().unwrap());
    assert!(p50 > 0.0 && p50 <= p99, "{recent}");
    assert_eq!((&sms["running"], &sms["providers"]), (&json!(0), &json!([])));
    let careful = service.get("/v1/endpoints/careful").await.body;
    assert_eq!(
        (&careful["recent"]["attempts"], &careful["recent"]["success_rate"]),
        (&json!(0), &Value::Null)
    );
    let all = service.get("/v1/endpoints").await.body;
    assert!(all["endpoints"].as_array().unwrap().contains(&sms), "{all}");
}
