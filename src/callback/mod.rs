//! Callbacks: posts outcomes to the URLs that publishers gave, again and again until they are taken.
//!
//! What is to be posted stands in the ledger's outbox, written in the transaction that made the outcome; any process may post it, at
//! least once. A URL comes from a submission, so it may lead to public addresses only, unless the configuration says otherwise.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::invoker::guard::{self, GuardedResolver, Reach};
use crate::ledger::{Channel, Ledger, LedgerError, Notice};
use crate::limits::{CALLBACK_TRIES_MAX, CALLBACKS_AT_ONCE};
use crate::notice::Link;
use crate::notice::document::event_json;
use crate::telemetry::Metrics;

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
}

impl Callbacks {
    /// A sender for the outbox of this ledger.
    ///
    /// # Errors
    /// No TLS could be set up.
    pub fn new(reach: Reach, ledger: Arc<dyn Ledger>, link: Link, metrics: Metrics) -> reqwest::Result<Self> {
        crate::invoker::tls::install_provider();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .timeout(PATIENCE)
            .user_agent(concat!("redial/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(GuardedResolver(reach)))
            .build()?;
        Ok(Self { client, reach, ledger, link, metrics })
    }

    /// Runs until stopped.
    pub async fn run(self, signal: Arc<Notify>, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                posted = self.post_some() => match posted {
                    Ok(0) => {}
                    Ok(_) => continue,
                    Err(error) => tracing::debug!(%error, "the outbox cannot be read; trying again"),
                },
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = signal.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn post_some(&self) -> Result<usize, LedgerError> {
        let notices = self.ledger.take_notices(&[Channel::Callback], CALLBACKS_AT_ONCE, RETRY_AFTER).await?;
        let count = notices.len();
        let posts = notices.into_iter().map(|notice| self.post(notice));
        let done: Vec<Option<i64>> = stream::iter(posts).buffer_unordered(CALLBACKS_AT_ONCE).collect().await;
        let done: Vec<i64> = done.into_iter().flatten().collect();
        if !done.is_empty() {
            self.ledger.forget_notices(&done).await?;
        }
        Ok(count)
    }

    /// The notice's id if it is done with: taken by the receiver, or given up.
    async fn post(&self, notice: Notice) -> Option<i64> {
        match self.try_post(&notice).await {
            Ok(()) => {
                self.metrics.event("delivered", 1);
                Some(notice.id)
            }
            Err(reason) => {
                let given_up = notice.tries >= CALLBACK_TRIES_MAX;
                self.metrics.event("failed", 1);
                tracing::info!(call.id = %notice.event.call, tries = notice.tries, given_up, reason, "a callback was not taken");
                given_up.then_some(notice.id)
            }
        }
    }

    async fn try_post(&self, notice: &Notice) -> Result<(), String> {
        let text = notice.callback_url.as_deref().unwrap_or_default();
        let url: url::Url = text.parse().map_err(|error| format!("the URL cannot be read: {error}"))?;
        if guard::is_refused_literal(&url, self.reach) {
            return Err("the URL leads to an address that may not be called back".to_owned());
        }
        let post = self
            .client
            .post(url)
            .header(http::header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", format!("{}-{}", notice.event.call, notice.id))
            .body(event_json(&notice.event, &self.link));
        // `without_url`: a URL may hold a token of the publisher's.
        let response = post.send().await.map_err(|error| error.without_url().to_string())?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(format!("it answered {}", response.status().as_u16()))
        }
    }
}
