//! Holds, and what is done with the calls of held endpoints.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::holds::{HoldChange, HoldLedger};
use super::super::row::{HoldRow, WaitingRow, micros, park_kind, readable, storable};
use super::super::{Result, Waiting};
use super::{PostgresLedger, column, on_connection, rows, sql::holds as sql};
use crate::call::{AttemptNumber, CallId, EndpointName, Rung, Ticket};
use crate::clock::Timestamp;
use crate::gate::Hold;

#[async_trait]
impl HoldLedger for PostgresLedger {
    async fn holds(&self) -> Result<(Timestamp, Vec<Hold>)> {
        on_connection!(self, |connection| all(connection))
    }

    async fn change_hold(&self, endpoint: &EndpointName, change: &HoldChange) -> Result<Option<Hold>> {
        on_connection!(self, |connection| alter(connection, endpoint, change))
    }

    async fn postpone(&self, tickets: &[Ticket], by: Duration) -> Result<Vec<(Ticket, Duration)>> {
        on_connection!(self, |connection| postpone(connection, tickets, by))
    }

    async fn give_back_rungs(&self, failures: &[(Ticket, Rung)]) -> Result<usize> {
        on_connection!(self, |connection| give_back_rungs(connection, failures))
    }

    async fn expired(&self, endpoint: &EndpointName, limit: usize) -> Result<Vec<Waiting>> {
        on_connection!(self, |connection| expired(connection, endpoint, limit))
    }
}

async fn all(connection: &mut PgConnection) -> Result<(Timestamp, Vec<Hold>)> {
    let found: Vec<HoldRow> = sqlx::query_as(sql::HOLDS).fetch_all(&mut *connection).await?;
    let now = super::waiting::now(connection).await?;
    Ok((now, readable(found.into_iter().map(HoldRow::into_hold))))
}

async fn alter(
    connection: &mut PgConnection,
    endpoint: &EndpointName,
    change: &HoldChange,
) -> Result<Option<Hold>> {
    let name = endpoint.as_str();
    let query = match change {
        HoldChange::Park(park) => sqlx::query_as(sql::PARK)
            .bind(name)
            .bind(park_kind(park.kind))
            .bind(storable(&park.note))
            .bind(i32::try_from(park.parks).unwrap_or(i32::MAX))
            .bind(micros(park.pause)),
        HoldChange::Pause { actor, note } => {
            sqlx::query_as(sql::PAUSE).bind(name).bind(storable(actor)).bind(storable(note))
        }
        HoldChange::Resume { ramp } => sqlx::query_as(sql::RESUME).bind(name).bind(micros(*ramp)),
        HoldChange::TakeProbe { worker, lease } => {
            sqlx::query_as(sql::TAKE_PROBE).bind(name).bind(worker.as_str()).bind(micros(*lease))
        }
        HoldChange::ProbeSucceeded { worker, ramp } => {
            sqlx::query_as(sql::PROBE_SUCCEEDED).bind(name).bind(worker.as_str()).bind(micros(*ramp))
        }
        HoldChange::ProbeUnused { worker } => {
            sqlx::query_as(sql::PROBE_UNUSED).bind(name).bind(worker.as_str())
        }
        HoldChange::Forget => sqlx::query_as(sql::FORGET_HOLD).bind(name),
    };
    let changed: Option<HoldRow> = query.fetch_optional(connection).await?;
    changed.map(HoldRow::into_hold).transpose()
}

async fn postpone(
    connection: &mut PgConnection,
    tickets: &[Ticket],
    by: Duration,
) -> Result<Vec<(Ticket, Duration)>> {
    let mut tickets = tickets.to_vec();
    tickets.sort_unstable();
    tickets.dedup();
    let moved: Vec<(Uuid, i32, i64)> = sqlx::query_as(sql::POSTPONE)
        .bind(column(&tickets, |ticket| ticket.call.uuid()))
        .bind(column(&tickets, |ticket| ticket.attempt.get()))
        .bind(micros(by))
        .fetch_all(connection)
        .await?;
    let ticket = |(id, made, wait_us)| {
        let ticket = Ticket { call: CallId::from_uuid(id), attempt: AttemptNumber::made(made).next() };
        (ticket, Duration::from_micros(u64::try_from(wait_us).unwrap_or(0)))
    };
    Ok(moved.into_iter().map(ticket).collect())
}

async fn give_back_rungs(connection: &mut PgConnection, failures: &[(Ticket, Rung)]) -> Result<usize> {
    let mut failures = failures.to_vec();
    failures.sort_unstable_by_key(|(ticket, _)| *ticket);
    let changed = sqlx::query(sql::GIVE_BACK_RUNGS)
        .bind(column(&failures, |(ticket, _)| ticket.call.uuid()))
        .bind(column(&failures, |(ticket, _)| ticket.attempt.get()))
        .bind(column(&failures, |(_, rung)| i32::from(rung.used())))
        .execute(connection)
        .await?;
    Ok(usize::try_from(changed.rows_affected()).unwrap_or(usize::MAX))
}

async fn expired(
    connection: &mut PgConnection,
    endpoint: &EndpointName,
    limit: usize,
) -> Result<Vec<Waiting>> {
    let found: Vec<WaitingRow> =
        sqlx::query_as(sql::EXPIRED).bind(endpoint.as_str()).bind(rows(limit)).fetch_all(connection).await?;
    Ok(readable(found.into_iter().map(WaitingRow::into_waiting)))
}
