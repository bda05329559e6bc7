//! Third parties that are slow, strict or in a hurry: slots, rates, timeouts, immediate retries.

use std::collections::BTreeSet;
use std::time::Duration;

use redial::simulator::Arrival;
use reqwest::Method;
use serde_json::{Value, json};

use super::load::{call, failed_call, keys, submit_all, third_party_sees};
use crate::support::client::Client;
use crate::support::service::Service;
use crate::support::stage::{EVERYTHING, Plan, Stage, Store, Transport};
use crate::support::wait_for;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_party_that_hangs_does_not_delay_another() {
    let timeout = "timeout = { connect = \"2s\", read = \"60s\", overall = \"60s\" }";
    let plan = Plan::new(Transport::RabbitMq, Store::Postgres, "quick", "ladder = [\"1s\"]")
        .and("hangs", &format!("ladder = [\"1s\"]\n{timeout}"));
    let stage = Stage::set(plan).await;
    let service = stage.serve().await;
    let client = service.client();
    let alone = lateness(&stage, &client, "alone").await;
    submit_all(&client, &keys("hanging", 1_500), |key| failed_call("hangs", key, "/hang")).await;
    client.in_the_middle_of(64).await;
    let beside = lateness(&stage, &client, "beside").await;
    assert!(beside <= alone + SECOND, "{beside:?} beside a third party that hangs, {alone:?} alone");
}

/// How long after its due time the last but a few of 200 calls arrives.
async fn lateness(stage: &Stage, client: &Client, name: &str) -> Duration {
    let seen = stage.third_party.summary().requests;
    let keys = keys(name, 200);
    submit_all(client, &keys, |key| failed_call("quick", key, "/ok")).await;
    wait_for("200 calls arrived", || {
        let arrived = keys.iter().filter(|key| !stage.third_party.arrivals(key).is_empty()).count();
        std::future::ready((arrived == 200).then_some(()))
    })
    .await;
    assert!(stage.third_party.summary().requests >= seen + 200);
    let mut late: Vec<Duration> = Vec::new();
    for story in client.stories_of("quick").await.into_iter().filter(|story| story.key.starts_with(name)) {
        let due = story.created_at.0.plus(SECOND);
        late.extend(stage.third_party.arrivals(&story.key).first().map(|arrival| arrival.at.since(due)));
    }
    late.sort_unstable();
    late[late.len() * 95 / 100]
}

