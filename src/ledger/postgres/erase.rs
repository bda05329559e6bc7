//! Erasure: what could be personal of a few calls, in one transaction.

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::super::row::{CallRow, known, storable};
use super::super::upkeep::cancel_note;
use super::super::{Erased, Erasure, ErasureMode, Result};
use super::{sql, sql_upkeep};
use crate::call::{ActionKind, Call, CallId, Status};

/// Blanks calls, or counts what would be blanked.
pub(super) async fn erase(
    connection: &mut PgConnection,
    calls: &[CallId],
    erasure: &Erasure,
) -> Result<Erased> {
    let mut transaction = connection.begin().await?;
    let ids: Vec<Uuid> = calls.iter().map(|call| call.uuid()).collect();
    let standing: Vec<(Uuid, String)> =
        sqlx::query_as(sql_upkeep::LOCK_FOR_ERASURE).bind(ids).fetch_all(&mut *transaction).await?;
    let mut erased = Erased::default();
    let (mut ids, mut waiting) = (Vec::new(), Vec::new());
    for (id, status) in standing {
        match known(Status::parse(&status), "status", &status)? {
            Status::Running => {
                erased.running_skipped += 1;
                continue;
            }
            Status::Scheduled | Status::Review => waiting.push(id),
            Status::Succeeded | Status::Resolved | Status::Cancelled | Status::Superseded => {}
        }
        ids.push(id);
    }
    erased.calls = ids.len() as u64;
    match erasure.mode {
        ErasureMode::Count => count(&mut transaction, &ids, &mut erased).await?,
        ErasureMode::Erase => {
            cancel(&mut transaction, &waiting, erasure).await?;
            blank(&mut transaction, &ids, &mut erased).await?;
            erased.cancelled = find_all(&mut transaction, &waiting).await?;
            transaction.commit().await?;
        }
    }
    Ok(erased)
}

async fn count(connection: &mut PgConnection, ids: &[Uuid], erased: &mut Erased) -> Result<()> {
    let (attempts, revisions): (i64, i64) =
        sqlx::query_as(sql_upkeep::COUNT_FOR_ERASURE).bind(ids).fetch_one(connection).await?;
    erased.attempts = u64::try_from(attempts).unwrap_or(0);
    erased.revisions = u64::try_from(revisions).unwrap_or(0);
    Ok(())
}

/// Cancels calls that wait, as an operator would: whoever is to be told of it is told.
async fn cancel(connection: &mut PgConnection, ids: &[Uuid], erasure: &Erasure) -> Result<()> {
    for id in ids {
        let row: CallRow = sqlx::query_as(sql::FINISH)
            .bind(id)
            .bind(Status::Cancelled.as_str())
            .fetch_one(&mut *connection)
            .await?;
        let call = row.into_call()?;
        sqlx::query(sql::LOG_ACTION)
            .bind(id)
            .bind(ActionKind::Cancel.as_str())
            .bind(storable(&erasure.actor))
            .bind(storable(&cancel_note(erasure)))
            .bind(call.revision.get())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn blank(connection: &mut PgConnection, ids: &[Uuid], erased: &mut Erased) -> Result<()> {
    // The tags first: the row says where they stand in their index.
    for statement in [
        sql_upkeep::REMOVE_TAGS,
        sql_upkeep::ERASE_CALLS,
        sql_upkeep::ERASE_NOTICES,
        sql_upkeep::ERASE_BULK_DETAILS,
        sql_upkeep::BLANK_REPORTS,
    ] {
        sqlx::query(statement).bind(ids).execute(&mut *connection).await?;
    }
    let attempts = sqlx::query(sql_upkeep::ERASE_ATTEMPTS).bind(ids).execute(&mut *connection).await?;
    let revisions = sqlx::query(sql_upkeep::ERASE_REVISIONS).bind(ids).execute(&mut *connection).await?;
    erased.attempts = attempts.rows_affected();
    erased.revisions = revisions.rows_affected();
    Ok(())
}

async fn find_all(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Call>> {
    let mut calls = Vec::with_capacity(ids.len());
    for id in ids {
        calls.extend(super::look::find(connection, CallId::from_uuid(*id)).await?);
    }
    Ok(calls)
}
