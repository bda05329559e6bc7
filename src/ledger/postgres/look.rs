//! Looking at calls: one, one with its story, lists, counts.

use sqlx::postgres::PgArguments;
use sqlx::{Arguments, Connection, PgConnection};

use super::super::look::{TotalsRow, contains, id_contains, sum, tags_of};
use super::super::row::{ActionRow, AttemptRow, CallRow, GroupRow, PastRevisionRow, Stamp, storable};
use super::super::{CallStory, Filter, Group, Result, Totals};
use super::{column, rows, sql};
use crate::call::{Call, CallId, EndpointName, Mode, ProviderName, Publisher, ReviewReason};

/// One call.
pub(super) async fn find(connection: &mut PgConnection, call: CallId) -> Result<Option<Call>> {
    let row: Option<CallRow> = sqlx::query_as(sql::FIND).bind(call.uuid()).fetch_optional(connection).await?;
    row.map(CallRow::into_call).transpose()
}

/// One call with its story, all of one moment.
pub(super) async fn story(connection: &mut PgConnection, call: CallId) -> Result<Option<CallStory>> {
    let mut snapshot = connection.begin_with("begin isolation level repeatable read, read only").await?;
    let id = call.uuid();
    let Some(call) = find(&mut snapshot, call).await? else { return Ok(None) };
    let attempts: Vec<AttemptRow> = sqlx::query_as(sql::ATTEMPTS).bind(id).fetch_all(&mut *snapshot).await?;
    let actions: Vec<ActionRow> = sqlx::query_as(sql::ACTIONS).bind(id).fetch_all(&mut *snapshot).await?;
    let revisions: Vec<PastRevisionRow> =
        sqlx::query_as(sql::REVISIONS).bind(id).fetch_all(&mut *snapshot).await?;
    snapshot.commit().await?;
    Ok(Some(CallStory {
        call,
        attempts: attempts.into_iter().map(AttemptRow::into_attempt).collect::<Result<_>>()?,
        actions: actions.into_iter().map(ActionRow::into_action).collect::<Result<_>>()?,
        revisions: revisions.into_iter().map(PastRevisionRow::into_past_revision).collect::<Result<_>>()?,
    }))
}

/// Calls that pass the filter, newest first.
pub(super) async fn list(
    connection: &mut PgConnection,
    filter: &Filter,
    before: Option<CallId>,
    limit: usize,
) -> Result<Vec<Call>> {
    let mut arguments = filter_arguments(filter)?;
    add(&mut arguments, before.map(CallId::uuid))?;
    add(&mut arguments, rows(limit))?;
    let found: Vec<CallRow> = sqlx::query_as_with(sql::look::LIST, arguments).fetch_all(connection).await?;
    found.into_iter().map(CallRow::into_call).collect()
}

/// Groups of calls that pass the filter, the largest first.
pub(super) async fn groups(
    connection: &mut PgConnection,
    filter: &Filter,
    limit: usize,
) -> Result<Vec<Group>> {
    let mut arguments = filter_arguments(filter)?;
    add(&mut arguments, rows(limit))?;
    let found: Vec<GroupRow> =
        sqlx::query_as_with(sql::look::GROUPS, arguments).fetch_all(connection).await?;
    found.into_iter().map(GroupRow::into_group).collect()
}

/// Writes the groups of errors that calls went to review with; calls without one are passed over.
pub(super) async fn set_error_groups(
    connection: &mut PgConnection,
    groups: impl Iterator<Item = (CallId, Option<String>)>,
) -> Result<()> {
    let groups: Vec<_> = groups.filter_map(|(call, group)| Some((call.uuid(), group?))).collect();
    if groups.is_empty() {
        return Ok(());
    }
    sqlx::query(sql::look::SET_ERROR_GROUPS)
        .bind(column(&groups, |(call, _)| *call))
        .bind(column(&groups, |(_, group)| group.as_str()))
        .execute(connection)
        .await?;
    Ok(())
}

/// The parameters of a filter, in the order of its conditions; what else a statement takes is added after them.
pub(super) fn filter_arguments(filter: &Filter) -> Result<PgArguments> {
    let statuses = (!filter.statuses.is_empty()).then(|| column(&filter.statuses, |status| status.as_str()));
    let (keys, values): (Option<Vec<_>>, Option<Vec<_>>) =
        tags_of(filter).map(|tags| tags.into_iter().unzip()).unzip();
    let mut arguments = PgArguments::default();
    add(&mut arguments, statuses)?;
    add(&mut arguments, filter.endpoint.as_ref().map(EndpointName::as_str))?;
    add(&mut arguments, filter.publisher.as_ref().map(Publisher::as_str))?;
    add(&mut arguments, filter.reason.map(ReviewReason::as_str))?;
    add(&mut arguments, filter.from.map(Stamp))?;
    add(&mut arguments, filter.to.map(Stamp))?;
    add(&mut arguments, keys)?;
    add(&mut arguments, values)?;
    add(&mut arguments, filter.text.as_deref().map(contains))?;
    add(&mut arguments, filter.text.as_deref().and_then(id_contains).map(|text| text.to_lowercase()))?;
    add(&mut arguments, filter.error.as_deref().map(storable))?;
    add(&mut arguments, filter.ids.as_ref().map(|ids| column(ids, |id| id.uuid())))?;
    add(&mut arguments, filter.provider.as_ref().map(ProviderName::as_str))?;
    add(&mut arguments, filter.mode.map(|mode| mode == Mode::DryRun))?;
    Ok(arguments)
}

/// Adds a parameter.
pub(super) fn add<'q, T>(arguments: &mut PgArguments, value: T) -> Result<()>
where
    T: sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    Ok(arguments.add(value).map_err(sqlx::Error::Encode)?)
}

/// Counts.
pub(super) async fn totals(connection: &mut PgConnection) -> Result<Totals> {
    let counted: Vec<TotalsRow> = sqlx::query_as(sql::TOTALS).fetch_all(connection).await?;
    sum(counted)
}
