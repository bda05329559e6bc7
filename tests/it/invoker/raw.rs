//! A third party of bare sockets, for what a well-behaved HTTP server cannot be made to do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What a raw third party does after its bytes.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Then {
    /// Closes the connection.
    Close,
    /// Resets it.
    Reset,
    /// Keeps it open in silence.
    Hold,
    /// Reads the next request on it, and closes it without an answer.
    CloseOnNext,
    /// Reads the next request on it, and resets it without an answer.
    ResetOnNext,
}

/// A third party that answers every request with the same bytes.
pub(super) struct Raw {
    pub(super) address: SocketAddr,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    _stop: DropGuard,
}

impl Raw {
    /// Answers with these bytes, then does that.
    pub(super) async fn start(bytes: impl Into<Vec<u8>>, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, connections) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let stop = CancellationToken::new();
        let (bytes, seen, accepted) =
            (Arc::new(bytes.into()), Arc::clone(&requests), Arc::clone(&connections));
        let stopped = stop.clone();
        tokio::spawn(stopped.run_until_cancelled_owned(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve_raw(stream, Arc::clone(&bytes), then, Arc::clone(&seen)));
            }
        }));
        Self { address, requests, connections, _stop: stop.drop_guard() }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests that arrived whole.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Connections that were accepted.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve_raw(mut stream: TcpStream, bytes: Arc<Vec<u8>>, then: Then, requests: Arc<AtomicUsize>) {
    if !read_request(&mut stream).await {
        return;
    }
    requests.fetch_add(1, Ordering::SeqCst);
    // The client may go away before all is written: that is what some tests want.
    let _gone = stream.write_all(&bytes).await;
    match then {
        Then::Close => {}
        Then::Reset => reset(&stream),
        Then::Hold => while read_request(&mut stream).await {},
        Then::CloseOnNext | Then::ResetOnNext => {
            if read_request(&mut stream).await {
                requests.fetch_add(1, Ordering::SeqCst);
            }
            if then == Then::ResetOnNext {
                reset(&stream);
            }
        }
    }
}

/// What is closed after this is reset.
fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Reads a request to the end of its body; false if the connection ends before.
async fn read_request(stream: &mut TcpStream) -> bool {
    let mut received = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return false,
            Ok(count) => received.extend_from_slice(&buffer[..count]),
        }
        let text = String::from_utf8_lossy(&received).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let announced = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            if body.len() >= announced.map_or(0, |length| length.parse().unwrap()) {
                return true;
            }
        }
    }
}
