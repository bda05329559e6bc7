//! `GET /v1/endpoints`: configuration without secrets, how much waits, how it has been going.
//!
//! An answer is put together from sections, each a function of its own: what is configured, what waits, what the last minutes were like,
//! the providers side by side.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::{Map, Value, json};

use super::auth::Viewer;
use super::problem::{Problem, Result};
use super::stats::minutes_before;
use super::summary::{Buckets, Verdicts, tenth};
use super::{Api, holds};
use crate::call::{Cost, EndpointName, Mode};
use crate::clock::Timestamp;
use crate::endpoint::ladder::format_duration;
use crate::endpoint::{BaseUrl, Confirm, Destination, Endpoint, Provider, Rules};
use crate::gate::Hold;
use crate::ledger::{EndpointTally, Totals};
use crate::limits::RECENT_MINUTES;
use crate::tally::{Counts, minute_of};
use crate::worker::{ProviderStanding, Worker};

/// All endpoints.
///
/// # Errors
/// 503 without the ledger.
pub async fn list(State(api): State<Arc<Api>>, _: Viewer) -> Result<Json<Value>> {
    let live = Live::look(&api, None).await?;
    let endpoints: Vec<Value> =
        api.registry.snapshot().iter().map(|endpoint| view(endpoint, &live)).collect();
    Ok(Json(json!({ "endpoints": endpoints, "configuration": api.configuration.view() })))
}

/// One endpoint.
///
/// # Errors
/// 404 for an unknown one, 503 without the ledger.
pub async fn show(
    State(api): State<Arc<Api>>,
    _: Viewer,
    EndpointInPath(endpoint): EndpointInPath,
) -> Result<Json<Value>> {
    Ok(Json(view_of(&api, &endpoint).await?))
}

/// The endpoint that a path names.
#[derive(Debug)]
pub struct EndpointInPath(pub Arc<Endpoint>);

impl FromRequestParts<Arc<Api>> for EndpointInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self> {
        // What is not even UTF-8 names no endpoint either.
        let name = Path::<String>::from_request_parts(parts, api).await;
        let name = name.map_or_else(|_| String::new(), |Path(name)| name);
        let found = EndpointName::parse(&name).ok().and_then(|name| api.registry.get(&name));
        found.map(Self).ok_or_else(|| {
            let detail = format!("no endpoint {name:?} is configured");
            Problem::new(StatusCode::NOT_FOUND, "unknown_endpoint", detail)
        })
    }
}

/// One endpoint as it is now.
///
/// # Errors
/// 503 without the ledger.
pub(super) async fn view_of(api: &Api, endpoint: &Endpoint) -> Result<Value> {
    Ok(view(endpoint, &Live::look(api, Some(&endpoint.name)).await?))
}

/// What is known of the endpoints beside their configuration.
struct Live {
    counted: Arc<super::totals::Counted>,
    recent: Recent,
    worker: Option<Arc<Worker>>,
    /// The ledger's clock, and what is held by it.
    now: Timestamp,
    holds: Vec<Hold>,
}

impl Live {
    async fn look(api: &Api, endpoint: Option<&EndpointName>) -> Result<Self> {
        let since = minutes_before(minute_of(Timestamp::now()), RECENT_MINUTES - 1);
        let tallies = api.ledger.tallies_by_endpoint(since, endpoint).await?;
        let (now, holds) = api.ledger.holds().await?;
        Ok(Self {
            counted: api.totals.get(&*api.ledger).await?,
            recent: Recent::of(tallies),
            worker: api.intake.worker().cloned(),
            now,
            holds,
        })
    }
}

/// The last minutes, by endpoint and provider.
#[derive(Default)]
struct Recent(BTreeMap<String, BTreeMap<String, Counts>>);

impl Recent {
    fn of(tallies: Vec<EndpointTally>) -> Self {
        let mut recent = Self::default();
        for tally in tallies {
            let of_endpoint = recent.0.entry(tally.endpoint).or_default();
            of_endpoint.entry(tally.provider).or_default().add(tally.kind, &tally.label, tally.count);
        }
        recent
    }

    /// All providers of an endpoint together.
    fn whole(&self, endpoint: &EndpointName) -> Counts {
        let mut whole = Counts::default();
        for counts in self.0.get(endpoint.as_str()).into_iter().flat_map(BTreeMap::values) {
            whole.merge(counts);
        }
        whole
    }

    /// The providers of an endpoint, by name.
    fn providers(&self, endpoint: &EndpointName) -> impl Iterator<Item = (&str, &Counts)> {
        let of_endpoint = self.0.get(endpoint.as_str()).into_iter().flatten();
        of_endpoint.filter(|(name, _)| !name.is_empty()).map(|(name, counts)| (name.as_str(), counts))
    }
}

fn view(endpoint: &Endpoint, live: &Live) -> Value {
    let hold = live.holds.iter().find(|hold| hold.endpoint == endpoint.name);
    let mut view = configured(endpoint);
    view.extend([
        ("state".to_owned(), holds::state(hold).into()),
        ("hold".to_owned(), holds::hold_view(hold)),
        ("breaker".to_owned(), holds::breaker_view(endpoint, hold, live.now)),
        ("backlog".to_owned(), backlog(endpoint, &live.counted.totals)),
        ("running".to_owned(), running(endpoint, &live.counted.totals)),
        ("recent".to_owned(), recent(&live.recent.whole(&endpoint.name))),
        ("providers".to_owned(), providers(endpoint, live)),
    ]);
    Value::Object(view)
}

