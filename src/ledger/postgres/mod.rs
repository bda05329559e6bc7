//! The ledger on PostgreSQL: any number of processes share it.
//!
//! Each operation is one statement where it can be, and one commit always. Batches name their calls in one order, so that two of
//! them meet at the first row they share instead of holding what the other needs; where they still do, PostgreSQL undoes one of
//! them, and that one is sent again. Nothing here decides what comes next.

mod accept;
mod audit;
mod bulk;
mod claim;
mod connect;
mod erase;
mod exclusive;
mod holds;
mod look;
mod notices;
mod operate;
mod record;
mod reports;
mod retention;
pub mod sql;
mod sql_notices;
pub mod sql_schema;
pub mod sql_upkeep;
mod tallies;
mod waiting;

use std::time::Duration;

use async_trait::async_trait;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgPool, Postgres};

use super::fault::took_too_long;
use super::schema::Schema;
use super::{
    Accepted, Acted, CallStory, Channel, ClaimWish, Claimed, Config, EndpointTally, Erased, Erasure, Filter,
    Group, LaneReport, Ledger, LedgerError, MinuteTally, NewCall, Notice, OperatorAction, Record, Recorded,
    Result, Retention, SetAside, Tidied, Totals, Upkeep, Waiting,
};
use crate::call::{Call, CallId, EndpointName, KeyUse, Ticket, WorkerName};
use crate::clock::Timestamp;
use crate::limits::LOOKING_CONNECTIONS;
use crate::tally::Tally;

/// How long an operation may take on a connection. The server gives up on a statement before that; this is for a server
/// that does not answer at all.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often an operation that PostgreSQL undid for the sake of others is sent again.
const DEADLOCKS_MAX: u32 = 5;

/// The ledger on PostgreSQL.
#[derive(Debug)]
pub struct PostgresLedger {
    pool: PgPool,
    /// For searches, which may take long: none of them holds a delivery up.
    looking: PgPool,
    options: PgConnectOptions,
    exclusive: exclusive::Hold,
}

impl PostgresLedger {
    /// A ledger on this server, which need not be up yet.
    ///
    /// # Errors
    /// [`super::LedgerError::BadUrl`]
    pub fn connect(config: &Config) -> Result<Self> {
        let options = connect::options(config)?;
        Ok(Self {
            pool: connect::pool(options.clone(), config.connections_max),
            looking: connect::looking_pool(options.clone()),
            exclusive: exclusive::Hold::new(options.clone()),
            options,
        })
    }

    /// A connection for a search; none comes free in time where others take theirs for long.
    async fn looking_connection(&self) -> Result<PoolConnection<Postgres>> {
        self.looking.acquire().await.map_err(|error| {
            let all_are_at_work = self.looking.size() == LOOKING_CONNECTIONS && self.looking.num_idle() == 0;
            let no_turn = all_are_at_work && matches!(error, sqlx::Error::PoolTimedOut);
            if no_turn { LedgerError::TooSlow } else { error.into() }
        })
    }
}

/// Runs one operation on a connection of its own, within [`PATIENCE`].
///
/// A connection that did not answer in time is closed, not given back: the pool would wait for it as well.
macro_rules! on_connection {
    ($ledger:expr, |$connection:ident| $work:expr) => {{
        let mut held = $ledger.pool.acquire().await?;
        let mut deadlocks = 0;
        loop {
            let $connection = &mut *held;
            match tokio::time::timeout(crate::ledger::postgres::PATIENCE, $work).await {
                Ok(Err(error))
                    if crate::ledger::fault::is_deadlock(&error)
                        && deadlocks < crate::ledger::postgres::DEADLOCKS_MAX =>
                {
                    deadlocks += 1;
                }
                Ok(outcome) => break outcome,
                Err(_elapsed) => {
                    drop(held.detach());
                    break Err(crate::ledger::fault::took_too_long());
                }
            }
        }
    }};
}

/// Runs a search on a connection for searches. The server gives it up after [`crate::limits::LOOKING_MAX`]; a server that does not even do
/// that is away.
macro_rules! looking {
    ($ledger:expr, |$connection:ident| $work:expr) => {{
        let mut held = $ledger.looking_connection().await?;
        let $connection = &mut *held;
        match tokio::time::timeout(crate::ledger::postgres::PATIENCE, $work).await {
            Ok(found) => found.map_err(crate::ledger::fault::of_a_search),
            Err(_elapsed) => {
                drop(held.detach());
                Err(crate::ledger::fault::took_too_long())
            }
        }
    }};
}

use {looking, on_connection};

#[async_trait]
impl Ledger for PostgresLedger {
    async fn migrate(&self) -> Result<()> {
        connect::migrate(&self.options).await
    }

