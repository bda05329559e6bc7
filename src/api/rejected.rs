//! `GET /v1/rejected`, `POST /v1/rejected/{id}/resubmit`, `/discard`: messages that could not be accepted, kept in `<prefix>.rejected`.
//!
//! The queue is the only place where they are: it is looked into without consuming, and a message leaves it only once its call is durable, or
//! when somebody discards it. With timers in the process there is no queue, and nothing is ever kept.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Api;
use super::auth::{Operator, Viewer};
use super::calls::bad;
use super::problem::{Problem, Result};
use super::render::{CallView, json_or_text};
use super::submit::{accepted, find, key_reused, read_json, recall, too_large};
use crate::broker::{Broker, BrokerError, Delivery, Peek};
use crate::call::{CallId, IdempotencyKey, Publisher};
use crate::clock::Timestamp;
use crate::document::{Faults, Object};
use crate::intake::Received;
use crate::intake::submission::{self, Envelope};
use crate::ledger::audit::{AuditAction, AuditEntry};
use crate::limits::{NOTE_BYTES_MAX, REJECTED_BYTES_MAX, REJECTED_LOOK_MAX, REJECTED_PAGE_DEFAULT};
use crate::notice::rejection::Kept;

/// What is kept.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
#[schema(as = Rejected)]
pub struct RejectedView {
    /// How many messages are kept, also those that are not shown.
    count: u64,
    messages: Vec<MessageView>,
}

/// A message that could not be accepted.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RejectedMessage)]
struct MessageView {
    id: String,
    code: String,
    detail: String,
    publisher: Option<String>,
    routing_key: String,
    message_id: Option<String>,
    rejected_at: Option<String>,
    /// JSON as JSON, other text as text; null for what is no text.
    #[schema(value_type = Option<serde_json::Value>)]
    body: Option<Box<RawValue>>,
    /// What is no text, in base64.
    body_base64: Option<String>,
}

impl MessageView {
    fn new(kept: Kept, body: &[u8]) -> Self {
        let text = std::str::from_utf8(body).ok();
        let shown = text.and_then(json_or_text);
        Self {
            id: kept.id.to_string(),
            code: kept.code,
            detail: kept.detail,
            publisher: kept.publisher,
            routing_key: kept.routing_key,
            message_id: kept.message_id,
            rejected_at: kept.rejected_at.map(|at| at.to_string()),
            body_base64: text.is_none().then(|| STANDARD.encode(body)),
            body: shown,
        }
    }
}

/// What is kept, in the order of the queue, as far as the limit and the size of an answer allow.
///
/// # Errors
/// 400 for a limit that cannot be read, 503 while RabbitMQ is away.
pub async fn list(
    State(api): State<Arc<Api>>,
    _: Viewer,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Json<RejectedView>> {
    let limit = read_limit(&parameters)?;
    let Some(broker) = &api.broker else { return Ok(Json(RejectedView::default())) };
    let mut peek = look(broker).await?;
    let shown = show(&mut peek, limit).await;
    peek.close().await;
    Ok(Json(shown.map_err(|error| away(&error))?))
}

async fn show(peek: &mut Peek, limit: usize) -> std::result::Result<RejectedView, BrokerError> {
    let mut shown = RejectedView::default();
    // Held until the end, so that none comes twice.
    let mut held = Vec::new();
    let mut bytes = 0;
    while shown.messages.len() < limit && bytes < REJECTED_BYTES_MAX {
        let Some((mut delivery, left)) = peek.next().await? else { break };
        let kept = Kept::read(&delivery);
        let body = std::mem::take(&mut delivery.body);
        bytes += body.len();
        shown.messages.push(MessageView::new(kept, &body));
        held.push(delivery);
        shown.count = held.len() as u64 + left;
    }
    Ok(shown)
}

fn read_limit(parameters: &[(String, String)]) -> Result<usize> {
    let mut limit = REJECTED_PAGE_DEFAULT;
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        if name != "limit" {
            let detail = format!("{name} is no parameter of this list; known is limit");
            return Err(Problem::new(StatusCode::BAD_REQUEST, "unknown_parameter", detail));
        }
        limit =
            value.parse().ok().filter(|limit| (1..=REJECTED_LOOK_MAX).contains(limit)).ok_or_else(|| {
                bad("limit", &format!("must be a whole number from 1 to {REJECTED_LOOK_MAX}"))
            })?;
    }
    Ok(limit)
}

