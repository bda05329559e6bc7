//! What third parties report by themselves, and the newest attempts of an endpoint.

use async_trait::async_trait;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::super::Result;
use super::super::reports::{
    Effect, KeptReport, LOOK_BACK_CALLS, REFUSED, ReportLedger, Settled, Settlement, effect, kept_body,
    submitted_keys,
};
use super::super::row::{AttemptOfCallRow, CallRow, ReportRow, readable, storable};
use super::{PostgresLedger, look, looking, on_connection, rows, sql, sql::reports as statements};
use crate::call::{Attempt, Call, CallId, EndpointName, IdempotencyKey, Verdict, error_group};
use crate::endpoint::reporting::Report;

#[async_trait]
impl ReportLedger for PostgresLedger {
    async fn settle(&self, settlement: &Settlement) -> Result<Settled> {
        on_connection!(self, |connection| settle(connection, settlement))
    }

    async fn reports(&self, call: CallId) -> Result<Vec<KeptReport>> {
        on_connection!(self, |connection| reports(connection, call))
    }

    async fn sent_with(&self, endpoint: &EndpointName, key: &IdempotencyKey) -> Result<Vec<Call>> {
        on_connection!(self, |connection| sent_with(connection, endpoint, key))
    }

    async fn newest_attempts(&self, endpoint: &EndpointName, limit: usize) -> Result<Vec<(CallId, Attempt)>> {
        looking!(self, |connection| newest_attempts(connection, endpoint, limit))
    }
}

async fn settle(connection: &mut PgConnection, settlement: &Settlement) -> Result<Settled> {
    let mut transaction = connection.begin().await?;
    let id = settlement.call.uuid();
    let row: Option<CallRow> =
        sqlx::query_as(sql::LOCK_CALL).bind(id).fetch_optional(&mut *transaction).await?;
    let Some(call) = row.map(CallRow::into_call).transpose()? else { return Ok(Settled::Unknown) };
    if call.endpoint != settlement.endpoint {
        return Ok(Settled::Unknown);
    }
    let settled = match effect(settlement.report, &call.state) {
        Effect::Wait => return Ok(Settled::Busy),
        Effect::Nothing => Settled::Beyond(call.state.status()),
        Effect::Succeed => {
            let ended: Option<Uuid> = sqlx::query_scalar(sql::SUCCEED_LATE)
                .bind(id)
                .bind(Verdict::Success.as_str())
                .bind(None::<i32>)
                .fetch_optional(&mut *transaction)
                .await?;
            if ended.is_some() { changed(&mut transaction, &call).await? } else { Settled::WhenClosed }
        }
        Effect::Refuse => {
            sqlx::query(statements::REFUSE_REPORTED)
                .bind(id)
                .bind(REFUSED)
                .bind(error_group(REFUSED))
                .execute(&mut *transaction)
                .await?;
            changed(&mut transaction, &call).await?
        }
    };
    if settlement.report != Report::Unknown {
        keep(&mut transaction, settlement, &call).await?;
    }
    transaction.commit().await?;
    Ok(settled)
}

async fn changed(connection: &mut PgConnection, call: &Call) -> Result<Settled> {
    Ok(look::find(connection, call.id)
        .await?
        .map_or(Settled::Unknown, |call| Settled::Changed(Box::new(call))))
}

async fn keep(connection: &mut PgConnection, settlement: &Settlement, call: &Call) -> Result<()> {
    sqlx::query(statements::KEEP_REPORT)
        .bind(settlement.call.uuid())
        .bind(&settlement.digest[..])
        .bind(settlement.report.as_str())
        .bind(settlement.rule.as_deref().map(storable))
        .bind(kept_body(settlement, call))
        .execute(connection)
        .await?;
    Ok(())
}

async fn reports(connection: &mut PgConnection, call: CallId) -> Result<Vec<KeptReport>> {
    let found: Vec<ReportRow> =
        sqlx::query_as(statements::REPORTS).bind(call.uuid()).fetch_all(connection).await?;
    found.into_iter().map(ReportRow::into_report).collect()
}

async fn sent_with(
    connection: &mut PgConnection,
    endpoint: &EndpointName,
    key: &IdempotencyKey,
) -> Result<Vec<Call>> {
    let found: Vec<CallRow> = sqlx::query_as(statements::SENT_WITH)
        .bind(submitted_keys(key))
        .bind(endpoint.as_str())
        .bind(key.as_str())
        .fetch_all(connection)
        .await?;
    found.into_iter().map(CallRow::into_call).collect()
}

async fn newest_attempts(
    connection: &mut PgConnection,
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
