//! What the HTTP API says to what it cannot take: always a problem document, never a lost or a half accepted call.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::in_process::{Service, Setup, in_an_hour, keyed, to};

/// A document of `sms` around the text of a request.
fn around(request: &str) -> String {
    format!(r#"{{"endpoint":"sms","request":{request}}}"#)
}

/// A document of `sms` with one more member, as text.
fn with(member: &str) -> String {
    format!(r#"{{"endpoint":"sms","request":{{"path":"/ok"}},{member}}}"#)
}

async fn nothing_was_stored(service: &Service) {
    assert_eq!(service.count("").await, 0, "something was stored");
    assert_eq!(service.third_party.summary().requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_readable_is_refused_with_400() {
    let service = Setup::embedded().start().await;
    let deep = |open: &str, close: &str| open.repeat(10_000) + &close.repeat(10_000);
    let texts: Vec<Vec<u8>> = vec![
        Vec::new(),
        b" \n".to_vec(),
        b"{".to_vec(),
        b"not json".to_vec(),
        [to("/ok").to_string().as_bytes(), b" x"].concat(),
        [to("/ok").to_string().as_bytes(), to("/ok").to_string().as_bytes()].concat(),
        b"\xef\xbb\xbf{}".to_vec(),
        r#"{"endpoint":"sms","endpoint":"sms","request":{"path":"/ok"}}"#.into(),
        around(r#"{"path":"/ok","body":{"a":1,"\u0061":2}}"#).into(),
        around(&format!(r#"{{"path":"/ok","body":{}}}"#, deep("[", "]"))).into(),
        around(&format!(r#"{{"path":"/ok","body":{}}}"#, deep(r#"{"a":"#, "}").replace(":}", ":1}"))).into(),
        b"{\"endpoint\":\"sms\xff\",\"request\":{}}".to_vec(),
        around(r#"{"path":"/ok","body":"\ud800"}"#).into(),
        around(r#"{"path":"/ok","body":1e999}"#).into(),
        around(r#"{"path":"/ok","body":NaN}"#).into(),
        around(r#"{"path":"/ok","body":01}"#).into(),
        b"{'endpoint':'sms'}".to_vec(),
        b"{\"endpoint\":\"sms\",\"request\":{\"path\":\"/ok\",\"body\":\"\0\"}}".to_vec(),
    ];
    for text in texts {
        let shown = String::from_utf8_lossy(&text[..text.len().min(120)]).into_owned();
        for path in ["/v1/calls", "/v1/calls/batch"] {
            let answer = service.post_text(path, text.clone()).await;
            if path == "/v1/calls" {
                answer.refuses(400, "malformed_json", &shown);
            } else {
                assert!(answer.status >= 400, "{path} {shown}: {answer:?}");
                answer.is_problem(&shown);
            }
        }
    }
    nothing_was_stored(&service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_readable_but_wrong_is_refused_with_422_and_the_place() {
    let service = Setup::embedded().start().await;
    let long = "k".repeat(256);
    let long_path = format!("/{}", "p".repeat(8_192));
    let header =
        |name: &str, value: &str| around(&json!({ "path": "/ok", "headers": { name: value } }).to_string());
    let path = |path: &str| around(&json!({ "path": path }).to_string());
    let cases = [
        ("[]".to_owned(), "", "wrong_type"),
        ("7".to_owned(), "", "wrong_type"),
        ("{}".to_owned(), "/endpoint", "missing_field"),
        (r#"{"endpoint":"sms"}"#.to_owned(), "/request", "missing_field"),
        (r#"{"endpoint":7,"request":{}}"#.to_owned(), "/endpoint", "wrong_type"),
        (r#"{"endpoint":"mms","request":{}}"#.to_owned(), "/endpoint", "unknown_endpoint"),
        (r#"{"endpoint":"SMS","request":{}}"#.to_owned(), "/endpoint", "invalid_value"),
        (around("[]"), "/request", "wrong_type"),
        (around(r#"{"path":"/ok","verb":"POST"}"#), "/request/verb", "unknown_field"),
        (around(r#"{"path":"/ok","method":"BREW"}"#), "/request/method", "invalid_value"),
        (around(r#"{"path":"/ok","body":1,"body_base64":"AA=="}"#), "/request/body_base64", "invalid_value"),
        (around(r#"{"path":"/ok","body_base64":"%"}"#), "/request/body_base64", "invalid_value"),
        (around(r#"{"path":"/ok","body_base64":"AA=="}"#), "/request/headers", "missing_field"),
        (around(r#"{"path":"/ok","body":"a\u0000b"}"#), "/request/body", "invalid_value"),
        (around(r#"{"path":"/ok","body":{"deep":["\u0000"]}}"#), "/request/body/deep/0", "invalid_value"),
        (around(r#"{"path":"/ok","body":{"deep":{"a\u0000":1}}}"#), "/request/body/deep", "invalid_value"),
        (with(r#""colour":"red""#), "/colour", "unknown_field"),
        (with(r#""idempotency_key":7"#), "/idempotency_key", "wrong_type"),
        (with(r#""idempotency_key":"""#), "/idempotency_key", "invalid_value"),
        (with(&format!(r#""idempotency_key":"{long}""#)), "/idempotency_key", "invalid_value"),
        (with(r#""idempotency_key":"a\nb""#), "/idempotency_key", "invalid_value"),
        (with(r#""idempotency_key":"клич""#), "/idempotency_key", "invalid_value"),
        (with(r#""entity":{"key":"a","version":9223372036854775808}"#), "/entity/version", "invalid_value"),
        (with(r#""entity":{"key":"a","version":-1}"#), "/entity/version", "invalid_value"),
        (with(r#""entity":{"key":"a","version":1.5}"#), "/entity/version", "invalid_value"),
        (with(r#""entity":{"key":"a"}"#), "/entity/version", "missing_field"),
        (with(r#""entity":{"key":"","version":1}"#), "/entity/key", "invalid_value"),
        (with(r#""deadline":"2020-01-01T00:00:00Z""#), "/deadline", "deadline_passed"),
        (with(r#""deadline":"9999-12-31T23:59:59Z""#), "/deadline", "invalid_value"),
        (with(r#""deadline":"300000-01-01T00:00:00Z""#), "/deadline", "invalid_value"),
        (with(r#""deadline":1800000000"#), "/deadline", "wrong_type"),
        (with(r#""not_before":"9999-12-31T23:59:59Z""#), "/not_before", "invalid_value"),
        (with(r#""not_before":"300000-01-01T00:00:00Z""#), "/not_before", "invalid_value"),
        (with(r#""not_before":"tomorrow""#), "/not_before", "invalid_value"),
        (with(r#""callback_url":"javascript:alert(1)""#), "/callback_url", "invalid_value"),
        (with(r#""callback_url":"https://user:secret@x.test/""#), "/callback_url", "invalid_value"),
        (with(r#""tags":["a"]"#), "/tags", "wrong_type"),
        (with(r#""tags":{"a":1}"#), "/tags/a", "wrong_type"),
        (with(r#""tags":{"a/b":"c"}"#), "/tags/a~1b", "invalid_value"),
        (with(r#""failure":{"status":99}"#), "/failure/status", "invalid_value"),
        (with(r#""failure":{"ambiguous":"yes"}"#), "/failure/ambiguous", "wrong_type"),
        (with(r#""failure":{"reason":"x"}"#), "/failure/reason", "unknown_field"),
        (path("../../admin"), "/request/path", "invalid_value"),
        (path("/../../admin"), "/request/path", "invalid_value"),
        (path("/%2e%2e%2fadmin"), "/request/path", "invalid_value"),
        (path("@evil.test/"), "/request/path", "invalid_value"),
        (path("\\evil"), "/request/path", "invalid_value"),
        (path("/\\evil"), "/request/path", "invalid_value"),
        (path("//evil.test/"), "/request/path", "invalid_value"),
        (path("https://evil.test/"), "/request/path", "invalid_value"),
        (path("/ok\r\nx-evil: 1"), "/request/path", "invalid_value"),
        (path("/ok%0d%0ax"), "/request/path", "invalid_value"),
        (path("/ok#x"), "/request/path", "invalid_value"),
        (path(""), "/request/path", "invalid_value"),
        (path(&long_path), "/request/path", "invalid_value"),
        (header("x-a", "1\r\nx-evil: 1"), "/request/headers/x-a", "invalid_value"),
        (header("x a", "1"), "/request/headers/x a", "invalid_value"),
        (header("Host", "evil.test"), "/request/headers/Host", "invalid_value"),
        (header("content-length", "1"), "/request/headers/content-length", "invalid_value"),
        (header("Transfer-Encoding", "chunked"), "/request/headers/Transfer-Encoding", "invalid_value"),
        (header("connection", "close"), "/request/headers/connection", "invalid_value"),
        (header("Idempotency-Key", "mine"), "/request/headers", "invalid_value"),
    ];
    for (text, pointer, code) in &cases {
        let answer = service.post_text("/v1/calls", text.clone()).await;
        answer.refuses(422, code, text);
        assert_eq!(answer.faults().first(), Some(&(*pointer, *code)), "{text}");
    }
    nothing_was_stored(&service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_faults_of_a_document_are_named_at_once() {
    let service = Setup::embedded().start().await;
    let document = json!({
        "endpoint": "mms", "request": { "path": "../x", "method": "BREW", "headers": { "host": "a" } },
        "deadline": "2020-01-01T00:00:00Z", "tags": { "a b": "c" }, "colour": "red",
    });
    let answer = service.post("/v1/calls", &document).await;
    answer.refuses(422, "unknown_endpoint", "many faults");
    let mut faults = answer.faults();
    faults.sort_unstable();
    let expected = [
        ("/colour", "unknown_field"),
        ("/deadline", "deadline_passed"),
        ("/endpoint", "unknown_endpoint"),
        ("/request/headers/host", "invalid_value"),
        ("/request/method", "invalid_value"),
        ("/request/path", "invalid_value"),
        ("/tags/a b", "invalid_value"),
    ];
    assert_eq!(faults, expected);
    for (pointer, _) in expected {
        assert!(answer.body["detail"].as_str().unwrap().contains(pointer), "{pointer} in {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_is_wrong_everywhere_is_answered_shortly() {
    let service = Setup::embedded().start().await;
    // Were each of these strings named by its place, the answer would have 600 MB.
    let (place, strings) = ("k".repeat(100_000), vec!["\u{0}"; 6_000]);
    let fields: serde_json::Map<_, _> =
        (0..5_000).map(|number| (format!("field-{number}"), json!(1))).collect();
    for document in [json!({ "token": { place: strings } }), Value::Object(fields)] {
        for path in ["/v1/session", "/v1/calls"] {
            let answer = service.post(path, &document).await;
            assert_eq!((answer.status, answer.faults().len()), (422, 101), "{path}");
            assert!(answer.body.to_string().len() < 500_000, "{path}");
            let last = answer.faults().last().map(|(_, code)| (*code).to_owned());
            assert_eq!(last.as_deref(), Some("too_many_faults"), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_at_a_bound_is_taken() {
    let service = Setup::embedded().max_body("4KiB").start().await;
    let key = "k".repeat(255);
    for document in [
        in_an_hour(&key),
        json!({ "endpoint": "sms", "request": { "path": "/ok" }, "entity": { "key": "e", "version": i64::MAX } }),
        json!({ "endpoint": "sms", "request": { "path": "/ok" }, "failure": null, "tags": null, "deadline": null }),
    ] {
        let answer = service.post("/v1/calls", &document).await;
        assert_eq!(answer.status, 202, "{document}: {answer:?}");
    }
    let mut text = to("/ok").to_string();
    text.push_str(&" ".repeat(4_096 - text.len()));
    assert_eq!(service.post_text("/v1/calls", text.clone()).await.status, 202);
    text.push(' ');
    service.post_text("/v1/calls", text).await.refuses(413, "body_too_large", "one byte over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_plain_json_is_taken() {
    let service = Setup::embedded().start().await;
    let text = to("/ok").to_string();
    let post = || service.request_as("tester", Method::POST, "/v1/calls").body(text.clone());
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json", ""] {
        let answer = Answer::to(post().header("content-type", content_type)).await;
        answer.refuses(415, "unsupported_media_type", content_type);
    }
    Answer::to(post()).await.refuses(415, "unsupported_media_type", "no content type");
    for encoding in ["gzip", "deflate", "br", "identity, gzip"] {
        let request = post().header("content-type", "application/json").header("content-encoding", encoding);
        Answer::to(request).await.refuses(415, "unsupported_content_encoding", encoding);
    }
    nothing_was_stored(&service).await;
    for content_type in ["application/json", "Application/JSON; charset=utf-8"] {
        assert_eq!(
            Answer::to(post().header("content-type", content_type)).await.status,
            202,
            "{content_type}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_does_what_their_token_does_not_allow() {
    let service = Setup::embedded().start().await;
    let id = service.submit(&in_an_hour("k")).await;
    let one = format!("/v1/calls/{id}");
    let (replay, cancel, resolve) =
        (format!("{one}/replay"), format!("{one}/cancel"), format!("{one}/resolve"));
    let routes = [
        (Method::POST, "/v1/calls", "billing"),
        (Method::POST, "/v1/calls/batch", "billing"),
        (Method::GET, "/v1/calls", "auditor"),
        (Method::GET, one.as_str(), "auditor"),
        (Method::GET, "/v1/endpoints", "auditor"),
        (Method::GET, "/v1/endpoints/sms", "auditor"),
        (Method::GET, "/v1/stats", "auditor"),
        (Method::POST, replay.as_str(), "operator"),
        (Method::POST, cancel.as_str(), "operator"),
        (Method::POST, resolve.as_str(), "operator"),
    ];
    for (method, path, allowed) in routes {
        let what = format!("{method} {path}");
        let missing = Answer::to(service.request(method.clone(), path).json(&json!({}))).await;
        missing.refuses(401, "token_missing", &what);
        assert_eq!(missing.header("www-authenticate"), "Bearer", "{what}");
        let unknown = Answer::to(service.request_as("stranger", method.clone(), path).json(&json!({}))).await;
        unknown.refuses(401, "token_unknown", &what);
        let basic =
            service.request(method.clone(), path).basic_auth("tester", Some("tester")).json(&json!({}));
        Answer::to(basic).await.refuses(401, "token_missing", &what);
        let others = ["billing", "auditor", "operator"]
            .into_iter()
            .filter(|other| *other != allowed && !(allowed == "auditor" && *other == "operator"));
        for other in others {
            let answer = Answer::to(service.request_as(other, method.clone(), path).json(&json!({}))).await;
            answer.refuses(403, "role_missing", &format!("{what} as {other}"));
        }
    }
    let call = service.call(&id).await;
    assert_eq!((&call["status"], &call["actions"]), (&json!("scheduled"), &json!([])));
    for open in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(Answer::to(service.request(Method::GET, open)).await.status, 200, "{open}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_404_and_what_is_no_id_is_400() {
    let service = Setup::embedded().start().await;
    let unknown = uuid::Uuid::now_v7();
    for (method, path, status, code) in [
        (Method::GET, format!("/v1/calls/{unknown}"), 404, "unknown_call"),
        (Method::POST, format!("/v1/calls/{unknown}/replay"), 404, "unknown_call"),
        (Method::POST, format!("/v1/calls/{unknown}/cancel"), 404, "unknown_call"),
        (Method::POST, format!("/v1/calls/{unknown}/resolve"), 404, "unknown_call"),
        (Method::GET, "/v1/calls/7".to_owned(), 400, "invalid_id"),
        (Method::GET, format!("/v1/calls/{}", unknown.simple()), 400, "invalid_id"),
        (Method::GET, format!("/v1/calls/%7B{unknown}%7D"), 400, "invalid_id"),
        (Method::GET, "/v1/calls/%ff".to_owned(), 400, "invalid_id"),
        (Method::GET, "/v1/calls/%00".to_owned(), 400, "invalid_id"),
        (Method::POST, "/v1/calls/x'%20or%201=1/cancel".to_owned(), 400, "invalid_id"),
        (Method::POST, "/v1/calls/%ff/replay".to_owned(), 400, "invalid_id"),
        (Method::GET, "/v1/endpoints/nobody".to_owned(), 404, "unknown_endpoint"),
        (Method::GET, "/v1/endpoints/%ff".to_owned(), 404, "unknown_endpoint"),
        (Method::GET, "/v2/calls".to_owned(), 404, "not_found"),
        (Method::GET, "/v1/calls/".to_owned(), 404, "not_found"),
        (Method::GET, "/v1//calls".to_owned(), 404, "not_found"),
        (Method::POST, "/nothing".to_owned(), 404, "not_found"),
    ] {
        let request = service.request_as("tester", method.clone(), &path).json(&json!({}));
        Answer::to(request).await.refuses(status, code, &format!("{method} {path}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_method_is_405_and_the_allow_header_says_which_are_right() {
    let service = Setup::embedded().start().await;
    let id = uuid::Uuid::now_v7();
    for (method, path, allowed) in [
        (Method::PUT, "/v1/calls".to_owned(), &["GET", "HEAD", "POST"][..]),
        (Method::DELETE, "/v1/calls".to_owned(), &["GET", "HEAD", "POST"]),
        (Method::GET, "/v1/calls/batch".to_owned(), &["POST"]),
        (Method::DELETE, format!("/v1/calls/{id}"), &["GET", "HEAD"]),
        (Method::GET, format!("/v1/calls/{id}/replay"), &["POST"]),
        (Method::POST, "/v1/stats".to_owned(), &["GET", "HEAD"]),
        (Method::POST, "/healthz".to_owned(), &["GET", "HEAD"]),
    ] {
        let answer = Answer::to(service.request_as("tester", method.clone(), &path)).await;
        let what = format!("{method} {path}");
        answer.refuses(405, "method_not_allowed", &what);
        let mut told: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
        told.sort_unstable();
        assert_eq!(told, allowed, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_parameters_that_cannot_be_read_are_400() {
    let service = Setup::embedded().start().await;
    for key in ["a", "b", "c"] {
        service.submit(&in_an_hour(key)).await;
    }
    let page = service.get("/v1/calls?limit=1").await;
    let cursor = page.body["next_cursor"].as_str().unwrap().to_owned();
    let flipped = format!("{}{}", if cursor.starts_with('A') { 'B' } else { 'A' }, &cursor[1..]);
    for (parameters, code) in [
        ("limit=0".to_owned(), "invalid_parameter"),
        ("limit=-1".to_owned(), "invalid_parameter"),
        ("limit=1000000000".to_owned(), "invalid_parameter"),
        ("limit=99999999999999999999".to_owned(), "invalid_parameter"),
        ("limit=ten".to_owned(), "invalid_parameter"),
        (format!("cursor={flipped}&limit=1"), "invalid_parameter"),
        (format!("cursor={cursor}&status=scheduled"), "invalid_parameter"),
        ("cursor=x".to_owned(), "invalid_parameter"),
        ("cursor=%ff%00".to_owned(), "invalid_parameter"),
        ("status=lost".to_owned(), "invalid_parameter"),
        ("status=review,lost".to_owned(), "invalid_parameter"),
        ("reason=bored".to_owned(), "invalid_parameter"),
        ("endpoint=SMS".to_owned(), "invalid_parameter"),
        ("from=yesterday".to_owned(), "invalid_parameter"),
        ("to=300000-01-01T00:00:00Z".to_owned(), "invalid_parameter"),
        (format!("q={}", "x".repeat(256)), "invalid_parameter"),
        ("q=a%00b".to_owned(), "invalid_parameter"),
        ("tag.=x".to_owned(), "invalid_parameter"),
        ("tag.a%20b=x".to_owned(), "invalid_parameter"),
        ("sort=asc".to_owned(), "unknown_parameter"),
        ("Status=review".to_owned(), "unknown_parameter"),
    ] {
        let answer = service.get(&format!("/v1/calls?{parameters}")).await;
        answer.refuses(400, code, &parameters);
    }
    assert_eq!(service.get(&format!("/v1/calls?limit=1&cursor={cursor}")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn characters_of_sql_and_like_stand_for_themselves_in_searches() {
    let service = Setup::embedded().start().await;
    let tricky =
        ["100%", "a_b", r"back\slash", "o'brien", "'; drop table calls; --", "\"quoted\"", "$1", "?"];
    for text in tricky {
        let mut document = in_an_hour(text);
        document["tags"] = json!({ "name": text });
        service.submit(&document).await;
    }
    service.submit(&in_an_hour("plain")).await;
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    for text in tricky {
        for conditions in [format!("q={}", encoded(text)), format!("tag.name={}", encoded(text))] {
            let answer = service.get(&format!("/v1/calls?{conditions}")).await;
            let keys: Vec<&Value> = answer.body["calls"]
                .as_array()
                .unwrap()
                .iter()
                .map(|call| &call["idempotency_key"])
                .collect();
            assert_eq!(keys, [text], "{conditions}");
        }
    }
    assert_eq!(service.count("q=%25").await, 1, "a lone % finds what holds one");
    assert_eq!(service.count("tag.name=%25").await, 0);
    assert_eq!(service.count("").await, tricky.len() + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preference_that_cannot_be_read_is_400_and_nothing_is_stored() {
    let service = Setup::embedded().start().await;
    for preference in ["wait=soon", "wait=-1", "wait=1.5", "wait=99999999999999999999", "wait="] {
        let request = service.request_as("tester", Method::POST, "/v1/calls").header("prefer", preference);
        Answer::to(request.json(&keyed("k", "/ok"))).await.refuses(400, "invalid_preference", preference);
    }
    nothing_was_stored(&service).await;
}
