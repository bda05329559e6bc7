//! Sessions of the console: a cookie for a token, and what a browser must show besides.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::in_process::{Service, Setup, keyed};
use crate::support::program::Workplace;

/// A browser that has logged in.
struct LoggedIn<'a> {
    service: &'a Service,
    cookie: String,
    csrf: String,
}

async fn log_in<'a>(service: &'a Service, token: &str) -> LoggedIn<'a> {
    let answer = give_token(service, token).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    LoggedIn { service, cookie, csrf: answer.body["csrf"].as_str().unwrap().to_owned() }
}

async fn give_token(service: &Service, token: &str) -> Answer {
    Answer::to(service.request(Method::POST, "/v1/session").json(&json!({ "token": token }))).await
}

impl LoggedIn<'_> {
    fn asks(&self, method: Method, path: &str) -> RequestBuilder {
        self.service.request(method, path).header("cookie", &self.cookie)
    }

    /// As a page of the console sends it.
    fn acts(&self, method: Method, path: &str, body: &Value) -> RequestBuilder {
        let origin = format!("http://{}", self.service.address);
        self.asks(method, path).header("origin", origin).header("x-redial-csrf", &self.csrf).json(body)
    }
}

/// A call that waits for review.
async fn refused(service: &Service) -> String {
    let id = service.submit(&keyed("k", "/status/422")).await;
    service.call_in(&id, "review").await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_exchanged_for_a_cookie_that_scripts_cannot_read() {
    let service = Setup::embedded().start().await;
    let answer = give_token(&service, "operator").await;
    let cookie = answer.header("set-cookie");
    for part in ["redial_session=", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "without TLS a browser would drop it: {cookie}");
    assert!(!cookie.contains("operator;"), "{cookie}");
    assert_eq!(
        (&answer.body["name"], &answer.body["roles"]),
        (&json!("operator"), &json!(["view", "operate"]))
    );
    let secure = service.request(Method::POST, "/v1/session").header("x-forwarded-proto", "https");
    let secure = Answer::to(secure.json(&json!({ "token": "operator" }))).await;
    assert!(secure.header("set-cookie").contains("; Secure"), "{secure:?}");

    let browser = log_in(&service, "operator").await;
    let shown = Answer::to(browser.asks(Method::GET, "/v1/session")).await;
    assert_eq!((shown.status, &shown.body["csrf"]), (200, &json!(browser.csrf)));
    assert_eq!(Answer::to(browser.asks(Method::GET, "/v1/calls")).await.status, 200);
    Answer::to(browser.asks(Method::POST, "/v1/calls")).await.is_problem("a submission without CSRF");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_session_is_refused() {
    let service = Setup::embedded().start().await;
    give_token(&service, "nobody").await.refuses(401, "token_unknown", "a wrong token");
    let no_token = service.request(Method::POST, "/v1/session").json(&json!({}));
    assert_eq!(Answer::to(no_token).await.status, 422);
    let elsewhere = service.request(Method::POST, "/v1/session").header("origin", "http://evil.example");
    let elsewhere = Answer::to(elsewhere.json(&json!({ "token": "operator" }))).await;
    elsewhere.refuses(403, "foreign_origin", "a log-in from another site");
    let nobody = Answer::to(service.request(Method::GET, "/v1/session")).await;
    nobody.refuses(401, "token_missing", "no session");
    let browser = log_in(&service, "auditor").await;
    // The same session under another name: the signature no longer fits.
    let (_, rest) = browser.cookie.split_once('.').unwrap();
    for forged in [
        format!("redial_session=b3BlcmF0b3I.{rest}"),
        format!("{}x", browser.cookie),
        "redial_session=".into(),
    ] {
        let answer = Answer::to(service.request(Method::GET, "/v1/calls").header("cookie", &forged)).await;
        answer.refuses(401, "token_missing", &forged);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_something_needs_the_csrf_token_and_our_own_origin() {
    let service = Setup::embedded().start().await;
    let id = refused(&service).await;
    let browser = log_in(&service, "operator").await;
    let path = format!("/v1/calls/{id}/cancel");
    let own = format!("http://{}", service.address);
    let bare = || browser.asks(Method::POST, &path);
    for (what, request) in [
        ("neither", bare()),
        ("no token", bare().header("origin", &own)),
        ("a wrong token", bare().header("origin", &own).header("x-redial-csrf", "x")),
        ("no origin", bare().header("x-redial-csrf", &browser.csrf)),
        (
            "another site",
            bare().header("origin", "http://evil.example").header("x-redial-csrf", &browser.csrf),
        ),
        ("a sandboxed frame", bare().header("origin", "null").header("x-redial-csrf", &browser.csrf)),
    ] {
        Answer::to(request).await.refuses(403, "csrf_missing", what);
    }
    assert_eq!(service.call(&id).await["status"], "review", "nothing was done");
    let answer = Answer::to(browser.acts(Method::POST, &path, &json!({ "note": "by hand" }))).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("cancelled")), "{answer:?}");
    assert_eq!(service.call(&id).await["actions"][0]["actor"], "operator");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_may_do_what_its_token_may_and_ends_with_logging_out() {
    let service = Setup::embedded().start().await;
    let id = refused(&service).await;
    let looker = log_in(&service, "auditor").await;
    let act = looker.acts(Method::POST, &format!("/v1/calls/{id}/cancel"), &json!({}));
    Answer::to(act).await.refuses(403, "role_missing", "an auditor acts");
    let forced = Answer::to(looker.asks(Method::DELETE, "/v1/session")).await;
    forced.refuses(403, "csrf_missing", "a log-out that another site caused");
    let out = Answer::to(looker.acts(Method::DELETE, "/v1/session", &json!({}))).await;
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").starts_with("redial_session=; Path=/; Max-Age=0"), "{out:?}");
    // A bearer token goes before a cookie, and needs no CSRF token.
    let both = looker.asks(Method::POST, &format!("/v1/calls/{id}/cancel")).bearer_auth("operator");
    assert_eq!(Answer::to(both).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tokens_everybody_is_in_but_no_other_site_acts() {
    let place = Workplace::with(
        "[server]\nlisten = \"127.0.0.1:0\"\n[endpoints.sms]\nbase_url = \"http://127.0.0.1:9\"\nladder = [\"1h\"]\n",
    );
    let server = place.start(&["serve"], &[]);
    let url = server.url().await;
    let client = redial::cli::http::client(std::time::Duration::from_mins(1)).unwrap();
    crate::support::wait_for("the server is ready", || async {
        client.get(format!("{url}/readyz")).send().await.ok().filter(|answer| answer.status() == 200)
    })
    .await;
    let session = Answer::to(client.get(format!("{url}/v1/session"))).await;
    let everything = json!({ "name": "anonymous", "roles": ["submit", "view", "operate"], "csrf": null });
    assert_eq!((session.status, session.body), (200, everything));
    let document = json!({ "endpoint": "sms", "request": { "path": "/ok" } });
    let submit = || client.post(format!("{url}/v1/calls")).json(&document);
    assert_eq!(Answer::to(submit()).await.status, 202);
    assert_eq!(Answer::to(submit().header("origin", &url)).await.status, 202, "our own console");
    let foreign = Answer::to(submit().header("origin", "http://evil.example")).await;
    foreign.refuses(403, "foreign_origin", "a page of another site");
    let rebound = client.get(format!("{url}/v1/calls")).header("host", "rebound.example:8080");
    Answer::to(rebound).await.refuses(403, "foreign_origin", "a name that leads here");
    server.stop().await.with(0);
}
