//! `POST /v1/endpoints/{name}/pause`, `/resume`, and holds as the API shows them.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::Api;
use super::actions::read_note;
use super::auth::Operator;
use super::endpoints::{EndpointInPath, view_of};
use super::problem::Result;
use crate::clock::Timestamp;
use crate::endpoint::Endpoint;
use crate::gate::hold::breaker_state;
use crate::gate::{Hold, Phase};

/// Holds an endpoint: nothing is lost or counted as an attempt.
///
/// # Errors
/// 404 for an unknown endpoint, 422 for a bad note, 503 without the ledger.
pub async fn pause(
    State(api): State<Arc<Api>>,
    operator: Operator,
    EndpointInPath(endpoint): EndpointInPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>> {
    let note = read_note(&api, &headers, body).await?;
    api.desk.pause(&endpoint.name, operator.0.as_str(), &note).await?;
    Ok(Json(after_acting(&api, &endpoint).await))
}

/// Lets calls of a held endpoint out again, whatever holds it.
///
/// # Errors
/// 404 for an unknown endpoint, 422 for a bad note, 503 without the ledger.
pub async fn resume(
    State(api): State<Arc<Api>>,
    operator: Operator,
    EndpointInPath(endpoint): EndpointInPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>> {
    let note = read_note(&api, &headers, body).await?;
    api.desk.resume(&endpoint.name, operator.0.as_str(), &note).await?;
    Ok(Json(after_acting(&api, &endpoint).await))
}

/// The endpoint as it is now. What was done is done: where the ledger has gone since, only the name can be told.
async fn after_acting(api: &Api, endpoint: &Endpoint) -> Value {
    view_of(api, endpoint).await.unwrap_or_else(|_away| json!({ "name": endpoint.name.as_str() }))
}

/// What holds an endpoint; null when calls go out, be it a few at first.
pub(super) fn hold_view(hold: Option<&Hold>) -> Value {
    hold.filter(|hold| hold.is_shut()).map_or(Value::Null, |hold| {
        json!({
            "kind": hold.kind.as_str(),
            "since": hold.since.to_string(),
            "until": hold.until().map(|until| until.to_string()),
            "by": hold.actor,
            "note": hold.note,
        })
    })
}

/// `active`: calls go out; `held`: none does; `probing`: one does; `ramping`: they do again, a few at first.
pub(super) fn state(hold: Option<&Hold>) -> &'static str {
    match hold.map(|hold| &hold.phase) {
        None => "active",
        Some(Phase::Parked { .. }) => "held",
        Some(Phase::Probing { .. }) => "probing",
        Some(Phase::Ramping { .. }) => "ramping",
    }
}

/// Where the endpoint's breaker stands; null if it has none.
pub(super) fn breaker_view(endpoint: &Endpoint, hold: Option<&Hold>, now: Timestamp) -> Value {
    let Some(settings) = endpoint.protection.breaker else { return Value::Null };
    json!({
        "state": breaker_state(hold, now).as_str(),
        "failure_rate": settings.failure_rate,
        "window_ms": ms(settings.window),
        "min_calls": settings.min_calls,
        "open_for_ms": ms(settings.open_for),
    })
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
