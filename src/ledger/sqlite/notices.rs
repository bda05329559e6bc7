//! The outbox: what the outside has yet to be told.

use std::time::Duration;

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::super::row::{NoticeRow, Stamp, readable};
use super::super::{Channel, Notice, Result};
use super::{json_list, rows, sql};
use crate::clock::Timestamp;

/// Writes the notices that the present state of a call gives rise to.
pub(super) async fn notify(connection: &mut SqliteConnection, call: Uuid, now: Timestamp) -> Result<()> {
    sqlx::query(sql::NOTIFY).bind(call).bind(Stamp(now)).execute(connection).await?;
    Ok(())
}

/// Takes notices that are due and puts each off.
pub(super) async fn take(
    connection: &mut SqliteConnection,
    channels: &[Channel],
    limit: usize,
    retry_after: Duration,
    now: Timestamp,
) -> Result<Vec<Notice>> {
    let mut taken: Vec<NoticeRow> = sqlx::query_as(sql::TAKE_NOTICES)
        .bind(json_list(channels.iter().map(|channel| channel.as_str())))
        .bind(rows(limit))
        .bind(Stamp(now))
        .bind(i64::try_from(retry_after.as_micros()).unwrap_or(i64::MAX >> 7))
        .fetch_all(connection)
        .await?;
    taken.sort_unstable_by_key(NoticeRow::id);
    Ok(readable(taken.into_iter().map(NoticeRow::into_notice)))
}

/// Forgets notices that were told.
pub(super) async fn forget(connection: &mut SqliteConnection, ids: &[i64]) -> Result<()> {
    for id in ids {
        sqlx::query(sql::FORGET_NOTICES).bind(*id).execute(&mut *connection).await?;
    }
    Ok(())
}
