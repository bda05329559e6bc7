//! `/v1/bulk`: one order for many calls, counted first, then carried out on the server.

mod wish;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::Api;
use super::auth::{Operator, Viewer};
use super::calls::bad;
use super::cursor::Seal;
use super::paging::{Paging, cut};
use super::problem::{Problem, Result};
use super::render::CallView;
use super::submit::read_json;
use crate::ledger::Filter;
use crate::ledger::bulk::{Aborted, Bulk, BulkCall, BulkCreated, BulkId, BulkResult, NewBulk};
use crate::limits::BULK_CALLS_MAX;
use wish::{Purpose, Wish};

/// Calls that a count shows as a sample.
const SAMPLE: usize = 5;

/// Counts the calls of a job, or starts it.
///
/// # Errors
/// 400, 415, 422 for a bad document; 422 for more calls than one job may be for.
pub async fn start(
    State(api): State<Arc<Api>>,
    operator: Operator,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let bytes = read_json(&api, &headers, body).await?;
    let actor = operator.0.to_string();
    let Wish { purpose, filter, plan } =
        crate::document::read(&bytes, |raw, _, faults| wish::read(raw, actor, faults))?;
    match purpose {
        Purpose::DryRun => count(&api, &filter).await,
        Purpose::InEarnest => create(&api, NewBulk { id: BulkId::generate(), plan, filter }).await,
    }
}

/// How many calls a job would be for, and some of them.
#[derive(Serialize)]
struct BulkCount {
    count: u64,
    by_endpoint: BTreeMap<String, u64>,
    by_status: BTreeMap<String, u64>,
    sample: Vec<CallView>,
}

async fn count(api: &Api, filter: &Filter) -> Result<Response> {
    let counts = api.ledger.count_calls(filter).await?;
    let sample = api.ledger.search(filter, None, SAMPLE).await?;
    let (mut by_endpoint, mut by_status) = (BTreeMap::new(), BTreeMap::new());
    for count in &counts {
        *by_endpoint.entry(count.endpoint.to_string()).or_insert(0) += count.calls;
        *by_status.entry(count.status.to_string()).or_insert(0) += count.calls;
    }
    let sample = sample.iter().map(CallView::from).collect();
    let count = counts.iter().map(|count| count.calls).sum();
    Ok(Json(BulkCount { count, by_endpoint, by_status, sample }).into_response())
}

async fn create(api: &Api, new: NewBulk) -> Result<Response> {
    match api.ledger.create_bulk(&new).await? {
        BulkCreated::Created(job) => {
            tracing::info!(bulk.id = %job.id, actor = job.plan.actor, action = %job.plan.action, calls = job.total, "an operator started a bulk job");
            let location = format!("/v1/bulk/{}", job.id);
            Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(view(&job))).into_response())
        }
        BulkCreated::TooMany(calls) => {
            let detail = format!(
                "the filter picks {calls} calls, and one job is for {BULK_CALLS_MAX} at most; narrow it, by from and to for example"
            );
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "too_many_calls", detail))
        }
    }
}

