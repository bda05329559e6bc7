//! Parked endpoints: nothing but a probe goes out to them, their calls lose nothing, and they come back gently.

use std::time::Duration;

use redial::clock::Timestamp;
use redial::limits::RAMP_FIRST;
use redial::simulator::Arrival;
use reqwest::Method;
use serde_json::{Value, json};

use super::load::{call, failed_call, keys, submit_all, third_party_sees};
use crate::support::client::Client;
use crate::support::service::Service;
use crate::support::stage::{EVERYTHING, Plan, Stage, Store, Transport};
use crate::support::wait_for;

/// The ledger's tolerance for early tickets, and the API's whole milliseconds.
const EARLY: Duration = Duration::from_millis(6);
const SECOND: Duration = Duration::from_secs(1);
const BOTH: [(Transport, Store); 2] =
    [(Transport::RabbitMq, Store::Postgres), (Transport::Embedded, Store::Sqlite)];

/// The endpoint as the API shows it.
async fn endpoint(client: &Client, name: &str) -> Value {
    let (status, endpoint) = client.ask(Method::GET, &format!("/v1/endpoints/{name}"), None).await.unwrap();
    assert_eq!(status, 200, "{endpoint}");
    endpoint
}

async fn endpoint_is(client: &Client, name: &str, state: &str) -> Value {
    wait_for(&format!("{name} is {state}"), || async {
        Some(endpoint(client, name).await).filter(|endpoint| endpoint["state"] == state)
    })
    .await
}

async fn hold(client: &Client, name: &str, action: &str) -> Value {
    let note = json!({ "note": "by a test" });
    let (status, endpoint) =
        client.ask(Method::POST, &format!("/v1/endpoints/{name}/{action}"), Some(&note)).await.unwrap();
    assert_eq!(status, 200, "{endpoint}");
    endpoint
}

/// Waits until this process knows that the endpoint is held.
async fn knows_of_hold(client: &Client, kind: &str) {
    wait_for("the process knows of the hold", || async {
        (client.counter("redial_endpoint_held", kind).await == 1).then_some(())
    })
    .await;
}

/// Waits until the metrics of this process say that the one breaker there is stands so, and in no other way.
async fn breaker_is(client: &Client, state: &str) {
    let of = |state: &'static str| client.counter("redial_endpoint_breaker_state", state);
    wait_for(&format!("the breaker is {state}"), || async {
        let shown = [of("\"closed\"").await, of("\"open\"").await, of("\"half_open\"").await];
        let expected = ["closed", "open", "half_open"].map(|name| u64::from(name == state));
        (shown == expected).then_some(())
    })
    .await;
}

/// All arrivals of these keys, in order.
fn arrivals(stage: &Stage, keys: &[String]) -> Vec<Arrival> {
    let mut arrivals: Vec<Arrival> = keys.iter().flat_map(|key| stage.third_party.arrivals(key)).collect();
    arrivals.sort_by_key(|arrival| arrival.since_start);
    arrivals
}

fn within(arrivals: &[Arrival], from: Duration, lasting: Duration) -> usize {
    arrivals.iter().filter(|one| one.since_start >= from && one.since_start < from + lasting).count()
}

