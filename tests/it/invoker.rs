//! The invoker from outside: against the simulator, and against raw sockets where the simulator is too well-behaved.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redial::call::attempt::Answer;
use redial::call::{
    AttemptNumber, Body, CallId, EndpointName, ErrorKind, Headers, IdempotencyKey, Method, Mode, Outcome,
    Request, RequestPath, Revision, Verdict,
};
use redial::clock::monotonic;
use redial::endpoint::{BaseUrl, Endpoint, Ladder, Timeouts};
use redial::invoker::{Invocation, Invoked, Invoker};
use redial::limits::{RESPONSE_HEADERS_KEPT_BYTES, RESPONSE_JUDGED_BYTES, RESPONSE_READ_BYTES_MAX};
use redial::policy::judge_by_default;
use redial::simulator::{Simulator, SimulatorConfig};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

mod raw;

use raw::{Raw, Then};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(300);

fn endpoint(base_url: &str) -> Endpoint {
    let name = EndpointName::parse("sms").unwrap();
    let ladder = Ladder::parse(&["1s"]).unwrap();
    Endpoint::plain(
        name,
        BaseUrl::parse(base_url).unwrap(),
        ladder,
        Timeouts::new(LONG, LONG, LONG, None).unwrap(),
    )
}

fn impatient(base_url: &str, read: Duration, overall: Duration) -> Endpoint {
    Endpoint { timeouts: Timeouts::new(SHORT, read, overall, None).unwrap(), ..endpoint(base_url) }
}

fn request(method: Method, path: &str, body: Body) -> Request {
    Request { method, path: RequestPath::parse(path).unwrap(), headers: Headers::default(), body }
}

