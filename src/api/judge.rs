//! `POST /v1/endpoints/{name}/judge`: how given rules would have judged attempts that were made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::auth::Viewer;
use super::endpoints::EndpointInPath;
use super::problem::{Problem, Result};
use super::submit::read_json;
use crate::call::{Attempt, CallId, Verdict};
use crate::clock::monotonic;
use crate::endpoint::{Rule, Rules};
use crate::limits::{JUDGED_DEFAULT, JUDGED_MAX, JUDGING_PATIENCE, RULES_MAX};
use crate::policy::judge;

/// Examples of each pair of verdicts.
const EXAMPLES_MAX: usize = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    rules: Option<Vec<WrittenRule>>,
    last: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    when: String,
    verdict: String,
}

/// Judges the endpoint's newest attempts by the rules of the body, or by those in force if it has none.
///
/// # Errors
/// 404 for an unknown endpoint, 422 for a body that is no such order, 503 without the ledger.
pub async fn judge_again(
    State(api): State<Arc<Api>>,
    _: Viewer,
    EndpointInPath(endpoint): EndpointInPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>> {
    let order = read_order(&read_json(&api, &headers, body).await?)?;
    let rules = match order.rules.map(|written| compile(&written)) {
        None => endpoint.judging.rules.clone(),
        Some(Ok(rules)) => rules,
        Some(Err(faults)) => {
            return Ok(Json(json!({ "judged": 0, "changed": 0, "table": [], "faults": faults })));
        }
    };
    let last = order.last.unwrap_or(JUDGED_DEFAULT);
    let attempts = api.ledger.newest_attempts(&endpoint.name, last).await?;
    // Rules may take their time on long bodies; those who submit calls must not wait for it.
    let judged = tokio::task::spawn_blocking(move || table(&attempts, &rules, JUDGING_PATIENCE));
    let judged = judged.await.map_err(|_panic| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the attempts could not be judged")
    })?;
    Ok(Json(judged))
}

fn read_order(bytes: &[u8]) -> Result<Order> {
    let invalid = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail);
    let order: Order = serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => invalid(error.to_string()),
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => {
            Problem::new(StatusCode::BAD_REQUEST, "malformed_json", error.to_string())
        }
    })?;
    if order.last.is_some_and(|last| !(1..=JUDGED_MAX).contains(&last)) {
        return Err(invalid(format!("/last: must be from 1 to {JUDGED_MAX}")));
    }
    if order.rules.as_ref().is_some_and(|rules| rules.len() > RULES_MAX) {
        return Err(invalid(format!("/rules: at most {RULES_MAX} rules are allowed")));
    }
    Ok(order)
}

/// The rules, or everything that is wrong with them.
fn compile(written: &[WrittenRule]) -> std::result::Result<Rules<Verdict>, Vec<String>> {
    let (mut rules, mut faults) = (Vec::new(), Vec::new());
    for (position, rule) in written.iter().enumerate() {
        let verdict = Verdict::parse(&rule.verdict);
        if verdict.is_none() {
            let allowed = Verdict::allowed();
            faults.push(format!(
                "rules[{position}].verdict: {:?} is no verdict; there are {allowed}",
                rule.verdict
            ));
        }
        match Rule::about_answers(&rule.when, verdict.unwrap_or(Verdict::Rejected)) {
            Ok(rule) => rules.push(rule),
            Err(fault) => faults.push(format!("rules[{position}].when: {fault}")),
        }
    }
    if faults.is_empty() { Ok(Rules::new("rules", rules)) } else { Err(faults) }
}

/// What each pair of verdicts has.
#[derive(Default)]
struct Cell {
    count: usize,
    examples: Vec<Value>,
}

/// Old verdicts against new ones, the most frequent pair first.
fn table(attempts: &[(CallId, Attempt)], rules: &Rules<Verdict>, patience: Duration) -> Value {
    let (started, mut judged) = (monotonic(), 0);
    let mut cells = BTreeMap::<(Verdict, Verdict), Cell>::new();
    for (call, attempt) in attempts {
        if monotonic().saturating_duration_since(started) > patience {
            break;
        }
        judged += 1;
        // What came late is what was judged late; before that only the loss of the worker was.
        let old = attempt.late.as_ref().map_or(attempt.verdict, |late| late.verdict);
        let (new, _) = judge(&attempt.outcome, attempt.duration, rules);
        let cell = cells.entry((old, new)).or_default();
        cell.count += 1;
        if cell.examples.len() < EXAMPLES_MAX {
            cell.examples.push(json!({ "call": call.to_string(), "attempt": attempt.number.get() }));
        }
    }
    let changed: usize = cells.iter().filter(|((old, new), _)| old != new).map(|(_, cell)| cell.count).sum();
    let mut rows: Vec<_> = cells.into_iter().collect();
    rows.sort_by_key(|(_, cell)| std::cmp::Reverse(cell.count));
    let rows = rows.into_iter().map(|((old, new), cell)| {
        json!({ "old": old.as_str(), "new": new.as_str(), "count": cell.count, "examples": cell.examples })
    });
    json!({ "judged": judged, "changed": changed, "table": rows.collect::<Vec<_>>(), "faults": [] })
}
