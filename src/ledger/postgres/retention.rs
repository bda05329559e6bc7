//! Retention: one page of the walk over old calls, and a piece of an old bulk job, in one short transaction.

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::super::row::micros;
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
pub(super) async fn tidy(connection: &mut PgConnection, retention: &Retention) -> Result<Tidied> {
    let mut transaction = connection.begin().await?;
    let after: Option<Uuid> = sqlx::query_scalar(sql::TAKE_WALK).fetch_optional(&mut *transaction).await?;
    let Some(after) = after else { return Ok(Tidied::NotYet) };
    let page = page(&mut transaction, after, retention).await?;
    let removable = page.iter().filter(|call| call.removable).map(|call| call.id).collect();
    let blankable =
        page.iter().filter(|call| call.blankable && !call.removable).map(|call| call.id).collect();
    let removed = remove(&mut transaction, removable).await?;
    let blanked = blank(&mut transaction, blankable).await?;
    let at_end = page.len() < retention.batch;
    // The list of a job takes many steps, and those need not wait for one walk after the other.
    let job_left = remove_bulk(&mut transaction, retention).await?;
    let pause = retention.pause_after(page.len(), removed + blanked, job_left);
    if pause == Pause::BetweenWalks {
        sqlx::query(sql::FORGET_TALLIES)
            .bind(micros(TALLIES_KEPT))
            .bind(rows(TALLIES_REMOVED_AT_ONCE))
            .execute(&mut *transaction)
            .await?;
    }
    let after = page.last().filter(|_| !at_end).map_or(Uuid::nil(), |call| call.id);
    sqlx::query(sql::PUT_WALK)
        .bind(after)
        .bind(micros(retention.wait(pause)))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Tidied::Step { removed, blanked, pause })
}

async fn page(connection: &mut PgConnection, after: Uuid, retention: &Retention) -> Result<Vec<Found>> {
    // Where the walk ends is a matter of thrift alone: what is due is decided by the ledger's clock.
    let end = Timestamp::now().minus(retention.finished.min(retention.bodies));
    Ok(sqlx::query_as(sql::WALK_PAGE)
        .bind(after)
        .bind(last_id_of(end))
        .bind(rows(retention.batch))
        .bind(micros(retention.finished))
        .bind(micros(retention.bodies))
        .fetch_all(connection)
        .await?)
}

/// Those of these calls that are still finished and that nobody else is working on.
async fn lock(connection: &mut PgConnection, calls: Vec<Uuid>) -> Result<Vec<Uuid>> {
    if calls.is_empty() {
        return Ok(calls);
    }
    Ok(sqlx::query_scalar(sql::LOCK_FINISHED).bind(calls).fetch_all(connection).await?)
}

async fn remove(connection: &mut PgConnection, calls: Vec<Uuid>) -> Result<u64> {
    let calls = lock(connection, calls).await?;
    if calls.is_empty() {
        return Ok(0);
    }
    for statement in [
        sql::REMOVE_TAGS,
        sql::REMOVE_ATTEMPTS,
        super::sql::audit::KEEP_ACTIONS,
        sql::REMOVE_ACTIONS,
        sql::REMOVE_REVISIONS,
        sql::REMOVE_REPORTS,
        sql::REMOVE_CALLS,
    ] {
        sqlx::query(statement).bind(&calls).execute(&mut *connection).await?;
    }
    Ok(calls.len() as u64)
}

/// Removes calls of the oldest job that ended long enough ago, and the job with the last of them; answers whether there was one.
async fn remove_bulk(connection: &mut PgConnection, retention: &Retention) -> Result<bool> {
    let job: Option<Uuid> = sqlx::query_scalar(sql::OLD_BULK)
        .bind(last_id_of(Timestamp::now().minus(retention.finished)))
        .bind(micros(retention.finished))
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

async fn blank(connection: &mut PgConnection, calls: Vec<Uuid>) -> Result<u64> {
    let calls = lock(connection, calls).await?;
    if calls.is_empty() {
        return Ok(0);
    }
    for statement in [sql::BLANK_CALLS, sql::BLANK_ATTEMPTS, sql::BLANK_REVISIONS, sql::BLANK_REPORTS] {
        sqlx::query(statement).bind(&calls).execute(&mut *connection).await?;
    }
    Ok(calls.len() as u64)
}
