//! Operator actions: rare, so in plain transactions of several statements.

use sqlx::{Connection, PgConnection};

use super::super::operator::{KeyWish, Replay, refusal, replay, span};
use super::super::row::{CallRow, RequestFields, Stamp, course_to_json, storable};
use super::super::{Acted, OperatorAction, Order, Result};
use super::sql;
use crate::call::{Call, CallId, IdempotencyKey, Status};

/// Carries out what an operator asks for, and logs it.
pub(super) async fn act(connection: &mut PgConnection, action: &OperatorAction) -> Result<Acted> {
    let mut transaction = connection.begin().await?;
    let acted = act_within(&mut transaction, action).await?;
    transaction.commit().await?;
    Ok(acted)
}

/// The same inside a transaction of more.
pub(super) async fn act_within(transaction: &mut PgConnection, action: &OperatorAction) -> Result<Acted> {
    let newest = hold_entity(transaction, action.call).await?;
    let row: Option<CallRow> =
        sqlx::query_as(sql::LOCK_CALL).bind(action.call.uuid()).fetch_optional(&mut *transaction).await?;
    let Some(row) = row else { return Ok(Acted::Unknown) };
    let span = span(row.span_us());
    let call = row.into_call()?;
    if let Some(refusal) = refusal(action, &call, newest) {
        return Ok(refusal);
    }
    let changed = match &action.order {
        Order::Replay { request, new_key } => {
            let now: Stamp = sqlx::query_scalar(sql::TRANSACTION_TIME).fetch_one(&mut *transaction).await?;
            if request.is_some() {
                keep_revision(transaction, &call, &action.actor).await?;
            }
            let replay = replay(&call, request.as_ref(), KeyWish::from(*new_key), span, now.0);
            set_going(transaction, &call, &replay).await?
        }
        Order::Cancel => finish(transaction, &call, Status::Cancelled).await?,
        Order::Resolve => finish(transaction, &call, Status::Resolved).await?,
    };
    log(transaction, action, &changed).await?;
    Ok(Acted::Done(Box::new(changed)))
}

/// The highest accepted version of the call's entity, which stays so until the transaction ends. Accepts lock the entity before
/// the calls, so this does as well.
async fn hold_entity(connection: &mut PgConnection, call: CallId) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar(sql::HOLD_ENTITY).bind(call.uuid()).fetch_optional(connection).await?)
}

async fn keep_revision(connection: &mut PgConnection, call: &Call, actor: &str) -> Result<()> {
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
        .execute(connection)
        .await?;
    Ok(())
}

async fn set_going(connection: &mut PgConnection, call: &Call, replay: &Replay<'_>) -> Result<Call> {
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
        .bind(course_to_json(&replay.course))
        .fetch_one(connection)
        .await?;
    row.into_call()
}

async fn finish(connection: &mut PgConnection, call: &Call, status: Status) -> Result<Call> {
    let row: CallRow =
        sqlx::query_as(sql::FINISH).bind(call.id.uuid()).bind(status.as_str()).fetch_one(connection).await?;
    row.into_call()
}

async fn log(connection: &mut PgConnection, action: &OperatorAction, call: &Call) -> Result<()> {
    sqlx::query(sql::LOG_ACTION)
        .bind(call.id.uuid())
        .bind(action.order.kind().as_str())
        .bind(storable(&action.actor))
        .bind(storable(&action.note))
        .bind(call.revision.get())
        .execute(connection)
        .await?;
    Ok(())
}
