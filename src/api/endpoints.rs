//! `GET /v1/endpoints`: configuration without secrets, and how much waits.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Api;
use super::auth::Viewer;
use super::problem::{Problem, Result};
use crate::endpoint::Endpoint;
use crate::endpoint::ladder::format_duration;
use crate::ledger::Totals;

/// All endpoints.
///
/// # Errors
/// 503 without the ledger.
pub async fn list(State(api): State<Arc<Api>>, _: Viewer) -> Result<Json<Value>> {
    let totals = api.ledger.totals().await?;
    let endpoints: Vec<Value> = api.registry.iter().map(|endpoint| view(endpoint, &totals)).collect();
    Ok(Json(json!({ "endpoints": endpoints })))
}

/// One endpoint.
///
/// # Errors
/// 404 for an unknown one, 503 without the ledger.
pub async fn show(
    State(api): State<Arc<Api>>,
    _: Viewer,
    name: std::result::Result<Path<String>, PathRejection>,
) -> Result<Json<Value>> {
    // What is not even UTF-8 names no endpoint either.
    let name = name.map_or_else(|_| String::new(), |Path(name)| name);
    let found = api.registry.iter().find(|endpoint| endpoint.name.as_str() == name);
    let endpoint = found.ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "unknown_endpoint", format!("no endpoint {name:?} is configured"))
    })?;
    Ok(Json(view(endpoint, &api.ledger.totals().await?)))
}

fn view(endpoint: &Endpoint, totals: &Totals) -> Value {
    let (scheduled, due) = totals
        .waiting
        .iter()
        .find(|(name, ..)| *name == endpoint.name)
        .map_or((0, 0), |(_, scheduled, due)| (*scheduled, *due));
    let ladder: Vec<String> = endpoint.ladder.delays().iter().map(|delay| format_duration(*delay)).collect();
    let headers: Vec<&str> = endpoint.headers.iter().map(|(name, _)| name.as_str()).collect();
    json!({
        "name": endpoint.name.as_str(),
        "base_url": endpoint.base_url.as_str(),
        "ladder": ladder,
        "timeout": {
            "connect_ms": ms(endpoint.timeouts.connect()),
            "read_ms": ms(endpoint.timeouts.read()),
            "overall_ms": ms(endpoint.timeouts.overall()),
        },
        "lease_ms": ms(endpoint.timeouts.lease()),
        "concurrency": endpoint.concurrency,
        "on_ambiguous": endpoint.on_ambiguous.as_str(),
        "idempotency_header": endpoint.idempotency_header.as_str(),
        "headers": headers,
        "lane": endpoint.lane.as_str(),
        "backlog": { "scheduled": scheduled, "due": due },
    })
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
