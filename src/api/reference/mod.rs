//! `GET /openapi.json` and `GET /docs`: what the API is, for programs and for people.
//!
//! The description is made from the code: the shapes of answers are those of the types that are serialised (`schemas`), what can be asked
//! stands in one table (`operations`). A test (`tests/it/reference.rs`) holds the table against the routes in both directions, the problem
//! codes against those in the source, and real answers against their shapes.
//!
//! To add a route: write its `operation::Operation` in the group where readers look for it. If it answers a type of its own, derive
//! `utoipa::ToSchema` for it and add it to the list in `schemas`; if it answers JSON that is put together by hand, describe that in
//! `shapes`.

mod operation;
mod operations;
mod page;
mod schemas;
mod shapes;

use std::sync::OnceLock;

use axum::http::header;
use axum::response::IntoResponse;
use serde_json::Value;

/// What the page may load: its own style sheet, nothing else; no script at all.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The description as JSON (`OpenAPI` 3.1).
pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::to_value(schemas::describe(operations::ALL)).unwrap_or_default())
}

/// `GET /openapi.json`
pub async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document().to_string())
}

/// `GET /docs`
pub async fn docs() -> impl IntoResponse {
    static PAGE: OnceLock<String> = OnceLock::new();
    let page = PAGE.get_or_init(|| page::render(document()));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, page.as_str())
}

/// `GET /docs/style.css`
pub async fn style() -> impl IntoResponse {
    let headers =
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, include_str!("style.css"))
}