/// What is configured; names of headers, no values.
#[expect(clippy::wildcard_enum_match_arm, reason = "another crate's enum, of which only these are meant")]
fn configured(endpoint: &Endpoint) -> Map<String, Value> {
    let ladder: Vec<String> = endpoint.ladder.delays().iter().map(|delay| format_duration(*delay)).collect();
    let headers: Vec<&str> = endpoint.headers.iter().map(|(name, _)| name.as_str()).collect();
    let configured = json!({
        "name": endpoint.name.as_str(),
        "base_url": endpoint.destination.base_url().map(BaseUrl::shown),
        "allowed_hosts": allowed_hosts(endpoint),
        "strategy": endpoint.vendors.strategy.as_str(),
        "duplicates": endpoint.vendors.duplicates.as_str(),
        "dry_run": endpoint.dry_run.mode == Mode::DryRun,
        "ladder": ladder,
        "timeout": {
            "connect_ms": ms(endpoint.timeouts.connect()),
            "read_ms": ms(endpoint.timeouts.read()),
            "overall_ms": ms(endpoint.timeouts.overall()),
            "adaptive_floor_ms": endpoint.timeouts.adaptive_floor().map(ms),
        },
        "lease_ms": ms(endpoint.timeouts.lease()),
        "concurrency": endpoint.concurrency,
        "on_ambiguous": endpoint.judging.on_ambiguous.as_str(),
        "idempotency_window_ms": endpoint.judging.idempotency_window.map(ms),
        "rules": rules(&endpoint.judging.rules, "verdict"),
        "confirm": endpoint.judging.confirm.as_ref().map(confirm),
        "takes_callbacks": endpoint.judging.reporting.is_some(),
        "idempotency_header": endpoint.idempotency_header.as_str(),
        "headers": headers,
        "lane": endpoint.lane.as_str(),
        "rate_limit": endpoint.protection.rate_limit.map(|rate| rate.to_string()),
    });
    match configured {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// What waits.
fn backlog(endpoint: &Endpoint, totals: &Totals) -> Value {
    let (scheduled, due) = totals
        .waiting
        .iter()
        .find(|(name, ..)| *name == endpoint.name)
        .map_or((0, 0), |(_, scheduled, due)| (*scheduled, *due));
    json!({ "scheduled": scheduled, "due": due })
}

/// What is under way, in all processes.
fn running(endpoint: &Endpoint, totals: &Totals) -> Value {
    let found = totals.running.iter().find(|(name, _)| *name == endpoint.name);
    json!(found.map_or(0, |(_, running)| *running))
}

/// What the last minutes were like.
fn recent(counts: &Counts) -> Value {
    json!({
        "window_s": u64::from(RECENT_MINUTES) * 60,
        "attempts": counts.attempts(),
        "success_rate": counts.success_rate().map(tenth),
        "latency_p50_ms": counts.latency_ms(0.5),
        "latency_p99_ms": counts.latency_ms(0.99),
        "latency_buckets": Buckets::of(counts),
        "by_verdict": Verdicts::of(counts),
        "errors": counts.errors,
    })
}

/// The providers side by side: those that are configured, then those that were used in the last minutes and are no more.
fn providers(endpoint: &Endpoint, live: &Live) -> Value {
    let standings =
        live.worker.as_ref().map(|worker| worker.vendors().standings(endpoint)).unwrap_or_default();
    let used: BTreeMap<&str, &Counts> = live.recent.providers(&endpoint.name).collect();
    let all: u64 = used.values().map(|counts| counts.attempts()).sum();
    let configured = endpoint.destination.providers();
    let names: Vec<&str> = configured.iter().map(|provider| provider.name.as_str()).collect();
    let gone = used.keys().filter(|name| !names.contains(name));
    let nothing = Counts::default();
    let views = names.iter().chain(gone).map(|name| {
        let configured = configured.iter().find(|provider| provider.name.as_str() == *name);
        let standing = standings.iter().find(|standing| standing.name.as_str() == *name);
        provider(name, configured, used.get(name).copied().unwrap_or(&nothing), all, standing)
    });
    Value::Array(views.collect())
}

/// The breaker is that of this process: each worker process has its own.
fn provider(
    name: &str,
    configured: Option<&Provider>,
    counts: &Counts,
    all: u64,
    standing: Option<&ProviderStanding>,
) -> Value {
    json!({
        "name": name,
        "weight": configured.map(|provider| provider.weight),
        "cost": configured.and_then(|provider| provider.cost).map(Cost::units),
        "share": share(counts.attempts(), all),
        "attempts": counts.attempts(),
        "success_rate": counts.success_rate().map(tenth),
        "latency_p50_ms": counts.latency_ms(0.5),
        "latency_p99_ms": counts.latency_ms(0.99),
        "cost_total": counts.cost(),
        "errors": counts.errors,
        "base_url": configured.and_then(|provider| provider.face.destination.base_url()).map(BaseUrl::shown),
        "breaker": standing.map(|standing| standing.breaker.as_str()),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| tenth(part as f64 / all as f64))
}

/// What submissions may name, where the endpoint knows no host of its own.
pub(super) fn allowed_hosts(endpoint: &Endpoint) -> Option<Vec<String>> {
    match &endpoint.destination {
        Destination::Named(hosts) => Some(hosts.patterns.iter().map(ToString::to_string).collect()),
        Destination::Base(_) | Destination::Providers(_) => None,
    }
}

/// Rules in order; `means` is the word for what it means that one holds.
pub(super) fn rules<A: ToString>(rules: &Rules<A>, means: &str) -> Vec<Value> {
    rules.iter().map(|rule| json!({ "when": rule.when.text(), means: rule.means.to_string() })).collect()
}

fn confirm(confirm: &Confirm) -> Value {
    json!({
        "method": confirm.method.as_str(),
        "path": confirm.path.text(),
        "after_ms": ms(confirm.after),
        "times": confirm.times,
        "rules": rules(&confirm.rules, "answer"),
    })
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
