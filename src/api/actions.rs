//! `POST /v1/calls/{id}/replay`, `/cancel`, `/resolve`: what an operator does with one call.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::auth::Operator;
use super::calls::{IdInPath, tag, unknown};
use super::problem::{Problem, Result};
use super::render::CallView;
use super::submit::{find, read_json};
use crate::call::{Call, CallId, Request, Revision, Status};
use crate::document::request::read_request;
use crate::document::{Faults, Object};
use crate::ledger::{Acted, OperatorAction, Order};
use crate::limits::NOTE_BYTES_MAX;

/// What the body of an action says.
#[derive(Debug, Default)]
struct Wish {
    request: Option<Request>,
    new_key: bool,
    note: String,
}

/// Sets a call going again from the first rung, its request edited where the body says so.
///
/// # Errors
/// 404, 409 where the state does not allow it, 412 when somebody was faster, 422 for a bad edit.
pub async fn replay(
    State(api): State<Arc<Api>>,
    operator: Operator,
    IdInPath(id): IdInPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let call = find(&api, id).await?;
    let wish = read_wish(&api, &headers, body, Some(&call)).await?;
    let order = Order::Replay { request: wish.request, new_key: wish.new_key };
    // An edit is made against the revision that was read here; somebody else's edit must not be lost under it.
    let if_revision = if_match(&headers)?
        .or(matches!(order, Order::Replay { request: Some(_), .. }).then_some(call.revision));
    act(&api, operator, call.id, wish.note, if_revision, order).await
}

/// Gives a call up.
///
/// # Errors
/// 404, 409 where the state does not allow it, 412 when somebody was faster.
pub async fn cancel(
    State(api): State<Arc<Api>>,
    operator: Operator,
    IdInPath(id): IdInPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let wish = read_wish(&api, &headers, body, None).await?;
    act(&api, operator, id, wish.note, if_match(&headers)?, Order::Cancel).await
}

/// Declares a call done by hand outside Redial.
///
/// # Errors
/// 404, 409 where the state does not allow it, 412 when somebody was faster.
pub async fn resolve(
    State(api): State<Arc<Api>>,
    operator: Operator,
    IdInPath(id): IdInPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let wish = read_wish(&api, &headers, body, None).await?;
    act(&api, operator, id, wish.note, if_match(&headers)?, Order::Resolve).await
}

async fn act(
    api: &Api,
    operator: Operator,
    id: CallId,
    note: String,
    if_revision: Option<Revision>,
    order: Order,
) -> Result<Response> {
    let kind = order.kind();
    let action = OperatorAction { call: id, actor: operator.0.to_string(), note, if_revision, order };
    match api.desk.act(&action).await? {
        Acted::Done(call) => Ok(done(&call)),
        Acted::Unknown => Err(unknown(id)),
        Acted::NotAllowed(status) => {
            let detail = format!("a call that is {status} cannot be given the action {kind}{}", hint(status));
            Err(Problem::new(StatusCode::CONFLICT, "not_allowed_in_this_state", detail))
        }
        Acted::BodyErased(at) => {
            let detail = format!(
                "the bodies of call {id} were erased at {at}, so it cannot be sent again; submit it anew"
            );
            Err(Problem::new(StatusCode::CONFLICT, "body_erased", detail))
        }
        Acted::Outdated(revision) => {
            let detail =
                format!("the call is at revision {} by now; look at it and decide again", revision.get());
            Err(Problem::new(StatusCode::PRECONDITION_FAILED, "revision_outdated", detail))
        }
    }
}

const fn hint(status: Status) -> &'static str {
    match status {
        Status::Running => "; wait for its attempt to end",
        Status::Scheduled
        | Status::Review
        | Status::Succeeded
        | Status::Resolved
        | Status::Cancelled
        | Status::Superseded => "",
    }
}

fn done(call: &Call) -> Response {
    (StatusCode::OK, [(header::ETAG, tag(call.revision))], Json(CallView::from(call))).into_response()
}

/// `If-Match: "3"`: only if the call is at revision 3; `*`: at any (RFC 9110, 13.1.1), as without it.
fn if_match(headers: &HeaderMap) -> Result<Option<Revision>> {
    let Some(value) = headers.get(header::IF_MATCH).filter(|value| *value != "*") else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().trim_matches('"').parse().ok());
    let number = number.ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid_if_match",
            "If-Match takes one revision number in quotes, as in \"3\", or *",
        )
    })?;
    Ok(Some(Revision::new(number)))
}

/// The note in a body that holds nothing else; no body at all is fine.
///
/// # Errors
/// 413, 415 and 422 as for every document.
pub(super) async fn read_note(api: &Api, headers: &HeaderMap, body: Body) -> Result<String> {
    Ok(read_wish(api, headers, body, None).await?.note)
}

/// Reads an action's body; none at all is fine.
async fn read_wish(api: &Api, headers: &HeaderMap, body: Body, present: Option<&Call>) -> Result<Wish> {
    let empty = axum::body::HttpBody::is_end_stream(&body);
    if empty {
        return Ok(Wish::default());
    }
    let bytes = read_json(api, headers, body).await?;
    if bytes.trim_ascii().is_empty() {
        return Ok(Wish::default());
    }
    Ok(crate::document::read(&bytes, |raw, _, faults| {
        let mut object = Object::open(raw, String::new(), faults)?;
        let wish = read_fields(&mut object, present.map(|call| &call.request), faults);
        object.close(faults);
        refuse_misdirected(api, present, &wish, faults);
        Some(wish)
    })?)
}

/// An edit may lead a call no further than a submission may.
fn refuse_misdirected(api: &Api, call: Option<&Call>, wish: &Wish, faults: &mut Faults) {
    let endpoint = call.and_then(|call| api.registry.get(&call.endpoint));
    if let (Some(endpoint), Some(request)) = (endpoint, &wish.request)
        && let Err(misdirected) = endpoint.destination.check(&request.path)
    {
        faults.add("/request/url", misdirected.code(), misdirected.to_string());
    }
}

fn read_fields(object: &mut Object<'_>, present: Option<&Request>, faults: &mut Faults) -> Wish {
    let note = object.name("note", faults, |text| {
        if text.len() <= NOTE_BYTES_MAX {
            Ok(text.to_owned())
        } else {
            Err(format!("must be at most {NOTE_BYTES_MAX} bytes long"))
        }
    });
    let mut wish = Wish { note: note.unwrap_or_default(), ..Wish::default() };
    if let Some(present) = present {
        wish.request = object.optional("request").and_then(|raw| read_request(raw, Some(present), faults));
        let key = object.name("idempotency_key", faults, |text| match text {
            "same" => Ok(false),
            "new" => Ok(true),
            _ => Err("must be \"same\" or \"new\""),
        });
        wish.new_key = key.unwrap_or(false);
    }
    wish
}
