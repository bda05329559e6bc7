//! The HTTP API: a door. Reads requests, calls the modules below, writes answers; decides nothing.
//!
//! Errors are problem documents (RFC 9457) with a stable `code`. Who may do what shows in a handler's signature: [`auth`] has an
//! extractor for each role.

pub mod actions;
pub mod auth;
pub mod calls;
pub mod cursor;
pub mod endpoints;
pub mod health;
pub mod problem;
pub mod render;
pub mod serve;
pub mod stats;
pub mod submit;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::delay::Delay;
use crate::endpoint::Registry;
use crate::intake::Intake;
use crate::ledger::Ledger;
use crate::review::Desk;
use crate::telemetry::Metrics;

use problem::Problem;

pub use auth::Tokens;
pub use health::Health;

/// What the handlers work with.
#[derive(Debug)]
pub struct Api {
    /// Takes submissions in.
    pub intake: Intake,
    /// Carries out operators' actions.
    pub desk: Desk,
    /// Where calls are looked up.
    pub ledger: Arc<dyn Ledger>,
    /// Where depths are looked up.
    pub delay: Arc<dyn Delay>,
    /// The endpoints.
    pub registry: Arc<Registry>,
    /// Who may do what.
    pub tokens: Tokens,
    /// Whether the process is ready.
    pub health: Health,
    /// What counts.
    pub metrics: Metrics,
    /// Longest request body, in bytes.
    pub body_bytes_max: usize,
    /// Rates between two looks at the totals.
    pub rates: stats::Rates,
}

async fn only_while_serving(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    match api.health.hindrance() {
        None => next.run(request).await,
        Some(hindrance) => {
            let detail = format!("the process is {hindrance}; nothing is confirmed, try again");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, hindrance, detail).into_response()
        }
    }
}

/// All routes.
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/v1/calls", post(submit::one).get(calls::list))
        .route("/v1/calls/batch", post(submit::batch))
        .route("/v1/calls/{id}", get(calls::show))
        .route("/v1/calls/{id}/replay", post(actions::replay))
        .route("/v1/calls/{id}/cancel", post(actions::cancel))
        .route("/v1/calls/{id}/resolve", post(actions::resolve))
        .route("/v1/endpoints", get(endpoints::list))
        .route("/v1/endpoints/{name}", get(endpoints::show))
        .route("/v1/stats", get(stats::show))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&api), only_while_serving))
        .merge(probes())
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(api)
}

/// What a process without the API still answers: whether it is well, and what it counts.
pub fn probe_router(api: Arc<Api>) -> Router {
    probes().fallback(problem::not_found).with_state(api)
}

fn probes() -> Router<Arc<Api>> {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
}
