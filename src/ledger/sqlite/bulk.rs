//! Bulk jobs: each operation is one transaction, each step acts on a few calls, so that what else is to be written never waits for long.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::super::bulk::{
    Aborted, Bulk, BulkCall, BulkCount, BulkCreated, BulkId, BulkLedger, BulkMove, BulkResult, BulkStep,
    NewBulk, abort_reason, result_of,
};
use super::super::row::{BulkCallRow, BulkRow, CountRow, Stamp, readable, storable};
use super::super::{Acted, Filter, LedgerError, Result};
use super::look::filter_arguments;
use super::sql::BEGIN;
use super::sql::bulk as sql;
use super::{SqliteLedger, audit, looking, operate, read, rows, write};
use crate::call::{CallId, Revision};
use crate::clock::Timestamp;
use crate::limits::{BULK_CALLS_MAX, BULK_SETTLED_AT_ONCE};

/// How long after its end a job's open outcomes are looked after.
const UNSETTLED_KEPT: Duration = Duration::from_hours(24 * 30);

#[async_trait]
impl BulkLedger for SqliteLedger {
    async fn count_calls(&self, filter: &Filter) -> Result<Vec<BulkCount>> {
        looking!(self, |connection| count_calls(connection, filter))
    }

    async fn create_bulk(&self, bulk: &NewBulk) -> Result<BulkCreated> {
        let mut transaction = self.writer.begin_with(BEGIN).await?;
        let created = create(&mut transaction, bulk, Timestamp::now()).await?;
        match &created {
            BulkCreated::Created(_) => transaction.commit().await?,
            BulkCreated::TooMany(_) => transaction.rollback().await?,
        }
        Ok(created)
    }

    async fn find_bulk(&self, id: BulkId) -> Result<Option<Bulk>> {
        read!(self, |connection| find(connection, id))
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
        let any: bool = sqlx::query_scalar(sql::ANY_OPEN_BULK).fetch_one(&self.readers).await?;
        if !any {
            return Ok(Vec::new());
        }
        write!(self, |connection, now| take(connection, holder, lease, limit, now))
    }

    async fn release_bulks(&self, holder: &str) -> Result<()> {
        write!(self, |connection, _now| release(connection, holder))
    }

    async fn step_bulk(&self, id: BulkId, holder: &str, limit: usize) -> Result<BulkStep> {
        write!(self, |connection, now| step(connection, id, holder, limit, now))
    }

    async fn skip_bulk(&self, id: BulkId, holder: &str, why: &str) -> Result<()> {
        write!(self, |connection, now| skip(connection, id, holder, why, now))
    }

    async fn settle_bulk(&self, id: BulkId) -> Result<Option<Bulk>> {
        let settled: Option<bool> =
            sqlx::query_scalar(sql::IS_SETTLED).bind(id.uuid()).fetch_optional(&self.readers).await?;
        if settled != Some(false) {
            return self.find_bulk(id).await;
        }
        write!(self, |connection, now| settle(connection, id, now))
    }

    async fn unsettled_bulks(&self, limit: usize) -> Result<Vec<BulkId>> {
        read!(self, |connection| unsettled(connection, limit))
    }

    async fn move_bulk(&self, id: BulkId, holder: &str, to: &BulkMove) -> Result<Option<Bulk>> {
        write!(self, |connection, now| move_on(connection, id, holder, to, now))
    }

    async fn abort_bulk(&self, id: BulkId, actor: &str, note: &str) -> Result<Aborted> {
        write!(self, |connection, now| abort(connection, id, actor, note, now))
    }
}

async fn count_calls(connection: &mut SqliteConnection, filter: &Filter) -> Result<Vec<BulkCount>> {
    let counted: Vec<CountRow> =
        sqlx::query_as_with(sql::COUNT_CALLS, filter_arguments(filter)?).fetch_all(connection).await?;
    counted.into_iter().map(CountRow::into_count).collect()
}

