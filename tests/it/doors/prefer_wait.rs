//! `Prefer: wait=N`: a synchronous call that becomes an asynchronous one when it has to.

use std::time::Duration;

use redial::app::Part;
use redial::clock::monotonic;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::in_process::{ENDPOINT_SECRET, Service, Setup, keyed};

async fn submit_and_wait(service: &Service, seconds: u64, document: &Value) -> Answer {
    let request = service.request_as("tester", Method::POST, "/v1/calls");
    Answer::to(request.header("prefer", format!("respond-async, wait={seconds}")).json(document)).await
}

async fn a_success_in_time_is_answered_with_the_third_partys_answer(service: &Service) {
    let path = "/ok?status=201&header=x-price:7&body=%7B%22id%22%3A12%2C%22ok%22%3Atrue%7D";
    let answer = submit_and_wait(service, 30, &keyed("done", path)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("preference-applied"), "wait=30");
    assert_eq!(answer.header("location"), format!("/v1/calls/{}", answer.id()));
    assert_eq!((&answer.body["status"], &answer.body["attempts_made"]), (&json!("succeeded"), &json!(1)));
    let response = &answer.body["response"];
    assert_eq!(
        (&response["status"], &response["body"]),
        (&json!(201), &json!({ "id": 12, "ok": true })),
        "{answer:?}"
    );
    assert_eq!(response["headers"]["x-price"], "7", "{answer:?}");
    assert_eq!(response["body_bytes"], 19, "{answer:?}");
    assert_eq!(service.seen("done").len(), 1);
}

