//! What people do in the console, done by a browser: log in, find, read, edit, replay, act on many.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::browser::Browser;
use crate::support::in_process::{Service, Setup, keyed};
use crate::support::wait_for;

/// The answer to `GET /v1/session` of somebody who is not logged in; the browser notes every such answer.
pub(super) const NOT_LOGGED_IN: &str = "401 (Unauthorized)";

async fn refused(service: &Service, key: &str) -> String {
    let id = service.submit(&keyed(key, "/status/422")).await;
    service.call_in(&id, "review").await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_token_is_refused_and_who_has_one_gets_in_and_out() {
    let service = Setup::embedded().start().await;
    let browser = Browser::before(&service).await;
    browser.open("/calls").await;
    browser.fill("input[name=token]", "guessed").await;
    browser.click("button[type=submit]").await;
    browser.reads("This token is not known here.").await;
    assert_eq!(browser.ask("return document.querySelector('nav.places') === null").await, true);
    browser.fill("input[name=token]", "auditor").await;
    browser.click("button[type=submit]").await;
    browser.sees("nav.places").await;
    assert_eq!(browser.path().await, "/calls", "the page that was asked for");
    browser.reads("No calls yet").await;
    assert_eq!(browser.ask("return document.cookie").await, "", "no script can read the session");
    // An auditor submits nothing, so the page for it is not offered.
    assert_eq!(browser.ask("return document.querySelector('a[href=\"/submit\"]') === null").await, true);
    browser.click("#log-out").await;
    browser.sees("input[name=token]").await;
    browser.open("/").await;
    browser.sees("input[name=token]").await;
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_call_is_found_read_edited_replayed_and_seen_to_succeed() {
    let service = Setup::embedded().start().await;
    let id = refused(&service, "order-7-paid").await;
    service.submit(&keyed("another", "/ok")).await;
    let browser = Browser::logged_in(&service, "operator").await;
    browser.click("nav.places a[href='/calls']").await;
    browser.fill("input[name=q]", "order-7").await;
    browser
        .holds(
            "only the call that was searched for is listed",
            "return document.querySelectorAll('table.calls tbody tr').length === 1",
        )
        .await;
    browser.holds("the search is in the address", "return location.search.includes('order-7')").await;
    browser.click("table.calls tbody tr .cell-main a").await;
    browser.sees("#call-state[data-status=review]").await;
    browser.reads("The third party refused it for good.").await;
    browser.reads("HTTP 422").await;

    browser.click("#replay-call").await;
    browser.fill("dialog input[name=path]", "/ok").await;
    browser.fill("dialog textarea[name=body]", "{ \"text\": \"mended\" ").await;
    browser.sees("dialog .field-error").await;
    browser.sees("#confirm-replay:disabled").await;
    browser.fill("dialog textarea[name=body]", "{ \"text\": \"mended\" }").await;
    browser.holds(
        "the difference is shown",
        "return [...document.querySelectorAll('dialog .diff-in')].some(line => line.innerText.includes('mended'))",
    )
    .await;
    browser.fill("dialog input[name=note]", "the partner wants another path").await;
    browser.click("#confirm-replay").await;
    // The page is told by the stream; nobody loads it again.
    browser.sees("#call-state[data-status=succeeded]").await;
    browser.reads("operator edited the request").await;
    browser.reads("the partner wants another path").await;
    browser.reads("The third party has it.").await;
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;

    let call = service.call(&id).await;
    assert_eq!(
        (&call["request"]["path"], &call["request"]["body"]),
        (&json!("/ok"), &json!({ "text": "mended" }))
    );
    let action = &call["actions"][0];
    assert_eq!(
        (&action["actor"], &action["note"]),
        (&json!("operator"), &json!("the partner wants another path"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_that_no_double_holds_go_through_the_editor_unchanged() {
    let service = Setup::embedded().start().await;
    let body = r#"{"order_id":12345678901234567890,"amount":1.10,"huge":1e300,"name":"x"}"#;
    let document = format!(
        r#"{{"endpoint":"sms","idempotency_key":"exact","request":{{"path":"/status/422","body":{body}}}}}"#
    );
    let accepted = service.post_text("/v1/calls", document).await;
    let id = accepted.body["id"].as_str().unwrap().to_owned();
    service.call_in(&id, "review").await;
    let browser = Browser::logged_in(&service, "operator").await;
    browser.open(&format!("/calls/{id}")).await;
    browser.reads("12345678901234567890").await;
    browser.click("#replay-call").await;
    browser.fill("dialog input[name=path]", "/ok").await;
    let shown = browser.ask("return document.querySelector('dialog textarea[name=body]').value").await;
    let shown = shown.as_str().unwrap();
    assert!(shown.contains("12345678901234567890") && shown.contains("1.10"), "{shown}");
    browser.fill("dialog textarea[name=body]", &shown.replace("\"x\"", "\"y\"")).await;
    browser.click("#confirm-replay").await;
    browser.sees("#call-state[data-status=succeeded]").await;
    let sent = service.third_party.requests().pop().unwrap();
    let sent = String::from_utf8_lossy(&sent.body).into_owned();
    assert_eq!(sent, body.replace("\"x\"", "\"y\""));
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_slower_is_told_and_changes_nothing() {
    let service = Setup::embedded().start().await;
    let id = refused(&service, "k").await;
    let browser = Browser::logged_in(&service, "operator").await;
    browser.open(&format!("/calls/{id}")).await;
    browser.click("#replay-call").await;
    browser.sees("#confirm-replay:not(:disabled)").await;
    // Meanwhile a colleague edits and replays it; it is refused again.
    let edit = json!({ "request": { "path": "/status/404" } });
    let other = service.request_as("tester", Method::POST, &format!("/v1/calls/{id}/replay")).json(&edit);
    assert_eq!(Answer::to(other).await.status, 200);
    service.call_in(&id, "review").await;
    browser.click("#confirm-replay").await;
    browser.sees("#conflict").await;
    browser.click("#conflict button").await;
    browser.reads("tester edited the request").await;
    let call = service.call(&id).await;
    assert_eq!((&call["status"], call["actions"].as_array().unwrap().len()), (&json!("review"), 1), "{call}");
    browser.complains_only_of(&[NOT_LOGGED_IN, "412 (Precondition Failed)"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_follows_what_happens_without_being_asked() {
    let service = Setup::embedded().start().await;
    let browser = Browser::logged_in(&service, "auditor").await;
    browser.open("/calls?status=succeeded").await;
    browser.reads("Nothing matches these filters").await;
    service.submit(&keyed("seen-live", "/ok")).await;
    browser.reads("seen-live").await;
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_submitted_by_hand_from_the_document_that_is_shown() {
    let service = Setup::embedded().start().await;
    let browser = Browser::logged_in(&service, "tester").await;
    browser.open("/submit").await;
    browser.choose("select[name=endpoint]", "sms").await;
    browser.fill("input[name=path]", "/ok").await;
    browser.fill("textarea[name=body]", "{ \"to\": \"<b>+86</b>\" }").await;
    browser.fill("input[name=key]", "by-hand").await;
    browser
        .holds(
            "the document follows the form",
            "return document.querySelector('.code pre').innerText.includes('by-hand')",
        )
        .await;
    browser.click("#submit-call").await;
    browser.sees("#submitted a").await;
    browser.click("#submitted a").await;
    browser.sees("#call-state[data-status=succeeded]").await;
    browser.reads("<b>+86</b>").await;
    let found = service.get("/v1/calls?q=by-hand").await.body;
    assert_eq!(found["calls"][0]["publisher"], "tester", "{found}");
    // What the API refuses is shown where it is wrong.
    browser.open("/submit").await;
    browser.fill("input[name=path]", "no-slash").await;
    browser.click("#submit-call").await;
    browser.reads("/request/path").await;
    browser.complains_only_of(&[NOT_LOGGED_IN, "422 (Unprocessable"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_only_submit_submits_and_is_offered_nothing_else() {
    let service = Setup::embedded().start().await;
    let browser = Browser::logged_in(&service, "billing").await;
    let places =
        browser.ask("return [...document.querySelectorAll('nav.places a')].map(a => a.pathname)").await;
    assert_eq!(places, json!(["/submit"]));
    browser.open("/calls").await;
    browser.fill("input[name=endpoint]", "sms").await;
    browser.fill("input[name=path]", "/ok").await;
    browser.click("#submit-call").await;
    browser.sees("#submitted code").await;
    assert_eq!(service.get("/v1/calls").await.body["calls"][0]["publisher"], "billing");
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_nobody_can_have_written_is_told_so() {
    let service = Setup::embedded().start().await;
    let browser = Browser::logged_in(&service, "auditor").await;
    browser.open("/endpoints/%25zz").await;
    browser.open("/endpoints/%zz").await;
    browser.reads("There is no such page").await;
    browser.complains_only_of(&[NOT_LOGGED_IN, "404 (Not Found)"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_speaks_both_languages_and_remembers_which() {
    let service = Setup::embedded().start().await;
    let browser = Browser::logged_in(&service, "auditor").await;
    browser.reads("Overview").await;
    assert_eq!(browser.ask("return document.documentElement.lang").await, "en");
    browser.choose(".preferences select", "zh-CN").await;
    browser.reads("总览").await;
    browser.open("/review").await;
    browser.reads("人工审核").await;
    assert_eq!(browser.ask("return document.documentElement.lang").await, "zh-CN");
    browser.click(".side .segment:nth-child(3)").await;
    browser.holds("it is dark", "return document.documentElement.dataset.theme === 'dark'").await;
    browser.open("/calls").await;
    browser.holds("it is dark still", "return document.documentElement.dataset.theme === 'dark'").await;
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

/// Calls of one group: the third party refuses each once, or for ever.
async fn group(service: &Service, count: usize, path: &str) {
    for number in 0..count {
        service.submit(&keyed(&format!("{path}-{number}"), path)).await;
    }
    wait_for("they all wait for review", || async {
        (service.count("status=review").await == count).then_some(())
    })
    .await;
}

/// Chooses everything in review and starts a replay of it behind a canary.
async fn replay_all(browser: &Browser, count: usize, canary: usize, rate: &str) {
    browser.open("/review").await;
    browser.click("tbody .cell-check input").await;
    browser.click("#act-on-selection").await;
    browser.sees("#bulk-count").await;
    assert_eq!(
        browser.ask("return document.querySelector('#bulk-count').innerText").await,
        count.to_string()
    );
    browser.fill("dialog input[name=canary]", &canary.to_string()).await;
    browser.fill("dialog input[name=rate]", rate).await;
    browser.fill("dialog input[name=note]", "mended by the partner").await;
    browser.click("dialog button[type=submit]").await;
    browser.sees(".progress-bar").await;
}

async fn jobs(service: &Service) -> Vec<Value> {
    let answer = service.get("/v1/bulk").await;
    answer.body["jobs"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_replayed_behind_a_canary_aborted_and_replayed_to_its_end() {
    const CALLS: usize = 40;
    // At one call a second it goes on for as long as a slow browser needs to look at it and to abort.
    const LONG_CANARY: usize = 30;
    let service = Setup::embedded().start().await;
    group(&service, CALLS, "/fail/1/422").await;
    let browser = Browser::logged_in(&service, "operator").await;
    replay_all(&browser, CALLS, LONG_CANARY, "1").await;
    browser.reads(&format!("{LONG_CANARY} go first; the rest waits for them")).await;
    browser.click("#abort").await;
    browser.click("dialog button[type=submit]").await;
    browser.reads("Aborted").await;
    let job = jobs(&service).await.remove(0);
    assert_eq!(
        (&job["status"], &job["actor"], &job["canary"]),
        (&json!("aborted"), &json!("operator"), &json!(LONG_CANARY))
    );
    let acted = usize::try_from(job["acted"].as_u64().unwrap()).unwrap();
    assert!(acted < CALLS, "{job}");
    wait_for("what was set going succeeds", || async {
        (service.count("status=succeeded").await == acted).then_some(())
    })
    .await;
    let left = CALLS - acted;
    assert_eq!(service.count("status=review").await, left, "the rest was left alone");

    replay_all(&browser, left, 2, "1000").await;
    browser.reads("Done").await;
    wait_for("all succeed", || async { (service.count("status=succeeded").await == CALLS).then_some(()) })
        .await;
    browser.open("/audit").await;
    browser.reads("Bulk job aborted").await;
    browser.reads("mended by the partner").await;
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_fails_spares_the_rest() {
    let service = Setup::embedded().start().await;
    group(&service, 6, "/status/422").await;
    let browser = Browser::logged_in(&service, "operator").await;
    replay_all(&browser, 6, 2, "1000").await;
    browser.reads("Stopped").await;
    let job = jobs(&service).await.remove(0);
    // The first of the two may fail before the second is set going.
    assert_eq!(job["status"], "stopped", "{job}");
    assert!(matches!(job["acted"].as_u64(), Some(1 | 2)), "{job}");
    browser.reads(job["reason"].as_str().unwrap()).await;
    browser.photograph("bulk-stopped").await;
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_paused_with_a_reason_and_resumed() {
    let service = Setup::embedded().start().await;
    let browser = Browser::logged_in(&service, "operator").await;
    browser.open("/endpoints/sms").await;
    browser.click("#pause").await;
    browser.fill("dialog input[name=note]", "their maintenance").await;
    browser.click("dialog button[type=submit]").await;
    browser.reads("No attempt begins until somebody resumes it.").await;
    browser.reads("their maintenance").await;
    browser
        .holds(
            "its state has a word",
            "return document.querySelector('.page-title .badge').innerText.trim() === 'Paused'",
        )
        .await;
    let id = service.submit(&keyed("held", "/ok")).await;
    browser.click("#pause").await;
    browser.click("dialog button[type=submit]").await;
    service.call_in(&id, "succeeded").await;
    browser.holds("it is open again", "return !document.querySelector('main .notice')").await;
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}
