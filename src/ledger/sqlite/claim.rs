//! Claiming calls, one after the other in one transaction: a wish that comes twice finds the first granted.

use std::time::Duration;

use sqlx::SqliteConnection;

use super::super::row::{CallRow, Stamp, readable};
use super::super::{ClaimWish, Claimed, Result};
use super::sql;
use crate::clock::Timestamp;
use crate::limits::EARLY_TOLERANCE;

/// Claims calls.
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    wishes: &[ClaimWish],
    now: Timestamp,
) -> Result<Vec<Claimed>> {
    let mut answers = Vec::with_capacity(wishes.len());
    for wish in wishes {
        answers.push(match take(connection, wish, now).await? {
            Some(row) => readable(std::iter::once(row.into_call()))
                .pop()
                .map_or(Claimed::Stale, |call| Claimed::Won(Box::new(call))),
            None => explain(connection, wish, now).await?,
        });
    }
    Ok(answers)
}

async fn take(
    connection: &mut SqliteConnection,
    wish: &ClaimWish,
    now: Timestamp,
) -> Result<Option<CallRow>> {
    Ok(sqlx::query_as(sql::CLAIM)
        .bind(wish.ticket.call.uuid())
        .bind(wish.ticket.attempt.get())
        .bind(wish.endpoint.as_str())
        .bind(wish.worker.as_str())
        .bind(Stamp(now))
        .bind(Stamp(now.plus(wish.lease)))
        .bind(Stamp(now.plus(EARLY_TOLERANCE)))
        .fetch_optional(connection)
        .await?)
}

/// Tells a wish that comes early or too late from one that is stale.
async fn explain(connection: &mut SqliteConnection, wish: &ClaimWish, now: Timestamp) -> Result<Claimed> {
    let standing: Option<(bool, i64)> = sqlx::query_as(sql::UNCLAIMED)
        .bind(wish.ticket.call.uuid())
        .bind(wish.ticket.attempt.get())
        .bind(wish.endpoint.as_str())
        .bind(Stamp(now))
        .fetch_optional(connection)
        .await?;
    Ok(match standing {
        None => Claimed::Stale,
        Some((true, _)) => Claimed::Expired,
        Some((false, wait_us)) => Claimed::Early(Duration::from_micros(u64::try_from(wait_us).unwrap_or(0))),
    })
}