/// Most calls in so long a time.
fn busiest(arrivals: &[Arrival], lasting: Duration) -> usize {
    let within = |from: Duration| {
        arrivals.iter().filter(|one| one.since_start >= from && one.since_start < from + lasting).count()
    };
    arrivals.iter().map(|one| within(one.since_start)).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_holds_over_all_processes_and_outlives_the_one_that_kept_it() {
    let shop = "ladder = [\"1s x3\"]\nrate_limit = \"50/s\"\n\
                timeout = { connect = \"1s\", read = \"2s\", overall = \"2s\" }\nlease = \"4s\"";
    let stage = Stage::set(Plan::new(Transport::RabbitMq, Store::Postgres, "shop", shop)).await;
    let mut processes = [
        Service::start(&stage.program("left", EVERYTHING)).await,
        Service::start(&stage.program("right", "api,worker,sweeper")).await,
    ];
    let (now, soon) = (keys("now", 150), keys("soon", 250));
    submit_all(&processes[0].client(), &now, |key| call("shop", key, "/ok?ms=30")).await;
    submit_all(&processes[1].client(), &soon, |key| failed_call("shop", key, "/ok?ms=30")).await;
    third_party_sees(&stage, 120).await;
    let mut made = Vec::new();
    for process in &processes {
        made.push(process.client().counter("redial_attempts_total", "").await);
    }
    let active = usize::from(made[1] > made[0]);
    assert_eq!(made[1 - active], 0, "both made calls: {made:?}");
    processes[active].kill();
    let survivor = processes[1 - active].client();
    survivor.all_at_rest(400).await;

    let all = [now, soon].concat();
    let mut arrivals: Vec<Arrival> = all.iter().flat_map(|key| stage.third_party.arrivals(key)).collect();
    arrivals.sort_by_key(|arrival| arrival.since_start);
    // Between a turn and the third party lie a commit and a connection: a busy machine may bunch up a second's worth of calls. Two
    // processes with a rate each would send twice as many.
    let busiest = busiest(&arrivals, 3 * SECOND);
    assert!(busiest <= 4 * 50, "{busiest} calls in three seconds");
    let stories = survivor.stories().await;
    assert!(stories.iter().all(|story| story.status == "succeeded"));
    let workers: BTreeSet<&str> =
        stories.iter().flat_map(|story| &story.attempts).map(|attempt| attempt.worker.as_str()).collect();
    assert_eq!(workers.len(), 2, "the rate did not move to the other process");
    assert_eq!(survivor.rescued("overdue").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_holds_in_one_process_without_rabbitmq() {
    let shop = "ladder = [\"1s\"]\nrate_limit = \"40/s\"";
    let stage = Stage::set(Plan::new(Transport::Embedded, Store::Sqlite, "shop", shop)).await;
    let service = stage.serve().await;
    let (now, soon) = (keys("now", 80), keys("soon", 40));
    submit_all(&service.client(), &now, |key| call("shop", key, "/ok")).await;
    submit_all(&service.client(), &soon, |key| failed_call("shop", key, "/ok")).await;
    service.client().all_at_rest(120).await;
    let mut arrivals: Vec<Arrival> =
        [now, soon].concat().iter().flat_map(|key| stage.third_party.arrivals(key)).collect();
    arrivals.sort_by_key(|arrival| arrival.since_start);
    assert_eq!(arrivals.len(), 120);
    let took = arrivals[119].since_start.checked_sub(arrivals[0].since_start).unwrap();
    assert!(took >= 2 * SECOND, "120 calls at 40 a second in {took:?}");
}

/// How many messages stand in the lane of `shop`, by its form.
async fn depth(client: &Client, end: &str) -> u64 {
    let (status, totals) = client.ask(Method::GET, "/v1/stats", None).await.unwrap();
    assert_eq!(status, 200, "{totals}");
    let depths = totals["depths"].as_object().unwrap();
    depths.iter().filter(|(queue, _)| queue.ends_with(end)).filter_map(|(_, depth)| depth.as_u64()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_move_over_when_an_endpoint_gets_a_rate_and_when_it_loses_it() {
    let plan = Plan::new(Transport::RabbitMq, Store::Postgres, "shop", "ladder = [\"1s\"]");
    let mut stage = Stage::set(plan).await;
    let service = stage.serve().await;
    let client = service.client();
    let note = json!({ "note": "so that tickets stand in the lane" });
    let pause = |action: &'static str| {
        let (client, note) = (client.clone(), note.clone());
        async move {
            let path = format!("/v1/endpoints/shop/{action}");
            let (status, answer): (u16, Value) = client.ask(Method::POST, &path, Some(&note)).await.unwrap();
            assert_eq!(status, 200, "{answer}");
        }
    };
    pause("pause").await;
    wait_for("the process knows of the hold", || async {
        (client.counter("redial_endpoint_held", "paused").await == 1).then_some(())
    })
    .await;
    let keys = keys("moving", 60);
    submit_all(&client, &keys, |key| call("shop", key, "/ok")).await;
    wait_for("tickets stand in the lane", || async { (depth(&client, ".due.shop").await > 0).then_some(()) })
        .await;

    stage.configure(|endpoints| endpoints[0].1 = "ladder = [\"1s\"]\nrate_limit = \"30/s\"".to_owned());
    wait_for("they have moved over", || async {
        (depth(&client, ".due.shop.single").await > 0 && depth(&client, ".due.shop").await == 0).then_some(())
    })
    .await;
    stage.configure(|endpoints| endpoints[0].1 = "ladder = [\"1s\"]".to_owned());
    wait_for("they have moved back", || async {
        (depth(&client, ".due.shop").await > 0 && depth(&client, ".due.shop.single").await == 0).then_some(())
    })
    .await;
    stage.configure(|endpoints| endpoints[0].1 = "ladder = [\"1s\"]\nrate_limit = \"30/s\"".to_owned());
    wait_for("the endpoint has a rate", || async {
        let (_, endpoint) = client.ask(Method::GET, "/v1/endpoints/shop", None).await.unwrap();
        (endpoint["rate_limit"] == "30/s").then_some(())
    })
    .await;
    pause("resume").await;
    client.all_at_rest(60).await;
    let arrivals: Vec<Arrival> = keys.iter().flat_map(|key| stage.third_party.arrivals(key)).collect();
    assert_eq!(arrivals.len(), 60);
    let busiest = busiest(&arrivals, SECOND);
    assert!(busiest <= 2 * 30, "{busiest} calls in a second");
    assert_eq!(client.rescued("overdue").await, 0, "the sweeper had to send tickets again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adaptive_timeout_learns_from_answers_and_grows_again() {
    let shop = "ladder = [\"100ms x5\"]\nconcurrency = 1\n\
                timeout = { overall = \"adaptive\", floor = \"400ms\", ceiling = \"6s\" }";
    let stage = Stage::set(Plan::new(Transport::Embedded, Store::Sqlite, "shop", shop)).await;
    let service = stage.serve().await;
    let client = service.client();
    let quick = keys("quick", 40);
    submit_all(&client, &quick, |key| call("shop", key, "/ok")).await;
    client.all_at_rest(40).await;
    // Slower than what it has learned, quicker than what it may learn.
    let id = client.submit_new(&call("shop", "slow", "/slow?ms=2500")).await;
    client.all_at_rest(41).await;
    let slow = client.story(&id).await;
    assert_eq!(slow.status, "succeeded", "{slow:?}");
    let cut_off = &slow.attempts[0];
    assert_eq!(cut_off.error_kind.as_deref(), Some("timeout"), "{slow:?}");
    assert!(cut_off.duration_ms >= 400 && cut_off.duration_ms < 2_400, "{slow:?}");
    assert!(slow.attempts.len() >= 2 && slow.attempts.last().unwrap().duration_ms >= 2_400, "{slow:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn immediate_retries_are_attempts_of_their_own_and_use_no_rung() {
    for (transport, store) in [(Transport::RabbitMq, Store::Postgres), (Transport::Embedded, Store::Sqlite)] {
        let shop = "ladder = [\"10m\"]\nimmediate_retries = 2";
        let stage = Stage::set(Plan::new(transport, store, "shop", shop)).await;
        let service = stage.serve().await;
        let client = service.client();
        let id = client.submit_new(&call("shop", "twice", "/fail/2")).await;
        client.all_at_rest(1).await;
        let story = client.story(&id).await;
        assert_eq!((story.status.as_str(), story.rung, story.attempts_made), ("succeeded", 0, 3));
        let numbers: Vec<u32> = story.attempts.iter().map(|attempt| attempt.number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(stage.third_party.arrivals("twice").len(), 3, "an attempt is one request");
        // A refusal and an unknown outcome are not repeated in haste.
        let refused = client.submit_new(&call("shop", "refused", "/status/400")).await;
        let unknown = client.submit_new(&call("shop", "unknown", "/status/500")).await;
        wait_for("both have been attempted", || async {
            let made = |story: crate::support::client::Story| story.attempts.len() == 1;
            (made(client.story(&refused).await) && made(client.story(&unknown).await)).then_some(())
        })
        .await;
        assert_eq!(client.story(&unknown).await.rung, 1);
    }
}