fn post(path: &str) -> Request {
    request(Method::Post, path, Body::Json(r#"{"to":"+86"}"#.into()))
}

async fn invoke_as(client: &Invoker, endpoint: &Endpoint, request: &Request, key: &str) -> Invoked {
    let key = IdempotencyKey::parse(key).unwrap();
    let invocation = Invocation {
        overall: endpoint.timeouts.overall(),
        request,
        call: CallId::generate(),
        idempotency_key: Some(&key),
        trace_parent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        revision: Revision::FIRST,
        mode: Mode::Live,
        attempt: AttemptNumber::FIRST,
        send_before: monotonic() + LONG,
        finish_before: monotonic() + 2 * LONG,
    };
    client.invoke(endpoint, invocation).await
}

async fn invoke(endpoint: &Endpoint, request: &Request) -> Invoked {
    invoke_as(&Invoker::new(), endpoint, request, "order-1").await
}

fn answer(invoked: &Invoked) -> &Answer {
    match &invoked.outcome {
        Outcome::Answered(answer) => answer,
        Outcome::Failed { kind, detail } => panic!("{kind}: {detail}"),
    }
}

fn failure(invoked: &Invoked) -> (ErrorKind, &str) {
    match &invoked.outcome {
        Outcome::Failed { kind, detail } => (*kind, detail),
        Outcome::Answered(answer) => panic!("{answer:?}"),
    }
}

async fn simulator() -> (Simulator, DropGuard) {
    let stop = CancellationToken::new();
    let simulator = Simulator::start(SimulatorConfig::default(), stop.clone()).await.unwrap();
    (simulator, stop.drop_guard())
}

#[tokio::test]
async fn the_request_leaves_whole_and_is_logged_without_its_secrets() {
    let (third_party, _stop) = simulator().await;
    let mut endpoint = endpoint(&format!("{}/ok", third_party.url()));
    endpoint.headers = vec![
        (http::header::AUTHORIZATION, "Bearer endpoint-token".into()),
        (http::HeaderName::from_static("x-client"), "client-secret".into()),
    ];
    let mut request = post("/v1/messages?lang=en");
    for (name, value) in [
        ("authorization", "Bearer of the call"),
        ("cookie", "session=call-secret"),
        ("x-tenant", "7"),
        ("idempotency-key", "the call's own"),
    ] {
        request.headers.insert(name, value).unwrap();
    }
    let invoked = invoke(&endpoint, &request).await;
    assert_eq!(answer(&invoked).status, 200);

    let seen = &third_party.requests()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/ok/v1/messages?lang=en"));
    assert_eq!(&seen.body[..], br#"{"to":"+86"}"#);
    for (name, value) in [
        ("authorization", "Bearer endpoint-token"),
        ("x-client", "client-secret"),
        ("x-tenant", "7"),
        ("cookie", "session=call-secret"),
        ("idempotency-key", "order-1"),
        ("content-type", "application/json"),
        ("content-length", "12"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("user-agent", concat!("redial/", env!("CARGO_PKG_VERSION"))),
        ("host", &third_party.address().to_string()),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }

    let sent = &invoked.sent;
    assert_eq!((sent.method.as_str(), sent.body_bytes, sent.revision), ("POST", 12, Revision::FIRST));
    assert_eq!(sent.url, format!("{}/ok/v1/messages?lang=en", third_party.url()));
    let shown =
        |name: &str| sent.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    for name in ["authorization", "x-client", "cookie"] {
        assert_eq!(shown(name), Some("[redacted]"), "{name}");
    }
    assert_eq!((shown("x-tenant"), shown("idempotency-key")), (Some("7"), Some("order-1")));
}

#[tokio::test]
async fn every_method_and_body_arrives_as_it_is() {
    let (third_party, _stop) = simulator().await;
    let endpoint = endpoint(&third_party.url());
    for (method, body, content_type, length) in [
        (Method::Get, Body::Empty, None, None),
        (Method::Head, Body::Empty, None, None),
        (Method::Delete, Body::Empty, None, Some("0")),
        (Method::Post, Body::Empty, None, Some("0")),
        (Method::Put, Body::Json("1".into()), Some("application/json"), Some("1")),
        (Method::Patch, Body::Bytes(vec![0, 255].into()), Some("application/octet-stream"), Some("2")),
        (Method::Delete, Body::Json("{}".into()), Some("application/json"), Some("2")),
    ] {
        let mut request = request(method, "/ok", body);
        if let Body::Bytes(_) = request.body {
            request.headers.insert("content-type", "application/octet-stream").unwrap();
        }
        let invoked = invoke(&endpoint, &request).await;
        assert_eq!(answer(&invoked).status, 200, "{method}");
        assert_eq!(answer(&invoked).body.is_empty(), method == Method::Head, "{method}");
        let requests = third_party.requests();
        let seen = requests.last().unwrap();
        assert_eq!((seen.method.as_str(), &seen.body), (method.as_str(), &request.body.bytes()));
        assert_eq!(
            (seen.header("content-type"), seen.header("content-length")),
            (content_type, length),
            "{method}"
        );
    }
}

#[tokio::test]
async fn every_attempt_of_a_call_carries_the_same_key_over_one_connection() {
    let (third_party, _stop) = simulator().await;
    let endpoint = endpoint(&third_party.url());
    let client = Invoker::new();
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(answer(&invoke_as(&client, &endpoint, &post("/fail/2"), "order-7").await).status);
    }
    assert_eq!(statuses, [503, 503, 200]);
    assert_eq!(third_party.arrivals("order-7").len(), 3);
    assert_eq!(third_party.summary().connections, 1);
}

#[tokio::test]
async fn a_request_does_not_leave_after_its_lease() {
    let (third_party, _stop) = simulator().await;
    let key = IdempotencyKey::parse("order-1").unwrap();
    let request = post("/ok");
    let invocation = Invocation {
        overall: LONG,
        request: &request,
        call: CallId::generate(),
        idempotency_key: Some(&key),
        trace_parent: None,
        revision: Revision::FIRST,
        mode: Mode::Live,
        attempt: AttemptNumber::FIRST,
        send_before: monotonic(),
        finish_before: monotonic() + LONG,
    };
    let client = Invoker::new();
    let invoked = client.invoke(&endpoint(&third_party.url()), invocation).await;
    assert_eq!(failure(&invoked).0, ErrorKind::NotSent);
    assert_eq!(third_party.summary().requests, 0);

    let hanging = post("/hang");
    let finish_before = monotonic() + SHORT;
    let invocation =
        Invocation { request: &hanging, send_before: finish_before, finish_before, ..invocation };
    let invoked = client.invoke(&endpoint(&third_party.url()), invocation).await;
    assert_eq!(
        failure(&invoked).0,
        ErrorKind::Timeout,
        "the attempt ends with its lease, not with its timeout"
    );
}

const OK: &str = "HTTP/1.1 200 OK\r\n";

/// A name, what the third party sends and then does, and what that comes to.
type Case<'a> = (&'a str, String, Then, Result<u16, ErrorKind>);

async fn tell_apart(cases: Vec<Case<'_>>) {
    for (name, bytes, then, expected) in cases {
        let third_party = Raw::start(bytes, then).await;
        let invoked = invoke(&endpoint(&third_party.url()), &post("/v1")).await;
        let outcome = match &invoked.outcome {
            Outcome::Answered(answer) => Ok(answer.status),
            Outcome::Failed { kind, .. } => Err(*kind),
        };
        assert_eq!(outcome, expected, "{name}: {:?}", invoked.outcome);
        assert_eq!(third_party.requests(), 1, "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_framed_badly_is_no_answer() {
    let ten = |body: &str| format!("{OK}content-length: 10\r\n\r\n{body}");
    let chunks = |body: &str| format!("{OK}transfer-encoding: chunked\r\n\r\n{body}");
    let head = |rest: &str| format!("{OK}{rest}\r\n");
    let (broken, malformed) = (Err(ErrorKind::Broken), Err(ErrorKind::Malformed));
    tell_apart(vec![
        ("closed before an answer", String::new(), Then::Close, broken),
        ("reset before an answer", String::new(), Then::Reset, broken),
        ("closed in the head", OK.to_owned(), Then::Close, broken),
        ("reset in the head", OK.to_owned(), Then::Reset, broken),
        ("reset after the head", ten(""), Then::Reset, broken),
        ("reset in the body", ten("ab"), Then::Reset, broken),
        ("shorter than announced", ten("ab"), Then::Close, broken),
        ("longer than announced", ten("0123456789abc"), Then::Close, Ok(200)),
        ("10 GB announced", head("content-length: 10000000000\r\n"), Then::Close, broken),
        ("length past 64 bits", head("content-length: 99999999999999999999\r\n"), Then::Hold, malformed),
        ("negative length", head("content-length: -1\r\n"), Then::Hold, malformed),
        ("two lengths", head("content-length: 2\r\ncontent-length: 3\r\n"), Then::Hold, malformed),
        ("no length, closed", format!("{OK}\r\nabc"), Then::Close, Ok(200)),
        ("chunks", chunks("3\r\nabc\r\n0\r\n\r\n"), Then::Hold, Ok(200)),
        ("chunks cut off", chunks("3\r\nab"), Then::Close, broken),
        ("chunks reset", chunks("3\r\nab"), Then::Reset, broken),
        ("chunks that are none", chunks("zz\r\nab"), Then::Hold, malformed),
    ])
    .await;
}

#[tokio::test]
async fn only_http_with_a_status_is_an_answer() {
    let status = |status: &str| format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n");
    let empty = format!("{OK}content-length: 0\r\n\r\n");
    let continues = "HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let switching = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
    let malformed = Err(ErrorKind::Malformed);
    tell_apart(vec![
        ("garbage", "\0\u{ff}\r\n\r\n".to_owned(), Then::Hold, malformed),
        ("HTML without HTTP (HTTP/0.9)", "<html>hello</html>".to_owned(), Then::Close, malformed),
        ("HTTP/2", "HTTP/2.0 200\r\n\r\n".to_owned(), Then::Close, malformed),
        ("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nabc".to_owned(), Then::Close, Ok(200)),
        ("100 times 100", format!("{continues}{empty}"), Then::Hold, Ok(200)),
        ("early hints", format!("{hints}{empty}"), Then::Hold, Ok(200)),
        ("101", switching.to_owned(), Then::Hold, Ok(101)),
        ("status 000", status("000"), Then::Hold, malformed),
        ("status 099", status("099"), Then::Hold, malformed),
        ("status 204", "HTTP/1.1 204 No Content\r\n\r\n".to_owned(), Then::Hold, Ok(204)),
        ("status 600", status("600"), Then::Hold, Ok(600)),
        ("status 999", status("999"), Then::Hold, Ok(999)),
        ("status 1000", status("1000"), Then::Hold, malformed),
        ("a header of 1 MiB", format!("{OK}x-long: {}\r\n\r\n", "a".repeat(1 << 20)), Then::Hold, malformed),
        ("10,000 headers", format!("{OK}{}\r\n", "x-a: b\r\n".repeat(10_000)), Then::Hold, malformed),
        ("a head without end", format!("{OK}{}", "x-a: b\r\n".repeat(1 << 17)), Then::Hold, malformed),
    ])
    .await;
}

#[tokio::test]
async fn silence_and_dripping_end_with_a_timeout() {
    let (third_party, _stop) = simulator().await;
    let patient = |read, overall| impatient(&third_party.url(), read, overall);
    for (target, endpoint) in [
        ("/hang", patient(SHORT, LONG)),
        ("/hang", patient(SHORT, SHORT)),
        ("/drip?at=head", patient(LONG, SHORT)),
        ("/drip?at=body", patient(LONG, SHORT)),
        ("/drip?at=body&every=30s", patient(SHORT, LONG)),
        ("/slow?ms=30000", patient(LONG, SHORT)),
    ] {
        let invoked = invoke_as(&Invoker::new(), &endpoint, &post(target), target).await;
        let (kind, detail) = failure(&invoked);
        assert_eq!(kind, ErrorKind::Timeout, "{target}: {detail}");
        assert!(invoked.duration < LONG, "{target}: {detail}");
    }
    assert!(
        third_party.arrivals("/slow?ms=30000")[0].effect,
        "a success after the deadline is still one over there"
    );
    let raw = Raw::start("HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\nab", Then::Hold).await;
    let invoked = invoke(&impatient(&raw.url(), SHORT, LONG), &post("/v1")).await;
    assert_eq!(failure(&invoked), (ErrorKind::Timeout, "silent for 300ms in the middle of the answer"));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_cut_and_changes_nothing() {
    let (third_party, _stop) = simulator().await;
    let endpoint = endpoint(&third_party.url());
    for (target, status, least, exact) in [
        ("/bytes/16384", 200, 16_384, Some(16_384)),
        ("/bytes/500000", 200, 500_000, Some(500_000)),
        ("/bytes/10737418240", 200, 10_737_418_240, Some(10_737_418_240)),
        ("/status/503?bytes=2000000", 503, 2_000_000, Some(2_000_000)),
        ("/endless", 200, RESPONSE_READ_BYTES_MAX, None),
    ] {
        let invoked = invoke(&endpoint, &post(target)).await;
        let answer = answer(&invoked);
        assert_eq!(
            (answer.status, answer.body.len()),
            (status, RESPONSE_JUDGED_BYTES.min(usize::try_from(least).unwrap())),
            "{target}"
        );
        assert!(
            answer.body_bytes >= least && exact.is_none_or(|exact| answer.body_bytes == exact),
            "{target}"
        );
    }
}

#[tokio::test]
async fn headers_are_cut_but_the_time_to_come_back_is_kept() {
    let long = format!("x-a: {}\r\n", "a".repeat(RESPONSE_HEADERS_KEPT_BYTES - 100));
    let head =
        format!("HTTP/1.1 429 No\r\n{long}{}X-Odd: \u{ff}\r\nRetry-After: 7\r\n", long.replace("x-a", "x-b"));
    let third_party = Raw::start(format!("{head}content-length: 0\r\n\r\n"), Then::Hold).await;
    let invoked = invoke(&endpoint(&third_party.url()), &post("/v1")).await;
    let answer = answer(&invoked);
    let names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x-a", "x-odd", "retry-after", "content-length"]);
    assert_eq!(answer.header("retry-after").collect::<Vec<_>>(), ["7"]);
}

#[tokio::test]
async fn what_never_left_is_known_not_to_have_left() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = Raw::start("", Then::Hold).await;
    let plain = Raw::start("HTTP/1.1 200 OK\r\n\r\n", Then::Close).await;
    for (base_url, expected) in [
        (format!("http://{free}"), ErrorKind::Connect),
        ("http://192.0.2.1".to_owned(), ErrorKind::Connect),
        ("http://redial-test.invalid".to_owned(), ErrorKind::Dns),
        (format!("https://{free}"), ErrorKind::Connect),
        ("https://redial-test.invalid".to_owned(), ErrorKind::Dns),
        (format!("https://{}", silent.address), ErrorKind::Connect),
    ] {
        let endpoint = Endpoint {
            timeouts: Timeouts::new(2 * SHORT, SHORT, LONG, None).unwrap(),
            ..endpoint(&base_url)
        };
        let invoked = invoke(&endpoint, &post("/v1?token=hidden")).await;
        let (kind, detail) = failure(&invoked);
        assert_eq!(kind, expected, "{base_url}: {detail}");
        assert!(!detail.contains("hidden"), "{detail}");
    }
    assert_eq!(silent.requests() + plain.requests(), 0);
}

#[tokio::test]
async fn a_connection_that_is_not_trusted_carries_no_request() {
    let closing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closing_address = closing.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = closing.accept().await {
            let mut hello = [0; 5];
            stream.read_exact(&mut hello).await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        }
    });
    let self_signed = self_signed_third_party();
    for address in [closing_address, self_signed] {
        let invoked = invoke(&endpoint(&format!("https://{address}")), &post("/v1")).await;
        assert_eq!(failure(&invoked).0, ErrorKind::Tls, "{:?}", invoked.outcome);
    }
}

/// Serves one TLS connection with a certificate that nobody trusts, and fails the test's thread if a request arrives on it.
fn self_signed_third_party() -> SocketAddr {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("fixtures/self_signed.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("fixtures/self_signed.key.pem")).unwrap();
    redial::invoker::tls::install_provider();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let handshake = connection.complete_io(&mut stream);
        assert!(handshake.is_err() || connection.complete_io(&mut stream).is_err());
    });
    address
}

#[tokio::test]
async fn redirects_are_answers_and_not_followed() {
    let (third_party, _stop) = simulator().await;
    for status in [301, 302, 303, 307, 308] {
        let target = format!("/status/{status}?location=/ok");
        let invoked = invoke(&endpoint(&third_party.url()), &post(&target)).await;
        assert_eq!(answer(&invoked).status, status);
        assert_eq!(answer(&invoked).header("location").collect::<Vec<_>>(), ["/ok"]);
    }
    assert_eq!(third_party.summary().requests, 5);
}

#[tokio::test]
async fn a_request_on_a_connection_that_is_being_closed_arrives_once_at_most() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    for then in [Then::CloseOnNext, Then::ResetOnNext] {
        let third_party = Raw::start(ok, then).await;
        let (client, endpoint) = (Invoker::new(), endpoint(&third_party.url()));
        assert_eq!(answer(&invoke_as(&client, &endpoint, &post("/v1"), "a").await).status, 200);
        let second = invoke_as(&client, &endpoint, &post("/v1"), "a").await;
        assert_eq!(failure(&second).0, ErrorKind::Broken);
        assert_eq!(judge_by_default(&second.outcome), Verdict::Ambiguous, "it may have been carried out");
        assert_eq!((third_party.requests(), third_party.connections()), (2, 1));
    }

    // Here the connection is closed at about the time of the next request: whatever that comes to, nothing is sent twice.
    for then in [Then::Close, Then::Reset] {
        let third_party = Raw::start(ok, then).await;
        let (client, endpoint) = (Invoker::new(), endpoint(&third_party.url()));
        let (mut answered, mut refused) = (0, 0);
        for made in 1..=200 {
            let invoked = invoke_as(&client, &endpoint, &post("/v1"), "a").await;
            let verdict = judge_by_default(&invoked.outcome);
            answered += usize::from(verdict == Verdict::Success);
            refused += usize::from(verdict == Verdict::Transient);
            let possible = [Verdict::Success, Verdict::Transient, Verdict::Ambiguous];
            assert!(possible.contains(&verdict), "{:?}", invoked.outcome);
            assert!(third_party.requests() <= made, "something was sent twice");
        }
        // What arrived is never taken for what certainly did not.
        assert!(answered > 0 && third_party.requests() <= 200 - refused, "{answered} {refused}");
    }
}

