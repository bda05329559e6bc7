//! `POST /v1/callbacks/{endpoint}`: a third party reports by itself what became of a call.
//!
//! Who cannot prove to be the third party learns nothing: not whether there is such an endpoint, not whether it takes reports.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Api;
use super::problem::{Problem, Result, not_found};
use super::submit::read_at_most;
use crate::call::{CallId, EndpointName};
use crate::clock::monotonic;
use crate::endpoint::Endpoint;
use crate::endpoint::reporting::{Meant, Report};
use crate::ledger::{Filter, Settled, Settlement};
use crate::limits::{REPORT_BYTES_MAX, REPORT_KEPT_BYTES, REPORT_LOOK_EVERY, REPORT_PATIENCE};

/// Settles the call that the message means.
///
/// # Errors
/// 404 without proof and for an unknown call, 409 where several calls fit, 422 where the message names none, 503 while an attempt of
/// the call runs that has to be closed first, or without the ledger.
pub async fn receive(
    State(api): State<Arc<Api>>,
    uri: Uri,
    name: std::result::Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    // Read first, so that an answer comes as late without an endpoint as with one.
    let body = read_at_most(body, REPORT_BYTES_MAX).await?;
    let name = name.ok().and_then(|Path(name)| EndpointName::parse(&name).ok());
    let endpoint = name.and_then(|name| api.registry.get(&name));
    let reporting = endpoint.as_ref().and_then(|endpoint| endpoint.judging.reporting.as_ref());
    let header = |name: &http::HeaderName| headers.get(name).map(|value| value.as_bytes().to_vec());
    let (Some(endpoint), Some(reporting)) = (&endpoint, reporting) else { return Err(not_found(uri).await) };
    if !reporting.is_proved(header, &body) {
        tracing::warn!(endpoint = %endpoint.name, "a message without proof came to an endpoint's callback");
        return Err(not_found(uri).await);
    }
    let headers = readable(&headers);
    let (report, ruling) = reporting.read(&body, &headers);
    if report == Report::Unknown {
        return Ok((StatusCode::ACCEPTED, Json(json!({ "result": "unknown" }))).into_response());
    }
    let meant = reporting.meant(&body, &headers).map_err(|sentence| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "call_not_named",
            format!("the message names no call: {sentence}"),
        )
    })?;
    let settlement = Settlement {
        call: find(&api, endpoint, meant).await?,
        endpoint: endpoint.name.clone(),
        report,
        rule: ruling.rule,
        body: body.slice(..body.len().min(REPORT_KEPT_BYTES)),
        digest: Sha256::digest(&body).into(),
    };
    settle(&api, &settlement).await
}

/// A call that is being attempted is waited for: the attempt must be closed before a refusal can be written down.
async fn settle(api: &Api, settlement: &Settlement) -> Result<Response> {
    let given_up = monotonic() + REPORT_PATIENCE;
    loop {
        let result = match api.desk.settle(settlement).await? {
            Settled::Changed(_) => "settled",
            Settled::WhenClosed => "settled_with_its_attempt",
            Settled::Beyond(_) => "kept",
            Settled::Unknown => return Err(unknown_call()),
            Settled::Busy if monotonic() < given_up => {
                tokio::time::sleep(REPORT_LOOK_EVERY).await;
                continue;
            }
            Settled::Busy => {
                let detail = "an attempt of the call is running; nothing is kept, send the message again";
                return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "attempt_running", detail));
            }
        };
        return Ok(Json(json!({ "result": result })).into_response());
    }
}

async fn find(api: &Api, endpoint: &Endpoint, meant: Meant) -> Result<CallId> {
    let found: Vec<CallId> = match meant {
        Meant::Call(id) => return Ok(id),
        Meant::Key(key) => {
            api.ledger.sent_with(&endpoint.name, &key).await?.iter().map(|call| call.id).collect()
        }
        Meant::Tag(key, value) => {
            let filter = Filter {
                endpoint: Some(endpoint.name.clone()),
                tags: vec![(key, value)],
                ..Filter::default()
            };
            api.ledger.list(&filter, None, 2).await?.iter().map(|call| call.id).collect()
        }
    };
    match found.as_slice() {
        [] => Err(unknown_call()),
        [id] => Ok(*id),
        [..] => {
            let detail =
                "several calls fit what the message names; a call's id, or a tag of its own, would name one";
            Err(Problem::new(StatusCode::CONFLICT, "call_ambiguous", detail))
        }
    }
}

fn unknown_call() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown_call", "the endpoint has no such call")
}

/// The headers as rules see them.
fn readable(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}
