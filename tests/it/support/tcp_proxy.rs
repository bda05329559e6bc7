//! A TCP proxy between the program and a server, which can cut every connection and refuse new ones.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A running proxy; it ends with the test.
pub(crate) struct TcpProxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
    stop: CancellationToken,
}

/// The state of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Bytes pass.
    Up,
    /// Every connection is closed as soon as it is accepted, and those that were open are closed too.
    Cut,
}

impl TcpProxy {
    /// A proxy before this server.
    async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (line, state) = watch::channel(Line::Up);
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve(listener, server, state)));
        Self { address, line, stop }
    }

    /// A proxy before the server of a database, and the database's URL through it.
    pub(crate) async fn before_database(url: &str) -> (Self, String) {
        let mut url = url::Url::parse(url).unwrap();
        let (host, port) = (url.host_str().unwrap(), url.port().unwrap_or(5432));
        let proxy = Self::start(format!("{host}:{port}")).await;
        url.set_host(Some(&proxy.address.ip().to_string())).unwrap();
        url.set_port(Some(proxy.address.port())).unwrap();
        (proxy, url.into())
    }

    /// Closes every connection and lets none through.
    pub(crate) fn cut(&self) {
        self.line.send_replace(Line::Cut);
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.line.send_replace(Line::Up);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(listener: TcpListener, server: String, state: watch::Receiver<Line>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        if *state.borrow() == Line::Up {
            tokio::spawn(pass(client, server.clone(), state.clone()));
        }
    }
}

async fn pass(mut client: TcpStream, server: String, mut state: watch::Receiver<Line>) {
    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
    let cut = async {
        // The sender lives as long as the proxy; if it is gone, so is the line.
        let _ = state.wait_for(|line| *line == Line::Cut).await;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut upstream) => {}
        () = cut => {}
    }
}
