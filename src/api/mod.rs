//! The HTTP API: a door. Reads requests, calls the modules below, writes answers; decides nothing.
//!
//! Errors are problem documents (RFC 9457) with a stable `code`. Who may do what shows in a handler's signature: [`auth`] has an
//! extractor for each role.

pub mod actions;
pub mod audit;
pub mod auth;
pub mod bulk;
pub mod callbacks;
pub mod calls;
pub mod configuration;
pub mod configured;
pub mod cursor;
mod diff;
pub mod endpoints;
pub mod erase;
mod filter;
pub mod groups;
pub mod health;
pub mod holds;
pub mod judge;
mod paging;
pub mod problem;
pub mod reference;
pub mod rejected;
pub mod render;
pub mod serve;
pub mod session;
pub mod stats;
pub mod stream;
pub mod submit;
mod summary;
pub mod totals;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::broker::Broker;
use crate::delay::Delay;
use crate::endpoint::Registry;
use crate::intake::Intake;
use crate::ledger::Ledger;
use crate::review::Desk;
use crate::telemetry::Metrics;

use problem::Problem;

pub use auth::Tokens;
pub use configuration::Configuration;
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
    /// What cursors of lists are sealed with.
    pub cursors: cursor::Seal,
    /// Whether the process is ready.
    pub health: Health,
    /// What counts.
    pub metrics: Metrics,
    /// Longest request body, in bytes.
    pub body_bytes_max: usize,
    /// What became of the configuration file.
    pub configuration: Configuration,
    /// Where rejected messages are kept; `None` with timers in the process.
    pub broker: Option<Arc<Broker>>,
    /// The totals, counted once for all who ask.
    pub totals: totals::SharedTotals,
    /// Where browsers reach this server.
    pub public_url: session::PublicUrl,
    /// Where pages listen for what changes.
    pub hub: stream::Hub,
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
        .route("/v1/endpoints/{name}/pause", post(holds::pause))
        .route("/v1/endpoints/{name}/resume", post(holds::resume))
        .route("/v1/endpoints/{name}/judge", post(judge::judge_again))
        .route("/v1/configuration", get(configured::show))
        .route("/v1/callbacks/{endpoint}", post(callbacks::receive))
        .route("/v1/stats", get(stats::show))
        .route("/v1/groups", get(groups::list))
        .route("/v1/audit", get(audit::list))
        .route("/v1/bulk", post(bulk::start).get(bulk::list))
        .route("/v1/bulk/{id}", get(bulk::show))
        .route("/v1/bulk/{id}/calls", get(bulk::calls))
        .route("/v1/bulk/{id}/abort", post(bulk::abort))
        .route("/v1/stats/history", get(stats::history))
        .route("/v1/erase", post(erase::erase))
        .route("/v1/rejected", get(rejected::list))
        .route("/v1/rejected/{id}/resubmit", post(rejected::resubmit))
        .route("/v1/rejected/{id}/discard", post(rejected::discard))
        .route("/v1/session", post(session::log_in).get(session::show).delete(session::log_out))
        .route("/v1/stream", get(stream::listen))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&api), only_while_serving))
        .merge(probes())
        .merge(description())
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(api)
}

/// What a process without the API still answers: whether it is well, and what it counts.
pub fn probe_router(api: Arc<Api>) -> Router {
    probes().fallback(problem::not_found).with_state(api)
}

/// What the API is: no secret, and the same whether or not the process is ready.
fn description() -> Router<Arc<Api>> {
    Router::new()
        .route("/openapi.json", get(reference::openapi))
        .route("/docs", get(reference::docs))
        .route("/docs/style.css", get(reference::style))
}

fn probes() -> Router<Arc<Api>> {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
}
