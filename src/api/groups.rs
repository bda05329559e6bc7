//! `GET /v1/groups`: what waits for a person, one line for each kind.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde_json::{Value, json};

use super::Api;
use super::auth::Viewer;
use super::calls::read_condition;
use super::problem::Result;
use crate::call::ReviewReason;
use crate::ledger::{Filter, Group};
use crate::limits::GROUPS_MAX;

/// Groups of calls by endpoint, review reason and error, the largest first; at most 500.
///
/// # Errors
/// 400 for a parameter that cannot be read.
pub async fn list(
    State(api): State<Arc<Api>>,
    _: Viewer,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Json<Value>> {
    let mut filter = Filter::default();
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        read_condition(&mut filter, name, value)?;
    }
    let groups = api.ledger.groups(&filter, GROUPS_MAX).await?;
    let groups: Vec<Value> = groups.iter().map(view).collect();
    Ok(Json(json!({ "groups": groups })))
}

fn view(group: &Group) -> Value {
    json!({
        "endpoint": group.endpoint.as_str(),
        "review_reason": group.reason.map(ReviewReason::as_str),
        "error": group.error,
        "count": group.count,
        "first_at": group.first_at.to_string(),
        "last_at": group.last_at.to_string(),
        "example": group.example.to_string(),
    })
}
