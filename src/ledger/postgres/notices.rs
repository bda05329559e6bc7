//! The outbox: what the outside has yet to be told.

use std::time::Duration;

use sqlx::PgConnection;

use super::super::row::{NoticeRow, micros, readable};
use super::super::{Channel, Notice, Result};
use super::{column, rows, sql};

/// Takes notices that are due and puts each off.
pub(super) async fn take(
    connection: &mut PgConnection,
    channels: &[Channel],
    limit: usize,
    retry_after: Duration,
) -> Result<Vec<Notice>> {
    let mut taken: Vec<NoticeRow> = sqlx::query_as(sql::TAKE_NOTICES)
        .bind(column(channels, |channel| channel.as_str()))
        .bind(rows(limit))
        .bind(micros(retry_after))
        .fetch_all(connection)
        .await?;
    taken.sort_unstable_by_key(NoticeRow::id);
    Ok(readable(taken.into_iter().map(NoticeRow::into_notice)))
}

/// Forgets notices that were told.
pub(super) async fn forget(connection: &mut PgConnection, ids: &[i64]) -> Result<()> {
    sqlx::query(sql::FORGET_NOTICES).bind(ids).execute(connection).await?;
    Ok(())
}
