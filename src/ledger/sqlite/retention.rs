//! Retention: one page of the walk over old calls, and a piece of an old bulk job, in one short transaction.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::super::row::Stamp;
use super::super::upkeep::{Pause, last_id_of};
use super::super::{Result, Retention, Tidied};
use super::{rows, sql_upkeep as sql};
use crate::clock::Timestamp;
use crate::limits::{TALLIES_KEPT, TALLIES_REMOVED_AT_ONCE};

/// A call on a page, and what is due.
#[derive(sqlx::FromRow)]
struct Found {
    id: Uuid,
    removable: bool,
    blankable: bool,
}

/// Takes the next step.
pub(super) async fn tidy(
    connection: &mut SqliteConnection,
    retention: &Retention,
    now: Timestamp,
) -> Result<Tidied> {
    let after: Option<Uuid> =
        sqlx::query_scalar(sql::TAKE_WALK).bind(Stamp(now)).fetch_optional(&mut *connection).await?;
    let Some(after) = after else { return Ok(Tidied::NotYet) };
    let page = page(connection, after, retention, now).await?;
    let (mut removed, mut blanked) = (0, 0);
    for call in &page {
        if call.removable {
            remove(connection, call.id).await?;
            removed += 1;
        } else if call.blankable {
            blank(connection, call.id, now).await?;
            blanked += 1;
        }
    }
    let at_end = page.len() < retention.batch;
    // The list of a job takes many steps, and those need not wait for one walk after the other.
    let job_left = remove_bulk(connection, retention, now).await?;
    let pause = retention.pause_after(page.len(), removed + blanked, job_left);
    if pause == Pause::BetweenWalks {
        sqlx::query(sql::FORGET_TALLIES)
            .bind(Stamp(now.minus(TALLIES_KEPT)))
            .bind(rows(TALLIES_REMOVED_AT_ONCE))
            .execute(&mut *connection)
            .await?;
    }
    let after = page.last().filter(|_| !at_end).map_or(Uuid::nil(), |call| call.id);
    let next_at = now.plus(retention.wait(pause));
    sqlx::query(sql::PUT_WALK).bind(after).bind(Stamp(next_at)).execute(connection).await?;
    Ok(Tidied::Step { removed, blanked, pause })
}

async fn page(
    connection: &mut SqliteConnection,
    after: Uuid,
    retention: &Retention,
    now: Timestamp,
) -> Result<Vec<Found>> {
    let end = now.minus(retention.finished.min(retention.bodies));
    Ok(sqlx::query_as(sql::WALK_PAGE)
        .bind(after)
        .bind(last_id_of(end))
        .bind(rows(retention.batch))
        .bind(Stamp(now.minus(retention.finished)))
        .bind(Stamp(now.minus(retention.bodies)))
        .fetch_all(connection)
        .await?)
}

async fn remove(connection: &mut SqliteConnection, call: Uuid) -> Result<()> {
    for statement in [
        sql::REMOVE_TAGS,
        sql::REMOVE_ATTEMPTS,
        super::sql::audit::KEEP_ACTIONS,
        sql::REMOVE_ACTIONS,
        sql::REMOVE_REVISIONS,
        sql::REMOVE_REPORTS,
        sql::REMOVE_CALLS,
    ] {
        sqlx::query(statement).bind(call).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Removes calls of the oldest job that ended long enough ago, and the job with the last of them; answers whether there was one.
async fn remove_bulk(
    connection: &mut SqliteConnection,
    retention: &Retention,
    now: Timestamp,
) -> Result<bool> {
    let end = now.minus(retention.finished);
    let job: Option<Uuid> = sqlx::query_scalar(sql::OLD_BULK)
        .bind(last_id_of(end))
        .bind(Stamp(end))
        .fetch_optional(&mut *connection)
        .await?;
    let Some(job) = job else { return Ok(false) };
    sqlx::query(sql::REMOVE_BULK_CALLS)
        .bind(job)
        .bind(rows(retention.batch))
        .execute(&mut *connection)
        .await?;
    sqlx::query(sql::REMOVE_BULK).bind(job).execute(connection).await?;
    Ok(true)
}

async fn blank(connection: &mut SqliteConnection, call: Uuid, now: Timestamp) -> Result<()> {
    sqlx::query(sql::BLANK_CALLS).bind(call).bind(Stamp(now)).execute(&mut *connection).await?;
    for statement in [sql::BLANK_ATTEMPTS, sql::BLANK_REVISIONS, sql::BLANK_REPORTS] {
        sqlx::query(statement).bind(call).execute(&mut *connection).await?;
    }
    Ok(())
}
