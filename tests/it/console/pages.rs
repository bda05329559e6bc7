//! Every page at two widths: a picture of each for people, and nothing that runs over its edge or complains.

use reqwest::Method;
use serde_json::json;

use crate::support::answer::Answer;
use crate::support::browser::{Browser, WIDTHS};
use crate::support::in_process::{Service, Setup, in_an_hour, keyed, to};

/// Whether every place of the navigation, and what stands below it, is what lies at its middle.
const NAVIGATION_IS_SEEN: &str = "\
    const parts = [...document.querySelectorAll('.brand, nav.places a, .side .segment, .side .who-name')];
    return parts.length > 10 && parts.every(part => {
        const { x, y, width, height } = part.getBoundingClientRect();
        return part.contains(document.elementFromPoint(x + width / 2, y + height / 2));
    })";

/// Third parties besides those of every service.
const MORE: &str = "\
    [endpoints.logistics]\nbase_url = \"{third_party}\"\n\
    [[endpoints.payment.providers]]\nname = \"alpha\"\nbase_url = \"{third_party}\"\nweight = 3\ncost = 0.045\n\
    [[endpoints.payment.providers]]\nname = \"beta\"\nbase_url = \"{third_party}\"\ncost = 0.039\n";

/// What an operator does besides: a job over many calls, and a pause.
async fn some_decisions(service: &Service) {
    let job = json!({ "action": "replay", "filter": { "endpoint": "payment", "status": "review" }, "canary": 1, "stop_at_failure_rate": 1.0, "note": "mended by the bank" });
    let pause = json!({ "note": "their maintenance, until 15:00" });
    for (path, document) in [("/v1/bulk", job), ("/v1/endpoints/logistics/pause", pause)] {
        let answer = Answer::to(service.request_as("operator", Method::POST, path).json(&document)).await;
        assert!((200..300).contains(&answer.status), "{answer:?}");
    }
}

/// Calls of all sorts; answers one that has much to tell.
async fn some_history(service: &Service) -> String {
    for number in 0..6 {
        service.submit(&keyed(&format!("order-{number}"), "/ok")).await;
    }
    let charges = ["/ok", "/slow?ms=80", "/status/422", "/fail/1/503", "/status/422", "/ok"];
    for (number, path) in charges.into_iter().enumerate() {
        let mut document = keyed(&format!("charge-{number}"), path);
        document["endpoint"] = json!("payment");
        let id = service.submit(&document).await;
        service.call_in(&id, if path == "/status/422" { "review" } else { "succeeded" }).await;
    }
    some_decisions(service).await;
    service.submit(&in_an_hour("later")).await;
    for path in ["/status/422", "/status/404", "/status/422"] {
        let id = service.submit(&to(path)).await;
        service.call_in(&id, "review").await;
    }
    let id = service
        .submit(&json!({
            "endpoint": "sms",
            "idempotency_key": "order-1234-paid-with-a-name-that-goes-on-and-on-and-on-and-on-and-on-and-on",
            "request": { "path": "/status/503", "headers": { "x-tenant": "7" }, "body": { "to": "+861380000", "text": "已支付" } },
            "failure": { "status": 503, "error": "upstream timeout", "attempts": 3 },
            "tags": { "order": "1234" },
        }))
        .await;
    service.call_in(&id, "review").await;
    let edit = json!({ "request": { "path": "/status/422" }, "note": "another path, as the partner asked" });
    let replay = service.request_as("operator", Method::POST, &format!("/v1/calls/{id}/replay")).json(&edit);
    assert_eq!(Answer::to(replay).await.status, 200);
    service.call_in(&id, "review").await;
    id
}

/// Holds a page to keep within its edges, and everything that can be used to have a name.
async fn fits(browser: &Browser, what: &str) {
    let over = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(browser.ask(over).await, 0, "{what}: so many pixels run over the edge");
    let nameless = "return [...document.querySelectorAll('button, a, input:not([type=hidden]), select, textarea')].filter(e => e.getClientRects().length && !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).map(e => e.outerHTML)";
    assert_eq!(browser.ask(nameless).await, json!([]), "{what}: without a name for those who do not see");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_fits_at_both_widths_in_both_languages_and_colours() {
    let service = Setup::embedded().with(MORE).start().await;
    let id = some_history(&service).await;
    let browser = Browser::before(&service).await;
    browser.open("/").await;
    browser.sees("input[name=token]").await;
    for width in WIDTHS {
        browser.be_wide(width).await;
        browser.photograph(&format!("login-{width}")).await;
    }
    browser.be_wide(WIDTHS[0]).await;
    browser.fill("input[name=token]", "tester").await;
    browser.click("button[type=submit]").await;
    browser.sees("nav.places").await;
    let call = format!("/calls/{id}");
    let pages = [
        ("overview", "/"),
        ("calls", "/calls"),
        ("call", call.as_str()),
        ("review", "/review"),
        ("endpoints", "/endpoints"),
        ("endpoint", "/endpoints/payment"),
        ("bulk", "/bulk"),
        ("audit", "/audit"),
        ("rejected", "/rejected"),
        ("submit", "/submit"),
        ("nowhere", "/endpoints/nowhere"),
    ];
    for (language, scheme) in [("en", "light"), ("zh-CN", "dark")] {
        browser.be_wide(WIDTHS[0]).await;
        browser.open("/").await;
        browser.prefer(scheme).await;
        browser.choose(".preferences select", language).await;
        for (name, path) in pages {
            browser.open(path).await;
            browser.sees("main h1").await;
            for width in WIDTHS {
                browser.be_wide(width).await;
                // At once, before another frame: nothing that the wider frame shows may still be on its way.
                assert_eq!(
                    browser.ask(NAVIGATION_IS_SEEN).await,
                    width == WIDTHS[0],
                    "{path} in {language} {width} px wide: the navigation"
                );
                let what = format!("{path} in {language} {width} px wide");
                browser
                    .holds(&format!("{what} is loaded"), "return !document.querySelector('main .skeleton')")
                    .await;
                browser.photograph(&format!("{name}-{width}-{language}-{scheme}")).await;
                fits(&browser, &what).await;
            }
        }
    }
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        browser.open("/docs").await;
        browser.sees("h1").await;
        for width in WIDTHS {
            browser.be_wide(width).await;
            browser.photograph(&format!("docs-{width}-{scheme}")).await;
            fits(&browser, &format!("the reference {width} px wide")).await;
        }
    }
    // The browser notes answers with an error status; the page that asks for what is not there is among those looked at.
    browser.complains_only_of(&["401 (Unauthorized)", "404 (Not Found)"]).await;
}
