//! What the sweeper and the transports read and mark: calls that wait, leases that ran out, how far the workers have got.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::super::review::group_of;
use super::super::row::{CallRow, LaneRow, Stamp, WaitingRow, micros, parsed, readable};
use super::super::{LaneReport, Result, SetAside, Waiting};
use super::{column, look, rows, sql};
use crate::call::{AttemptNumber, Call, CallId, EndpointName, Ticket, WorkerName};
use crate::clock::Timestamp;
use crate::limits::EARLY_TOLERANCE;

/// The ledger's clock.
pub(super) async fn now(connection: &mut PgConnection) -> Result<Timestamp> {
    let now: Stamp = sqlx::query_scalar(sql::NOW).fetch_one(connection).await?;
    Ok(now.0)
}

/// Sends scheduled calls to review without an attempt. Of orders for one call in the same batch, the first counts.
pub(super) async fn set_aside(
    connection: &mut PgConnection,
    orders: &[SetAside],
) -> Result<Vec<Option<Call>>> {
    let mut first: HashMap<Ticket, usize> = HashMap::with_capacity(orders.len());
    for (place, order) in orders.iter().enumerate() {
        first.entry(order.ticket).or_insert(place);
    }
    let mut places: Vec<_> = first.values().copied().collect();
    places.sort_unstable_by_key(|place| orders[*place].ticket);
    let mut transaction = connection.begin().await?;
    let changed: Vec<CallRow> = sqlx::query_as(sql::SET_ASIDE)
        .bind(column(&places, |place| orders[*place].ticket.call.uuid()))
        .bind(column(&places, |place| orders[*place].ticket.attempt.get()))
        .bind(column(&places, |place| orders[*place].reason.as_str()))
        .bind(micros(EARLY_TOLERANCE))
        .fetch_all(&mut *transaction)
        .await?;
    let calls = readable(changed.into_iter().map(CallRow::into_call));
    look::set_error_groups(&mut transaction, calls.iter().map(|call| (call.id, group_of(call)))).await?;
    transaction.commit().await?;
    let mut answers = vec![None; orders.len()];
    for call in calls {
        let ticket = Ticket { call: call.id, attempt: call.attempts_made.next() };
        if let Some(place) = first.get(&ticket) {
            answers[*place] = Some(call);
        }
    }
    Ok(answers)
}

/// Running calls whose lease ran out.
pub(super) async fn expired_leases(connection: &mut PgConnection, limit: usize) -> Result<Vec<Call>> {
    let found: Vec<CallRow> =
        sqlx::query_as(sql::EXPIRED_LEASES).bind(rows(limit)).fetch_all(connection).await?;
    Ok(readable(found.into_iter().map(CallRow::into_call)))
}

/// Notes that new tickets go out.
pub(super) async fn mark_rescued(
    connection: &mut PgConnection,
    tickets: &[Ticket],
    grace: Duration,
) -> Result<Vec<Ticket>> {
    let mut tickets = tickets.to_vec();
    tickets.sort_unstable();
    let marked: Vec<(Uuid, i32)> = sqlx::query_as(sql::MARK_RESCUED)
        .bind(column(&tickets, |ticket| ticket.call.uuid()))
        .bind(column(&tickets, |ticket| ticket.attempt.get()))
        .bind(micros(grace))
        .fetch_all(connection)
        .await?;
    let ticket =
        |(id, made)| Ticket { call: CallId::from_uuid(id), attempt: AttemptNumber::made(made).next() };
    Ok(marked.into_iter().map(ticket).collect())
}

/// Endpoints of which any call is scheduled.
pub(super) async fn waiting_endpoints(connection: &mut PgConnection) -> Result<Vec<EndpointName>> {
    let found: Vec<String> = sqlx::query_scalar(sql::WAITING_ENDPOINTS).fetch_all(connection).await?;
    Ok(readable(found.iter().map(|name| parsed(EndpointName::parse(name), "endpoint"))))
}

/// A page of what waits at an endpoint.
pub(super) async fn waiting(
    connection: &mut PgConnection,
    endpoint: &EndpointName,
    after: Option<(Timestamp, CallId)>,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<Waiting>> {
    let statement = if after.is_some() { sql::WAITING_AFTER } else { sql::WAITING_FIRST };
    let mut query = sqlx::query_as(statement).bind(endpoint.as_str()).bind(Stamp(before)).bind(rows(limit));
    if let Some((wake_at, call)) = after {
        query = query.bind(Stamp(wake_at)).bind(call.uuid());
    }
    let found: Vec<WaitingRow> = query.fetch_all(connection).await?;
    Ok(readable(found.into_iter().map(WaitingRow::into_waiting)))
}

/// Writes how far a worker has got.
pub(super) async fn report_lanes(
    connection: &mut PgConnection,
    worker: &WorkerName,
    reports: &[LaneReport],
) -> Result<()> {
    sqlx::query(sql::REPORT_LANES)
        .bind(worker.as_str())
        .bind(column(reports, |report| report.endpoint.as_str()))
        .bind(column(reports, |report| report.oldest_held.map(Stamp)))
        .bind(column(reports, |report| report.last_taken.map(Stamp)))
        .execute(connection)
        .await?;
    Ok(())
}

/// What all workers wrote lately.
pub(super) async fn lane_reports(
    connection: &mut PgConnection,
    fresh: Duration,
) -> Result<Vec<(WorkerName, LaneReport)>> {
    let found: Vec<LaneRow> =
        sqlx::query_as(sql::LANE_REPORTS).bind(micros(fresh)).fetch_all(connection).await?;
    Ok(readable(found.into_iter().map(LaneRow::into_report)))
}