/// One page of jobs, newest first.
///
/// # Errors
/// 400 for a parameter that cannot be read.
pub async fn list(
    State(api): State<Arc<Api>>,
    _: Viewer,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Json<Value>> {
    let page = Page::read(&parameters, None, &api.cursors)?;
    let before = page.after.map(|place| BulkId::from_uuid(uuid::Uuid::from_bytes(place)));
    let mut jobs = api.ledger.list_bulks(before, page.limit + 1).await?;
    let next_cursor =
        cut(&mut jobs, page.limit).map(|last| api.cursors.close(last.id.uuid().as_bytes(), &page.stamp));
    let jobs: Vec<Value> = jobs.iter().map(view).collect();
    Ok(Json(json!({ "jobs": jobs, "next_cursor": next_cursor })))
}

/// One job.
///
/// # Errors
/// 404 for an unknown one.
pub async fn show(State(api): State<Arc<Api>>, _: Viewer, BulkInPath(id): BulkInPath) -> Result<Json<Value>> {
    let job = api.ledger.find_bulk(id).await?.ok_or_else(|| unknown(id))?;
    Ok(Json(view(&job)))
}

/// One page of a job's calls, in the order they are acted on.
///
/// # Errors
/// 400 for a parameter that cannot be read, 404 for an unknown job.
pub async fn calls(
    State(api): State<Arc<Api>>,
    _: Viewer,
    BulkInPath(id): BulkInPath,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Json<Value>> {
    let page = Page::read(&parameters, Some(id), &api.cursors)?;
    let after = page.after.map(|place| crate::call::CallId::from_uuid(uuid::Uuid::from_bytes(place)));
    let mut calls = api.ledger.bulk_calls(id, page.result, after, page.limit + 1).await?;
    if calls.is_empty() && api.ledger.find_bulk(id).await?.is_none() {
        return Err(unknown(id));
    }
    let next_cursor =
        cut(&mut calls, page.limit).map(|last| api.cursors.close(last.call.uuid().as_bytes(), &page.stamp));
    let calls: Vec<Value> = calls.iter().map(call_view).collect();
    Ok(Json(json!({ "calls": calls, "next_cursor": next_cursor })))
}

/// Ends a job: calls that have not been acted on by now never will be.
///
/// # Errors
/// 404 for an unknown job, 409 for one that has ended.
pub async fn abort(
    State(api): State<Arc<Api>>,
    operator: Operator,
    BulkInPath(id): BulkInPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>> {
    let note = super::actions::read_note(&api, &headers, body).await?;
    let actor = operator.0.to_string();
    match api.ledger.abort_bulk(id, &actor, &note).await? {
        Aborted::Done(job) => {
            tracing::info!(bulk.id = %job.id, actor, acted = job.acted, "an operator aborted a bulk job");
            Ok(Json(view(&job)))
        }
        Aborted::Unknown => Err(unknown(id)),
        Aborted::Ended(status) => {
            let detail = format!("the job has ended: it is {status}");
            Err(Problem::new(StatusCode::CONFLICT, "not_allowed_in_this_state", detail))
        }
    }
}

fn unknown(id: BulkId) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown_bulk_job", format!("there is no bulk job {id}"))
}

/// The id of a job out of a path.
#[derive(Clone, Copy, Debug)]
pub struct BulkInPath(pub BulkId);

impl FromRequestParts<Arc<Api>> for BulkInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self> {
        let text = Path::<String>::from_request_parts(parts, api).await;
        text.ok().and_then(|Path(text)| BulkId::parse(&text)).map(Self).ok_or_else(|| {
            let detail = "a bulk job's id is a UUID, as in 0197a2b4-7c1e-7d0a-9f5e-2f6d1c3b4a59";
            Problem::new(StatusCode::BAD_REQUEST, "invalid_id", detail)
        })
    }
}

fn view(job: &Bulk) -> Value {
    let plan = &job.plan;
    // Written by this program, so it is JSON; whatever else it were would be shown as text.
    let filter: Option<Value> = serde_json::from_str(&plan.filter).ok();
    json!({
        "id": job.id.to_string(),
        "action": plan.action.as_str(),
        "idempotency_key": if plan.new_key { "new" } else { "same" },
        "filter": filter.unwrap_or_else(|| json!(plan.filter)),
        "status": job.status.as_str(),
        "reason": job.reason,
        "actor": plan.actor,
        "note": plan.note,
        "rate": plan.rate.to_string(),
        "canary": plan.canary,
        "stop_at_failure_rate": plan.stop_at_failure_rate,
        "total": job.total,
        "acted": job.acted,
        "skipped": job.skipped,
        "succeeded": job.succeeded,
        "failed": job.failed,
        "pending": job.pending(),
        "created_at": job.created_at.to_string(),
        "updated_at": job.updated_at.to_string(),
        "finished_at": job.finished_at.map(|at| at.to_string()),
    })
}

fn call_view(call: &BulkCall) -> Value {
    json!({ "call": call.call.to_string(), "result": call.result.as_str(), "detail": call.detail })
}

/// What a list of jobs, or of a job's calls, was asked for.
struct Page {
    result: Option<BulkResult>,
    after: Option<[u8; 16]>,
    limit: usize,
    stamp: String,
}

impl Page {
    /// Reads the parameters. A cursor of one list fits no other.
    fn read(parameters: &[(String, String)], of: Option<BulkId>, cursors: &Seal) -> Result<Self> {
        let mut result = None;
        let mut stamp = of.map_or_else(|| "bulk jobs".to_owned(), |job| job.to_string());
        let paging = Paging::read(parameters, |name, value| {
            if name != "result" || of.is_none() {
                let known = if of.is_some() { "result, limit, cursor" } else { "limit, cursor" };
                let detail = format!("{name} is no parameter of this list; known are {known}");
                return Err(Problem::new(StatusCode::BAD_REQUEST, "unknown_parameter", detail));
            }
            let sentence = || bad(name, &format!("must be one of {}", BulkResult::allowed()));
            result = Some(BulkResult::parse(value).ok_or_else(sentence)?);
            stamp.extend([" ", value]);
            Ok(())
        })?;
        let after = paging.place(|text| cursors.open::<16>(text, &stamp))?;
        Ok(Self { result, after, limit: paging.limit, stamp })
    }
}
