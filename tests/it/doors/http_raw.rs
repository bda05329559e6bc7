//! HTTP that no library sends: bodies without end, lengths that lie, headers that never come.

use std::time::Duration;

use redial::clock::monotonic;

use crate::support::in_process::{Service, Setup, keyed};
use crate::support::raw_http::{RawAnswer, RawHttp, head};

async fn is_fine(service: &Service, calls: usize) {
    assert_eq!(service.count("").await, calls);
    assert_eq!(service.get("/readyz").await.status, 200);
}

/// What the server says to these bytes, after which nothing comes.
async fn said_to(service: &Service, bytes: &[u8]) -> Option<RawAnswer> {
    let mut connection = RawHttp::connect(service.address).await;
    connection.write(bytes).await;
    connection.finish().await;
    connection.read_to_end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_end_is_refused_as_soon_as_it_is_too_long() {
    let service = Setup::embedded().max_body("64KiB").start().await;
    let mut connection = RawHttp::connect(service.address).await;
    connection.write(format!("{}transfer-encoding: chunked\r\n\r\n", head()).as_bytes()).await;
    let chunk = format!("400\r\n{}\r\n", " ".repeat(1_024));
    // More than any buffer between the two could hold: the server has to say no on its own.
    let mut chunks = 0;
    while chunks < 65_536 && connection.write(chunk.as_bytes()).await {
        chunks += 1;
    }
    assert!(chunks < 65_536, "64 MiB were taken");
    is_fine(&service, 0).await;

    let mut connection = RawHttp::connect(service.address).await;
    connection.write(format!("{}transfer-encoding: chunked\r\n\r\n", head()).as_bytes()).await;
    for _ in 0..65 {
        connection.write(chunk.as_bytes()).await;
    }
    let answer = connection.read_to_end().await.unwrap();
    assert_eq!((answer.status, &answer.body()["code"]), (413, &"body_too_large".into()), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_beyond_the_limit_is_refused_before_the_body_comes() {
    let service = Setup::embedded().max_body("64KiB").start().await;
    let mut connection = RawHttp::connect(service.address).await;
    connection.write(format!("{}content-length: 10000000000\r\n\r\n", head()).as_bytes()).await;
    let answer = connection.read_to_end().await.unwrap();
    assert_eq!((answer.status, &answer.body()["code"]), (413, &"body_too_large".into()), "{answer:?}");
    is_fine(&service, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_that_lies_never_makes_a_call_of_half_a_document() {
    let service = Setup::embedded().start().await;
    let document = keyed("k", "/ok").to_string();
    let sent = |length: &str, body: &str| format!("{}{length}\r\n{body}", head());
    let long = document.len() + 10;
    let short = document.len() - 1;
    for (name, bytes) in [
        ("too long", sent(&format!("content-length: {long}\r\n"), &document)),
        ("too short", sent(&format!("content-length: {short}\r\n"), &document)),
        ("no number", sent("content-length: ten\r\n", &document)),
        ("negative", sent("content-length: -1\r\n", &document)),
        ("two that differ", sent("content-length: 10\r\ncontent-length: 11\r\n", &document)),
        (
            "a chunk that breaks off",
            sent("transfer-encoding: chunked\r\n", &format!("{long:x}\r\n{document}")),
        ),
        (
            "no last chunk",
            sent("transfer-encoding: chunked\r\n", &format!("{:x}\r\n{document}\r\n", document.len())),
        ),
        (
            "a chunk size that is none",
            sent("transfer-encoding: chunked\r\n", &format!("xyz\r\n{document}\r\n0\r\n\r\n")),
        ),
        ("an unknown transfer encoding", sent("transfer-encoding: gzip\r\n", &document)),
        ("no length at all", sent("", &document)),
    ] {
        let answer = said_to(&service, bytes.as_bytes()).await;
        // A broken connection may be closed without a word; what is said is a refusal.
        let status = answer.as_ref().map(|answer| answer.status);
        assert!(status.is_none_or(|status| (400..=501).contains(&status)), "{name}: {answer:?}");
        assert_eq!(service.count("").await, 0, "{name} made a call");
    }
    is_fine(&service, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_cannot_be_smuggled_in_behind_two_lengths() {
    let service = Setup::embedded().start().await;
    let document = keyed("honest", "/ok").to_string();
    let smuggled = keyed("smuggled", "/ok").to_string();
    let chunked = format!("{:x}\r\n{document}\r\n0\r\n\r\n", document.len());
    let hidden = format!(
        "{}content-length: {}\r\n\r\n{smuggled}",
        head().replace("connection: close\r\n", ""),
        smuggled.len()
    );
    // By its length, the hidden request is the body's end; by its chunks, it is a request of its own.
    let lengths =
        format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", chunked.len() + hidden.len());
    let bytes = format!("{}{lengths}\r\n{chunked}{hidden}", head());
    let answer = said_to(&service, bytes.as_bytes()).await.unwrap();
    assert!([202, 400].contains(&answer.status), "{answer:?}");
    assert_eq!(service.count("q=smuggled").await, 0, "{answer:?}");
    assert_eq!(answer.text.matches("HTTP/1.1").count(), 1, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_writes_headers_slowly_is_cut_off_within_30_seconds() {
    let service = Setup::embedded().start().await;
    let began = monotonic();
    let mut connection = RawHttp::connect(service.address).await;
    connection.write(b"POST /v1/calls HTTP/1.1\r\nhost: redial\r\n").await;
    let mut pause = tokio::time::interval(Duration::from_millis(500));
    while connection.write(b"x-slow: 1\r\n").await {
        pause.tick().await;
        assert!(began.elapsed() < Duration::from_secs(30), "still connected");
    }
    is_fine(&service, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_http_is_refused_and_harms_nobody() {
    let service = Setup::embedded().start().await;
    let long_header =
        format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let many_headers = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{}\r\n", "x-a: 1\r\n".repeat(10_000));
    let long_path = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(1024 * 1024));
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\nbad header: 1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: \x00\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"",
        long_header.as_bytes(),
        many_headers.as_bytes(),
        long_path.as_bytes(),
    ] {
        let answer = said_to(&service, bytes).await;
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]);
        assert!(answer.as_ref().is_none_or(|answer| answer.status >= 400), "{shown}: {answer:?}");
    }
    is_fine(&service, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_whose_publisher_hangs_up_is_stored_whole_or_not_at_all() {
    let service = Setup::embedded().start().await;
    for number in 0..20 {
        let document = keyed(&format!("k-{number}"), "/ok").to_string();
        let bytes = format!("{}content-length: {}\r\n\r\n{document}", head(), document.len());
        let mut connection = RawHttp::connect(service.address).await;
        connection.write(bytes.as_bytes()).await;
        drop(connection);
    }
    let again = keyed("k-0", "/ok");
    assert!([200, 202].contains(&service.post("/v1/calls", &again).await.status));
    let stored = service.get("/v1/calls?limit=500").await;
    for call in stored.body["calls"].as_array().unwrap() {
        assert_eq!(call["request"]["body"]["text"], "hello", "{call}");
    }
}
