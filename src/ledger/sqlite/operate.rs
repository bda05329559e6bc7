//! Operator actions.

use sqlx::SqliteConnection;

use super::super::operator::{KeyWish, Replay, refusal, replay, span};
use super::super::row::{CallRow, RequestFields, Stamp, course_to_json, storable};
use super::super::{Acted, OperatorAction, Order, Result};
use super::{notices, sql};
use crate::call::{Call, IdempotencyKey, Status};
use crate::clock::Timestamp;

/// Carries out what an operator asks for, and logs it.
pub(super) async fn act(
    connection: &mut SqliteConnection,
    action: &OperatorAction,
    now: Timestamp,
) -> Result<Acted> {
    let id = action.call.uuid();
    let row: Option<CallRow> =
        sqlx::query_as(sql::LOCK_CALL).bind(id).fetch_optional(&mut *connection).await?;
    let Some(row) = row else { return Ok(Acted::Unknown) };
    let newest: Option<i64> =
        sqlx::query_scalar(sql::HOLD_ENTITY).bind(id).fetch_optional(&mut *connection).await?;
    let span = span(row.span_us());
    let call = row.into_call()?;
    if let Some(refusal) = refusal(action, &call, newest) {
        return Ok(refusal);
    }
    let changed = match &action.order {
        Order::Replay { request, new_key } => {
            if request.is_some() {
                keep_revision(connection, &call, &action.actor, now).await?;
            }
            let replay = replay(&call, request.as_ref(), KeyWish::from(*new_key), span, now);
            set_going(connection, &call, &replay, now).await?
        }
        Order::Cancel => finish(connection, &call, Status::Cancelled, now).await?,
        Order::Resolve => finish(connection, &call, Status::Resolved, now).await?,
    };
    log(connection, action, &changed, now).await?;
    Ok(Acted::Done(Box::new(changed)))
}

async fn keep_revision(
    connection: &mut SqliteConnection,
    call: &Call,
    actor: &str,
    now: Timestamp,
) -> Result<()> {
    let request = RequestFields::from(&call.request);
    sqlx::query(sql::KEEP_REVISION)
        .bind(call.id.uuid())
        .bind(call.revision.get())
        .bind(request.method)
        .bind(request.path)
        .bind(request.headers)
        .bind(request.body_kind)
        .bind(request.body)
        .bind(storable(actor))
        .bind(Stamp(now))
        .execute(connection)
        .await?;
    Ok(())
}

async fn set_going(
    connection: &mut SqliteConnection,
    call: &Call,
    replay: &Replay<'_>,
    now: Timestamp,
) -> Result<Call> {
    let request = RequestFields::from(replay.request);
    let row: CallRow = sqlx::query_as(sql::REPLAY)
        .bind(call.id.uuid())
        .bind(Stamp(replay.deadline))
        .bind(request.method)
        .bind(request.path)
        .bind(request.headers)
        .bind(request.body_kind)
        .bind(request.body)
        .bind(replay.sent_key.as_ref().map(IdempotencyKey::as_str))
        .bind(replay.revision.get())
        .bind(Stamp(now))
        .bind(course_to_json(&replay.course))
        .fetch_one(connection)
        .await?;
    row.into_call()
}

async fn finish(
    connection: &mut SqliteConnection,
    call: &Call,
    status: Status,
    now: Timestamp,
) -> Result<Call> {
    let row: CallRow = sqlx::query_as(sql::FINISH)
        .bind(call.id.uuid())
        .bind(status.as_str())
        .bind(Stamp(now))
        .fetch_one(&mut *connection)
        .await?;
    notices::notify(connection, call.id.uuid(), now).await?;
    row.into_call()
}

async fn log(
    connection: &mut SqliteConnection,
    action: &OperatorAction,
    call: &Call,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(sql::LOG_ACTION)
        .bind(call.id.uuid())
        .bind(action.order.kind().as_str())
        .bind(storable(&action.actor))
        .bind(storable(&action.note))
        .bind(call.revision.get())
        .bind(Stamp(now))
        .execute(connection)
        .await?;
    Ok(())
}
