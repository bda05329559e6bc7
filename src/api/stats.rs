//! `GET /v1/stats`: totals by status, rates, depths of tiers and lanes. `GET /v1/stats/history`: the last minutes, one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Api;
use super::auth::Viewer;
use super::calls::bad;
use super::problem::{Problem, Result};
use super::summary::{Buckets, Verdicts, tenth};
use super::totals::count;
use crate::call::{EndpointName, Status};
use crate::clock::Timestamp;
use crate::ledger::MinuteTally;
use crate::limits::HISTORY_MINUTES_MAX;
use crate::tally::{Counts, minute_of};

/// Minutes that a history shows unless it is asked for others.
const MINUTES_DEFAULT: u32 = 60;

/// Everything at a glance.
///
/// # Errors
/// 503 without the ledger.
pub async fn show(State(api): State<Arc<Api>>, _: Viewer) -> Result<Json<Value>> {
    document(&api).await.map(Json)
}

/// Everything at a glance, as JSON.
///
/// # Errors
/// 503 without the ledger.
pub(super) async fn document(api: &Api) -> Result<Value> {
    let counted = api.totals.get(&*api.ledger).await?;
    let (totals, rates) = (&counted.totals, counted.rates);
    let by_status: Map<String, Value> =
        Status::ALL.iter().map(|status| (status.to_string(), json!(count(totals, *status)))).collect();
    let waiting: Map<String, Value> = totals
        .waiting
        .iter()
        .map(|(endpoint, scheduled, due)| {
            (endpoint.to_string(), json!({ "scheduled": scheduled, "due": due }))
        })
        .collect();
    // Depths count messages; without the broker there is nothing to count.
    let depths = api.delay.depths().await.ok();
    Ok(json!({
        "at": counted.at.to_string(),
        "calls": by_status,
        "attempts": totals.attempts,
        "rates": {
            "attempts_per_second": rates.map(|(attempts, _)| attempts),
            "succeeded_per_second": rates.map(|(_, succeeded)| succeeded),
        },
        "waiting": waiting,
        "running_here": api.metrics.running(),
        "depths": depths,
        "broker_away": api.delay.is_away(),
    }))
}

/// What happened in the last minutes, oldest first. Every minute is there, also one in which nothing happened; the last one is not over.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = History)]
pub struct HistoryView {
    minutes: Vec<MinuteView>,
}

/// One minute.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Minute)]
struct MinuteView {
    at: String,
    attempts: u64,
    #[schema(value_type = BTreeMap<String, u64>)]
    by_verdict: Verdicts,
    success_rate: Option<f64>,
    latency_p50_ms: Option<f64>,
    latency_p99_ms: Option<f64>,
    #[schema(value_type = BTreeMap<String, u64>)]
    latency_buckets: Buckets,
    accepted: u64,
}

impl MinuteView {
    fn new(minute: Timestamp, counts: &Counts) -> Self {
        Self {
            at: minute.to_string(),
            attempts: counts.attempts(),
            by_verdict: Verdicts::of(counts),
            success_rate: counts.success_rate().map(tenth),
            latency_p50_ms: counts.latency_ms(0.5),
            latency_p99_ms: counts.latency_ms(0.99),
            latency_buckets: Buckets::of(counts),
            accepted: counts.accepted,
        }
    }
}

/// The last minutes, one by one.
///
/// # Errors
/// 400 for a parameter that cannot be read, 503 without the ledger.
pub async fn history(
    State(api): State<Arc<Api>>,
    _: Viewer,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Json<HistoryView>> {
    let wish = HistoryWish::read(&parameters)?;
    let now = minute_of(Timestamp::now());
    let since = minutes_before(now, wish.minutes - 1);
    let tallies = api.ledger.tallies_by_minute(since, wish.endpoint.as_ref()).await?;
    Ok(Json(HistoryView { minutes: by_minute(&tallies, since, wish.minutes) }))
}

/// What was asked for.
#[derive(Debug)]
struct HistoryWish {
    minutes: u32,
    endpoint: Option<EndpointName>,
}

impl HistoryWish {
    fn read(parameters: &[(String, String)]) -> Result<Self> {
        let mut wish = Self { minutes: MINUTES_DEFAULT, endpoint: None };
        for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
            match name.as_str() {
                "minutes" => {
                    let minutes =
                        value.parse().ok().filter(|minutes| (1..=HISTORY_MINUTES_MAX).contains(minutes));
                    wish.minutes = minutes.ok_or_else(|| {
                        bad(name, &format!("must be a whole number from 1 to {HISTORY_MINUTES_MAX}"))
                    })?;
                }
                "endpoint" => {
                    let endpoint = EndpointName::parse(value);
                    wish.endpoint = Some(endpoint.map_err(|error| bad(name, &error.to_string()))?);
                }
                _ => return Err(unknown_parameter(name)),
            }
        }
        Ok(wish)
    }
}

fn unknown_parameter(name: &str) -> Problem {
    let detail = format!("{name} is no parameter of the history; known are minutes, endpoint");
    Problem::new(axum::http::StatusCode::BAD_REQUEST, "unknown_parameter", detail)
}

/// The beginning of the minute this many before another.
pub(super) fn minutes_before(minute: Timestamp, minutes: u32) -> Timestamp {
    minute.minus(std::time::Duration::from_secs(60 * u64::from(minutes)))
}

fn by_minute(tallies: &[MinuteTally], since: Timestamp, minutes: u32) -> Vec<MinuteView> {
    let mut counted: BTreeMap<Timestamp, Counts> = BTreeMap::new();
    for tally in tallies {
        counted.entry(tally.minute).or_default().add(tally.kind, &tally.label, tally.count);
    }
    let nothing = Counts::default();
    (0..minutes)
        .map(|number| {
            let minute = since.plus(std::time::Duration::from_secs(60 * u64::from(number)));
            MinuteView::new(minute, counted.get(&minute).unwrap_or(&nothing))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Kind;

    fn read(parameters: &[(&str, &str)]) -> Result<HistoryWish> {
        let owned: Vec<(String, String)> =
            parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        HistoryWish::read(&owned)
    }

    #[test]
    fn a_history_is_an_hour_unless_asked_otherwise() {
        assert_eq!(read(&[]).unwrap().minutes, 60);
        let wish = read(&[("minutes", "1440"), ("endpoint", "sms")]).unwrap();
        assert_eq!((wish.minutes, wish.endpoint.unwrap().as_str()), (1_440, "sms"));
        for (name, value) in
            [("minutes", "0"), ("minutes", "1441"), ("minutes", "-1"), ("endpoint", "A"), ("hours", "1")]
        {
            assert!(read(&[(name, value)]).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn every_minute_is_there() {
        let since = Timestamp::UNIX_EPOCH;
        let second = since.plus(std::time::Duration::from_secs(60));
        let tally = MinuteTally { minute: second, kind: Kind::Accepted, label: String::new(), count: 7 };
        let minutes = by_minute(&[tally], since, 3);
        let accepted: Vec<_> = minutes.iter().map(|minute| (minute.at.as_str(), minute.accepted)).collect();
        assert_eq!(
            accepted,
            [
                ("1970-01-01T00:00:00.000Z", 0),
                ("1970-01-01T00:01:00.000Z", 7),
                ("1970-01-01T00:02:00.000Z", 0)
            ]
        );
        assert_eq!(minutes[0].success_rate, None);
    }
}