async fn a_failure_is_answered_202_and_the_call_goes_on(service: &Service) {
    let answer = submit_and_wait(service, 30, &keyed("fails", "/fail/1")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = answer.id();
    assert_eq!(answer.header("location"), format!("/v1/calls/{id}"));
    assert!(answer.body["response"].is_null(), "{answer:?}");
    assert_eq!(
        (&answer.body["last_verdict"], &answer.body["last_http_status"]),
        (&json!("transient"), &json!(503))
    );
    let call = service.call_in(&id, "succeeded").await;
    assert_eq!(call["attempts_made"], 2);
}

async fn what_is_too_slow_is_answered_202_and_the_same_attempt_goes_on(service: &Service) {
    let answer = submit_and_wait(service, 1, &keyed("slow", "/slow?ms=4000")).await;
    assert_eq!((answer.status, answer.header("preference-applied")), (202, "wait=1"), "{answer:?}");
    let call = service.call_in(&answer.id(), "succeeded").await;
    assert_eq!((call["attempts_made"].as_i64(), service.seen("slow").len()), (Some(1), 1), "{call}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_one_process_the_first_attempt_is_waited_for() {
    let service = Setup::embedded().start().await;
    a_success_in_time_is_answered_with_the_third_partys_answer(&service).await;
    a_failure_is_answered_202_and_the_call_goes_on(&service).await;
    what_is_too_slow_is_answered_202_and_the_same_attempt_goes_on(&service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_worker_in_another_process_the_first_attempt_is_waited_for_too() {
    let parts: [&[Part]; 2] = [&[Part::Api], &[Part::Worker, Part::Sweeper]];
    let service = Setup::rabbitmq().await.split(&parts).start().await;
    a_success_in_time_is_answered_with_the_third_partys_answer(&service).await;
    a_failure_is_answered_202_and_the_call_goes_on(&service).await;
    what_is_too_slow_is_answered_202_and_the_same_attempt_goes_on(&service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_no_json_come_back_as_text_or_base64() {
    let service = Setup::embedded().start().await;
    let answer =
        submit_and_wait(&service, 30, &keyed("text", "/ok?body=thanks,%20%3Cb%3Enoted%3C/b%3E")).await;
    assert_eq!(answer.body["response"]["body"], "thanks, <b>noted</b>", "{answer:?}");
    let answer = submit_and_wait(&service, 30, &keyed("nothing", "/status/204")).await;
    assert_eq!((answer.status, &answer.body["response"]["body_bytes"]), (200, &json!(0)), "{answer:?}");
    let answer = submit_and_wait(&service, 30, &keyed("large", "/bytes/200000")).await;
    assert_eq!((answer.status, &answer.body["response"]["body_bytes"]), (200, &json!(200_000)), "{answer:?}");
    let kept = answer.body["response"]["body"].as_str().map_or(0, str::len);
    assert!(kept <= 16 * 1024, "{kept} bytes were kept");
    assert_eq!(answer.body["response"]["truncated"], true, "{}", answer.body["response"]["body_bytes"]);
    let attempt = &service.call(&answer.id()).await["attempts"][0];
    assert_eq!(attempt["response_body_truncated"], true, "{}", attempt["response_body_bytes"]);
    let answer = submit_and_wait(&service, 30, &keyed("whole", "/bytes/16384")).await;
    assert!(answer.body["response"]["truncated"].is_null(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_third_party_echoes_of_the_endpoints_secret_is_masked() {
    let service = Setup::embedded().start().await;
    let answer = submit_and_wait(&service, 30, &keyed("k", "/echo")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = answer.body.to_string();
    assert!(text.contains("[redacted]") && !text.contains(ENDPOINT_SECRET), "{text}");
    let sent = service.seen("k");
    assert_eq!(sent[0].header("authorization"), Some(format!("Bearer {ENDPOINT_SECRET}").as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_is_seen_by_rules_and_kept_from_the_log() {
    let rule = r#"rules = [{ when = "'set-cookie' in headers && headers['set-cookie'].contains('canary')", verdict = "success" }]"#;
    let service =
        Setup::embedded().with(&format!("[endpoints.shop]\nbase_url = \"{{third_party}}\"\n{rule}\n"));
    let service = service.start().await;
    let mut document = keyed("k", "/status/422?header=set-cookie:session%3Dcanary");
    document["endpoint"] = "shop".into();
    let answer = submit_and_wait(&service, 30, &document).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("succeeded")), "{answer:?}");
    assert_eq!(answer.body["response"]["headers"]["set-cookie"], "[redacted]", "{answer:?}");
    let call = service.call(&answer.id()).await;
    assert_eq!(call["attempts"][0]["response_headers"]["set-cookie"], "[redacted]", "{call}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_what_is_not_due_ends_with_the_wait() {
    let service = Setup::embedded().start().await;
    let mut failed_before = keyed("failed-before", "/ok");
    failed_before["endpoint"] = "patient".into();
    failed_before["failure"] = json!({ "status": 503 });
    let answer = submit_and_wait(&service, 0, &failed_before).await;
    assert_eq!((answer.status, &answer.body["status"]), (202, &json!("scheduled")), "{answer:?}");
    // The first rung is a second; whoever waits longer sees the call succeed.
    failed_before["idempotency_key"] = "waited-for".into();
    let answer = submit_and_wait(&service, 30, &failed_before).await;
    assert_eq!((answer.status, &answer.body["response"]["status"]), (200, &json!(200)), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_call_is_shown_as_it_is() {
    let service = Setup::embedded().start().await;
    let id = submit_and_wait(&service, 30, &keyed("k", "/ok")).await.id();
    let answer = submit_and_wait(&service, 30, &keyed("k", "/ok")).await;
    assert_eq!(
        (answer.status, answer.id(), &answer.body["status"]),
        (200, id, &json!("succeeded")),
        "{answer:?}"
    );
    assert_eq!(answer.body["response"]["status"], 200, "{answer:?}");
    assert_eq!(answer.header("location"), "", "nothing was added");
    assert_eq!(service.seen("k").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_call_that_still_runs_is_waited_for() {
    let service = Setup::embedded().start().await;
    let document = keyed("k", "/slow?ms=1500");
    let id = service.submit(&document).await;
    let impatient = submit_and_wait(&service, 0, &document).await;
    assert_eq!((impatient.status, &impatient.body["status"]), (200, &json!("running")), "{impatient:?}");
    assert!(impatient.body["response"].is_null(), "{impatient:?}");
    let answer = submit_and_wait(&service, 30, &document).await;
    assert_eq!((answer.status, answer.id(), &answer.body["status"]), (200, id, &json!("succeeded")));
    assert_eq!(answer.body["response"]["status"], 200, "{answer:?}");
    assert_eq!(answer.header("preference-applied"), "wait=30");
    assert_eq!(service.seen("k").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_needs_a_person_is_not_waited_for() {
    let service = Setup::embedded().start().await;
    let mut document = keyed("k", "/ok");
    document["endpoint"] = "careful".into();
    document["failure"] = json!({ "ambiguous": true });
    let began = monotonic();
    for status in [202, 200] {
        let answer = submit_and_wait(&service, 60, &document).await;
        assert_eq!((answer.status, &answer.body["status"]), (status, &json!("review")), "{answer:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "it was waited for, for {:?}", began.elapsed());
}