/// Calls are frozen first: how many they are stands in the job's row from its beginning. Of a job for too many nothing must be committed.
async fn create(connection: &mut SqliteConnection, new: &NewBulk, now: Timestamp) -> Result<BulkCreated> {
    let mut arguments = filter_arguments(&new.filter)?;
    super::look::add(&mut arguments, new.id.uuid())?;
    super::look::add(&mut arguments, i64::try_from(BULK_CALLS_MAX).unwrap_or(i64::MAX).saturating_add(1))?;
    let frozen =
        sqlx::query_with(sql::FREEZE_BULK_CALLS, arguments).execute(&mut *connection).await?.rows_affected();
    if frozen > BULK_CALLS_MAX {
        let counts = count_calls(connection, &new.filter).await?;
        return Ok(BulkCreated::TooMany(counts.iter().map(|count| count.calls).sum()));
    }
    let (plan, total) = (&new.plan, i64::try_from(frozen).unwrap_or(i64::MAX));
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
        .bind(Stamp(now))
        .fetch_one(&mut *connection)
        .await?;
    audit::write(connection, &new.audit_entry(total), now).await?;
    Ok(BulkCreated::Created(Box::new(row.into_bulk()?)))
}

async fn find(connection: &mut SqliteConnection, id: BulkId) -> Result<Option<Bulk>> {
    let row: Option<BulkRow> =
        sqlx::query_as(sql::FIND_BULK).bind(id.uuid()).fetch_optional(connection).await?;
    row.map(BulkRow::into_bulk).transpose()
}

async fn list(connection: &mut SqliteConnection, before: Option<BulkId>, limit: usize) -> Result<Vec<Bulk>> {
    let found: Vec<BulkRow> = sqlx::query_as(sql::LIST_BULKS)
        .bind(before.map(BulkId::uuid))
        .bind(rows(limit))
        .fetch_all(connection)
        .await?;
    found.into_iter().map(BulkRow::into_bulk).collect()
}

