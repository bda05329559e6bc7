//! A TCP proxy between the program and a server, which can cut every connection and refuse new ones, or fall silent.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A running proxy; it ends with the test.
pub(crate) struct TcpProxy {
    address: SocketAddr,
    server: watch::Sender<String>,
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
    /// Every connection stays open, new ones are accepted, and nothing passes: a host that is frozen or cut off.
    Silent,
}

impl TcpProxy {
    /// A proxy before this server.
    async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (line, state) = watch::channel(Line::Up);
        let (server, leads_to) = watch::channel(server);
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve(listener, leads_to, state)));
        Self { address, server, line, stop }
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

    /// A proxy before a process of the program, whose own address changes with each start.
    pub(crate) async fn before_program(program: SocketAddr) -> Self {
        Self::start(program.to_string()).await
    }

    /// The URL of whatever it leads to, for HTTP.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Leads new connections to another server.
    pub(crate) fn lead_to(&self, server: SocketAddr) {
        self.server.send_replace(server.to_string());
    }

    /// Closes every connection and lets none through.
    pub(crate) fn cut(&self) {
        self.line.send_replace(Line::Cut);
    }

    /// Lets nothing pass, and tells nobody.
    pub(crate) fn fall_silent(&self) {
        self.line.send_replace(Line::Silent);
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

async fn serve(listener: TcpListener, server: watch::Receiver<String>, state: watch::Receiver<Line>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        if *state.borrow() != Line::Cut {
            let server = server.borrow().clone();
            tokio::spawn(pass(client, server, state.clone()));
        }
    }
}

async fn pass(mut client: TcpStream, server: String, mut state: watch::Receiver<Line>) {
    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
    let mut later = state.clone();
    tokio::select! {
        biased;
        // The sender lives as long as the proxy; if it is gone, so is the line.
        _ = state.wait_for(|line| *line != Line::Up) => {}
        _ = copy_bidirectional(&mut client, &mut upstream) => return,
    }
    let _ = later.wait_for(|line| *line != Line::Silent).await;
}
