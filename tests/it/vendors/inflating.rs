//! Compressed answers: inflated piece by piece, never beyond what is read of any answer.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::service::Service;
use crate::support::stage::{Plan, Stage, Store, Transport};

/// `{"code":0}` in gzip.
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x56\x4a\xce\x4f\x49\x55\xb2\x32\xa8\x05\x00\x98\xae\x3c\x72\x0a\x00\x00\x00";
/// The same in brotli.
const BROTLI: &[u8] = b"\x8b\x04\x80\x7b\x22\x63\x6f\x64\x65\x22\x3a\x30\x7d\x03";
/// How many bytes the bomb has on the wire.
const BOMB_BYTES: usize = 10 * 1024 * 1024;
/// So many runs of 258 zeros, in deflate's fixed codes of 13 bits each, end where a byte does.
const RUNS: usize = 8;
/// How many bytes they take.
const RUN_BYTES: usize = 13;

/// Ten MiB of gzip that inflate to 1.6 GiB of zeros, as far as anybody reads on.
fn bomb() -> Vec<u8> {
    let mut bits = Bits::default();
    // One last block with fixed codes; one literal zero.
    bits.push(0b1, 1);
    bits.push(0b01, 2);
    bits.push_code(0b0011_0000, 8);
    for _ in 0..2 * RUNS {
        // Length 258 is code 285; distance 1 is code 0.
        bits.push_code(0b1100_0101, 8);
        bits.push_code(0, 5);
    }
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    // The first two bytes hold what comes before the runs; from there on they repeat themselves.
    let (before, runs) = bits.bytes.split_at(2);
    let runs = runs[..RUN_BYTES].repeat(BOMB_BYTES / RUN_BYTES);
    head.iter().chain(before).copied().chain(runs).collect()
}

/// Bits from the lowest of each byte on, as deflate wants them.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        for position in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = u8::from(value >> position & 1 == 1);
            *self.bytes.last_mut().unwrap() |= bit << (self.used % 8);
            self.used += 1;
        }
    }

    /// Huffman codes come with their highest bit first.
    fn push_code(&mut self, code: u32, count: u32) {
        for position in (0..count).rev() {
            self.push(code >> position & 1, 1);
        }
    }
}

/// A third party whose answers are chosen by the path.
async fn third_party() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

async fn answer(mut stream: TcpStream) {
    let mut request = vec![0; 16 * 1024];
    let Ok(read) = stream.read(&mut request).await else { return };
    let request = String::from_utf8_lossy(&request[..read]).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let asked = request.to_lowercase().contains("accept-encoding: gzip\r\n");
    let (encoding, body) = match path.as_str() {
        "/gzip" => ("gzip", GZIP.to_vec()),
        "/garbage" => ("gzip", b"this is no gzip".to_vec()),
        "/truncated" => ("gzip", GZIP[..20].to_vec()),
        "/brotli" => ("br", BROTLI.to_vec()),
        "/asked" => ("identity", format!("{{\"code\":{}}}", u8::from(!asked)).into_bytes()),
        _ => ("gzip", bomb()),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // Whoever has read enough goes away.
    let _gone = stream.write_all(head.as_bytes()).await;
    let _gone = stream.write_all(&body).await;
}

/// A line of what the kernel says about the process, in KiB.
fn memory(service: &Service, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.id())).unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    found.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_answer_is_read_and_a_broken_one_is_still_an_answer() {
    let endpoint = format!("base_url = \"http://{}\"\nladder = [\"200ms\"]", third_party().await);
    let stage = Stage::set(Plan::new(Transport::Embedded, Store::Sqlite, "packed", &endpoint)).await;
    let service = stage.serve().await;
    let client = service.client();
    let call = |path: &str| json!({ "endpoint": "packed", "request": { "method": "GET", "path": path } });

    for (path, body, bytes, note) in [
        ("/asked", Some("{\"code\":0}"), 10, None),
        ("/gzip", Some("{\"code\":0}"), 10, None),
        ("/garbage", Some(""), 0, Some("decompressed")),
        ("/brotli", None, 14, Some("compressed (br)")),
    ] {
        let id = client.submit_new(&call(path)).await;
        let shown = client.at_rest(&id).await;
        let attempt = &shown["attempts"][0];
        assert_eq!(
            (&shown["status"], &attempt["http_status"]),
            (&json!("succeeded"), &json!(200)),
            "{path}: {shown}"
        );
        assert_eq!(
            (attempt["response_body"].as_str(), &attempt["response_body_bytes"]),
            (body, &json!(bytes)),
            "{path}"
        );
        let notes = attempt["rule_notes"].as_str();
        assert_eq!(
            notes.is_some_and(|notes| notes.contains(note.unwrap_or("?"))),
            note.is_some(),
            "{path}: {notes:?}"
        );
    }
    let id = client.submit_new(&call("/truncated")).await;
    let shown = client.at_rest(&id).await;
    assert_eq!(
        (&shown["status"], shown["attempts"].as_array().unwrap().len()),
        (&json!("succeeded"), 1),
        "{shown}"
    );

    // What is measured is the bomb alone: everything else has been loaded by now.
    let before = memory(&service, "VmRSS");
    let reset = std::fs::write(format!("/proc/{}/clear_refs", service.id()), "5");
    let id = client.submit_new(&call("/bomb")).await;
    let shown = client.at_rest(&id).await;
    let attempt = &shown["attempts"][0];
    assert_eq!(shown["status"], "succeeded", "{shown}");
    assert!(attempt["response_body_bytes"].as_u64().unwrap() >= 1024 * 1024, "{attempt}");
    assert_eq!(attempt["response_body"].as_str().unwrap().len(), 16 * 1024);
    if reset.is_ok() {
        let grown = memory(&service, "VmHWM").saturating_sub(before);
        // Whatever else the process does meanwhile: the bomb inflates to a hundred times as much.
        assert!(grown < 16 * 1024, "it grew by {grown} KiB");
    }
}
