//! Hosts that submissions name: those that are allowed, and addresses that nobody may reach through Redial.

use serde_json::{Value, json};

use crate::support::in_process::Setup;

fn to(endpoint: &str, url: &str) -> Value {
    json!({ "endpoint": endpoint, "idempotency_key": url, "request": { "url": url } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_hosts_that_are_allowed_are_called_and_only_at_addresses_that_are() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    // The third party stands on this machine: one endpoint may go there, for the other its address is out of reach.
    let probe = Setup::embedded();
    let lines = format!(
        "[endpoints.inner]\nallowed_hosts = [\"{{third_party}}\", \"*.partner.example\"]\naddresses = \"any\"\n\
         [endpoints.outer]\nladder = [\"1h\"]\nallowed_hosts = [\"http://localhost:{}\"]\n",
        closed.port(),
    );
    let service = probe.with(&lines).start().await;
    let base = service.third_party.url();

    let id = service.submit(&to("inner", &format!("{base}/ok?ms=1"))).await;
    let call = service.call_in(&id, "succeeded").await;
    assert_eq!(call["request"]["url"], format!("{base}/ok?ms=1"));
    assert_eq!(call["request"].get("path"), None);
    assert_eq!(call["attempts"][0]["request"]["url"], format!("{base}/ok?ms=1"));
    assert_eq!(service.third_party.requests()[0].target, "/ok?ms=1");

    for url in [
        "https://evil.example/",
        "https://partner.example/",
        "https://partner.example.evil.example/",
        "http://a.partner.example/",
        "https://a.partner.example:8443/",
        "https://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:1/",
        "http://[::1]/",
    ] {
        service.post("/v1/calls", &to("inner", url)).await.refuses(422, "host_not_allowed", url);
    }
    for url in
        ["ftp://a.partner.example/", "/v1", "https://u:p@a.partner.example/", "https://a.partner.example/#x"]
    {
        service.post("/v1/calls", &to("inner", url)).await.refuses(422, "invalid_value", url);
    }
    let path = json!({ "endpoint": "inner", "request": { "path": "/ok" } });
    service.post("/v1/calls", &path).await.refuses(422, "missing_field", "a path where a URL is needed");
    let both = json!({ "endpoint": "inner", "request": { "path": "/ok", "url": format!("{base}/ok") } });
    service.post("/v1/calls", &both).await.refuses(422, "invalid_value", "both");
    service.post("/v1/calls", &to("sms", &format!("{base}/ok"))).await.refuses(
        422,
        "invalid_value",
        "a URL where the endpoint knows its host",
    );

    // The name is allowed; where it leads is not.
    let id = service.submit(&to("outer", &format!("http://localhost:{}/ok", closed.port()))).await;
    let call = service.call_in(&id, "review").await;
    let attempt = &call["attempts"][0];
    assert_eq!(
        (&call["review_reason"], &attempt["verdict"]),
        (&json!("rejected"), &json!("rejected")),
        "{call}"
    );
    assert_eq!(attempt["error_kind"], "unsendable", "{call}");
    assert!(attempt["error"].as_str().unwrap().contains("public internet"), "{attempt}");
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept()).await.is_err(),
        "somebody connected"
    );
    // A redirect is an answer, not an order.
    let id = service.submit(&to("inner", &format!("{base}/redirect?location=http://127.0.0.1:1/"))).await;
    let call = service.call_in(&id, "review").await;
    assert_eq!(
        (&call["attempts"][0]["http_status"], &call["review_reason"]),
        (&json!(302), &json!("rejected"))
    );
}
