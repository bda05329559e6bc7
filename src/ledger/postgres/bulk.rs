//! Bulk jobs: each operation is one transaction, each step acts on a few calls.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::super::bulk::{
    Aborted, Bulk, BulkCall, BulkCount, BulkCreated, BulkId, BulkLedger, BulkMove, BulkResult, BulkStep,
    NewBulk, abort_reason, result_of,
};
use super::super::row::{BulkCallRow, BulkRow, CountRow, micros, readable, storable};
use super::super::{Acted, Filter, LedgerError, Result};
use super::look::filter_arguments;
use super::sql::bulk as sql;
use super::{PostgresLedger, audit, looking, on_connection, operate, rows};
use crate::call::{CallId, Revision};
use crate::limits::{BULK_CALLS_MAX, BULK_SETTLED_AT_ONCE};

#[async_trait]
impl BulkLedger for PostgresLedger {
    async fn count_calls(&self, filter: &Filter) -> Result<Vec<BulkCount>> {
        looking!(self, |connection| count_calls(connection, filter))
    }

    async fn create_bulk(&self, bulk: &NewBulk) -> Result<BulkCreated> {
        on_connection!(self, |connection| create(connection, bulk))
    }

    async fn find_bulk(&self, id: BulkId) -> Result<Option<Bulk>> {
        on_connection!(self, |connection| find(connection, id))
    }

    async fn list_bulks(&self, before: Option<BulkId>, limit: usize) -> Result<Vec<Bulk>> {
        looking!(self, |connection| list(connection, before, limit))
    }

    async fn bulk_calls(
        &self,
        id: BulkId,
        result: Option<BulkResult>,
        after: Option<CallId>,
        limit: usize,
    ) -> Result<Vec<BulkCall>> {
        looking!(self, |connection| calls(connection, id, result, after, limit))
    }

    async fn take_bulks(&self, holder: &str, lease: Duration, limit: usize) -> Result<Vec<Bulk>> {
        on_connection!(self, |connection| take(connection, holder, lease, limit))
    }

    async fn release_bulks(&self, holder: &str) -> Result<()> {
        on_connection!(self, |connection| release(connection, holder))
    }

    async fn step_bulk(&self, id: BulkId, holder: &str, limit: usize) -> Result<BulkStep> {
        on_connection!(self, |connection| step(connection, id, holder, limit))
    }

    async fn skip_bulk(&self, id: BulkId, holder: &str, why: &str) -> Result<()> {
        on_connection!(self, |connection| skip(connection, id, holder, why))
    }

    async fn settle_bulk(&self, id: BulkId) -> Result<Option<Bulk>> {
        on_connection!(self, |connection| settle(connection, id))
    }

    async fn unsettled_bulks(&self, limit: usize) -> Result<Vec<BulkId>> {
        on_connection!(self, |connection| unsettled(connection, limit))
    }

    async fn move_bulk(&self, id: BulkId, holder: &str, to: &BulkMove) -> Result<Option<Bulk>> {
        on_connection!(self, |connection| move_on(connection, id, holder, to))
    }

    async fn abort_bulk(&self, id: BulkId, actor: &str, note: &str) -> Result<Aborted> {
        on_connection!(self, |connection| abort(connection, id, actor, note))
    }
}

async fn count_calls(connection: &mut PgConnection, filter: &Filter) -> Result<Vec<BulkCount>> {
    let counted: Vec<CountRow> =
        sqlx::query_as_with(sql::COUNT_CALLS, filter_arguments(filter)?).fetch_all(connection).await?;
    counted.into_iter().map(CountRow::into_count).collect()
}

