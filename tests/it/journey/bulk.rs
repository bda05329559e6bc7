//! Bulk jobs from beginning to end: the canary protects the rest, a crash makes nothing happen twice, a person can stop it.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::load::{call, keys, submit_all};
use crate::support::client::{Client, Story};
use crate::support::service::Service;
use crate::support::stage::{EVERYTHING, Plan, Stage, Store, Transport};
use crate::support::wait_for;

/// A short lease, so that what a dead worker held comes back soon; not so short that a busy machine loses those of the living.
const SHOP: &str = "ladder = [\"300ms x6\"]\nlease = \"6s\"\n\
                    timeout = { connect = \"1s\", read = \"2s\", overall = \"2s\" }";
/// Refused the first time; the third party is mended then.
const MENDED: &str = "/fail/1/422";
/// Refused for ever.
const BROKEN: &str = "/status/422";

async fn stage(transport: Transport, store: Store) -> Stage {
    Stage::set(Plan::new(transport, store, "shop", SHOP)).await
}

/// So many calls that wait for a person.
async fn in_review(client: &Client, count: usize, path: &str) {
    submit_all(client, &keys("bulk", count), |key| call("shop", key, path)).await;
    client.all_at_rest(count as u64).await;
}

async fn start(client: &Client, more: Value) -> String {
    let mut document = json!({ "action": "replay", "filter": { "endpoint": "shop" }, "note": "mended" });
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, job) = client.ask(Method::POST, "/v1/bulk", Some(&document)).await.unwrap();
    assert_eq!(status, 202, "{job}");
    job["id"].as_str().unwrap().to_owned()
}

async fn job(client: &Client, id: &str) -> Value {
    let (status, job) = client.ask(Method::GET, &format!("/v1/bulk/{id}"), None).await.unwrap();
    assert_eq!(status, 200, "{job}");
    job
}

/// The job, once it has come to this status and the outcomes of its calls are known.
async fn settled(client: &Client, id: &str, status: &str) -> Value {
    wait_for(&format!("the job is {status}"), || async {
        let job = job(client, id).await;
        let ended = !["canary", "running"].contains(&job["status"].as_str().unwrap());
        assert!(!ended || job["status"] == status, "{job}");
        (ended && job["pending"] == 0).then_some(job)
    })
    .await
}

async fn has_acted(client: &Client, id: &str, calls: u64) {
    wait_for(&format!("the job has acted on {calls} calls"), || async {
        (job(client, id).await["acted"].as_u64().unwrap() >= calls).then_some(())
    })
    .await;
}

fn counts(job: &Value) -> [u64; 5] {
    ["total", "acted", "skipped", "succeeded", "failed"].map(|member| job[member].as_u64().unwrap())
}

