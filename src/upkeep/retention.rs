//! Retention: finished calls are removed when they are old enough, their bodies before that. Calls that wait for anything never are.
//! Bulk jobs that have ended go at the same age.
//!
//! One walk over the calls by id, which is by age, shared by all processes through a row of the ledger: each step looks at one page,
//! blanks and removes what is due on it, and says when the next step may be. So looking costs the same each second for a thousand calls
//! and for a hundred million, for one process and for twenty; only how long a walk takes differs. Pages that were due from end to end
//! follow each other without a pause: what comes in fast goes out as fast.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ledger::{Ledger, LedgerError, Retention, Tidied};
use crate::limits::RECONNECT_PAUSE_MAX;

/// Keeps the ledger small.
#[derive(Debug)]
pub struct Keeper {
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// What is kept for how long.
    pub retention: Retention,
}

impl Keeper {
    /// Runs until stopped.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let pause = match self.step().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::debug!(%error, "a step of retention failed; trying again");
                    RECONNECT_PAUSE_MAX
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One step; answers how long to wait before the next look.
    async fn step(&self) -> Result<Duration, LedgerError> {
        Ok(match self.ledger.tidy(&self.retention).await? {
            Tidied::NotYet => self.retention.pause.max(Duration::from_millis(100)),
            Tidied::Step { removed, blanked, pause } => {
                if removed + blanked > 0 {
                    tracing::debug!(removed, blanked, "old calls were removed or blanked");
                }
                self.retention.wait(pause)
            }
        })
    }
}