/// Hands a kept message over as its publisher would, corrected where the body says so. It leaves the queue only once the call is durable.
///
/// # Errors
/// 404 for a message that is not kept (any more), 422 for a document that is still wrong, 503 while ledger or RabbitMQ is away.
pub async fn resubmit(
    State(api): State<Arc<Api>>,
    operator: Operator,
    RejectionInPath(id): RejectionInPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let document = read_document(&api, &headers, body).await?;
    let found = Found::look_for(&api, id).await?;
    let outcome = match hand_over(&api, &found, document.as_deref()).await {
        Ok((call, response)) => {
            let entry = entry(&operator, AuditAction::RejectedResubmit, &found.kept, String::new());
            let entry = AuditEntry { call: Some(call), ..entry };
            api.ledger.audit(&entry).await.map(|()| response).map_err(Problem::from)
        }
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(response) => {
            found.settle().await;
            Ok(response)
        }
        Err(problem) => {
            found.give_back().await;
            Err(problem)
        }
    }
}

fn entry(operator: &Operator, action: AuditAction, kept: &Kept, note: String) -> AuditEntry {
    AuditEntry {
        actor: operator.0.to_string(),
        action,
        call: None,
        subject: Some(format!("rejected message {}", kept.id)),
        note,
        detail: Some(format!("{} from {}", kept.code, kept.publisher.as_deref().unwrap_or("nobody"))),
    }
}

async fn hand_over(api: &Api, found: &Found, document: Option<&str>) -> Result<(CallId, Response)> {
    if api.broker.as_ref().is_some_and(|broker| broker.topology().names.replay() == found.kept.routing_key) {
        return Err(is_replay_order());
    }
    let bytes = document.map_or(found.delivery.body.as_slice(), str::as_bytes);
    if bytes.len() > api.body_bytes_max {
        return Err(too_large(api.body_bytes_max));
    }
    let publisher = found.kept.publisher.as_deref().and_then(|name| Publisher::parse(name).ok());
    let envelope = Envelope {
        publisher: publisher.unwrap_or_else(Publisher::anonymous),
        fallback_key: IdempotencyKey::parse(&found.kept.fallback_key()).ok(),
        trace_parent: found.delivery.header("traceparent").as_deref().and_then(submission::trace_parent),
        now: Timestamp::now(),
    };
    let received = match submission::read(bytes, envelope, &api.registry) {
        Ok((submission, endpoint)) => api.intake.submit(api.intake.plan(submission, endpoint)).await?,
        Err(refused) => recall(api, refused).await?,
    };
    match received {
        Received::New(call, _) => Ok((call.id, accepted(&call))),
        Received::Known(id) => {
            let view = CallView::from(&find(api, id).await?);
            Ok((id, (StatusCode::OK, Json(view)).into_response()))
        }
        Received::KeyReused(id) => Err(key_reused(id)),
    }
}

/// `{"document": {…}}`; no body at all takes the message as it is.
async fn read_document(api: &Api, headers: &HeaderMap, body: Body) -> Result<Option<String>> {
    if axum::body::HttpBody::is_end_stream(&body) {
        return Ok(None);
    }
    let bytes = read_json(api, headers, body).await?;
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    Ok(crate::document::read(&bytes, |raw, _, faults| {
        let mut object = Object::open(raw, String::new(), faults)?;
        let document = object.optional("document").map(|raw| raw.get().to_owned());
        object.close(faults);
        Some(document)
    })?)
}

