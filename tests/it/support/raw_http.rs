//! HTTP written by hand, for what no client library would send.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than the server waits for anything it is asked.
const PATIENCE: Duration = Duration::from_mins(1);

/// A connection.
pub(crate) struct RawHttp(TcpStream);

/// The first answer on a connection.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    /// Its status.
    pub status: u16,
    /// Everything that came, as text.
    pub text: String,
}

impl RawAnswer {
    /// The body of the first answer as JSON.
    pub(crate) fn body(&self) -> Value {
        let (head, rest) = self.text.split_once("\r\n\r\n").unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        serde_json::from_str(&rest[..length.parse::<usize>().unwrap()]).unwrap_or_else(|_| panic!("{self:?}"))
    }
}

impl RawHttp {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// Writes; whether the server still took it.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }

    /// Says that nothing more comes.
    pub(crate) async fn finish(&mut self) {
        let _ = self.0.shutdown().await;
    }

    /// Reads until the server closes; `None` if it closed without a word.
    pub(crate) async fn read_to_end(&mut self) -> Option<RawAnswer> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4_096];
        // A reset after an answer is as good as an end.
        while let Ok(count @ 1..) = timeout(PATIENCE, self.0.read(&mut chunk)).await.unwrap() {
            bytes.extend_from_slice(&chunk[..count]);
        }
        let text = String::from_utf8(bytes).unwrap();
        let status = text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some(RawAnswer { status, text })
    }
}

/// The head of a submission by the tester, up to and without the headers that say how long its body is.
pub(crate) fn head() -> String {
    "POST /v1/calls HTTP/1.1\r\nhost: redial\r\nauthorization: Bearer tester\r\ncontent-type: application/json\r\nconnection: close\r\n"
        .to_owned()
}
