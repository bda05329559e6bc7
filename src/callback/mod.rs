//! Callbacks: posts outcomes to the URLs that publishers gave, again and again until they are taken.
//!
//! What is to be posted stands in the ledger's outbox, written in the transaction that made the outcome; any process may post it, at
//! least once. Few go to each host at a time, so that one that does not answer holds up no other. A URL comes from a submission, so it
//! may lead to public addresses only, unless the configuration says otherwise.

mod hosts;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::invoker::chain;
use crate::invoker::guard::{self, GuardedResolver, Reach};
use crate::ledger::{Channel, Ledger, LedgerError, Notice};
use crate::limits::{CALLBACK_TRIES_MAX, CALLBACKS_AT_ONCE};
use crate::notice::Link;
use crate::notice::document::event_json;
use crate::telemetry::Metrics;
use hosts::Hosts;

/// How often the outbox is looked into without a signal: other processes write to it too.
const EVERY: Duration = Duration::from_secs(1);
/// How long the receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause after the first failure; it doubles with each further one, up to 64 times this.
const RETRY_AFTER: Duration = Duration::from_secs(15);

/// Posts callbacks.
#[derive(Debug)]
pub struct Callbacks {
    client: reqwest::Client,
    reach: Reach,
    ledger: Arc<dyn Ledger>,
    link: Link,
    metrics: Metrics,
    hosts: Hosts,
}

/// What became of a post that met no failure.
enum Posted {
    /// The receiver took it.
    Taken,
    /// It was not made, because its host has too many that it does not answer.
    HostBusy,
}

impl Callbacks {
    /// A sender for the outbox of this ledger.
    ///
    /// # Errors
    /// No TLS could be set up.
    pub fn new(reach: Reach, ledger: Arc<dyn Ledger>, link: Link, metrics: Metrics) -> reqwest::Result<Self> {
        let client = client(reach)?;
        Ok(Self { client, reach, ledger, link, metrics, hosts: Hosts::default() })
    }

    /// Runs until stopped.
    pub async fn run(self, signal: Arc<Notify>, stop: CancellationToken) {
        let callbacks = Arc::new(self);
        let (mut posts, mut done) = (JoinSet::new(), Vec::new());
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                begun = callbacks.begin(&mut posts, &mut done) => if let Err(error) = begun {
                    tracing::debug!(%error, "the outbox cannot be read; trying again");
                },
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(Ok(posted)) = posts.join_next() => done.extend(posted),
                () = signal.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
            while let Some(posted) = posts.try_join_next() {
                done.extend(posted.ok().flatten());
            }
        }
    }

    /// Forgets what is done with and begins to post as many others as there is room for.
    async fn begin(
        self: &Arc<Self>,
        posts: &mut JoinSet<Option<i64>>,
        done: &mut Vec<i64>,
    ) -> Result<(), LedgerError> {
        if !done.is_empty() {
            self.ledger.forget_notices(done).await?;
            done.clear();
        }
        let room = CALLBACKS_AT_ONCE - posts.len();
        if room == 0 {
            return Ok(());
        }
        for notice in self.ledger.take_notices(&[Channel::Callback], room, RETRY_AFTER).await? {
            let callbacks = Arc::clone(self);
            posts.spawn(async move { callbacks.post(notice).await });
        }
        Ok(())
    }

    /// The notice's id if it is done with: taken by the receiver, or given up. Otherwise the ledger gives it out again later.
    async fn post(&self, notice: Notice) -> Option<i64> {
        match self.try_post(&notice).await {
            Ok(Posted::Taken) => {
                self.metrics.event("delivered", 1);
                Some(notice.id)
            }
            Ok(Posted::HostBusy) => {
                tracing::debug!(call.id = %notice.event.call, "a callback waits: its host has not answered others for a while");
                None
            }
            Err(reason) => {
                let given_up = notice.tries >= CALLBACK_TRIES_MAX;
                self.metrics.event("failed", 1);
                tracing::info!(call.id = %notice.event.call, tries = notice.tries, given_up, reason, "a callback was not taken");
                given_up.then_some(notice.id)
            }
        }
    }

    async fn try_post(&self, notice: &Notice) -> Result<Posted, String> {
        let text = notice.callback_url.as_deref().unwrap_or_default();
        let url: url::Url = text.parse().map_err(|error| format!("the URL cannot be read: {error}"))?;
        if guard::is_refused_literal(&url, self.reach) {
            let host = url.host_str().unwrap_or_default();
            return Err(format!(
                "the address {host} is not on the public internet, and may not be called back"
            ));
        }
        let Some(place) = self.hosts.place_at(&url).await else { return Ok(Posted::HostBusy) };
        let post = self
            .client
            .post(url)
            .header(http::header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", format!("{}-{}", notice.event.call, notice.id))
            .body(event_json(&notice.event, &self.link));
        let response = post.send().await.map_err(reason)?;
        place.has_answered();
        if response.status().is_success() {
            Ok(Posted::Taken)
        } else {
            Err(format!("it answered {}", response.status().as_u16()))
        }
    }
}

/// A client that goes where callbacks may go, and no further.
fn client(reach: Reach) -> reqwest::Result<reqwest::Client> {
    crate::invoker::tls::install_provider();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .timeout(PATIENCE)
        .user_agent(concat!("redial/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(GuardedResolver(reach)))
        .build()
}

/// Why a post could not be made, for a log that publishers do not read.
fn reason(error: reqwest::Error) -> String {
    // A URL may hold a token of the publisher's.
    let error = error.without_url();
    if let Some(refused) = chain(&error).find_map(|cause| cause.downcast_ref::<guard::Refused>()) {
        return refused.with_addresses();
    }
    chain(&error).skip(1).last().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_refused_and_the_log_says_why() {
        let client = client(Reach::Public).unwrap();
        let error = client.post("http://localhost:1/?token=secret").send().await.unwrap_err();
        let reason = reason(error);
        assert!(reason.starts_with("localhost leads to no address on the public internet: "), "{reason}");
        assert!(reason.contains("127.0.0.1") || reason.contains("::1"), "{reason}");
    }

    #[tokio::test]
    async fn a_refused_connection_is_named_and_the_url_is_not() {
        let client = client(Reach::Anywhere).unwrap();
        let reason = reason(client.post("http://127.0.0.1:1/?token=secret").send().await.unwrap_err());
        assert!(reason.to_lowercase().contains("refused") && !reason.contains("secret"), "{reason}");
    }
}