    async fn schema(&self) -> Result<Schema> {
        on_connection!(self, |connection| connect::schema(connection))
    }

    async fn now(&self) -> Result<Timestamp> {
        on_connection!(self, |connection| waiting::now(connection))
    }

    async fn accept(&self, calls: &[NewCall]) -> Result<Vec<Accepted>> {
        on_connection!(self, |connection| accept::accept(connection, calls))
    }

    async fn known(&self, uses: &[KeyUse]) -> Result<Vec<Option<Accepted>>> {
        on_connection!(self, |connection| accept::known(connection, uses))
    }

    async fn claim(&self, wishes: &[ClaimWish]) -> Result<Vec<Claimed>> {
        on_connection!(self, |connection| claim::claim(connection, wishes))
    }

    async fn record(&self, records: &[Record]) -> Result<Vec<Recorded>> {
        on_connection!(self, |connection| record::record(connection, records))
    }

    async fn set_aside(&self, orders: &[SetAside]) -> Result<Vec<Option<Call>>> {
        on_connection!(self, |connection| waiting::set_aside(connection, orders))
    }

    async fn expired_leases(&self, limit: usize) -> Result<Vec<Call>> {
        on_connection!(self, |connection| waiting::expired_leases(connection, limit))
    }

    async fn waiting_endpoints(&self) -> Result<Vec<EndpointName>> {
        on_connection!(self, |connection| waiting::waiting_endpoints(connection))
    }

    async fn waiting(
        &self,
        endpoint: &EndpointName,
        after: Option<(Timestamp, CallId)>,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Waiting>> {
        on_connection!(self, |connection| waiting::waiting(connection, endpoint, after, before, limit))
    }

    async fn mark_rescued(&self, tickets: &[Ticket], grace: Duration) -> Result<Vec<Ticket>> {
        on_connection!(self, |connection| waiting::mark_rescued(connection, tickets, grace))
    }

    async fn report_lanes(&self, worker: &WorkerName, reports: &[LaneReport]) -> Result<()> {
        on_connection!(self, |connection| waiting::report_lanes(connection, worker, reports))
    }

    async fn lane_reports(&self, fresh: Duration) -> Result<Vec<(WorkerName, LaneReport)>> {
        on_connection!(self, |connection| waiting::lane_reports(connection, fresh))
    }

    async fn act(&self, action: &OperatorAction) -> Result<Acted> {
        on_connection!(self, |connection| operate::act(connection, action))
    }

    async fn find(&self, call: CallId) -> Result<Option<Call>> {
        on_connection!(self, |connection| look::find(connection, call))
    }

    async fn story(&self, call: CallId) -> Result<Option<CallStory>> {
        on_connection!(self, |connection| look::story(connection, call))
    }

    async fn list(&self, filter: &Filter, before: Option<CallId>, limit: usize) -> Result<Vec<Call>> {
        on_connection!(self, |connection| look::list(connection, filter, before, limit))
    }

    async fn search(&self, filter: &Filter, before: Option<CallId>, limit: usize) -> Result<Vec<Call>> {
        looking!(self, |connection| look::list(connection, filter, before, limit))
    }

    async fn groups(&self, filter: &Filter, limit: usize) -> Result<Vec<Group>> {
        looking!(self, |connection| look::groups(connection, filter, limit))
    }

    async fn totals(&self) -> Result<Totals> {
        on_connection!(self, |connection| look::totals(connection))
    }

    async fn take_notices(
        &self,
        channels: &[Channel],
        limit: usize,
        retry_after: Duration,
    ) -> Result<Vec<Notice>> {
        on_connection!(self, |connection| notices::take(connection, channels, limit, retry_after))
    }

    async fn forget_notices(&self, ids: &[i64]) -> Result<()> {
        on_connection!(self, |connection| notices::forget(connection, ids))
    }

    async fn hold_exclusively(&self) -> Result<()> {
        self.exclusive.take().await
    }

    async fn close(&self) {
        self.looking.close().await;
        self.pool.close().await;
        self.exclusive.release().await;
    }
}

#[async_trait]
impl Upkeep for PostgresLedger {
    async fn add_tallies(&self, added: &[Tally]) -> Result<()> {
        on_connection!(self, |connection| tallies::add(connection, added))
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
        on_connection!(self, |connection| retention::tidy(connection, rules))
    }

    async fn erase(&self, calls: &[CallId], erasure: &Erasure) -> Result<Erased> {
        on_connection!(self, |connection| erase::erase(connection, calls, erasure))
    }
}

/// One column of a batch, as an array.
fn column<'r, R, T>(rows: &'r [R], pick: impl Fn(&'r R) -> T) -> Vec<T> {
    rows.iter().map(pick).collect()
}

/// A page size as PostgreSQL counts.
fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