/// Calls are frozen first: how many they are stands in the job's row from its beginning.
async fn create(connection: &mut PgConnection, new: &NewBulk) -> Result<BulkCreated> {
    let mut transaction = connection.begin().await?;
    let mut arguments = filter_arguments(&new.filter)?;
    super::look::add(&mut arguments, new.id.uuid())?;
    super::look::add(&mut arguments, i64::try_from(BULK_CALLS_MAX).unwrap_or(i64::MAX).saturating_add(1))?;
    let total: i64 =
        sqlx::query_scalar_with(sql::FREEZE_BULK_CALLS, arguments).fetch_one(&mut *transaction).await?;
    if u64::try_from(total).is_ok_and(|total| total > BULK_CALLS_MAX) {
        transaction.rollback().await?;
        let counts = count_calls(connection, &new.filter).await?;
        return Ok(BulkCreated::TooMany(counts.iter().map(|count| count.calls).sum()));
    }
    let plan = &new.plan;
    let row: BulkRow = sqlx::query_as(sql::CREATE_BULK)
        .bind(new.id.uuid())
        .bind(plan.action.as_str())
        .bind(plan.new_key)
        .bind(storable(&plan.filter))
        .bind(new.first_status().as_str())
        .bind(storable(&plan.actor))
        .bind(storable(&plan.note))
        .bind(plan.rate.to_string())
        .bind(i32::try_from(plan.canary).unwrap_or(i32::MAX))
        .bind(plan.stop_at_failure_rate)
        .bind(total)
        .fetch_one(&mut *transaction)
        .await?;
    audit::write(&mut transaction, &new.audit_entry(total)).await?;
    transaction.commit().await?;
    Ok(BulkCreated::Created(Box::new(row.into_bulk()?)))
}

async fn find(connection: &mut PgConnection, id: BulkId) -> Result<Option<Bulk>> {
    let row: Option<BulkRow> =
        sqlx::query_as(sql::FIND_BULK).bind(id.uuid()).fetch_optional(connection).await?;
    row.map(BulkRow::into_bulk).transpose()
}

async fn list(connection: &mut PgConnection, before: Option<BulkId>, limit: usize) -> Result<Vec<Bulk>> {
    let found: Vec<BulkRow> = sqlx::query_as(sql::LIST_BULKS)
        .bind(before.map(BulkId::uuid))
        .bind(rows(limit))
        .fetch_all(connection)
        .await?;
    found.into_iter().map(BulkRow::into_bulk).collect()
}

async fn calls(
    connection: &mut PgConnection,
    id: BulkId,
    result: Option<BulkResult>,
    after: Option<CallId>,
    limit: usize,
) -> Result<Vec<BulkCall>> {
    let found: Vec<BulkCallRow> = sqlx::query_as(sql::BULK_CALLS)
        .bind(id.uuid())
        .bind(result.map(BulkResult::as_str))
        .bind(after.map(CallId::uuid))
        .bind(rows(limit))
        .fetch_all(connection)
        .await?;
    found.into_iter().map(BulkCallRow::into_bulk_call).collect()
}

async fn take(
    connection: &mut PgConnection,
    holder: &str,
    lease: Duration,
    limit: usize,
) -> Result<Vec<Bulk>> {
    let taken: Vec<BulkRow> = sqlx::query_as(sql::TAKE_BULKS)
        .bind(holder)
        .bind(micros(lease))
        .bind(rows(limit))
        .fetch_all(connection)
        .await?;
    Ok(readable(taken.into_iter().map(BulkRow::into_bulk)))
}

async fn release(connection: &mut PgConnection, holder: &str) -> Result<()> {
    sqlx::query(sql::RELEASE_BULKS).bind(holder).execute(connection).await?;
    Ok(())
}

/// The job, locked, if it is held and has not ended. The lock is what an abort waits for, and what keeps two steps of a job apart.
async fn lock(connection: &mut PgConnection, id: BulkId, holder: &str) -> Result<Option<Bulk>> {
    let row: Option<BulkRow> =
        sqlx::query_as(sql::LOCK_BULK).bind(id.uuid()).bind(holder).fetch_optional(connection).await?;
    row.map(BulkRow::into_bulk).transpose()
}

async fn next(connection: &mut PgConnection, id: BulkId, limit: usize) -> Result<Vec<(Uuid, i32)>> {
    sqlx::query(sql::IN_INDEX_ORDER).execute(&mut *connection).await?;
    let next = sqlx::query_as(sql::NEXT_BULK_CALLS).bind(id.uuid()).bind(rows(limit));
    Ok(next.fetch_all(connection).await?)
}

