//! What single pages have besides the journeys: rejected messages, providers, confirm steps, settings, saved views, commands to copy,
//! calls that are held, long answers, jobs from a list.

use std::process::Command;

use redial::app::Part;
use serde_json::{Value, json};

use super::journeys::NOT_LOGGED_IN;
use crate::support::amqp_client::{AmqpClient, json_properties};
use crate::support::browser::Browser;
use crate::support::in_process::{Setup, in_an_hour, keyed};
use crate::support::wait_for;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_message_is_corrected_and_becomes_a_call() {
    let service = Setup::rabbitmq().await.start().await;
    let publisher = AmqpClient::connect(service.broker_url()).await;
    let properties = json_properties().with_app_id("till".into()).with_message_id("m-1".into());
    let misspelt = br#"{"endpoint":"smss","request":{"path":"/ok"}}"#;
    publisher.publish(&service.names().submit(), "sms", properties, misspelt).await;
    let browser = Browser::logged_in(&service, "operator").await;
    browser.open("/rejected").await;
    browser.reads("unknown_endpoint").await;
    browser.click(".message-card .button.primary").await;
    browser.fill("dialog textarea[name=document]", "{ \"endpoint\": \"sms\"").await;
    browser.sees("dialog .field-error").await;
    browser.sees("dialog button[type=submit]:disabled").await;
    // What is still wrong is said, and the message stays.
    browser
        .fill("dialog textarea[name=document]", r#"{"endpoint":"sms","request":{"path":"no-slash"}}"#)
        .await;
    browser.click("dialog button[type=submit]").await;
    browser.reads("/request/path").await;
    browser.fill("dialog textarea[name=document]", r#"{"endpoint":"sms","request":{"path":"/ok"}}"#).await;
    browser.click("dialog button[type=submit]").await;
    browser.sees("#call-state[data-status=succeeded]").await;
    let call = service.get("/v1/calls").await.body["calls"][0].clone();
    assert_eq!((&call["publisher"], &call["endpoint"]), (&json!("till"), &json!("sms")), "{call}");
    browser.open("/rejected").await;
    browser.reads("No rejected messages").await;
    browser.complains_only_of(&[NOT_LOGGED_IN, "422 (Unprocessable"]).await;
}

/// The cells of the row of a provider; nothing before the table is there.
async fn provider(browser: &Browser, name: &str) -> Option<Vec<String>> {
    let name = json!(name);
    let row = format!(
        "const row = [...document.querySelectorAll('main table.stack tbody tr')].find(row => row.querySelector('strong')?.innerText === {name}); \
         return row ? [...row.cells].map(cell => cell.innerText) : null"
    );
    let cells: Value = browser.ask(&row).await;
    Some(cells.as_array()?.iter().map(|cell| cell.as_str().unwrap().to_owned()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_shows_what_each_of_its_providers_does_and_costs() {
    let service = Setup::embedded()
        .with(
            "[endpoints.pay]\nstrategy = \"ordered\"\n\
             [[endpoints.pay.providers]]\nname = \"alpha\"\nbase_url = \"{third_party}\"\ncost = 0.045\n\
             [[endpoints.pay.providers]]\nname = \"beta\"\nbase_url = \"{third_party}\"\ncost = 0.039\n",
        )
        .start()
        .await;
    for number in 0..4 {
        let mut document = keyed(&format!("pay-{number}"), "/ok");
        document["endpoint"] = json!("pay");
        service.submit(&document).await;
    }
    wait_for("all are paid", || async { (service.count("status=succeeded").await == 4).then_some(()) }).await;
    let browser = Browser::logged_in(&service, "auditor").await;
    browser.open("/endpoints/pay").await;
    let alpha = wait_for("the table counts every attempt", || async {
        // Share, success, p50, p99, what one costs, what all cost.
        provider(&browser, "alpha").await.filter(|cells| cells[7] == "0.18")
    })
    .await;
    assert_eq!((&*alpha[1], &*alpha[2], &*alpha[3], &*alpha[6]), ("Closed", "100%", "100%", "0.045"));
    let beta = provider(&browser, "beta").await.unwrap();
    assert_eq!((&*beta[2], &*beta[6]), ("0%", "0.039"), "{beta:?}");
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_doubt_shows_how_the_third_party_was_asked() {
    let service = Setup::embedded()
        .with(
            "[endpoints.shop]\nbase_url = \"{third_party}\"\non_ambiguous = \"confirm\"\n\
             [endpoints.shop.confirm]\npath = \"/_simulator/keys/{{ idempotency_key }}\"\nafter = \"200ms\"\n\
             rules = [{ when = \"status == 200 && body.effects > 0\", answer = \"done\" }]\n",
        )
        .start()
        .await;
    let mut document = keyed("in-doubt", "/drop");
    document["endpoint"] = json!("shop");
    let id = service.submit(&document).await;
    service.call_in(&id, "succeeded").await;
    let browser = Browser::logged_in(&service, "auditor").await;
    browser.open(&format!("/calls/{id}")).await;
    browser.sees("#call-state[data-status=succeeded]").await;
    let heads = "return [...document.querySelectorAll('.story .attempt-head')].map(head => head.innerText.replace(/\\s+/g, ' ')).map(head => [head.includes('Attempt 1'), head.includes('Ambiguous'), head.includes('Confirm step 2')])";
    assert_eq!(browser.ask(heads).await, json!([[true, true, false], [false, false, true]]));
    // The last step is open: what was asked, and by which rule the answer was read.
    browser.reads("/_simulator/keys/in-doubt").await;
    browser.reads("body.effects > 0").await;
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_is_saved_under_a_name_kept_over_a_reload_and_dropped() {
    let service = Setup::embedded().start().await;
    let id = service.submit(&keyed("refused", "/status/422")).await;
    service.call_in(&id, "review").await;
    service.submit(&keyed("fine", "/ok")).await;
    let browser = Browser::logged_in(&service, "auditor").await;
    browser.open("/calls?status=review&endpoint=sms").await;
    browser.click(".views .link-button").await;
    browser.fill(".views input", "stuck messages").await;
    browser.click(".views button[type=submit]").await;
    browser.reads("stuck messages").await;
    browser.open("/calls").await;
    browser.reads("fine").await;
    browser.click(".views .view a").await;
    browser
        .holds(
            "its conditions are in the address",
            "return location.search.includes('status=review') && location.search.includes('endpoint=sms')",
        )
        .await;
    browser
        .holds(
            "only what it asks for is listed",
            "return document.querySelectorAll('table.calls tbody tr').length === 1",
        )
        .await;
    browser.click(".views .view button").await;
    browser.open("/calls").await;
    browser.reads("fine").await;
    assert_eq!(browser.ask("return document.querySelector('.views') === null").await, true);
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_could_not_reach_the_server_asks_again_by_itself() {
    let service = Setup::embedded().start().await;
    let id = service.submit(&keyed("kept-safe", "/ok")).await;
    service.call_in(&id, "succeeded").await;
    let browser = Browser::logged_in(&service, "auditor").await;
    browser.open("/calls").await;
    browser.sees("table.calls .cell-main a").await;
    browser.be_offline(true).await;
    browser.click("table.calls .cell-main a").await;
    browser.sees("main .notice.tone-bad").await;
    browser.be_offline(false).await;
    browser.sees("#call-state[data-status=succeeded]").await;
    browser.complains_only_of(&[NOT_LOGGED_IN, "ERR_INTERNET_DISCONNECTED"]).await;
}

/// Runs a command as a person would who pasted it into a shell, and reads what it says as JSON.
fn pasted(command: &str, token: &str) -> Value {
    let said = Command::new("sh").args(["-c", command]).env("REDIAL_TOKEN", token).output().unwrap();
    serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{command}\n{said:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_copied_as_curl_does_what_the_page_shows() {
    let service = Setup::embedded().start().await;
    let mut document = keyed("o'neill", "/status/422?lang=en&to=you");
    document["request"]["headers"] = json!({ "x-tenant": "7" });
    document["request"]["body"] = json!({ "text": "it's \"paid\" @ $HOME" });
    let id = service.submit(&document).await;
    service.call_in(&id, "review").await;
    service.submit(&keyed("fine", "/ok")).await;
    let browser = Browser::logged_in(&service, "tester").await;

    browser.open("/calls?status=review").await;
    browser.click(".page-actions .button.quiet").await;
    browser.reads("Copied").await;
    let listed = pasted(&browser.copied().await, "tester");
    assert_eq!((&listed["calls"][0]["id"], &listed["calls"][1]), (&json!(id), &Value::Null), "{listed}");

    browser.open(&format!("/calls/{id}")).await;
    browser.sees("#call-state").await;
    browser.click(".page-actions .button.quiet").await;
    browser.reads("Copied").await;
    let before = service.third_party.requests();
    pasted(&browser.copied().await, "tester");
    let after = service.third_party.requests();
    assert_eq!(after.len(), before.len() + 1);
    let (first, again) = (&before[0], &after[after.len() - 1]);
    assert_eq!((&again.method, &again.target, &again.body), (&first.method, &first.target, &first.body));
    assert_eq!(
        (again.header("x-tenant"), again.header("content-type")),
        (Some("7"), Some("application/json"))
    );
    // What is pasted must not be a second payment.
    assert_eq!(again.header("idempotency-key"), Some("o'neill"));
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_due_but_held_says_why_and_leads_to_its_endpoint() {
    // Nobody makes attempts here, so the call is certain to wait.
    let service = Setup::embedded().split(&[&[Part::Api, Part::Intake, Part::Sweeper]]).start().await;
    let paused = service.post("/v1/endpoints/sms/pause", &json!({ "note": "their maintenance" })).await;
    assert_eq!(paused.status, 200, "{paused:?}");
    let id = service.submit(&keyed("held", "/ok")).await;
    let browser = Browser::logged_in(&service, "auditor").await;
    browser.open(&format!("/calls/{id}")).await;
    browser.sees("#held").await;
    browser.reads("It was to go").await;
    browser.reads("Held because somebody paused the endpoint").await;
    browser.reads("their maintenance").await;
    browser.click("#held a").await;
    browser.holds("it leads to the endpoint", "return location.pathname === '/endpoints/sms'").await;
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_is_drawn_when_it_is_opened() {
    let service = Setup::embedded().start().await;
    let id = service.submit(&keyed("thrice", "/status/503")).await;
    service.call_in(&id, "review").await;
    let browser = Browser::logged_in(&service, "auditor").await;
    browser.open(&format!("/calls/{id}")).await;
    let bodies = async |count: usize| {
        let script = format!(
            "return document.querySelectorAll('details.attempt').length === 3 && document.querySelectorAll('.attempt-body').length === {count}"
        );
        browser.holds(&format!("{count} of three attempts are drawn"), &script).await;
    };
    bodies(1).await;
    browser.click("details.attempt summary").await;
    bodies(2).await;
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cut_or_would_not_be_seen_is_shown_as_such() {
    let service = Setup::embedded().start().await;
    let mut document = keyed("long", "/bytes/100000");
    document["request"]["body"] = json!({ "text": "left\u{202e}right" });
    let id = service.submit(&document).await;
    service.call_in(&id, "succeeded").await;
    let browser = Browser::logged_in(&service, "auditor").await;
    browser.open(&format!("/calls/{id}")).await;
    browser.reads("first 16 KiB of 97.7 KiB").await;
    browser.reads("leftU+202Eright").await;
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acting_on_a_list_is_acting_on_what_is_named() {
    let service = Setup::embedded().start().await;
    for (key, path, status) in [("fine", "/ok", "succeeded"), ("refused", "/status/422", "review")] {
        let id = service.submit(&keyed(key, path)).await;
        service.call_in(&id, status).await;
    }
    service.submit(&in_an_hour("later")).await;
    let browser = Browser::logged_in(&service, "operator").await;
    let offered = async |conditions: &str, label: &str, statuses: &str| {
        browser.open(&format!("/calls?{conditions}")).await;
        browser.reads(label).await;
        browser.click("#act-on-these").await;
        browser.sees("#bulk-statuses").await;
        assert_eq!(browser.ask("return document.querySelector('#bulk-statuses').innerText").await, statuses);
    };
    offered("endpoint=sms", "Act on those in review", "In review 1").await;
    offered("status=scheduled,running,review", "Act on all of these", "In review 1 · Scheduled 1").await;
    browser.open("/calls?status=succeeded").await;
    browser.sees("table.calls tbody tr").await;
    assert_eq!(browser.ask("return document.querySelector('#act-on-these')").await, Value::Null);
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_shows_what_it_is_set_to() {
    let service = Setup::embedded()
        .with(
            "[endpoints.shop]\nbase_url = \"{third_party}\"\non_ambiguous = \"confirm\"\nidempotency_window = \"24h\"\n\
             breaker = { failure_rate = 0.5, window = \"30s\", min_calls = 20, open_for = \"15s\" }\n\
             [endpoints.shop.confirm]\npath = \"/orders/{{ idempotency_key }}\"\nafter = \"45s\"\n\
             rules = [{ when = \"status == 404\", answer = \"absent\" }]\n",
        )
        .start()
        .await;
    let browser = Browser::logged_in(&service, "auditor").await;
    browser.open("/endpoints/shop").await;
    for shown in [
        "/orders/{{ idempotency_key }}",
        "45 s after the attempt",
        "status == 404",
        "opens at 50% failures of 20 or more calls in 30 s, for 15 s",
        "Key remembered for",
        "1 d",
        "Lease",
    ] {
        browser.reads(shown).await;
    }
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}