/// Calls came neither by the sweeper nor twice.
async fn assert_nothing_was_rescued(client: &Client) {
    for reason in ["overdue", "worker_lost"] {
        assert_eq!(client.rescued(reason).await, 0, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_429_parks_the_endpoint_and_one_probe_goes_first() {
    for (transport, store) in BOTH {
        let plan =
            Plan::new(transport, store, "shop", "ladder = [\"500ms\"]").and("other", "ladder = [\"1s\"]");
        let stage = Stage::set(plan).await;
        let service = stage.serve().await;
        let client = service.client();
        client.submit_new(&call("shop", "limited", "/fail/1/429?retry_after=5")).await;
        let parked = endpoint_is(&client, "shop", "held").await;
        assert_eq!((&parked["hold"]["kind"], &parked["hold"]["by"]), (&json!("limited"), &Value::Null));
        assert_eq!(endpoint(&client, "other").await["hold"], Value::Null);
        // Due at once, due soon: all wait. Another endpoint's do not.
        let (now, soon) = (keys("now", 20), keys("soon", 20));
        submit_all(&client, &now, |key| call("shop", key, "/ok?ms=20")).await;
        submit_all(&client, &soon, |key| failed_call("shop", key, "/ok?ms=20")).await;
        client.submit_new(&call("other", "elsewhere", "/ok")).await;
        client.all_at_rest(42).await;

        let limited = &stage.third_party.arrivals("limited")[0];
        let over = limited.answered.unwrap() + Duration::from_secs(5);
        let elsewhere = stage.third_party.arrivals("elsewhere")[0].since_start;
        assert!(elsewhere < over, "another endpoint was parked too");
        let mut all = arrivals(&stage, &[now, soon, vec!["limited".to_owned()]].concat());
        all.remove(0);
        let probe = &all[0];
        assert!(
            probe.since_start + EARLY >= over,
            "the probe came {:?} early",
            over.checked_sub(probe.since_start).unwrap()
        );
        let released = probe.answered.unwrap();
        assert!(
            all[1..].iter().all(|one| one.since_start >= released),
            "something went out beside the probe"
        );
        let first_second = within(&all[1..], released, SECOND);
        assert!(first_second <= RAMP_FIRST as usize, "{first_second} in the first second");
        for story in client.stories().await {
            let used = u32::from(story.failure.is_some());
            assert_eq!((story.status.as_str(), story.rung), ("succeeded", used), "{story:?}");
            assert_eq!(story.attempts.len(), if story.key == "limited" { 2 } else { 1 }, "{story:?}");
        }
        assert_nothing_was_rescued(&client).await;
        wait_for("the hold is forgotten", || async {
            (endpoint(&client, "shop").await["state"] == "active").then_some(())
        })
        .await;
    }
}

/// An outage under a backlog: every call keeps the rung it had, and the third party is not flooded when it is back.
async fn outage(transport: Transport, store: Store, calls: usize, lasting: Duration, open_for: &str) {
    let shop = format!(
        "ladder = [\"1s\", \"1s\"]\nconcurrency = 64\n\
         breaker = {{ failure_rate = 0.5, window = \"10s\", min_calls = 20, open_for = \"{open_for}\" }}"
    );
    let stage = Stage::set(Plan::new(transport, store, "shop", &shop)).await;
    let service = stage.serve().await;
    let client = service.client();
    breaker_is(&client, "closed").await;
    stage.third_party.go_down(None);
    let down = Timestamp::now();
    let keys = keys("backlog", calls);
    submit_all(&client, &keys, |key| failed_call("shop", key, "/ok?ms=20")).await;
    let parked = endpoint_is(&client, "shop", "held").await;
    assert_eq!((&parked["hold"]["kind"], &parked["breaker"]["state"]), (&json!("breaker"), &json!("open")));
    breaker_is(&client, "open").await;
    wait_for("the outage is over", || async { (Timestamp::now().since(down) >= lasting).then_some(()) })
        .await;
    let during = stage.third_party.summary().requests;
    stage.third_party.go_up();
    let up = Timestamp::now();
    client.all_at_rest(u64::try_from(calls).unwrap()).await;
    breaker_is(&client, "closed").await;

    // Those that were under way when the breaker opened, and the probes.
    assert!(during <= 64 + 64, "the third party was called {during} times while it was down");
    let all = arrivals(&stage, &keys);
    let after: Vec<Arrival> = all.into_iter().filter(|one| one.at >= up).collect();
    let probe = &after[0];
    let first_second = after.iter().filter(|one| one.at < up.plus(SECOND)).count();
    let first_of_ramp = within(&after[1..], probe.answered.unwrap(), SECOND);
    let peak = after.iter().map(|one| within(&after, one.since_start, SECOND)).max().unwrap();
    assert!(first_second <= RAMP_FIRST as usize + 1, "{first_second} in the first second after the outage");
    assert!(first_of_ramp <= RAMP_FIRST as usize, "{first_of_ramp} in the first second of the ramp");
    let stories = client.stories().await;
    let lost: Vec<_> =
        stories.iter().filter(|story| story.rung != 1 || story.status != "succeeded").collect();
    assert!(lost.is_empty(), "{} of {} calls lost a rung: {:?}", lost.len(), stories.len(), lost.first());
    assert_nothing_was_rescued(&client).await;
    if std::env::var_os("REDIAL_TEST_OUTAGE_S").is_some() {
        let slowest = after.last().unwrap().at.since(up);
        report(&format!(
            "outage of {lasting:?} under {calls} calls: {during} requests while it lasted; back {:?} after its end; \
             {first_second} requests in the first second after its end, {first_of_ramp} in the first second of the ramp, \
             at most {peak} in any second; all done {slowest:?} after its end",
            probe.at.since(up),
        ));
    }
}

#[expect(clippy::print_stderr, reason = "figures were asked for")]
fn report(figures: &str) {
    eprintln!("{figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_under_a_backlog_costs_no_rung_and_ends_gently() {
    match std::env::var("REDIAL_TEST_OUTAGE_S").ok().and_then(|seconds| seconds.parse().ok()) {
        Some(seconds) => {
            let lasting = Duration::from_secs(seconds);
            outage(Transport::RabbitMq, Store::Postgres, 2_000, lasting, "15s").await;
        }
        None => {
            outage(Transport::RabbitMq, Store::Postgres, 2_000, Duration::from_secs(10), "2s").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_costs_no_rung_without_rabbitmq_either() {
    outage(Transport::Embedded, Store::Sqlite, 300, Duration::from_secs(5), "2s").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_of_questions_is_parked_like_one_of_calls() {
    const CALLS: usize = 60;
    let shop = r#"ladder = ["500ms", "500ms"]
        breaker = { failure_rate = 0.5, window = "10s", min_calls = 10, open_for = "1s" }
        rules = [{ when = "status == 503", verdict = "ambiguous" }]
        on_ambiguous = "confirm"
        confirm = { path = "/ok", after = "200ms", rules = [{ when = "status == 200", answer = "done" }] }"#;
    for (transport, store) in BOTH {
        let stage = Stage::set(Plan::new(transport, store, "shop", shop)).await;
        let service = stage.serve().await;
        let client = service.client();
        stage.third_party.go_down(None);
        submit_all(&client, &keys("in-doubt", CALLS), |key| call("shop", key, "/ok")).await;
        endpoint_is(&client, "shop", "held").await;
        // Longer than the ladder, and than a probe or two.
        let parked = Timestamp::now();
        wait_for("the outage is over", || async {
            (Timestamp::now().since(parked) >= 4 * SECOND).then_some(())
        })
        .await;
        let during = stage.third_party.summary().requests;
        stage.third_party.go_up();
        let up = Timestamp::now();
        client.all_at_rest(u64::try_from(CALLS).unwrap()).await;

        // The calls, what was asked before the breaker opened, and a probe a second.
        assert!(
            during <= u64::try_from(2 * CALLS + 6).unwrap(),
            "the third party was called {during} times while it was down"
        );
        for story in client.stories().await {
            assert_eq!((story.status.as_str(), story.rung), ("succeeded", 0), "{story:?}");
        }
        // One by one, at the pace of probes, they would take half a minute.
        let took = Timestamp::now().since(up);
        assert!(took < 20 * SECOND, "the endpoint was not released: {took:?}");
        endpoint_is(&client, "shop", "active").await;
        assert_nothing_was_rescued(&client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_endpoint_stays_so_through_restarts_and_in_every_process() {
    let plan = Plan::new(Transport::RabbitMq, Store::Postgres, "shop", "ladder = [\"1s\"]");
    let stage = Stage::set(plan.and("other", "ladder = [\"1s\"]")).await;
    let mut left = Service::start(&stage.program("left", EVERYTHING)).await;
    let mut right = Service::start(&stage.program("right", "api,worker,sweeper")).await;
    let paused = hold(&left.client(), "shop", "pause").await;
    assert_eq!((&paused["state"], &paused["hold"]["kind"]), (&json!("held"), &json!("paused")));
    assert_eq!((&paused["hold"]["note"], &paused["hold"]["until"]), (&json!("by a test"), &Value::Null));
    for process in [&left, &right] {
        knows_of_hold(&process.client(), "paused").await;
    }
    let (now, soon) = (keys("now", 15), keys("soon", 15));
    submit_all(&left.client(), &now, |key| call("shop", key, "/ok")).await;
    submit_all(&right.client(), &soon, |key| failed_call("shop", key, "/ok")).await;
    left.kill();
    assert!(right.stop().await.success());
    let left = Service::start(&stage.program("left", EVERYTHING)).await;
    let right = Service::start(&stage.program("right", "api,worker,sweeper")).await;
    // Everything is awake and works, longer than the grace after which a ticket would count as lost.
    for round in ["a", "b", "c", "d"] {
        right.client().submit_new(&failed_call("other", round, "/ok")).await;
        third_party_sees(&stage, u64::from(round.as_bytes()[0] - b'a') + 1).await;
    }
    assert!(
        arrivals(&stage, &[now.clone(), soon.clone()].concat()).is_empty(),
        "a paused endpoint was called"
    );
    assert_eq!(endpoint(&right.client(), "shop").await["state"], "held");

    let resumed = hold(&right.client(), "shop", "resume").await;
    assert_eq!((&resumed["state"], &resumed["hold"]), (&json!("ramping"), &Value::Null));
    left.client().all_at_rest(34).await;
    assert_eq!(arrivals(&stage, &[now, soon].concat()).len(), 30);
    for process in [&left, &right] {
        assert_nothing_was_rescued(&process.client()).await;
        assert_eq!(process.client().counter("redial_endpoint_held", "").await, 0);
    }
    // Nothing to resume is no fault.
    drop(hold(&left.client(), "shop", "resume").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_endpoint_stays_so_through_a_restart_without_rabbitmq() {
    let stage = Stage::set(Plan::new(Transport::Embedded, Store::Sqlite, "shop", "ladder = [\"1s\"]")).await;
    let mut service = stage.serve().await;
    drop(hold(&service.client(), "shop", "pause").await);
    knows_of_hold(&service.client(), "paused").await;
    let keys = keys("waits", 10);
    submit_all(&service.client(), &keys, |key| call("shop", key, "/ok")).await;
    service.kill();
    let service = stage.serve().await;
    let client = service.client();
    submit_all(&client, &["more".to_owned()], |key| call("shop", key, "/ok")).await;
    assert!(arrivals(&stage, &keys).is_empty(), "a paused endpoint was called");
    drop(hold(&client, "shop", "resume").await);
    client.all_at_rest(11).await;
    assert_nothing_was_rescued(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_hold_while_an_endpoint_is_parked() {
    for (transport, store) in BOTH {
        let stage = Stage::set(Plan::new(transport, store, "shop", "ladder = [\"1s\"]")).await;
        let service = stage.serve().await;
        let client = service.client();
        drop(hold(&client, "shop", "pause").await);
        knows_of_hold(&client, "paused").await;
        let keys = keys("too-late", 5);
        submit_all(&client, &keys, |key| {
            let mut document = call("shop", key, "/ok");
            document["deadline"] = json!(Timestamp::now().plus(Duration::from_secs(3)).to_string());
            document
        })
        .await;
        client.all_at_rest(5).await;
        for story in client.stories().await {
            let found = (story.status.as_str(), story.review_reason.as_deref(), story.attempts_made);
            assert_eq!(found, ("review", Some("expired"), 0));
        }
        assert!(arrivals(&stage, &keys).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_endpoint_in_a_shared_lane_does_not_hold_up_the_other() {
    let plan = Plan::new(Transport::RabbitMq, Store::Postgres, "shop", "ladder = [\"1s\"]\nlane = \"both\"");
    let stage = Stage::set(plan.and("other", "ladder = [\"1s\"]\nlane = \"both\"")).await;
    let service = stage.serve().await;
    let client = service.client();
    drop(hold(&client, "shop", "pause").await);
    knows_of_hold(&client, "paused").await;
    let (held, free) = (keys("held", 100), keys("free", 100));
    submit_all(&client, &held, |key| failed_call("shop", key, "/ok")).await;
    submit_all(&client, &free, |key| failed_call("other", key, "/ok")).await;
    third_party_sees(&stage, 100).await;
    assert_eq!((arrivals(&stage, &held).len(), arrivals(&stage, &free).len()), (0, 100));
    wait_for("tickets were put off", || async {
        (client.counter("redial_claims_total", "\"postponed\"").await >= 100).then_some(())
    })
    .await;
    drop(hold(&client, "shop", "resume").await);
    client.all_at_rest(200).await;
    assert_nothing_was_rescued(&client).await;
}
