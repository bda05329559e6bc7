//! Looking at calls: one, one with its story, lists, counts.

use sqlx::SqliteConnection;

use super::super::look::{TotalsRow, contains, sum, tags_of};
use super::super::row::{ActionRow, AttemptRow, CallRow, PastRevisionRow, Stamp, pairs_to_json};
use super::super::{CallStory, Filter, Result, Totals};
use super::{json_list, rows, sql};
use crate::call::{Call, CallId, EndpointName, Publisher, ReviewReason};
use crate::clock::Timestamp;

/// One call.
pub(super) async fn find(connection: &mut SqliteConnection, call: CallId) -> Result<Option<Call>> {
    let row: Option<CallRow> = sqlx::query_as(sql::FIND).bind(call.uuid()).fetch_optional(connection).await?;
    row.map(CallRow::into_call).transpose()
}

/// One call with its story.
pub(super) async fn story(connection: &mut SqliteConnection, call: CallId) -> Result<Option<CallStory>> {
    let id = call.uuid();
    let Some(call) = find(&mut *connection, call).await? else { return Ok(None) };
    let attempts: Vec<AttemptRow> =
        sqlx::query_as(sql::ATTEMPTS).bind(id).fetch_all(&mut *connection).await?;
    let actions: Vec<ActionRow> = sqlx::query_as(sql::ACTIONS).bind(id).fetch_all(&mut *connection).await?;
    let revisions: Vec<PastRevisionRow> =
        sqlx::query_as(sql::REVISIONS).bind(id).fetch_all(connection).await?;
    Ok(Some(CallStory {
        call,
        attempts: attempts.into_iter().map(AttemptRow::into_attempt).collect::<Result<_>>()?,
        actions: actions.into_iter().map(ActionRow::into_action).collect::<Result<_>>()?,
        revisions: revisions.into_iter().map(PastRevisionRow::into_past_revision).collect::<Result<_>>()?,
    }))
}

/// Calls that pass the filter, newest first.
pub(super) async fn list(
    connection: &mut SqliteConnection,
    filter: &Filter,
    before: Option<CallId>,
    limit: usize,
) -> Result<Vec<Call>> {
    let statuses = (!filter.statuses.is_empty())
        .then(|| json_list(filter.statuses.iter().map(|status| status.as_str())));
    let tags =
        tags_of(filter).and_then(|tags| pairs_to_json(tags.iter().map(|(key, value)| (*key, &**value))));
    let found: Vec<CallRow> = sqlx::query_as(sql::LIST)
        .bind(before.map(CallId::uuid))
        .bind(statuses)
        .bind(filter.endpoint.as_ref().map(EndpointName::as_str))
        .bind(filter.publisher.as_ref().map(Publisher::as_str))
        .bind(filter.reason.map(ReviewReason::as_str))
        .bind(filter.from.map(Stamp))
        .bind(filter.to.map(Stamp))
        .bind(tags)
        .bind(filter.text.as_deref().map(contains))
        .bind(rows(limit))
        .fetch_all(connection)
        .await?;
    found.into_iter().map(CallRow::into_call).collect()
}

/// Counts.
pub(super) async fn totals(connection: &mut SqliteConnection) -> Result<Totals> {
    let counted: Vec<TotalsRow> =
        sqlx::query_as(sql::TOTALS).bind(Stamp(Timestamp::now())).fetch_all(connection).await?;
    sum(counted)
}