async fn calls(
    connection: &mut SqliteConnection,
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
    connection: &mut SqliteConnection,
    holder: &str,
    lease: Duration,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Bulk>> {
    let taken: Vec<BulkRow> = sqlx::query_as(sql::TAKE_BULKS)
        .bind(holder)
        .bind(Stamp(now.plus(lease)))
        .bind(rows(limit))
        .bind(Stamp(now))
        .fetch_all(connection)
        .await?;
    Ok(readable(taken.into_iter().map(BulkRow::into_bulk)))
}

async fn release(connection: &mut SqliteConnection, holder: &str) -> Result<()> {
    sqlx::query(sql::RELEASE_BULKS).bind(holder).execute(connection).await?;
    Ok(())
}

/// The job, if it is held and has not ended. Only one transaction writes at a time, so it stays so to the end.
async fn lock(connection: &mut SqliteConnection, id: BulkId, holder: &str) -> Result<Option<Bulk>> {
    let row: Option<BulkRow> =
        sqlx::query_as(sql::LOCK_BULK).bind(id.uuid()).bind(holder).fetch_optional(connection).await?;
    row.map(BulkRow::into_bulk).transpose()
}

async fn next(connection: &mut SqliteConnection, id: BulkId, limit: usize) -> Result<Vec<(Uuid, i32)>> {
    let next = sqlx::query_as(sql::NEXT_BULK_CALLS).bind(id.uuid()).bind(rows(limit));
    Ok(next.fetch_all(connection).await?)
}

async fn step(
    connection: &mut SqliteConnection,
    id: BulkId,
    holder: &str,
    limit: usize,
    now: Timestamp,
) -> Result<BulkStep> {
    let Some(job) = lock(connection, id, holder).await? else { return Ok(BulkStep::default()) };
    let (mut acted, mut skipped, mut succeeded) = (Vec::new(), 0_i64, 0_i64);
    for (call, revision) in next(connection, id, limit).await? {
        let action = job.order_for(CallId::from_uuid(call), Revision::new(revision));
        let (result, detail) = match operate::act(connection, &action, now).await {
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
        mark(connection, id, call, result, detail.as_deref()).await?;
    }
    let job = count(connection, id, [rows(acted.len()), skipped, succeeded], now).await?;
    Ok(BulkStep { acted, skipped: skipped.unsigned_abs(), job: Some(job) })
}

async fn mark(
    connection: &mut SqliteConnection,
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
    connection: &mut SqliteConnection,
    id: BulkId,
    [acted, skipped, succeeded]: [i64; 3],
    now: Timestamp,
) -> Result<Bulk> {
    let row: BulkRow = sqlx::query_as(sql::COUNT_BULK_STEP)
        .bind(id.uuid())
        .bind(acted)
        .bind(skipped)
        .bind(succeeded)
        .bind(Stamp(now))
        .fetch_one(connection)
        .await?;
    row.into_bulk()
}

async fn skip(
    connection: &mut SqliteConnection,
    id: BulkId,
    holder: &str,
    why: &str,
    now: Timestamp,
) -> Result<()> {
    if lock(connection, id, holder).await?.is_some()
        && let Some((call, _)) = next(connection, id, 1).await?.first()
    {
        mark(connection, id, *call, BulkResult::Skipped, Some(why)).await?;
        drop(count(connection, id, [0, 1, 0], now).await?);
    }
    Ok(())
}

async fn settle(connection: &mut SqliteConnection, id: BulkId, now: Timestamp) -> Result<Option<Bulk>> {
    let results: Vec<String> = sqlx::query_scalar(sql::SETTLE_BULK)
        .bind(id.uuid())
        .bind(rows(BULK_SETTLED_AT_ONCE))
        .fetch_all(&mut *connection)
        .await?;
    if results.is_empty() {
        return find(connection, id).await;
    }
    let of = |wanted: BulkResult| rows(results.iter().filter(|result| *result == wanted.as_str()).count());
    let row: BulkRow = sqlx::query_as(sql::COUNT_SETTLED)
        .bind(id.uuid())
        .bind(of(BulkResult::Succeeded))
        .bind(of(BulkResult::Failed))
        .bind(Stamp(now))
        .fetch_one(connection)
        .await?;
    row.into_bulk().map(Some)
}

async fn unsettled(connection: &mut SqliteConnection, limit: usize) -> Result<Vec<BulkId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar(sql::UNSETTLED_BULKS)
        .bind(rows(limit))
        .bind(Stamp(Timestamp::now().minus(UNSETTLED_KEPT)))
        .fetch_all(connection)
        .await?;
    Ok(ids.into_iter().map(BulkId::from_uuid).collect())
}

async fn move_on(
    connection: &mut SqliteConnection,
    id: BulkId,
    holder: &str,
    to: &BulkMove,
    now: Timestamp,
) -> Result<Option<Bulk>> {
    let (status, reason) = to.target();
    let row: Option<BulkRow> = sqlx::query_as(sql::MOVE_BULK)
        .bind(id.uuid())
        .bind(holder)
        .bind(status.as_str())
        .bind(reason.map(storable))
        .bind(Stamp(now))
        .fetch_optional(connection)
        .await?;
    row.map(BulkRow::into_bulk).transpose()
}

async fn abort(
    connection: &mut SqliteConnection,
    id: BulkId,
    actor: &str,
    note: &str,
    now: Timestamp,
) -> Result<Aborted> {
    let row: Option<BulkRow> = sqlx::query_as(sql::ABORT_BULK)
        .bind(id.uuid())
        .bind(storable(&abort_reason(actor, note)))
        .bind(Stamp(now))
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        let found = find(connection, id).await?;
        return Ok(found.map_or(Aborted::Unknown, |job| Aborted::Ended(job.status)));
    };
    let job = row.into_bulk()?;
    audit::write(connection, &job.abort_entry(actor, note), now).await?;
    Ok(Aborted::Done(Box::new(job)))
}
