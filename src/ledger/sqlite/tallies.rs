//! Tallies: added every few seconds, summed up for whoever looks.

use sqlx::SqliteConnection;

use super::super::row::{EndpointTallyRow, MinuteTallyRow, Stamp, readable};
use super::super::{EndpointTally, MinuteTally, Result};
use super::sql_upkeep as sql;
use crate::call::EndpointName;
use crate::clock::Timestamp;
use crate::tally::Tally;

/// Adds counts to those that are there.
pub(super) async fn add(connection: &mut SqliteConnection, tallies: &[Tally]) -> Result<()> {
    for tally in tallies {
        sqlx::query(sql::ADD_TALLIES)
            .bind(Stamp(tally.minute))
            .bind(tally.endpoint.as_str())
            .bind(tally.provider.as_str())
            .bind(tally.kind.as_str())
            .bind(tally.label.as_str())
            .bind(i64::try_from(tally.count).unwrap_or(i64::MAX))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// What was counted since a minute, by minute.
pub(super) async fn by_minute(
    connection: &mut SqliteConnection,
    since: Timestamp,
    endpoint: Option<&EndpointName>,
) -> Result<Vec<MinuteTally>> {
    let found: Vec<MinuteTallyRow> = sqlx::query_as(sql::TALLIES_BY_MINUTE)
        .bind(Stamp(since))
        .bind(endpoint.map(EndpointName::as_str))
        .fetch_all(connection)
        .await?;
    Ok(readable(found.into_iter().map(MinuteTallyRow::into_tally)))
}

/// What was counted since a minute, by endpoint and provider.
pub(super) async fn by_endpoint(
    connection: &mut SqliteConnection,
    since: Timestamp,
    endpoint: Option<&EndpointName>,
) -> Result<Vec<EndpointTally>> {
    let found: Vec<EndpointTallyRow> = sqlx::query_as(sql::TALLIES_BY_ENDPOINT)
        .bind(Stamp(since))
        .bind(endpoint.map(EndpointName::as_str))
        .fetch_all(connection)
        .await?;
    Ok(readable(found.into_iter().map(EndpointTallyRow::into_tally)))
}
