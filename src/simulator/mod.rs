//! A third party that misbehaves on command: for the demo, tests, the bench, and for users who want to see their rules at work.
//!
//! What it does with a request is said by the request's path or by a [`Script`], and written into a journal ([`journal`]) that can be
//! asked over HTTP below `/_simulator/` or, in the same process, through [`Simulator`]. `docs/simulator.md` is the manual.
//!
//! Invariants: it logs nothing per request; what a request does (takes effect or not) is decided and written down in one step
//! at its arrival, so that two arrivals of one key never both count as the first.

mod body;
mod control;
pub mod journal;
mod received;
mod server;
mod stage;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use crate::script::{Script, ScriptFault};
pub use journal::{Arrival, Summary};
pub use received::SeenRequest;
use stage::Stage;

/// How a simulator is set up.
#[derive(Clone, Debug)]
pub struct SimulatorConfig {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What it does beyond what paths say.
    pub script: Script,
    /// Makes chance repeatable.
    pub seed: u64,
    /// The header by which repetitions of a request are recognised.
    pub key_header: HeaderName,
    /// How many of the newest requests are kept whole, for looking at.
    pub keep_requests: usize,
}

impl Default for SimulatorConfig {
    /// Loopback, a free port, no script.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            script: Script::default(),
            seed: 0,
            key_header: HeaderName::from_static("idempotency-key"),
            keep_requests: 100,
        }
    }
}

/// A simulator that runs until its stop token is cancelled.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    stage: Arc<Stage>,
    serving: JoinHandle<()>,
}

impl Simulator {
    /// Starts to listen.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(config: SimulatorConfig, stop: CancellationToken) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let stage = Arc::new(Stage::new(config));
        let serving = tokio::spawn(server::serve(listener, Arc::clone(&stage), stop));
        Ok(Self { address, stage, serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What arrived under a key, in order.
    pub fn arrivals(&self, key: &str) -> Vec<Arrival> {
        self.stage.arrivals(key)
    }

    /// Totals since the start.
    pub fn summary(&self) -> Summary {
        self.stage.summary()
    }

    /// The newest requests as they were seen, oldest first.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.stage.requests()
    }

    /// Plays another script from now on; its outages count from now.
    pub fn play(&self, script: Script) {
        self.stage.play(script);
    }

    /// Is down from now on: for this long, or until [`Self::go_up`].
    pub fn go_down(&self, lasting: Option<Duration>) {
        self.stage.go_down(lasting);
    }

    /// Ends an outage begun with [`Self::go_down`].
    pub fn go_up(&self) {
        self.stage.go_up();
    }

    /// Forgets what has arrived and begins anew.
    pub fn reset(&self) {
        self.stage.reset();
    }

    /// Waits until it has stopped and all its connections are closed; for after its stop token was cancelled.
    pub async fn stopped(self) {
        // The task neither panics nor is aborted; if it were, it would have stopped all the same.
        let _ended = self.serving.await;
    }
}
