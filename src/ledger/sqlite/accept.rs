//! Accepting calls, one after the other in one transaction.

use std::collections::{BTreeSet, HashSet};

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::super::review::group_of_new;
use super::super::row::{Stamp, StoredRow, SubmissionFields, storable};
use super::super::{Accepted, LedgerError, NewCall, Result, Start};
use super::{look, notices, sql};
use crate::call::{CallId, KeyUse, Status};
use crate::clock::Timestamp;
use crate::limits::DEADLINE_DEFAULT;

/// Stores new calls.
pub(super) async fn accept(
    connection: &mut SqliteConnection,
    calls: &[NewCall],
    now: Timestamp,
) -> Result<Vec<Accepted>> {
    let mut stored = Vec::with_capacity(calls.len());
    for call in calls {
        stored.push(store(connection, call, now).await?);
    }
    let new: Vec<_> =
        calls.iter().zip(&stored).filter(|(_, stored)| stored.is_some()).map(|(call, _)| call).collect();
    let superseded = supersede(connection, &new, now).await?;
    let mut answers = Vec::with_capacity(calls.len());
    for (call, stored) in calls.iter().zip(stored) {
        answers.push(match stored {
            Some(row) if superseded.contains(&call.id.uuid()) => {
                Accepted::Stored(Box::new(row.superseded(call)))
            }
            Some(row) => Accepted::Stored(Box::new(row.call(call)?)),
            None => explain(connection, call).await?,
        });
    }
    Ok(answers)
}

/// Stores a call, unless its key is known.
async fn store(
    connection: &mut SqliteConnection,
    call: &NewCall,
    now: Timestamp,
) -> Result<Option<StoredRow>> {
    let fields = SubmissionFields::from(call);
    let times = Times::of(call, now);
    let attempts_made = i32::from(times.lease_until.is_some());
    let inserted = sqlx::query(sql::ACCEPT)
        .bind(fields.id)
        .bind(fields.publisher)
        .bind(&*fields.idempotency_key)
        .bind(fields.fingerprint)
        .bind(fields.endpoint)
        .bind(fields.request.method)
        .bind(fields.request.path)
        .bind(fields.request.headers)
        .bind(fields.request.body_kind)
        .bind(fields.request.body)
        .bind(fields.status)
        .bind(times.due_at.map(Stamp))
        .bind(times.due_at.map(|due_at| Stamp(due_at.min(times.deadline))))
        .bind(fields.trigger)
        .bind(fields.rung)
        .bind(attempts_made)
        .bind(fields.worker)
        .bind(times.lease_until.map(|_| Stamp(now)))
        .bind(times.lease_until.map(Stamp))
        .bind(fields.review_reason)
        .bind(Stamp(times.deadline))
        .bind(times.deadline.unix_micros().saturating_sub(now.unix_micros()))
        .bind(fields.entity_key)
        .bind(fields.entity_version)
        .bind(fields.tags)
        .bind(fields.callback_url)
        .bind(fields.failure)
        .bind(fields.trace_parent)
        .bind(Stamp(now))
        .bind(fields.course)
        .bind(fields.provider)
        .bind(fields.dry_run)
        .execute(&mut *connection)
        .await?;
    if inserted.rows_affected() == 0 {
        return Ok(None);
    }
    tag(connection, call).await?;
    if matches!(call.start, Start::Review(_)) {
        look::set_error_group(connection, call.id, group_of_new(call)).await?;
        notices::notify(connection, fields.id, now).await?;
    }
    Ok(Some(times.row(fields.id, now)))
}

/// What the ledger's clock makes of a new call.
struct Times {
    due_at: Option<Timestamp>,
    deadline: Timestamp,
    lease_until: Option<Timestamp>,
}

impl Times {
    fn of(call: &NewCall, now: Timestamp) -> Self {
        let deadline = call.submission.deadline.unwrap_or_else(|| now.plus(DEADLINE_DEFAULT));
        let (due_at, lease_until) = match &call.start {
            Start::Waiting { delay, .. } => {
                let due_at = now.plus(*delay);
                (Some(call.submission.not_before.map_or(due_at, |not_before| due_at.max(not_before))), None)
            }
            Start::Claimed { lease, .. } => (None, Some(now.plus(*lease))),
            Start::Review(_) => (None, None),
        };
        Self { due_at, deadline, lease_until }
    }

    fn row(&self, id: Uuid, now: Timestamp) -> StoredRow {
        StoredRow::new(
            id,
            self.due_at.map(Stamp),
            Stamp(self.deadline),
            Stamp(now),
            self.lease_until.map(Stamp),
        )
    }
}

async fn tag(connection: &mut SqliteConnection, call: &NewCall) -> Result<()> {
    for (key, value) in &call.submission.tags {
        sqlx::query(sql::TAG)
            .bind(key.as_str())
            .bind(storable(value))
            .bind(call.id.uuid())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Raises the entities of the calls that were stored and ends what that overtakes. Answers what ended.
async fn supersede(
    connection: &mut SqliteConnection,
    new: &[&NewCall],
    now: Timestamp,
) -> Result<HashSet<Uuid>> {
    let mut raised = BTreeSet::new();
    for submission in new.iter().map(|call| &call.submission) {
        let Some(entity) = &submission.entity else { continue };
        sqlx::query(sql::RAISE_ENTITIES)
            .bind(submission.endpoint.as_str())
            .bind(entity.key.as_str())
            .bind(entity.version)
            .execute(&mut *connection)
            .await?;
        raised.insert((submission.endpoint.as_str(), entity.key.as_str()));
    }
    let mut ended = HashSet::new();
    for (endpoint, key) in raised {
        let overtaken: Vec<(Uuid, String)> = sqlx::query_as(sql::SUPERSEDE)
            .bind(endpoint)
            .bind(key)
            .bind(Stamp(now))
            .fetch_all(&mut *connection)
            .await?;
        for (id, status) in overtaken {
            if status == Status::Superseded.as_str() {
                notices::notify(connection, id, now).await?;
                ended.insert(id);
            }
        }
    }
    Ok(ended)
}

/// Under which call the key of a call that was not stored is known.
async fn explain(connection: &mut SqliteConnection, call: &NewCall) -> Result<Accepted> {
    let known = look_up(connection, &call.key_use()).await?;
    known.ok_or_else(|| LedgerError::Corrupt(format!("call {}: its id is taken under another key", call.id)))
}

/// Which of these keys are in use, and whether for the same document.
pub(super) async fn known(
    connection: &mut SqliteConnection,
    uses: &[KeyUse],
) -> Result<Vec<Option<Accepted>>> {
    let mut answers = Vec::with_capacity(uses.len());
    for key_use in uses {
        answers.push(look_up(connection, key_use).await?);
    }
    Ok(answers)
}

async fn look_up(connection: &mut SqliteConnection, key_use: &KeyUse) -> Result<Option<Accepted>> {
    let found: Option<(Uuid, Vec<u8>)> = sqlx::query_as(sql::KNOWN)
        .bind(key_use.publisher.as_str())
        .bind(key_use.key.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(found.map(|(id, fingerprint)| Accepted::of(key_use, CallId::from_uuid(id), &fingerprint)))
}
