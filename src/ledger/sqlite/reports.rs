//! What third parties report by themselves, and the newest attempts of an endpoint.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::super::Result;
use super::super::reports::{
    Effect, KeptReport, LOOK_BACK_CALLS, REFUSED, ReportLedger, Settled, Settlement, effect, kept_body,
    submitted_keys,
};
use super::super::row::{AttemptOfCallRow, CallRow, ReportRow, Stamp, readable, storable};
use super::{SqliteLedger, look, looking, notices, read, rows, sql, sql::reports as statements, write};
use crate::call::{Attempt, Call, CallId, EndpointName, IdempotencyKey, Status, Verdict, error_group};
use crate::clock::Timestamp;
use crate::endpoint::reporting::Report;

#[async_trait]
impl ReportLedger for SqliteLedger {
    async fn settle(&self, settlement: &Settlement) -> Result<Settled> {
        write!(self, |connection, now| settle(connection, settlement, now))
    }

    async fn reports(&self, call: CallId) -> Result<Vec<KeptReport>> {
        read!(self, |connection| reports(connection, call))
    }

    async fn sent_with(&self, endpoint: &EndpointName, key: &IdempotencyKey) -> Result<Vec<Call>> {
        read!(self, |connection| sent_with(connection, endpoint, key))
    }

    async fn newest_attempts(&self, endpoint: &EndpointName, limit: usize) -> Result<Vec<(CallId, Attempt)>> {
        looking!(self, |connection| newest_attempts(connection, endpoint, limit))
    }
}

async fn settle(
    connection: &mut SqliteConnection,
    settlement: &Settlement,
    now: Timestamp,
) -> Result<Settled> {
    let id = settlement.call.uuid();
    let row: Option<CallRow> =
        sqlx::query_as(sql::LOCK_CALL).bind(id).fetch_optional(&mut *connection).await?;
    let Some(call) = row.map(CallRow::into_call).transpose()? else { return Ok(Settled::Unknown) };
    if call.endpoint != settlement.endpoint {
        return Ok(Settled::Unknown);
    }
    let settled = match effect(settlement.report, &call.state) {
        Effect::Wait => return Ok(Settled::Busy),
        Effect::Nothing => Settled::Beyond(call.state.status()),
        Effect::Succeed => {
            let stands: Option<String> = sqlx::query_scalar(sql::SUCCEED_LATE)
                .bind(id)
                .bind(Verdict::Success.as_str())
                .bind(None::<i32>)
                .bind(Stamp(now))
                .fetch_optional(&mut *connection)
                .await?;
            let ended = stands.as_deref() == Some(Status::Succeeded.as_str());
            if ended { changed(connection, &call, now).await? } else { Settled::WhenClosed }
        }
        Effect::Refuse => {
            sqlx::query(statements::REFUSE_REPORTED)
                .bind(id)
                .bind(REFUSED)
                .bind(error_group(REFUSED))
                .bind(Stamp(now))
                .execute(&mut *connection)
                .await?;
            changed(connection, &call, now).await?
        }
    };
    if settlement.report != Report::Unknown {
        keep(connection, settlement, &call, now).await?;
    }
    Ok(settled)
}

async fn changed(connection: &mut SqliteConnection, call: &Call, now: Timestamp) -> Result<Settled> {
    notices::notify(&mut *connection, call.id.uuid(), now).await?;
    Ok(look::find(connection, call.id)
        .await?
        .map_or(Settled::Unknown, |call| Settled::Changed(Box::new(call))))
}

async fn keep(
    connection: &mut SqliteConnection,
    settlement: &Settlement,
    call: &Call,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(statements::KEEP_REPORT)
        .bind(settlement.call.uuid())
        .bind(&settlement.digest[..])
        .bind(settlement.report.as_str())
        .bind(settlement.rule.as_deref().map(storable))
        .bind(kept_body(settlement, call))
        .bind(Stamp(now))
        .execute(connection)
        .await?;
    Ok(())
}

async fn reports(connection: &mut SqliteConnection, call: CallId) -> Result<Vec<KeptReport>> {
    let found: Vec<ReportRow> =
        sqlx::query_as(statements::REPORTS).bind(call.uuid()).fetch_all(connection).await?;
    found.into_iter().map(ReportRow::into_report).collect()
}

async fn sent_with(
    connection: &mut SqliteConnection,
    endpoint: &EndpointName,
    key: &IdempotencyKey,
) -> Result<Vec<Call>> {
    let found: Vec<CallRow> = sqlx::query_as(statements::SENT_WITH)
        .bind(serde_json::Value::from(submitted_keys(key)).to_string())
        .bind(endpoint.as_str())
        .bind(key.as_str())
        .fetch_all(connection)
        .await?;
    found.into_iter().map(CallRow::into_call).collect()
}

async fn newest_attempts(
    connection: &mut SqliteConnection,
    endpoint: &EndpointName,
    limit: usize,
) -> Result<Vec<(CallId, Attempt)>> {
    let found: Vec<AttemptOfCallRow> = sqlx::query_as(statements::NEWEST_ATTEMPTS)
        .bind(endpoint.as_str())
        .bind(rows(limit))
        .bind(LOOK_BACK_CALLS)
        .fetch_all(connection)
        .await?;
    Ok(readable(found.into_iter().map(AttemptOfCallRow::into_attempt)))
}
