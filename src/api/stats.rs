//! `GET /v1/stats`: totals by status, rates, depths of tiers and lanes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use super::Api;
use super::auth::Viewer;
use super::problem::Result;
use crate::call::Status;
use crate::clock::{Timestamp, monotonic};
use crate::ledger::Totals;

/// The totals at an earlier look, so that the next one can tell how fast they grow.
#[derive(Debug, Default)]
pub struct Rates(Mutex<Option<Look>>);

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    attempts: u64,
    succeeded: u64,
}

/// Looks closer together than this share one base: rates over milliseconds say nothing.
const SPAN_MIN_SECONDS: f64 = 1.0;

impl Rates {
    /// Attempts and successes per second since the look before; `None` at the first look.
    fn since_last(&self, totals: &Totals, now: Instant) -> Option<(f64, f64)> {
        let look = Look { at: now, attempts: totals.attempts, succeeded: count(totals, Status::Succeeded) };
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = *last else {
            *last = Some(look);
            return None;
        };
        let seconds = now.saturating_duration_since(before.at).as_secs_f64();
        if seconds < SPAN_MIN_SECONDS {
            return None;
        }
        *last = Some(look);
        let per_second = |now: u64, before: u64| as_float(now.saturating_sub(before)) / seconds;
        Some((per_second(look.attempts, before.attempts), per_second(look.succeeded, before.succeeded)))
    }
}

/// How many calls stand in this state.
pub fn count(totals: &Totals, status: Status) -> u64 {
    totals.by_status.iter().find(|(name, _)| *name == status).map_or(0, |(_, count)| *count)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn as_float(number: u64) -> f64 {
    number as f64
}

/// Everything at a glance.
///
/// # Errors
/// 503 without the ledger.
pub async fn show(State(api): State<Arc<Api>>, _: Viewer) -> Result<Json<Value>> {
    let totals = api.ledger.totals().await?;
    let rates = api.rates.since_last(&totals, monotonic());
    let by_status: Map<String, Value> =
        Status::ALL.iter().map(|status| (status.to_string(), json!(count(&totals, *status)))).collect();
    let waiting: Map<String, Value> = totals
        .waiting
        .iter()
        .map(|(endpoint, scheduled, due)| {
            (endpoint.to_string(), json!({ "scheduled": scheduled, "due": due }))
        })
        .collect();
    // Depths count messages; without the broker there is nothing to count.
    let depths = api.delay.depths().await.ok();
    Ok(Json(json!({
        "at": Timestamp::now().to_string(),
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
    })))
}
