//! Adds what this process has counted to the ledger, every few seconds and once more at the end.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::ledger::Ledger;
use crate::limits::TALLY_EVERY;
use crate::tally::Tallies;

/// Runs until stopped.
pub async fn run(tallies: Tallies, ledger: Arc<dyn Ledger>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return add(&tallies, &*ledger).await,
            () = tokio::time::sleep(TALLY_EVERY) => add(&tallies, &*ledger).await,
        }
    }
}

/// What does not reach the ledger is added with the next; whether a lost commit took effect nobody knows, so the counts of such a
/// moment may be doubled.
async fn add(tallies: &Tallies, ledger: &dyn Ledger) {
    let taken = tallies.take();
    if taken.is_empty() {
        return;
    }
    if let Err(error) = ledger.add_tallies(&taken).await {
        tracing::debug!(%error, "statistics could not be added; trying again");
        tallies.put_back(taken);
    }
}
