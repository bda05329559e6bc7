//! The ledger on SQLite: one file, one process.
//!
//! One connection writes, a few read. A batch is one transaction and one commit, so what many calls want at the same time costs one wait for
//! the disk. The ledger's clock is this machine's, read once a transaction has the lock. Nothing here decides what comes next.

mod accept;
mod audit;
mod bulk;
mod claim;
mod connect;
mod erase;
mod holds;
mod look;
mod notices;
mod operate;
mod record;
mod reports;
mod retention;
pub mod sql;
pub mod sql_schema;
pub mod sql_upkeep;
mod tallies;
mod waiting;

use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqlitePool;

use super::schema::Schema;
use super::{
    Accepted, Acted, CallStory, Channel, ClaimWish, Claimed, EndpointTally, Erased, Erasure, Filter, Group,
    LaneReport, Ledger, MinuteTally, NewCall, Notice, OperatorAction, Record, Recorded, Result, Retention,
    SetAside, Tidied, Totals, Upkeep, Waiting,
};
use crate::call::{Call, CallId, EndpointName, KeyUse, Ticket, WorkerName};
use crate::clock::Timestamp;
use crate::tally::Tally;

/// How long closing waits for searches.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// The ledger on SQLite.
#[derive(Debug)]
pub struct SqliteLedger {
    writer: SqlitePool,
    readers: SqlitePool,
    /// For searches, which may take long: none of them holds a delivery up.
    looking: SqlitePool,
    lock: connect::Lock,
}

impl SqliteLedger {
    /// Opens the file that the URL (`sqlite:path`) names, for this process alone; makes it if it is missing.
    ///
    /// # Errors
    /// [`super::LedgerError::Occupied`] if another process has it; [`super::LedgerError::BadUrl`] if there can be no such file.
    pub async fn open(url: &str) -> Result<Self> {
        let path = connect::path(url)?;
        let lock = connect::Lock::take(&path)?;
        let connect::Pools { writer, readers, looking } = connect::pools(&path).await?;
        Ok(Self { writer, readers, looking, lock })
    }
}

/// Runs an operation that writes, in one transaction. The clock is read once nobody else can write.
macro_rules! write {
    ($ledger:expr, |$connection:ident, $now:ident| $work:expr) => {{
        let mut transaction = $ledger.writer.begin_with(crate::ledger::sqlite::sql::BEGIN).await?;
        let $now = crate::clock::Timestamp::now();
        let $connection = &mut *transaction;
        let done = $work.await?;
        transaction.commit().await?;
        Ok(done)
    }};
}

/// Runs an operation that reads, on one snapshot.
macro_rules! read {
    ($ledger:expr, |$connection:ident| $work:expr) => {{
        let mut snapshot = $ledger.readers.begin().await?;
        let $connection = &mut *snapshot;
        let done = $work.await?;
        snapshot.commit().await?;
        Ok(done)
    }};
}

/// Runs a search on a connection for searches, within [`crate::limits::LOOKING_MAX`]. One that is given up goes on until SQLite is
/// through with it, on its own connection.
macro_rules! looking {
    ($ledger:expr, |$connection:ident| $work:expr) => {{
        let search = async {
            let mut snapshot = $ledger.looking.begin().await?;
            let $connection = &mut *snapshot;
            let found = $work.await?;
            snapshot.commit().await?;
            Ok(found)
        };
        let found = tokio::time::timeout(crate::limits::LOOKING_MAX, search).await;
        found.unwrap_or(Err(crate::ledger::LedgerError::TooSlow))
    }};
}

use {looking, read, write};

#[async_trait]
impl Ledger for SqliteLedger {
    async fn migrate(&self) -> Result<()> {
        connect::migrate(&self.writer).await
    }

    async fn schema(&self) -> Result<Schema> {
        read!(self, |connection| connect::schema(connection))
    }

    async fn now(&self) -> Result<Timestamp> {
        read!(self, |connection| waiting::now(connection))
    }

    async fn accept(&self, calls: &[NewCall]) -> Result<Vec<Accepted>> {
        write!(self, |connection, now| accept::accept(connection, calls, now))
    }

    async fn known(&self, uses: &[KeyUse]) -> Result<Vec<Option<Accepted>>> {
        read!(self, |connection| accept::known(connection, uses))
    }

    async fn claim(&self, wishes: &[ClaimWish]) -> Result<Vec<Claimed>> {
        write!(self, |connection, now| claim::claim(connection, wishes, now))
    }

    async fn record(&self, records: &[Record]) -> Result<Vec<Recorded>> {
        write!(self, |connection, now| record::record(connection, records, now))
    }

    async fn set_aside(&self, orders: &[SetAside]) -> Result<Vec<Option<Call>>> {
        write!(self, |connection, now| waiting::set_aside(connection, orders, now))
    }

