//! What tests need: servers that are really there, stores of their own, waiting until something holds.

pub(crate) mod amqp_client;
pub(crate) mod answer;
pub(crate) mod broker;
pub(crate) mod browser;
pub(crate) mod client;
pub(crate) mod database;
pub(crate) mod in_process;
pub(crate) mod program;
pub(crate) mod publisher;
pub(crate) mod raw_http;
pub(crate) mod service;
pub(crate) mod stage;
pub(crate) mod tcp_proxy;

use std::future::Future;
use std::time::Duration;

/// How long something is waited for: far beyond what any of the tests should need.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `probe` answers something; panics with `what` when that takes longer than [`PATIENCE`].
pub(crate) async fn wait_for<T, F>(what: &str, probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    wait_until(PATIENCE, probe).await.unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain: {what}"))
}

/// What `probe` answers in the end; nothing when that takes longer.
pub(crate) async fn wait_until<T, F>(longest: Duration, mut probe: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    let waited = tokio::time::timeout(longest, async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.ok()
}

/// A name that no other test uses: lower case, digits and underscore.
pub(crate) fn unique_name() -> String {
    format!("t{}", uuid::Uuid::now_v7().simple())
}
