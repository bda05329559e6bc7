//! Signals: the first SIGTERM or SIGINT stops the program in order, a second one ends it at once; SIGHUP reads the configuration again.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first SIGTERM or SIGINT.
pub fn stop_on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        next_signal().await;
        stopping.cancel();
        next_signal().await;
        // Whoever asks twice wants out; leases see to what is left behind.
        std::process::exit(1);
    });
    stop
}

/// Notified by every SIGHUP.
pub fn reload_on_signal() -> Arc<Notify> {
    let asked = Arc::new(Notify::new());
    let asking = Arc::clone(&asked);
    tokio::spawn(async move {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
        while hangup.recv().await.is_some() {
            asking.notify_one();
        }
    });
    asked
}

async fn next_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
