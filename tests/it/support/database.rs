//! Databases for tests: each test has one of its own, dropped at its end even if the test panics.

mod server;

use std::path::Path;
use std::sync::Arc;

use redial::ledger::{self, Config, Ledger};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

use super::unique_name;

/// A migrated database of a test's own, and the ledger on it.
pub(crate) struct Database {
    ledger: Arc<dyn Ledger>,
    place: Place,
}

/// Where a database lies; it is gone when this is dropped.
pub(crate) enum Place {
    /// On the PostgreSQL server that all tests share.
    Postgres(PostgresDatabase),
    /// In a folder of its own.
    Sqlite(TempDir),
}

/// A database on the shared server.
pub(crate) struct PostgresDatabase {
    admin_url: String,
    url: String,
    name: String,
}

impl Place {
    /// An empty PostgreSQL database.
    pub(crate) async fn on_postgres() -> Self {
        let admin_url = server::admin_url().await;
        let name = unique_name();
        run_on_postgres(&admin_url, &format!("create database {name} template template0")).await.unwrap();
        let url = with_database(&admin_url, &name);
        Self::Postgres(PostgresDatabase { admin_url, url, name })
    }

    /// A folder without a database in it yet.
    pub(crate) fn in_folder() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    /// The URL for `database.url`.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Postgres(database) => database.url.clone(),
            Self::Sqlite(folder) => format!("sqlite:{}", folder.path().join("redial.db").display()),
        }
    }

    /// Runs a statement past the ledger.
    pub(crate) async fn run(&self, statement: &str) -> Result<u64, sqlx::Error> {
        match self {
            Self::Postgres(database) => run_on_postgres(&database.url, statement).await,
            Self::Sqlite(folder) => {
                let mut connection = sqlite_connection(folder.path()).await;
                let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
                Ok(done.rows_affected())
            }
        }
    }

    /// Ends every connection to it from the server's side; for PostgreSQL.
    pub(crate) async fn cut_connections(&self) {
        let Self::Postgres(database) = self else { panic!("a file has no connections") };
        let statement = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}'",
            database.name
        );
        run_on_postgres(&database.admin_url, &statement).await.unwrap();
    }

    /// One more ledger on the same database, as another process would have it.
    pub(crate) async fn open(&self) -> ledger::Result<Arc<dyn Ledger>> {
        ledger::open(&Config { url: self.url().into(), connections_max: 8 }).await
    }
}

impl Database {
    /// A migrated database on PostgreSQL.
    pub(crate) async fn postgres() -> Self {
        Self::migrated(Place::on_postgres().await).await
    }

    /// A migrated database in an SQLite file.
    pub(crate) async fn sqlite() -> Self {
        Self::migrated(Place::in_folder()).await
    }

    async fn migrated(place: Place) -> Self {
        let ledger = place.open().await.unwrap();
        ledger.migrate().await.unwrap();
        Self { ledger, place }
    }

    /// The ledger.
    pub(crate) fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::clone(&self.ledger)
    }

    /// Where it lies.
    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// Runs a statement past the ledger.
    pub(crate) async fn run(&self, statement: &str) -> Result<u64, sqlx::Error> {
        self.place.run(statement).await
    }

    /// This many hours, to be subtracted from a column with a point in time.
    pub(crate) fn hours(&self, hours: u32) -> String {
        match self.place {
            Place::Postgres(_) => format!("interval '{hours} hours'"),
            Place::Sqlite(_) => format!("{hours} * 3600000000"),
        }
    }

    /// The one number that a query answers, past the ledger.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        match &self.place {
            Place::Postgres(database) => {
                let mut connection = PgConnection::connect(&database.url).await.unwrap();
                sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut connection).await.unwrap()
            }
            Place::Sqlite(folder) => {
                let mut connection = sqlite_connection(folder.path()).await;
                sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut connection).await.unwrap()
            }
        }
    }
}

async fn sqlite_connection(folder: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite:{}", folder.join("redial.db").display())).await.unwrap()
}

async fn run_on_postgres(url: &str, statement: &str) -> Result<u64, sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
    connection.close().await?;
    Ok(done.rows_affected())
}

/// The URL of another database on the same server.
fn with_database(url: &str, name: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_path(name);
    url.into()
}

impl Drop for PostgresDatabase {
    /// On a thread with a runtime of its own, because the test's runtime may be unwinding.
    fn drop(&mut self) {
        let (url, name) = (self.admin_url.clone(), self.name.clone());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run_on_postgres(&url, &format!("drop database if exists {name} with (force)")))
        });
        let dropped = dropping.join();
        assert!(matches!(dropped, Ok(Ok(_))) || std::thread::panicking(), "{} stays: {dropped:?}", self.name);
    }
}
