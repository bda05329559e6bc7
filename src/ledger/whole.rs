//! Work on the ledger that nobody may leave half done, whoever asked for it and does not wait any more.

use std::future::Future;

use tokio::task::JoinError;
use tokio_util::task::TaskTracker;

/// Works in a task of its own, to the end, also when whoever waits here goes away in the middle. A panic of the work goes on in who waits.
pub async fn to_its_end<T: Send + 'static>(
    tasks: &TaskTracker,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    match tasks.spawn(work).await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime ends, and whoever waits here with it.
        Err(Err(_cancelled)) => std::future::pending().await,
    }
}
