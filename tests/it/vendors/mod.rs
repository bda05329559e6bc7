//! Where calls go: to interchangeable providers, nowhere at all in a dry run, or to hosts that submissions name.

mod dry_run;
mod hosts;
mod inflating;
mod providers;

use redial::simulator::{Simulator, SimulatorConfig};
use tokio_util::sync::{CancellationToken, DropGuard};

/// One more third party; it stops when the guard is dropped.
async fn third_party() -> (Simulator, DropGuard) {
    let stop = CancellationToken::new();
    let config = SimulatorConfig { keep_requests: 500, ..SimulatorConfig::default() };
    (Simulator::start(config, stop.clone()).await.unwrap(), stop.drop_guard())
}

/// An address on which nobody listens: connections to it are refused.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
