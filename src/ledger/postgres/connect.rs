//! Connections to PostgreSQL: what each of them is set to, and the migrations.

use std::str::FromStr;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};

use super::super::schema::{AppliedRow, Schema, compare};
use super::super::{Config, LedgerError, Result};
use super::sql_schema;
use crate::limits::{LOOKING_CONNECTIONS, LOOKING_MAX};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// How long an operation waits for a connection. What waits longer finds the ledger away.
const ACQUIRE_MAX: Duration = Duration::from_secs(5);
/// A connection that lay idle this long is tried before it is used: the server may have gone meanwhile.
const IDLE_UNTRIED: Duration = Duration::from_secs(1);

/// Settings of every connection.
const SETTINGS: &[(&str, &str)] = &[
    // A plan is made for the values at hand. One kept from when the table was empty would read a table of millions from end to end.
    ("plan_cache_mode", "force_custom_plan"),
    // A look-up by id is cheap: what is worked on lies in memory, and disks no longer have heads.
    ("random_page_cost", "1.1"),
    // What was confirmed is on disk, whatever the server's default is.
    ("synchronous_commit", "on"),
    ("statement_timeout", "30s"),
    ("lock_timeout", "20s"),
    ("idle_in_transaction_session_timeout", "60s"),
    // The server notices within half a minute that this machine is gone, and lets go of its locks.
    ("tcp_keepalives_idle", "15"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];

/// Settings of the connection that migrates: another process may be at it for a while.
const PATIENT: &[(&str, &str)] = &[("statement_timeout", "0"), ("lock_timeout", "0")];

/// How to connect, read from the URL.
pub(super) fn options(config: &Config) -> Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(config.url.expose_secret()).map_err(|error| {
        LedgerError::BadUrl(format!(
            "the database's URL must have the form postgres://user:password@host:port/database: {error}"
        ))
    })?;
    Ok(options.application_name("redial").options(SETTINGS.iter().copied()).disable_statement_logging())
}

/// A pool that connects when it is first used.
pub(super) fn pool(options: PgConnectOptions, connections_max: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_MAX)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > IDLE_UNTRIED {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// A pool for searches beside that for deliveries.
pub(super) fn looking_pool(options: PgConnectOptions) -> PgPool {
    let bound = LOOKING_MAX.as_millis().to_string();
    let searching =
        options.options([("statement_timeout", bound.as_str()), ("default_transaction_read_only", "on")]);
    pool(searching, LOOKING_CONNECTIONS)
}

/// Brings the schema to this program's version. Of several processes that do so at the same time, one does it and the others wait.
pub(super) async fn migrate(options: &PgConnectOptions) -> Result<()> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_MAX)
        .connect_lazy_with(options.clone().options(PATIENT.iter().copied()));
    let migrated = MIGRATIONS.run(&pool).await;
    pool.close().await;
    Ok(migrated?)
}

/// How the schema compares with this program's.
pub(super) async fn schema(connection: &mut PgConnection) -> Result<Schema> {
    let known: bool = sqlx::query_scalar(sql_schema::MIGRATIONS_KNOWN).fetch_one(&mut *connection).await?;
    let applied: Vec<AppliedRow> =
        if known { sqlx::query_as(sql_schema::MIGRATIONS).fetch_all(connection).await? } else { Vec::new() };
    Ok(compare(&MIGRATIONS, &applied))
}

/// A connection beside the pool.
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection> {
    match tokio::time::timeout(ACQUIRE_MAX, options.connect()).await {
        Ok(connected) => Ok(connected?),
        Err(_elapsed) => Err(super::took_too_long()),
    }
}
