//! What lasts: entries, places and pages outlive a change of language, the end of a session, a server that is away, and the way back.

use super::journeys::NOT_LOGGED_IN;
use crate::support::browser::Browser;
use crate::support::in_process::{Setup, keyed};
use crate::support::wait_for;

/// Ends the session as time would: the page is not told.
const END_THE_SESSION: &str = "return (async () => { \
    const { csrf } = await (await fetch('/v1/session')).json(); \
    return (await fetch('/v1/session', { method: 'DELETE', headers: { 'x-redial-csrf': csrf } })).status; })()";

async fn the_body_is_kept(browser: &Browser, text: &str) {
    let script = format!(
        "return document.querySelector('textarea[name=body]')?.value === {}",
        serde_json::json!(text)
    );
    browser.holds("what was typed is still there", &script).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_outlives_another_language_and_the_end_of_the_session() {
    let service = Setup::embedded().start().await;
    let browser = Browser::logged_in(&service, "tester").await;
    browser.open("/submit").await;
    browser.choose("select[name=endpoint]", "sms").await;
    browser.fill("input[name=path]", "/ok").await;
    browser.fill("textarea[name=body]", "{ \"text\": \"long and dear\" }").await;
    browser.choose(".preferences select", "zh-CN").await;
    browser.reads("提交调用").await;
    the_body_is_kept(&browser, "{ \"text\": \"long and dear\" }").await;

    assert_eq!(browser.ask(END_THE_SESSION).await, 204);
    browser.click("#submit-call").await;
    browser.sees("dialog.login-again").await;
    browser.fill("dialog input[name=token]", "guessed").await;
    browser.click("dialog button[type=submit]").await;
    browser.reads("令牌无效。").await;
    browser.fill("dialog input[name=token]", "tester").await;
    browser.click("dialog button[type=submit]").await;
    browser.holds("the page is free again", "return !document.querySelector('dialog')").await;
    the_body_is_kept(&browser, "{ \"text\": \"long and dear\" }").await;
    browser.click("#submit-call").await;
    browser.sees("#submitted").await;
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_one_person_is_left_for_another_who_logs_in() {
    let service = Setup::embedded().start().await;
    let browser = Browser::logged_in(&service, "tester").await;
    browser.open("/submit").await;
    browser.fill("input[name=path]", "/mine").await;
    assert_eq!(browser.ask(END_THE_SESSION).await, 204);
    browser.click("#submit-call").await;
    browser.fill("dialog input[name=token]", "billing").await;
    browser.click("dialog button[type=submit]").await;
    browser
        .holds("the form is a new one", "return document.querySelector('input[name=path]')?.value === '/'")
        .await;
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_told_once() {
    let service = Setup::embedded().start().await;
    let browser = Browser::logged_in(&service, "auditor").await;
    browser.open("/calls").await;
    browser.reads("No calls yet").await;
    browser.be_offline(true).await;
    // The overview asks for five things.
    browser.click("nav.places a[href='/']").await;
    browser.sees("#outage").await;
    assert_eq!(browser.ask("return document.querySelectorAll('main .notice').length").await, 1);
    browser.be_offline(false).await;
    browser.holds("it is told no more", "return !document.querySelector('#outage')").await;
    browser.reads("Nothing waits for a person").await;
    browser.complains_only_of(&[NOT_LOGGED_IN, "ERR_INTERNET_DISCONNECTED"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_back_leads_to_where_one_was() {
    const CALLS: usize = 40;
    let service = Setup::embedded().start().await;
    for number in 0..CALLS {
        service.submit(&keyed(&format!("order-{number}"), "/ok")).await;
    }
    wait_for("all are done", || async { (service.count("status=succeeded").await == CALLS).then_some(()) })
        .await;
    let browser = Browser::logged_in(&service, "auditor").await;
    browser.open("/calls").await;
    browser.sees("table.calls tbody tr:nth-child(40)").await;
    browser.ask("scrollTo(0, 700)").await;
    browser.ask("document.querySelector('table.calls tbody tr:nth-child(20) .cell-main a').click()").await;
    browser.sees("#call-state").await;
    browser.holds("a new page begins at its top", "return scrollY === 0").await;
    browser.ask("history.back()").await;
    browser.sees("table.calls tbody tr:nth-child(40)").await;
    browser.holds("the list is where it was", "return Math.round(scrollY) === 700").await;
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_use_the_clipboard_copies_all_the_same() {
    let service = Setup::embedded().start().await;
    let browser = Browser::logged_in(&service, "auditor").await;
    browser.open("/calls").await;
    browser.reads("No calls yet").await;
    // As it is for a page that came over plain HTTP from another machine.
    browser.ask("Object.defineProperty(navigator, 'clipboard', { value: undefined })").await;
    browser.ask("addEventListener('copy', () => { window.copied = document.activeElement.value; })").await;
    browser.click(".page-actions .button.quiet").await;
    browser.reads("Copied").await;
    let copied = browser.ask("return window.copied").await;
    assert!(
        copied.as_str().is_some_and(|text| text.starts_with("curl") && text.contains("/v1/calls")),
        "{copied}"
    );
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}