    async fn expired_leases(&self, limit: usize) -> Result<Vec<Call>> {
        read!(self, |connection| waiting::expired_leases(connection, limit))
    }

    async fn waiting_endpoints(&self) -> Result<Vec<EndpointName>> {
        read!(self, |connection| waiting::waiting_endpoints(connection))
    }

    async fn waiting(
        &self,
        endpoint: &EndpointName,
        after: Option<(Timestamp, CallId)>,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Waiting>> {
        read!(self, |connection| waiting::waiting(connection, endpoint, after, before, limit))
    }

    async fn mark_rescued(&self, tickets: &[Ticket], grace: Duration) -> Result<Vec<Ticket>> {
        write!(self, |connection, now| waiting::mark_rescued(connection, tickets, grace, now))
    }

    async fn report_lanes(&self, worker: &WorkerName, reports: &[LaneReport]) -> Result<()> {
        write!(self, |connection, now| waiting::report_lanes(connection, worker, reports, now))
    }

    async fn lane_reports(&self, fresh: Duration) -> Result<Vec<(WorkerName, LaneReport)>> {
        read!(self, |connection| waiting::lane_reports(connection, fresh))
    }

    async fn act(&self, action: &OperatorAction) -> Result<Acted> {
        write!(self, |connection, now| operate::act(connection, action, now))
    }

    async fn find(&self, call: CallId) -> Result<Option<Call>> {
        read!(self, |connection| look::find(connection, call))
    }

    async fn story(&self, call: CallId) -> Result<Option<CallStory>> {
        read!(self, |connection| look::story(connection, call))
    }

    async fn list(&self, filter: &Filter, before: Option<CallId>, limit: usize) -> Result<Vec<Call>> {
        read!(self, |connection| look::list(connection, filter, before, limit))
    }

    async fn search(&self, filter: &Filter, before: Option<CallId>, limit: usize) -> Result<Vec<Call>> {
        looking!(self, |connection| look::list(connection, filter, before, limit))
    }

    async fn groups(&self, filter: &Filter, limit: usize) -> Result<Vec<Group>> {
        looking!(self, |connection| look::groups(connection, filter, limit))
    }

    async fn totals(&self) -> Result<Totals> {
        read!(self, |connection| look::totals(connection))
    }

    async fn take_notices(
        &self,
        channels: &[Channel],
        limit: usize,
        retry_after: Duration,
    ) -> Result<Vec<Notice>> {
        write!(self, |connection, now| notices::take(connection, channels, limit, retry_after, now))
    }

    async fn forget_notices(&self, ids: &[i64]) -> Result<()> {
        write!(self, |connection, _now| notices::forget(connection, ids))
    }

    /// Opening the file took it for this process already.
    async fn hold_exclusively(&self) -> Result<()> {
        Ok(())
    }

    /// The writer goes last: the last connection moves what is in the write-ahead log into the file.
    async fn close(&self) {
        // A search that was given up may still be at it; reading, it needs no farewell.
        drop(tokio::time::timeout(FAREWELL_MAX, self.looking.close()).await);
        self.readers.close().await;
        self.writer.close().await;
        self.lock.release();
    }
}

#[async_trait]
impl Upkeep for SqliteLedger {
    async fn add_tallies(&self, added: &[Tally]) -> Result<()> {
        write!(self, |connection, _now| tallies::add(connection, added))
    }

    async fn tallies_by_minute(
        &self,
        since: Timestamp,
        endpoint: Option<&EndpointName>,
    ) -> Result<Vec<MinuteTally>> {
        looking!(self, |connection| tallies::by_minute(connection, since, endpoint))
    }

    async fn tallies_by_endpoint(
        &self,
        since: Timestamp,
        endpoint: Option<&EndpointName>,
    ) -> Result<Vec<EndpointTally>> {
        looking!(self, |connection| tallies::by_endpoint(connection, since, endpoint))
    }

    async fn tidy(&self, rules: &Retention) -> Result<Tidied> {
        write!(self, |connection, now| retention::tidy(connection, rules, now))
    }

    async fn erase(&self, calls: &[CallId], erasure: &Erasure) -> Result<Erased> {
        let erased: Result<_> = write!(self, |connection, now| erase::erase(connection, calls, erasure, now));
        let erased = erased?;
        connect::empty_log(&self.writer).await?;
        Ok(erased)
    }
}

/// A page size as SQLite counts.
fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Names as JSON, for the statements that take a list.
fn json_list(names: impl Iterator<Item = &'static str>) -> String {
    // The names are the program's own: lower case letters, nothing to escape.
    let quoted: Vec<_> = names.map(|name| format!("\"{name}\"")).collect();
    format!("[{}]", quoted.join(","))
}