#[tokio::test]
async fn echoes_of_secrets_are_masked_wherever_they_come_back() {
    let (third_party, _stop) = simulator().await;
    let mut endpoint = endpoint(&third_party.url());
    endpoint.headers = vec![
        (http::header::AUTHORIZATION, "Bearer tk_0123456789".into()),
        (http::HeaderName::from_static("x-client"), "client-secret".into()),
    ];
    let invoked = invoke(&endpoint, &post("/echo")).await;
    let body = String::from_utf8_lossy(&answer(&invoked).body);
    assert!(!body.contains("tk_0123456789") && !body.contains("client-secret"), "{body}");
    assert!(body.contains(r#""authorization":"[redacted]""#) && body.contains("order-1"), "{body}");

    let invoked = invoke(&endpoint, &post("/ok?header=x-debug:token%20tk_0123456789%20seen")).await;
    assert_eq!(answer(&invoked).header("x-debug").collect::<Vec<_>>(), ["token [redacted] seen"]);
    assert!(!format!("{invoked:?}").replace("x-debug:token%20tk_0123456789", "").contains("tk_0123456789"));
}

#[tokio::test]
async fn a_changed_configuration_is_followed_at_once() {
    let (first, _first_stop) = simulator().await;
    let (second, _second_stop) = simulator().await;
    let client = Invoker::new();
    for third_party in [&first, &second] {
        let invoked = invoke_as(&client, &endpoint(&third_party.url()), &post("/ok"), "a").await;
        assert_eq!(answer(&invoked).status, 200);
    }
    let invoked = invoke_as(&client, &impatient(&second.url(), SHORT, SHORT), &post("/hang"), "a").await;
    assert_eq!(failure(&invoked).0, ErrorKind::Timeout);
    assert_eq!((first.summary().requests, second.summary().requests), (1, 2));
}
