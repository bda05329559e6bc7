//! Accepting calls: one statement for all, and more only where a key was known or entities are at stake.

use std::collections::{HashMap, HashSet};

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::super::review::group_of_new;
use super::super::row::{StoredRow, SubmissionFields, micros, storable};
use super::super::{Accepted, LedgerError, NewCall, Result};
use super::{column, look, sql};
use crate::call::{CallId, KeyUse};
use crate::limits::DEADLINE_DEFAULT;

/// Stores new calls.
pub(super) async fn accept(connection: &mut PgConnection, calls: &[NewCall]) -> Result<Vec<Accepted>> {
    if calls.iter().all(|call| call.submission.entity.is_none() && group_of_new(call).is_none()) {
        let stored = store(connection, calls).await?;
        return answers(connection, calls, stored, &HashSet::new()).await;
    }
    let mut transaction = connection.begin().await?;
    let stored = store(&mut transaction, calls).await?;
    let groups = calls.iter().filter(|call| stored.contains_key(&call.id.uuid()));
    let groups = groups.map(|call| (call.id, group_of_new(call)));
    look::set_error_groups(&mut transaction, groups).await?;
    let superseded = supersede(&mut transaction, calls, &stored).await?;
    let answers = answers(&mut transaction, calls, stored, &superseded).await?;
    transaction.commit().await?;
    Ok(answers)
}

/// Inserts what is new, by key: two batches that share keys meet at the first of them. Of doubles inside the batch the first comes first.
async fn store(connection: &mut PgConnection, calls: &[NewCall]) -> Result<HashMap<Uuid, StoredRow>> {
    let mut fields: Vec<_> = calls.iter().map(SubmissionFields::from).collect();
    fields.sort_by(|a, b| (a.publisher, &a.idempotency_key).cmp(&(b.publisher, &b.idempotency_key)));
    let tags = Tags::of(calls);
    let rows: Vec<StoredRow> = sqlx::query_as(sql::ACCEPT)
        .bind(column(&fields, |call| call.id))
        .bind(column(&fields, |call| call.publisher))
        .bind(column(&fields, |call| &*call.idempotency_key))
        .bind(column(&fields, |call| call.fingerprint))
        .bind(column(&fields, |call| call.endpoint))
        .bind(column(&fields, |call| call.request.method))
        .bind(column(&fields, |call| call.request.path))
        .bind(column(&fields, |call| call.request.headers.as_deref()))
        .bind(column(&fields, |call| call.request.body_kind))
        .bind(column(&fields, |call| call.request.body))
        .bind(column(&fields, |call| call.status))
        .bind(column(&fields, |call| call.delay_us))
        .bind(column(&fields, |call| call.not_before))
        .bind(column(&fields, |call| call.rung))
        .bind(column(&fields, |call| call.worker))
        .bind(column(&fields, |call| call.lease_us))
        .bind(column(&fields, |call| call.review_reason))
        .bind(column(&fields, |call| call.deadline))
        .bind(column(&fields, |call| call.entity_key))
        .bind(column(&fields, |call| call.entity_version))
        .bind(column(&fields, |call| call.tags.as_deref()))
        .bind(column(&fields, |call| call.callback_url))
        .bind(column(&fields, |call| call.failure.as_deref()))
        .bind(column(&fields, |call| call.trace_parent.as_deref()))
        .bind(column(&fields, |call| call.trigger))
        .bind(column(&fields, |call| call.course.as_deref()))
        .bind(column(&fields, |call| call.provider))
        .bind(column(&fields, |call| call.dry_run))
        .bind(micros(DEADLINE_DEFAULT))
        .bind(tags.keys)
        .bind(tags.values)
        .bind(tags.calls)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

/// The tags of all calls of a batch.
#[derive(Default)]
struct Tags<'a> {
    keys: Vec<&'a str>,
    values: Vec<std::borrow::Cow<'a, str>>,
    calls: Vec<Uuid>,
}

impl<'a> Tags<'a> {
    fn of(calls: &'a [NewCall]) -> Self {
        let mut tags = Self::default();
        for call in calls {
            for (key, value) in &call.submission.tags {
                tags.keys.push(key.as_str());
                tags.values.push(storable(value));
                tags.calls.push(call.id.uuid());
            }
        }
        tags
    }
}

