//! What tests need: servers that are really there, stores of their own, waiting until something holds.

pub(crate) mod amqp_client;
pub(crate) mod answer;
pub(crate) mod broker;
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

/// Waits until `probe` answers something; panics with `what` after 60 s, far beyond what any of the tests should need.
pub(crate) async fn wait_for<T, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let waited = tokio::time::timeout(Duration::from_mins(1), async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited 60 s in vain: {what}"))
}

/// A name that no other test uses: lower case, digits and underscore.
pub(crate) fn unique_name() -> String {
    format!("t{}", uuid::Uuid::now_v7().simple())
}
