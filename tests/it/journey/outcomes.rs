//! What an outcome leads to: a person, a longer wait, another rung.

use std::time::Duration;

use redial::clock::Timestamp;
use serde_json::json;

use super::invariants::{Faults, History, Repetition, Terms, assert_hold};
use super::load::{call, keys, publish_all};
use crate::support::stage::{Plan, Stage, Store, Transport};

/// The ledger's tolerance for early tickets, and the API's whole milliseconds.
const EARLY: Duration = Duration::from_millis(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_outcome_waits_for_a_person_where_repeating_is_not_safe() {
    let shop = "ladder = [\"200ms\", \"200ms\"]\non_ambiguous = \"review\"\n\
                timeout = { connect = \"500ms\", read = \"1s\", overall = \"1s\" }";
    let stage = Stage::set(Plan::new(Transport::RabbitMq, Store::Postgres, "shop", shop)).await;
    let service = stage.serve().await;
    let client = service.client();
    let unknown = [
        ("hangs", "/hang"),
        ("drops", "/drop"),
        ("breaks-off", "/cut"),
        ("resets", "/reset"),
        ("fails-inside", "/status/500"),
        ("gateway", "/status/504"),
        ("garbage", "/garbage"),
    ];
    for (key, path) in unknown {
        client.submit_new(&call("shop", key, path)).await;
    }
    // What certainly was not done is repeated all the same.
    client.submit_new(&call("shop", "refused-for-now", "/fail/1")).await;
    client.all_at_rest(8).await;

    let keys = unknown.iter().map(|(key, _)| (*key).to_owned()).chain(["refused-for-now".to_owned()]);
    let history = History::gather(&client, &stage.third_party, keys).await;
    let terms = Terms::new(&[200, 200], Faults::None, 1);
    assert_hold(&history, &Terms { repetition: Repetition::Forbidden, ..terms });
    for (key, _) in unknown {
        let call = history.call(key);
        assert_eq!(
            (call.status.as_str(), call.review_reason.as_deref()),
            ("review", Some("ambiguous")),
            "{call:?}"
        );
        assert_eq!(stage.third_party.arrivals(key).len(), 1, "{key}");
    }
    assert_eq!(history.call("refused-for-now").attempts.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_the_third_party_asks_for_is_kept_and_costs_no_rung() {
    for (transport, store) in [(Transport::RabbitMq, Store::Postgres), (Transport::Embedded, Store::Sqlite)] {
        let stage = Stage::set(Plan::new(transport, store, "shop", "ladder = [\"100ms\"]")).await;
        let service = stage.serve().await;
        let client = service.client();
        // Both answers that ask for a pause, more often than there are rungs.
        client.submit_new(&call("shop", "too-many", "/fail/2/429?retry_after=2")).await;
        client.submit_new(&call("shop", "overloaded", "/fail/2/503?retry_after=2")).await;
        client.all_at_rest(2).await;

        let keys = ["too-many", "overloaded"].map(str::to_owned);
        let history = History::gather(&client, &stage.third_party, keys).await;
        assert_hold(&history, &Terms::new(&[100], Faults::None, 2));
        for call in &history.calls {
            let verdicts: Vec<_> = call.attempts.iter().map(|one| one.verdict.as_str()).collect();
            assert_eq!((verdicts.as_slice(), call.rung), (&["limited", "limited", "success"][..], 0));
            for pair in call.attempts.windows(2) {
                let gap = pair[1].started_at.0.since(pair[0].started_at.0);
                assert!(gap + EARLY >= Duration::from_secs(2), "{gap:?}: {call:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_that_is_no_tier_is_walked_to_and_not_reached_early() {
    let plan =
        Plan { sweeper: "", ..Plan::new(Transport::RabbitMq, Store::Postgres, "shop", "ladder = [\"1m\"]") };
    let stage = Stage::set(plan).await;
    let service = stage.serve().await;
    let client = service.client();
    let not_before = Timestamp::now().plus(Duration::from_millis(2_500));
    let keys = keys("later", 30);
    let publisher = stage.publisher().await;
    publish_all(&publisher, &keys, |key| {
        let mut document = call("shop", key, "/ok");
        document["not_before"] = json!(not_before.to_string());
        document
    })
    .await;
    client.all_at_rest(30).await;

    let history = History::gather(&client, &stage.third_party, keys).await;
    assert_hold(&history, &Terms::new(&[60_000], Faults::None, 30));
    for call in &history.calls {
        let arrival = &stage.third_party.arrivals(&call.key)[0];
        assert!(arrival.at >= not_before.minus(EARLY), "{} came early: {call:?}", arrival.at);
    }
    // They came by their tickets, tier by tier, and not because the sweeper found them.
    assert_eq!(client.counter("redial_rescued_total", "").await, 0);
    publisher.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rung_that_repeats_is_climbed_as_often_as_it_says_and_then_a_person_decides() {
    for (transport, store) in [(Transport::RabbitMq, Store::Postgres), (Transport::Embedded, Store::Sqlite)] {
        let shop = "ladder = [\"200ms x2\", \"600ms\"]";
        let stage = Stage::set(Plan::new(transport, store, "shop", shop)).await;
        let service = stage.serve().await;
        let client = service.client();
        client.submit_new(&call("shop", "just-in-time", "/fail/3")).await;
        client.submit_new(&call("shop", "never", "/status/503")).await;
        client.all_at_rest(2).await;

        let keys = ["just-in-time", "never"].map(str::to_owned);
        let history = History::gather(&client, &stage.third_party, keys).await;
        assert_hold(&history, &Terms::new(&[200, 200, 600], Faults::None, 1));
        let never = history.call("never");
        assert_eq!((never.status.as_str(), never.review_reason.as_deref()), ("review", Some("exhausted")));
        assert!(history.calls.iter().all(|call| call.attempts.len() == 4), "{:?}", history.calls);
    }
}
