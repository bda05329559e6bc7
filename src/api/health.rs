//! Whether the process is alive and ready, and what it counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde_json::json;

use super::Api;

/// How long the ledger may take to answer before it counts as away.
const LEDGER_PATIENCE: Duration = Duration::from_secs(2);

/// Where the process stands between start and stop. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<AtomicU8>);

const SERVING: u8 = 1;
const DRAINING: u8 = 2;

impl Health {
    /// Everything is started.
    pub fn serving(&self) {
        self.0.store(SERVING, Ordering::Release);
    }

    /// The process is stopping.
    pub fn draining(&self) {
        self.0.store(DRAINING, Ordering::Release);
    }

    /// Why nothing is served now, if so.
    pub(super) fn hindrance(&self) -> Option<&'static str> {
        match self.0.load(Ordering::Acquire) {
            SERVING => None,
            DRAINING => Some("draining"),
            _ => Some("starting"),
        }
    }
}

/// The process answers.
pub async fn alive() -> impl IntoResponse {
    Json(json!({ "status": "ok" }))
}

/// 200 when calls are taken and made, also without RabbitMQ; 503 while starting, draining, or without the ledger.
pub async fn ready(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let unready = |status: &str, away: &[&str]| {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": status, "away": away })))
    };
    if let Some(hindrance) = api.health.hindrance() {
        return unready(hindrance, &[]);
    }
    let ledger = tokio::time::timeout(LEDGER_PATIENCE, api.ledger.now()).await;
    if !matches!(ledger, Ok(Ok(_))) {
        return unready("unavailable", &["ledger"]);
    }
    if api.delay.is_away() {
        return (StatusCode::OK, Json(json!({ "status": "degraded", "away": ["broker"] })));
    }
    (StatusCode::OK, Json(json!({ "status": "ok", "away": [] })))
}

/// The process's counters in Prometheus' text format.
pub async fn metrics(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], api.metrics.render())
}
