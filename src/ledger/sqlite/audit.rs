//! The audit log.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::super::Result;
use super::super::audit::{AuditAction, AuditEntry, AuditFilter, AuditLedger, AuditPlace, Audited};
use super::super::row::{AuditRow, Stamp, storable};
use super::sql::audit as sql;
use super::{SqliteLedger, looking, rows};
use crate::call::CallId;
use crate::clock::Timestamp;

#[async_trait]
impl AuditLedger for SqliteLedger {
    async fn audit(&self, entry: &AuditEntry) -> Result<()> {
        super::write!(self, |connection, now| write(connection, entry, now))
    }

    async fn audit_log(
        &self,
        filter: &AuditFilter,
        before: Option<AuditPlace>,
        limit: usize,
    ) -> Result<Vec<Audited>> {
        looking!(self, |connection| log(connection, filter, before, limit))
    }
}

/// Writes an entry, in the transaction of what it tells of where there is one.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    entry: &AuditEntry,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(sql::AUDIT)
        .bind(storable(&entry.actor))
        .bind(entry.action.as_str())
        .bind(entry.call.map(CallId::uuid))
        .bind(entry.subject.as_deref().map(storable))
        .bind(storable(&entry.note))
        .bind(entry.detail.as_deref().map(storable))
        .bind(Stamp(now))
        .execute(connection)
        .await?;
    Ok(())
}

async fn log(
    connection: &mut SqliteConnection,
    filter: &AuditFilter,
    before: Option<AuditPlace>,
    limit: usize,
) -> Result<Vec<Audited>> {
    let found: Vec<AuditRow> = sqlx::query_as(sql::AUDIT_LOG)
        .bind(filter.actor.as_deref().map(storable))
        .bind(filter.action.map(AuditAction::as_str))
        .bind(filter.from.map(Stamp))
        .bind(filter.to.map(Stamp))
        .bind(before.map(|place| Stamp(place.at)))
        .bind(before.map(|place| place.source.as_str()))
        .bind(before.map(|place| place.id))
        .bind(rows(limit))
        .fetch_all(connection)
        .await?;
    found.into_iter().map(AuditRow::into_audited).collect()
}
