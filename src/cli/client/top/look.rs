//! One look at the server, and what several of them tell.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::Session;
use super::super::connection::{Answer, Query};
use super::super::documents::{Backlog, Endpoint, Endpoints, Group, Groups};
use super::super::trouble::{Result, Trouble};
use super::lateness::Lateness;
use crate::clock::monotonic;

/// Minutes of history that are looked at.
const HISTORY_MINUTES: usize = 60;
/// Looks closer together than this tell no rate.
const SPAN_MIN_SECONDS: f64 = 0.5;

/// `/v1/stats`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Stats {
    pub(super) at: String,
    pub(super) calls: BTreeMap<String, u64>,
    pub(super) attempts: u64,
    pub(super) waiting: BTreeMap<String, Backlog>,
    pub(super) running_here: u64,
    pub(super) depths: Option<BTreeMap<String, u64>>,
    pub(super) broker_away: bool,
}

/// `/readyz`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Readiness {
    pub(super) status: String,
}

/// `/v1/stats/history`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct History {
    minutes: Vec<Minute>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Minute {
    attempts: u64,
}

/// What the server said at one time.
pub(super) struct Look {
    at: Instant,
    pub(super) readiness: Readiness,
    pub(super) stats: Stats,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) groups: Vec<Group>,
    /// Attempts of each of the latest minutes, oldest first; empty where the server keeps no history.
    pub(super) attempts_by_minute: Vec<u64>,
    pub(super) lateness: Option<Lateness>,
}

/// What is drawn: the latest look, and how it differs from the one before.
pub(super) struct Seen {
    pub(super) server: String,
    pub(super) look: Option<Look>,
    pub(super) rates: Option<Rates>,
    /// Why the latest look failed.
    pub(super) trouble: Option<String>,
}

/// Events per second.
#[derive(Clone, Copy)]
pub(super) struct Rates {
    pub(super) attempts: f64,
    pub(super) succeeded: f64,
}

impl Look {
    /// Looks at everything.
    ///
    /// # Errors
    /// The totals cannot be had; everything else may be missing.
    pub(super) async fn take(session: &Session) -> Result<Self> {
        let stats = session.server.get(&["v1", "stats"], &Query::new()).await?.read()?;
        let endpoints: Endpoints = optional(ask(session, &["v1", "endpoints"], &[]).await)?;
        let groups: Groups = optional(ask(session, &["v1", "groups"], &[("status", "review")]).await)?;
        let minutes = HISTORY_MINUTES.to_string();
        let history: History =
            optional(ask(session, &["v1", "stats", "history"], &[("minutes", &minutes)]).await)?;
        let readiness = optional(ask(session, &["readyz"], &[]).await)?;
        let metrics = ask(session, &["metrics"], &[]).await;
        Ok(Self {
            at: monotonic(),
            readiness,
            stats,
            endpoints: endpoints.endpoints,
            groups: groups.groups,
            attempts_by_minute: history.minutes.iter().map(|minute| minute.attempts).collect(),
            lateness: metrics.ok().and_then(|metrics| Lateness::of(&metrics.text)),
        })
    }

    fn count(&self, status: &str) -> u64 {
        self.stats.calls.get(status).copied().unwrap_or(0)
    }
}

async fn ask(session: &Session, path: &[&str], query: &[(&str, &str)]) -> Result<Answer> {
    let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    session.server.get(path, &query).await
}

/// What an older server does not offer is empty; a server that does not answer at all is trouble.
fn optional<T: Default + serde::de::DeserializeOwned>(answer: Result<Answer>) -> Result<T> {
    match answer {
        Ok(answer) => Ok(answer.read().unwrap_or_default()),
        Err(Trouble::Refused(_)) => Ok(T::default()),
        Err(trouble) => Err(trouble),
    }
}

/// A document's name, where it is, and its query.
type Question<'a> = (&'static str, &'a [&'a str], &'a [(&'a str, &'a str)]);

/// The documents that a frame is drawn from, as one.
///
/// # Errors
/// The totals cannot be had.
pub(super) async fn documents(session: &Session) -> Result<String> {
    let stats = session.server.get(&["v1", "stats"], &Query::new()).await?;
    let mut documents = BTreeMap::from([("stats", stats.text)]);
    let minutes = HISTORY_MINUTES.to_string();
    let others: [Question<'_>; 4] = [
        ("endpoints", &["v1", "endpoints"], &[]),
        ("groups", &["v1", "groups"], &[("status", "review")]),
        ("history", &["v1", "stats", "history"], &[("minutes", &minutes)]),
        ("ready", &["readyz"], &[]),
    ];
    for (name, path, query) in others {
        if let Ok(answer) = ask(session, path, query).await {
            documents.insert(name, answer.text);
        }
    }
    let documents: BTreeMap<&str, Box<RawValue>> = documents
        .into_iter()
        .filter_map(|(name, text)| Some((name, RawValue::from_string(text).ok()?)))
        .collect();
    Ok(serde_json::to_string(&documents).unwrap_or_else(|_| Value::Null.to_string()))
}

impl Seen {
    /// Nothing yet.
    pub(super) const fn new(server: String) -> Self {
        Self { server, look: None, rates: None, trouble: None }
    }

    /// Takes a look in.
    #[expect(clippy::cast_precision_loss, reason = "rates for people")]
    pub(super) fn note(&mut self, look: Look) {
        if let Some(before) = &self.look {
            let seconds = look.at.saturating_duration_since(before.at).as_secs_f64();
            if seconds >= SPAN_MIN_SECONDS {
                let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
                self.rates = Some(Rates {
                    attempts: rate(look.stats.attempts, before.stats.attempts),
                    succeeded: rate(look.count("succeeded"), before.count("succeeded")),
                });
            }
        }
        self.look = Some(look);
        self.trouble = None;
    }

    /// A look failed; what was seen before stays on the screen.
    pub(super) fn miss(&mut self, trouble: &Trouble) {
        self.trouble = Some(trouble.to_string());
    }
}