/// Raises the entities of the calls that were stored and ends what that overtakes, in statements of their own: only a statement that
/// begins once the entities' rows are locked sees all calls that others accepted before. Answers what ended.
async fn supersede(
    connection: &mut PgConnection,
    calls: &[NewCall],
    stored: &HashMap<Uuid, StoredRow>,
) -> Result<HashSet<Uuid>> {
    let new: Vec<_> = calls.iter().filter(|call| stored.contains_key(&call.id.uuid())).collect();
    let entities: Vec<_> = new
        .iter()
        .filter_map(|call| Some((call.submission.endpoint.as_str(), call.submission.entity.as_ref()?)))
        .collect();
    if entities.is_empty() {
        return Ok(HashSet::new());
    }
    sqlx::query(sql::RAISE_ENTITIES)
        .bind(column(&entities, |(endpoint, _)| *endpoint))
        .bind(column(&entities, |(_, entity)| entity.key.as_str()))
        .bind(column(&entities, |(_, entity)| entity.version))
        .execute(&mut *connection)
        .await?;
    let mut keys: Vec<_> =
        entities.iter().map(|(endpoint, entity)| (*endpoint, entity.key.as_str())).collect();
    keys.sort_unstable();
    keys.dedup();
    let ended: Vec<Uuid> = sqlx::query_scalar(sql::SUPERSEDE)
        .bind(column(&keys, |(endpoint, _)| *endpoint))
        .bind(column(&keys, |(_, key)| *key))
        .fetch_all(connection)
        .await?;
    Ok(ended.into_iter().collect())
}

/// One answer for each call, in the order of the input.
async fn answers(
    connection: &mut PgConnection,
    calls: &[NewCall],
    mut stored: HashMap<Uuid, StoredRow>,
    superseded: &HashSet<Uuid>,
) -> Result<Vec<Accepted>> {
    let mut answers = Vec::with_capacity(calls.len());
    for call in calls {
        let id = call.id.uuid();
        answers.push(match stored.remove(&id) {
            Some(row) if superseded.contains(&id) => Some(Accepted::Stored(Box::new(row.superseded(call)))),
            Some(row) => Some(Accepted::Stored(Box::new(row.call(call)?))),
            None => None,
        });
    }
    if answers.iter().any(Option::is_none) {
        explain(connection, calls, &mut answers).await?;
    }
    answers.into_iter().zip(calls).map(|(answer, call)| answer.ok_or_else(|| vanished(call))).collect()
}

/// Finds out under which call the keys of those are known that were not stored.
async fn explain(
    connection: &mut PgConnection,
    calls: &[NewCall],
    answers: &mut [Option<Accepted>],
) -> Result<()> {
    let missing: Vec<_> = (0..calls.len()).filter(|place| answers[*place].is_none()).collect();
    let uses: Vec<_> = missing.iter().map(|place| calls[*place].key_use()).collect();
    for (place, answer) in missing.into_iter().zip(known(connection, &uses).await?) {
        answers[place] = answer;
    }
    Ok(())
}

/// Which of these keys are in use, and whether for the same document.
pub(super) async fn known(connection: &mut PgConnection, uses: &[KeyUse]) -> Result<Vec<Option<Accepted>>> {
    let places: Vec<_> = (0..uses.len()).collect();
    let found: Vec<(i64, Uuid, Vec<u8>)> = sqlx::query_as(sql::KNOWN)
        .bind(column(&places, |place| super::rows(*place)))
        .bind(column(uses, |key_use| key_use.publisher.as_str()))
        .bind(column(uses, |key_use| key_use.key.as_str()))
        .fetch_all(connection)
        .await?;
    let mut answers = vec![None; uses.len()];
    for (place, id, fingerprint) in found {
        let Some(place) = usize::try_from(place).ok().filter(|place| *place < uses.len()) else { continue };
        answers[place] = Some(Accepted::of(&uses[place], CallId::from_uuid(id), &fingerprint));
    }
    Ok(answers)
}

/// A call that was refused for its key, under a key that nobody has: only an id that was given twice does that.
fn vanished(call: &NewCall) -> LedgerError {
    LedgerError::Corrupt(format!("call {}: its id is taken under another key", call.id))
}
