//! Where the focus is: what a person at the keyboard, or with a screen reader, needs to know where they are.

use super::journeys::NOT_LOGGED_IN;
use crate::support::browser::{Browser, WIDTHS};
use crate::support::in_process::{Setup, keyed};

/// Presses Escape where the focus is.
async fn press_escape(browser: &Browser) {
    browser
        .ask("document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true, cancelable: true }))")
        .await;
}

async fn focus_is_on(browser: &Browser, selector: &str) {
    let script = format!("return document.activeElement.matches({})", serde_json::json!(selector));
    browser.holds(&format!("the focus is on {selector}"), &script).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_reached_by_a_link_has_the_focus_on_its_heading_and_a_title_of_its_own() {
    let service = Setup::embedded().start().await;
    let id = service.submit(&keyed("order-9", "/ok")).await;
    service.call_in(&id, "succeeded").await;
    let browser = Browser::logged_in(&service, "auditor").await;
    browser.open("/calls").await;
    browser.sees("table.calls .cell-main a").await;
    focus_is_on(&browser, "body").await;
    browser.click("table.calls .cell-main a").await;
    browser.sees("#call-state").await;
    focus_is_on(&browser, "h1").await;
    browser.holds("the call has its title", "return document.title === 'Call order-9 · Redial'").await;
    browser.click("nav.places a[href='/endpoints']").await;
    focus_is_on(&browser, "h1").await;
    browser.holds("the page has its title", "return document.title === 'Endpoints · Redial'").await;
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dialog_begins_at_its_first_field_asks_before_it_loses_a_draft_and_leads_back() {
    let service = Setup::embedded().start().await;
    let id = service.submit(&keyed("refused", "/status/422")).await;
    service.call_in(&id, "review").await;
    let browser = Browser::logged_in(&service, "operator").await;
    browser.open(&format!("/calls/{id}")).await;
    browser.click("#replay-call").await;
    focus_is_on(&browser, "dialog select[name=method]").await;
    // Nothing has been typed: nothing is asked.
    press_escape(&browser).await;
    focus_is_on(&browser, "#replay-call").await;
    browser.click("#resolve-call").await;
    focus_is_on(&browser, "dialog input[name=note]").await;
    browser.fill("dialog input[name=note]", "half a sentence").await;
    press_escape(&browser).await;
    focus_is_on(&browser, "#keep-draft").await;
    browser.click("#keep-draft").await;
    focus_is_on(&browser, "dialog input[name=note]").await;
    browser.holds("the draft is kept", "return document.activeElement.value === 'half a sentence'").await;
    browser.click("dialog .dialog-head button").await;
    browser.click("#discard-draft").await;
    focus_is_on(&browser, "#resolve-call").await;
    browser.holds("the dialog is gone", "return !document.querySelector('dialog')").await;
    assert_eq!(service.call(&id).await["status"], "review");
    // What led to a dialog may be gone with what was done in it.
    browser.click("#resolve-call").await;
    browser.click("#confirm-action").await;
    browser.sees("#call-state[data-status=resolved]").await;
    focus_is_on(&browser, "h1").await;
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_under_an_open_menu_cannot_be_reached() {
    let service = Setup::embedded().start().await;
    let browser = Browser::logged_in(&service, "auditor").await;
    browser.be_wide(WIDTHS[1]).await;
    browser.click("header.top button").await;
    browser
        .holds(
            "only the menu can be used",
            "return document.querySelector('main').inert && document.querySelector('.side').contains(document.activeElement)",
        )
        .await;
    press_escape(&browser).await;
    focus_is_on(&browser, "header.top button").await;
    browser.holds("the page can be used", "return !document.querySelector('main').inert").await;
    browser.click("header.top button").await;
    browser.click("nav.places a[href='/calls']").await;
    browser.holds("the page can be used", "return !document.querySelector('main').inert").await;
    focus_is_on(&browser, "h1").await;
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}