/// Removes a kept message for good.
///
/// # Errors
/// 404 for a message that is not kept (any more), 422 for a bad note, 503 while RabbitMQ is away.
pub async fn discard(
    State(api): State<Arc<Api>>,
    operator: Operator,
    RejectionInPath(id): RejectionInPath,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode> {
    let note = read_note(&api, &headers, body).await?;
    let found = Found::look_for(&api, id).await?;
    let entry = entry(&operator, AuditAction::RejectedDiscard, &found.kept, note);
    if let Err(error) = api.ledger.audit(&entry).await {
        // What nobody could look up later is not done.
        found.give_back().await;
        return Err(error.into());
    }
    found.settle().await;
    Ok(StatusCode::NO_CONTENT)
}

async fn read_note(api: &Api, headers: &HeaderMap, body: Body) -> Result<String> {
    if axum::body::HttpBody::is_end_stream(&body) {
        return Ok(String::new());
    }
    let bytes = read_json(api, headers, body).await?;
    Ok(crate::document::read(&bytes, |raw, _, faults: &mut Faults| {
        let mut object = Object::open(raw, String::new(), faults)?;
        let note = object.name("note", faults, |text| {
            if text.len() <= NOTE_BYTES_MAX {
                Ok(text.to_owned())
            } else {
                Err(format!("must be at most {NOTE_BYTES_MAX} bytes long"))
            }
        });
        object.close(faults);
        Some(note.unwrap_or_default())
    })?)
}

/// A kept message that is held: nobody else can act on it meanwhile.
struct Found {
    // Before the look, so that it is given back before the look ends.
    delivery: Delivery,
    peek: Peek,
    kept: Kept,
}

impl Found {
    /// Looks through the queue for a message.
    async fn look_for(api: &Api, id: Uuid) -> Result<Self> {
        let Some(broker) = &api.broker else { return Err(unknown(id)) };
        let mut peek = look(broker).await?;
        match search(&mut peek, id).await {
            Ok(Some((delivery, kept))) => Ok(Self { delivery, peek, kept }),
            Ok(None) => {
                peek.close().await;
                Err(unknown(id))
            }
            Err(error) => {
                peek.close().await;
                Err(away(&error))
            }
        }
    }

    /// Takes it out of the queue.
    async fn settle(self) {
        self.peek.remove(self.delivery).await;
    }

    /// Puts it back.
    async fn give_back(self) {
        self.delivery.requeue();
        self.peek.close().await;
    }
}

/// The message with this id; those before it are held until it is found, without their bodies, and then given back.
async fn search(peek: &mut Peek, id: Uuid) -> std::result::Result<Option<(Delivery, Kept)>, BrokerError> {
    let mut held = Vec::new();
    while held.len() < REJECTED_LOOK_MAX {
        let Some((mut delivery, _)) = peek.next().await? else { break };
        let kept = Kept::read(&delivery);
        if kept.id == id {
            return Ok(Some((delivery, kept)));
        }
        delivery.body = Vec::new();
        held.push(delivery);
    }
    Ok(None)
}

async fn look(broker: &Arc<Broker>) -> Result<Peek> {
    broker.peek(&broker.topology().names.rejected()).await.map_err(|error| away(&error))
}

fn away(error: &BrokerError) -> Problem {
    tracing::warn!(%error, "rejected messages cannot be looked at");
    let detail = "RabbitMQ cannot be reached; rejected messages are kept there, try again";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "broker_away", detail)
}

fn unknown(id: Uuid) -> Problem {
    let detail = format!("no rejected message {id} is kept; somebody may have taken care of it");
    Problem::new(StatusCode::NOT_FOUND, "unknown_rejection", detail)
}

/// No submission becomes of an order to replay, however it is corrected: it would be a second call beside the one that was meant.
fn is_replay_order() -> Problem {
    let detail = "this message is an order to replay a call, not a submission: replay the call that is meant \
                  (POST /v1/calls/{id}/replay, `redial calls replay <id>`), then discard the message";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "replay_order", detail)
}

/// The id of a rejected message out of a path.
#[derive(Clone, Copy, Debug)]
pub struct RejectionInPath(Uuid);

impl FromRequestParts<Arc<Api>> for RejectionInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self> {
        let text = Path::<String>::from_request_parts(parts, api).await;
        text.ok().and_then(|Path(text)| Uuid::try_parse(&text).ok()).map(Self).ok_or_else(|| {
            let detail = "the id of a rejected message is a UUID, as GET /v1/rejected shows it";
            Problem::new(StatusCode::BAD_REQUEST, "invalid_id", detail)
        })
    }
}
