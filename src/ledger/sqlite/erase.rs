//! Erasure: what could be personal of a few calls, in one transaction.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::super::row::{CallRow, Stamp, known, storable};
use super::super::upkeep::cancel_note;
use super::super::{Erased, Erasure, ErasureMode, Result};
use super::{notices, sql, sql_upkeep};
use crate::call::{ActionKind, CallId, Status};
use crate::clock::Timestamp;

/// Blanks calls, or counts what would be blanked.
pub(super) async fn erase(
    connection: &mut SqliteConnection,
    calls: &[CallId],
    erasure: &Erasure,
    now: Timestamp,
) -> Result<Erased> {
    let mut erased = Erased::default();
    for call in calls {
        let id = call.uuid();
        let status: Option<String> = sqlx::query_scalar(sql_upkeep::LOCK_FOR_ERASURE)
            .bind(id)
            .fetch_optional(&mut *connection)
            .await?;
        let Some(status) = status else { continue };
        let waits = match known(Status::parse(&status), "status", &status)? {
            Status::Running => {
                erased.running_skipped += 1;
                continue;
            }
            Status::Scheduled | Status::Review => true,
            Status::Succeeded | Status::Resolved | Status::Cancelled | Status::Superseded => false,
        };
        erased.calls += 1;
        match erasure.mode {
            ErasureMode::Count => count(connection, id, &mut erased).await?,
            ErasureMode::Erase => {
                if waits {
                    cancel(connection, id, erasure, now).await?;
                }
                blank(connection, id, now, &mut erased).await?;
                if waits {
                    erased.cancelled.extend(super::look::find(connection, *call).await?);
                }
            }
        }
    }
    Ok(erased)
}

async fn count(connection: &mut SqliteConnection, id: Uuid, erased: &mut Erased) -> Result<()> {
    let (attempts, revisions): (i64, i64) =
        sqlx::query_as(sql_upkeep::COUNT_FOR_ERASURE).bind(id).fetch_one(connection).await?;
    erased.attempts += u64::try_from(attempts).unwrap_or(0);
    erased.revisions += u64::try_from(revisions).unwrap_or(0);
    Ok(())
}

/// Cancels a call that waits, as an operator would: whoever is to be told of it is told.
async fn cancel(
    connection: &mut SqliteConnection,
    id: Uuid,
    erasure: &Erasure,
    now: Timestamp,
) -> Result<()> {
    let row: CallRow = sqlx::query_as(sql::FINISH)
        .bind(id)
        .bind(Status::Cancelled.as_str())
        .bind(Stamp(now))
        .fetch_one(&mut *connection)
        .await?;
    let call = row.into_call()?;
    notices::notify(connection, id, now).await?;
    sqlx::query(sql::LOG_ACTION)
        .bind(id)
        .bind(ActionKind::Cancel.as_str())
        .bind(storable(&erasure.actor))
        .bind(storable(&cancel_note(erasure)))
        .bind(call.revision.get())
        .bind(Stamp(now))
        .execute(connection)
        .await?;
    Ok(())
}

async fn blank(
    connection: &mut SqliteConnection,
    id: Uuid,
    now: Timestamp,
    erased: &mut Erased,
) -> Result<()> {
    // The tags first: the row says where they stand in their index.
    sqlx::query(sql_upkeep::REMOVE_TAGS).bind(id).execute(&mut *connection).await?;
    sqlx::query(sql_upkeep::ERASE_CALLS).bind(id).bind(Stamp(now)).execute(&mut *connection).await?;
    for statement in [sql_upkeep::ERASE_NOTICES, sql_upkeep::ERASE_BULK_DETAILS, sql_upkeep::BLANK_REPORTS] {
        sqlx::query(statement).bind(id).execute(&mut *connection).await?;
    }
    let attempts = sqlx::query(sql_upkeep::ERASE_ATTEMPTS).bind(id).execute(&mut *connection).await?;
    let revisions = sqlx::query(sql_upkeep::ERASE_REVISIONS).bind(id).execute(&mut *connection).await?;
    erased.attempts += attempts.rows_affected();
    erased.revisions += revisions.rows_affected();
    Ok(())
}