async fn step(connection: &mut PgConnection, id: BulkId, holder: &str, limit: usize) -> Result<BulkStep> {
    let mut transaction = connection.begin().await?;
    let Some(job) = lock(&mut transaction, id, holder).await? else { return Ok(BulkStep::default()) };
    let (mut acted, mut skipped, mut succeeded) = (Vec::new(), 0_i64, 0_i64);
    for (call, revision) in next(&mut transaction, id, limit).await? {
        let action = job.order_for(CallId::from_uuid(call), Revision::new(revision));
        let (result, detail) = match operate::act_within(&mut transaction, &action).await {
            Ok(outcome) => {
                let result = result_of(job.plan.action, &outcome);
                if let Acted::Done(done) = outcome {
                    acted.push(*done);
                }
                result
            }
            Err(LedgerError::Corrupt(what)) => (BulkResult::Skipped, Some(what)),
            Err(error) => return Err(error),
        };
        skipped += i64::from(result == BulkResult::Skipped);
        succeeded += i64::from(result == BulkResult::Succeeded);
        mark(&mut transaction, id, call, result, detail.as_deref()).await?;
    }
    let job = count(&mut transaction, id, rows(acted.len()), skipped, succeeded).await?;
    transaction.commit().await?;
    Ok(BulkStep { acted, skipped: skipped.unsigned_abs(), job: Some(job) })
}

async fn mark(
    connection: &mut PgConnection,
    id: BulkId,
    call: Uuid,
    result: BulkResult,
    detail: Option<&str>,
) -> Result<()> {
    sqlx::query(sql::MARK_BULK_CALL)
        .bind(id.uuid())
        .bind(call)
        .bind(result.as_str())
        .bind(detail.map(storable))
        .execute(connection)
        .await?;
    Ok(())
}

async fn count(
    connection: &mut PgConnection,
    id: BulkId,
    acted: i64,
    skipped: i64,
    succeeded: i64,
) -> Result<Bulk> {
    let row: BulkRow = sqlx::query_as(sql::COUNT_BULK_STEP)
        .bind(id.uuid())
        .bind(acted)
        .bind(skipped)
        .bind(succeeded)
        .fetch_one(connection)
        .await?;
    row.into_bulk()
}

async fn skip(connection: &mut PgConnection, id: BulkId, holder: &str, why: &str) -> Result<()> {
    let mut transaction = connection.begin().await?;
    if lock(&mut transaction, id, holder).await?.is_some()
        && let Some((call, _)) = next(&mut transaction, id, 1).await?.first()
    {
        mark(&mut transaction, id, *call, BulkResult::Skipped, Some(why)).await?;
        drop(count(&mut transaction, id, 0, 1, 0).await?);
    }
    transaction.commit().await?;
    Ok(())
}

/// A job of which nothing has settled is answered as it stands.
async fn settle(connection: &mut PgConnection, id: BulkId) -> Result<Option<Bulk>> {
    let row: Option<BulkRow> = sqlx::query_as(sql::SETTLE_BULK)
        .bind(id.uuid())
        .bind(rows(BULK_SETTLED_AT_ONCE))
        .fetch_optional(&mut *connection)
        .await?;
    match row {
        Some(row) => row.into_bulk().map(Some),
        None => find(connection, id).await,
    }
}

async fn unsettled(connection: &mut PgConnection, limit: usize) -> Result<Vec<BulkId>> {
    let ids: Vec<Uuid> =
        sqlx::query_scalar(sql::UNSETTLED_BULKS).bind(rows(limit)).fetch_all(connection).await?;
    Ok(ids.into_iter().map(BulkId::from_uuid).collect())
}

async fn move_on(
    connection: &mut PgConnection,
    id: BulkId,
    holder: &str,
    to: &BulkMove,
) -> Result<Option<Bulk>> {
    let (status, reason) = to.target();
    let row: Option<BulkRow> = sqlx::query_as(sql::MOVE_BULK)
        .bind(id.uuid())
        .bind(holder)
        .bind(status.as_str())
        .bind(reason.map(storable))
        .fetch_optional(connection)
        .await?;
    row.map(BulkRow::into_bulk).transpose()
}

async fn abort(connection: &mut PgConnection, id: BulkId, actor: &str, note: &str) -> Result<Aborted> {
    let mut transaction = connection.begin().await?;
    let row: Option<BulkRow> = sqlx::query_as(sql::ABORT_BULK)
        .bind(id.uuid())
        .bind(storable(&abort_reason(actor, note)))
        .fetch_optional(&mut *transaction)
        .await?;
    let Some(row) = row else {
        let found = find(&mut transaction, id).await?;
        return Ok(found.map_or(Aborted::Unknown, |job| Aborted::Ended(job.status)));
    };
    let job = row.into_bulk()?;
    audit::write(&mut transaction, &job.abort_entry(actor, note)).await?;
    transaction.commit().await?;
    Ok(Aborted::Done(Box::new(job)))
}