/// The calls that an operator acted on, each once at most.
fn acted_on(stories: &[Story]) -> Vec<&Story> {
    assert!(stories.iter().all(|story| story.actions.len() <= 1), "acted on twice");
    stories.iter().filter(|story| !story.actions.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_fails_protects_the_rest() {
    let stage = stage(Transport::Embedded, Store::Sqlite).await;
    let service = stage.serve().await;
    let client = service.client();
    in_review(&client, 60, BROKEN).await;
    let id = start(&client, json!({ "canary": 4, "rate": "100/s" })).await;
    let job = settled(&client, &id, "stopped").await;
    let [total, acted, skipped, succeeded, failed] = counts(&job);
    assert_eq!((total, skipped, succeeded, acted), (60, 0, 0, failed), "{job}");
    assert!((1..=4).contains(&acted), "{job}");
    assert!(job["reason"].as_str().unwrap().contains("failed"), "{job}");
    let stories = client.stories().await;
    assert_eq!(acted_on(&stories).len() as u64, acted);
    assert_eq!(stage.third_party.summary().requests, 60 + acted);
}

async fn a_canary_that_succeeds_lets_the_rest_go(transport: Transport, store: Store) {
    let stage = stage(transport, store).await;
    let service = stage.serve().await;
    let client = service.client();
    in_review(&client, 300, MENDED).await;
    let wish = json!({ "canary": 5, "rate": "200/s", "stop_at_failure_rate": 0.1 });
    let id = start(&client, wish).await;
    assert_eq!(job(&client, &id).await["total"], 300);
    let job = settled(&client, &id, "done").await;
    assert_eq!(counts(&job), [300, 300, 0, 300, 0], "{job}");
    let stories = client.stories().await;
    assert_eq!(acted_on(&stories).len(), 300);
    assert!(stories.iter().all(|story| story.status == "succeeded" && story.attempts_made == 2));
    // The canary had ended before the others began.
    let mut replays: Vec<_> = stories.iter().map(|story| &story.attempts[1]).collect();
    replays.sort_unstable_by_key(|attempt| attempt.started_at);
    let canary_ended = replays[..5]
        .iter()
        .map(|attempt| attempt.started_at.0.plus(std::time::Duration::from_millis(attempt.duration_ms)))
        .max();
    assert!(replays[5].started_at.0 >= canary_ended.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_succeeds_lets_the_rest_go_through_rabbitmq() {
    a_canary_that_succeeds_lets_the_rest_go(Transport::RabbitMq, Store::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_succeeds_lets_the_rest_go_embedded() {
    a_canary_that_succeeds_lets_the_rest_go(Transport::Embedded, Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_aborted_leaves_the_rest_alone() {
    let stage = stage(Transport::Embedded, Store::Sqlite).await;
    let service = stage.serve().await;
    let client = service.client();
    in_review(&client, 120, MENDED).await;
    let id = start(&client, json!({ "rate": "5/s" })).await;
    has_acted(&client, &id, 3).await;
    let path = format!("/v1/bulk/{id}/abort");
    let (status, aborted) = client.ask(Method::POST, &path, Some(&json!({ "note": "no" }))).await.unwrap();
    assert_eq!((status, &aborted["status"]), (200, &json!("aborted")), "{aborted}");
    let job = settled(&client, &id, "aborted").await;
    let [total, acted, _, succeeded, _] = counts(&job);
    assert_eq!((job["acted"].clone(), succeeded), (aborted["acted"].clone(), acted), "{job}");
    assert!(total == 120 && acted < 120, "{job}");
    // What it had begun is finished; what it had not begun still waits.
    client.all_at_rest(120).await;
    let stories = client.stories().await;
    let touched: BTreeSet<&str> = acted_on(&stories).iter().map(|story| story.id.as_str()).collect();
    assert_eq!(touched.len() as u64, acted);
    for story in &stories {
        let expected = if touched.contains(story.id.as_str()) { "succeeded" } else { "review" };
        assert_eq!(story.status, expected, "{story:?}");
    }
}

async fn a_job_whose_server_is_killed_goes_on(transport: Transport, store: Store) {
    let stage = stage(transport, store).await;
    let mut before = Service::start(&stage.program("before", EVERYTHING)).await;
    in_review(&before.client(), 150, MENDED).await;
    let id = start(&before.client(), json!({ "rate": "25/s", "canary": 2 })).await;
    has_acted(&before.client(), &id, 20).await;
    before.kill();
    let after = Service::start(&stage.program("after", EVERYTHING)).await;
    let client = after.client();
    let found = job(&client, &id).await;
    assert!(found["status"] == "running" && found["acted"].as_u64().unwrap() < 150, "{found}");
    let job = settled(&client, &id, "done").await;
    assert_eq!(counts(&job), [150, 150, 0, 150, 0], "{job}");
    assert_eq!(acted_on(&client.stories().await).len(), 150);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_server_is_killed_goes_on_after_its_start_on_sqlite() {
    a_job_whose_server_is_killed_goes_on(Transport::Embedded, Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_server_is_killed_goes_on_after_its_start_with_rabbitmq() {
    a_job_whose_server_is_killed_goes_on(Transport::RabbitMq, Store::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_which_too_much_fails_stops_itself() {
    let stage = stage(Transport::Embedded, Store::Sqlite).await;
    let service = stage.serve().await;
    let client = service.client();
    in_review(&client, 400, BROKEN).await;
    let id = start(&client, json!({ "rate": "20/s", "stop_at_failure_rate": 0.5 })).await;
    let job = settled(&client, &id, "stopped").await;
    let [total, acted, skipped, succeeded, failed] = counts(&job);
    assert_eq!((total, skipped, succeeded, failed), (400, 0, 0, acted), "{job}");
    assert!((10..400).contains(&acted), "{job}");
    assert!(job["reason"].as_str().unwrap().contains("the limit is 0.5"), "{job}");
    assert_eq!(acted_on(&client.stories().await).len() as u64, acted);
}
