//! Holds, and what is done with the calls of held endpoints.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::super::holds::{HoldChange, HoldLedger};
use super::super::row::{HoldRow, Stamp, WaitingRow, park_kind, readable, storable};
use super::super::{Result, Waiting};
use super::{SqliteLedger, read, rows, sql::holds as sql, write};
use crate::call::{EndpointName, Rung, Ticket};
use crate::clock::Timestamp;
use crate::gate::Hold;

#[async_trait]
impl HoldLedger for SqliteLedger {
    async fn holds(&self) -> Result<(Timestamp, Vec<Hold>)> {
        read!(self, |connection| all(connection))
    }

    async fn change_hold(&self, endpoint: &EndpointName, change: &HoldChange) -> Result<Option<Hold>> {
        write!(self, |connection, now| alter(connection, endpoint, change, now))
    }

    async fn postpone(&self, tickets: &[Ticket], by: Duration) -> Result<Vec<(Ticket, Duration)>> {
        write!(self, |connection, now| postpone(connection, tickets, by, now))
    }

    async fn give_back_rungs(&self, failures: &[(Ticket, Rung)]) -> Result<usize> {
        write!(self, |connection, _now| give_back_rungs(connection, failures))
    }

    async fn expired(&self, endpoint: &EndpointName, limit: usize) -> Result<Vec<Waiting>> {
        read!(self, |connection| expired(connection, endpoint, limit))
    }
}

async fn all(connection: &mut SqliteConnection) -> Result<(Timestamp, Vec<Hold>)> {
    let found: Vec<HoldRow> = sqlx::query_as(sql::HOLDS).fetch_all(connection).await?;
    Ok((Timestamp::now(), readable(found.into_iter().map(HoldRow::into_hold))))
}

async fn alter(
    connection: &mut SqliteConnection,
    endpoint: &EndpointName,
    change: &HoldChange,
    now: Timestamp,
) -> Result<Option<Hold>> {
    let (name, at) = (endpoint.as_str(), Stamp(now));
    let until = |wait| Stamp(now.plus(wait));
    let query = match change {
        HoldChange::Park(park) => sqlx::query_as(sql::PARK)
            .bind(name)
            .bind(park_kind(park.kind))
            .bind(storable(&park.note))
            .bind(i32::try_from(park.parks).unwrap_or(i32::MAX))
            .bind(until(park.pause))
            .bind(at),
        HoldChange::Pause { actor, note } => {
            sqlx::query_as(sql::PAUSE).bind(name).bind(storable(actor)).bind(storable(note)).bind(at)
        }
        HoldChange::Resume { ramp } => sqlx::query_as(sql::RESUME).bind(name).bind(until(*ramp)).bind(at),
        HoldChange::TakeProbe { worker, lease } => {
            sqlx::query_as(sql::TAKE_PROBE).bind(name).bind(worker.as_str()).bind(until(*lease)).bind(at)
        }
        HoldChange::ProbeSucceeded { worker, ramp } => {
            sqlx::query_as(sql::PROBE_SUCCEEDED).bind(name).bind(worker.as_str()).bind(until(*ramp)).bind(at)
        }
        HoldChange::ProbeUnused { worker } => {
            sqlx::query_as(sql::PROBE_UNUSED).bind(name).bind(worker.as_str()).bind(at)
        }
        HoldChange::Forget => sqlx::query_as(sql::FORGET_HOLD).bind(name).bind(at),
    };
    let changed: Option<HoldRow> = query.fetch_optional(connection).await?;
    changed.map(HoldRow::into_hold).transpose()
}

async fn postpone(
    connection: &mut SqliteConnection,
    tickets: &[Ticket],
    by: Duration,
    now: Timestamp,
) -> Result<Vec<(Ticket, Duration)>> {
    let mut moved = Vec::with_capacity(tickets.len());
    for ticket in tickets {
        let wake_at: Option<Stamp> = sqlx::query_scalar(sql::POSTPONE)
            .bind(ticket.call.uuid())
            .bind(ticket.attempt.get())
            .bind(Stamp(now.plus(by)))
            .bind(Stamp(now))
            .fetch_optional(&mut *connection)
            .await?;
        moved.extend(wake_at.map(|wake_at| (*ticket, wake_at.0.since(now))));
    }
    Ok(moved)
}

async fn give_back_rungs(connection: &mut SqliteConnection, failures: &[(Ticket, Rung)]) -> Result<usize> {
    let mut changed = 0;
    for (ticket, rung) in failures {
        let done = sqlx::query(sql::GIVE_BACK_RUNGS)
            .bind(ticket.call.uuid())
            .bind(ticket.attempt.get())
            .bind(i32::from(rung.used()))
            .execute(&mut *connection)
            .await?;
        changed += usize::try_from(done.rows_affected()).unwrap_or(0);
    }
    Ok(changed)
}

async fn expired(
    connection: &mut SqliteConnection,
    endpoint: &EndpointName,
    limit: usize,
) -> Result<Vec<Waiting>> {
    let found: Vec<WaitingRow> = sqlx::query_as(sql::EXPIRED)
        .bind(endpoint.as_str())
        .bind(rows(limit))
        .bind(Stamp(Timestamp::now()))
        .fetch_all(connection)
        .await?;
    Ok(readable(found.into_iter().map(WaitingRow::into_waiting)))
}
