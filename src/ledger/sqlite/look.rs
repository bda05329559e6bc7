//! Looking at calls: one, one with its story, lists, counts.

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, SqliteConnection};

use super::super::look::{TotalsRow, contains, id_contains, sum, tags_of};
use super::super::row::{
    ActionRow, AttemptRow, CallRow, GroupRow, PastRevisionRow, Stamp, pairs_to_json, storable,
};
use super::super::{CallStory, Filter, Group, Result, Totals};
use super::{json_list, rows, sql};
use crate::call::{Call, CallId, Mode, ReviewReason};
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
    let mut arguments = filter_arguments(filter)?;
    add(&mut arguments, before.map(CallId::uuid))?;
    add(&mut arguments, rows(limit))?;
    let found: Vec<CallRow> = sqlx::query_as_with(sql::look::LIST, arguments).fetch_all(connection).await?;
    found.into_iter().map(CallRow::into_call).collect()
}

/// Groups of calls that pass the filter, the largest first.
pub(super) async fn groups(
    connection: &mut SqliteConnection,
    filter: &Filter,
    limit: usize,
) -> Result<Vec<Group>> {
    let mut arguments = filter_arguments(filter)?;
    add(&mut arguments, rows(limit))?;
    let found: Vec<GroupRow> =
        sqlx::query_as_with(sql::look::GROUPS, arguments).fetch_all(connection).await?;
    found.into_iter().map(GroupRow::into_group).collect()
}

/// Writes the group of the error that a call went to review with, if there is one.
pub(super) async fn set_error_group(
    connection: &mut SqliteConnection,
    call: CallId,
    group: Option<String>,
) -> Result<()> {
    if let Some(group) = group {
        sqlx::query(sql::look::SET_ERROR_GROUPS).bind(call.uuid()).bind(group).execute(connection).await?;
    }
    Ok(())
}

/// The parameters of a filter, in the order of its conditions; what else a statement takes is added after them.
pub(super) fn filter_arguments(filter: &Filter) -> Result<SqliteArguments> {
    let statuses = (!filter.statuses.is_empty())
        .then(|| json_list(filter.statuses.iter().map(|status| status.as_str())));
    let tags =
        tags_of(filter).and_then(|tags| pairs_to_json(tags.iter().map(|(key, value)| (*key, &**value))));
    let ids = filter.ids.as_ref().map(|ids| {
        let quoted: Vec<_> = ids.iter().map(|id| format!("\"{}\"", id.uuid().simple())).collect();
        format!("[{}]", quoted.join(","))
    });
    let mut arguments = SqliteArguments::default();
    add(&mut arguments, statuses)?;
    add(&mut arguments, filter.endpoint.as_ref().map(ToString::to_string))?;
    add(&mut arguments, filter.publisher.as_ref().map(ToString::to_string))?;
    add(&mut arguments, filter.reason.map(ReviewReason::as_str))?;
    add(&mut arguments, filter.from.map(Stamp))?;
    add(&mut arguments, filter.to.map(Stamp))?;
    add(&mut arguments, tags)?;
    add(&mut arguments, filter.text.as_deref().map(contains))?;
    add(&mut arguments, filter.text.as_deref().and_then(id_contains))?;
    add(&mut arguments, filter.error.as_deref().map(|error| storable(error).into_owned()))?;
    add(&mut arguments, ids)?;
    add(&mut arguments, filter.provider.as_ref().map(ToString::to_string))?;
    add(&mut arguments, filter.mode.map(|mode| mode == Mode::DryRun))?;
    Ok(arguments)
}

/// Adds a parameter.
pub(super) fn add<'q, T>(arguments: &mut SqliteArguments, value: T) -> Result<()>
where
    T: sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    Ok(arguments.add(value).map_err(sqlx::Error::Encode)?)
}

/// Counts.
pub(super) async fn totals(connection: &mut SqliteConnection) -> Result<Totals> {
    let counted: Vec<TotalsRow> =
        sqlx::query_as(sql::TOTALS).bind(Stamp(Timestamp::now())).fetch_all(connection).await?;
    sum(counted)
}
