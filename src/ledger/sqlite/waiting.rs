//! What the sweeper and the transports read and mark: calls that wait, leases that ran out, how far the workers have got.

use std::time::Duration;

use sqlx::SqliteConnection;

use super::super::review::group_of;
use super::super::row::{CallRow, LaneRow, Stamp, WaitingRow, parsed, readable};
use super::super::{LaneReport, Result, SetAside, Waiting};
use super::{look, notices, rows, sql};
use crate::call::{Call, CallId, EndpointName, Ticket, WorkerName};
use crate::clock::Timestamp;
use crate::limits::EARLY_TOLERANCE;

/// How long the reports of a worker that is gone are kept.
const REPORTS_KEPT: Duration = Duration::from_hours(24);

/// The ledger's clock, once the file has answered.
pub(super) async fn now(connection: &mut SqliteConnection) -> Result<Timestamp> {
    let _tables: i64 = sqlx::query_scalar(sql::NOW).fetch_one(connection).await?;
    Ok(Timestamp::now())
}

/// Sends scheduled calls to review without an attempt.
pub(super) async fn set_aside(
    connection: &mut SqliteConnection,
    orders: &[SetAside],
    now: Timestamp,
) -> Result<Vec<Option<Call>>> {
    let mut answers = Vec::with_capacity(orders.len());
    for order in orders {
        let changed: Option<CallRow> = sqlx::query_as(sql::SET_ASIDE)
            .bind(order.ticket.call.uuid())
            .bind(order.ticket.attempt.get())
            .bind(order.reason.as_str())
            .bind(Stamp(now))
            .bind(Stamp(now.plus(EARLY_TOLERANCE)))
            .fetch_optional(&mut *connection)
            .await?;
        if changed.is_some() {
            notices::notify(connection, order.ticket.call.uuid(), now).await?;
        }
        let call = readable(changed.into_iter().map(CallRow::into_call)).pop();
        look::set_error_group(connection, order.ticket.call, call.as_ref().and_then(group_of)).await?;
        answers.push(call);
    }
    Ok(answers)
}

/// Running calls whose lease ran out.
pub(super) async fn expired_leases(connection: &mut SqliteConnection, limit: usize) -> Result<Vec<Call>> {
    let found: Vec<CallRow> = sqlx::query_as(sql::EXPIRED_LEASES)
        .bind(Stamp(Timestamp::now()))
        .bind(rows(limit))
        .fetch_all(connection)
        .await?;
    Ok(readable(found.into_iter().map(CallRow::into_call)))
}

/// Notes that new tickets go out.
pub(super) async fn mark_rescued(
    connection: &mut SqliteConnection,
    tickets: &[Ticket],
    grace: Duration,
    now: Timestamp,
) -> Result<Vec<Ticket>> {
    let mut marked = Vec::with_capacity(tickets.len());
    for ticket in tickets {
        let changed = sqlx::query(sql::MARK_RESCUED)
            .bind(ticket.call.uuid())
            .bind(ticket.attempt.get())
            .bind(Stamp(now))
            .bind(Stamp(now.minus(grace)))
            .execute(&mut *connection)
            .await?;
        if changed.rows_affected() == 1 {
            marked.push(*ticket);
        }
    }
    Ok(marked)
}

/// Endpoints of which any call is scheduled.
pub(super) async fn waiting_endpoints(connection: &mut SqliteConnection) -> Result<Vec<EndpointName>> {
    let found: Vec<String> = sqlx::query_scalar(sql::WAITING_ENDPOINTS).fetch_all(connection).await?;
    Ok(readable(found.iter().map(|name| parsed(EndpointName::parse(name), "endpoint"))))
}

/// A page of what waits at an endpoint.
pub(super) async fn waiting(
    connection: &mut SqliteConnection,
    endpoint: &EndpointName,
    after: Option<(Timestamp, CallId)>,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<Waiting>> {
    let statement = if after.is_some() { sql::WAITING_AFTER } else { sql::WAITING_FIRST };
    let mut query = sqlx::query_as(statement)
        .bind(endpoint.as_str())
        .bind(Stamp(before))
        .bind(rows(limit))
        .bind(Stamp(Timestamp::now()));
    if let Some((wake_at, call)) = after {
        query = query.bind(Stamp(wake_at)).bind(call.uuid());
    }
    let found: Vec<WaitingRow> = query.fetch_all(connection).await?;
    Ok(readable(found.into_iter().map(WaitingRow::into_waiting)))
}

/// Writes how far a worker has got.
pub(super) async fn report_lanes(
    connection: &mut SqliteConnection,
    worker: &WorkerName,
    reports: &[LaneReport],
    now: Timestamp,
) -> Result<()> {
    sqlx::query(sql::FORGET_LANES)
        .bind(worker.as_str())
        .bind(Stamp(now.minus(REPORTS_KEPT)))
        .execute(&mut *connection)
        .await?;
    for report in reports {
        sqlx::query(sql::REPORT_LANES)
            .bind(worker.as_str())
            .bind(report.endpoint.as_str())
            .bind(report.oldest_held.map(Stamp))
            .bind(report.last_taken.map(Stamp))
            .bind(Stamp(now))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// What all workers wrote lately.
pub(super) async fn lane_reports(
    connection: &mut SqliteConnection,
    fresh: Duration,
) -> Result<Vec<(WorkerName, LaneReport)>> {
    let found: Vec<LaneRow> = sqlx::query_as(sql::LANE_REPORTS)
        .bind(Stamp(Timestamp::now().minus(fresh)))
        .fetch_all(connection)
        .await?;
    Ok(readable(found.into_iter().map(LaneRow::into_report)))
}
