//! Loops that the process cannot do without.
//!
//! A panic ends a loop, and without it the process would look well and do a part of its work never again. Whatever broke may have left
//! half a truth behind in memory, so the loop is not begun anew: the process stops in order and says so with its exit code, and
//! whoever runs it starts it again. What a call needs stands in the ledger.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tells when a loop has ended in a panic.
#[derive(Clone, Debug, Default)]
pub(super) struct Vital(CancellationToken);

/// Dropped with its loop, also while that is unwound.
struct Watch {
    name: &'static str,
    broken: CancellationToken,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(part = self.name, "a part of the process has panicked; the process stops");
            self.broken.cancel();
        }
    }
}

impl Vital {
    /// Runs a loop among these tasks.
    pub(super) fn spawn(
        &self,
        tasks: &TaskTracker,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let watch = Watch { name, broken: self.0.clone() };
        tasks.spawn(async move {
            let _watch = watch;
            work.await;
        });
    }

    /// Returns once one of them has panicked.
    pub(super) async fn broken(&self) {
        self.0.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_loop_that_panics_is_told_of_and_one_that_ends_is_not() {
        let (vital, tasks) = (Vital::default(), TaskTracker::new());
        vital.spawn(&tasks, "ends", async {});
        tasks.close();
        tasks.wait().await;
        assert!(vital.broken().now_or_never().is_none());
        vital.spawn(&tasks, "panics", async { panic!("as a loop never should") });
        vital.broken().await;
    }
}
