//! The file: where it lies, who has it, how it is opened.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection, SqlitePool};

use super::super::schema::{AppliedRow, Schema, compare};
use super::super::{LedgerError, Result};
use super::sql_schema;
use crate::limits::LOOKING_CONNECTIONS;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Connections that read.
const READERS: u32 = 4;
/// How long an operation waits for its turn.
const ACQUIRE_MAX: Duration = Duration::from_secs(10);
/// How long SQLite waits where another program, a backup perhaps, has the file locked.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// The path in a URL of the form `sqlite:path` or `sqlite://path`.
pub(super) fn path(url: &str) -> Result<PathBuf> {
    let rest = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path == ":memory:" {
        return Err(LedgerError::BadUrl(
            "the database's URL must name a file, for example sqlite:redial.db: calls that were accepted must outlive the process"
                .to_owned(),
        ));
    }
    if path.contains(['?', '#']) {
        return Err(LedgerError::BadUrl(
            "the database's URL must be sqlite: and a path, without parameters".to_owned(),
        ));
    }
    let path = PathBuf::from(path);
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => Err(LedgerError::BadUrl(
            format!("the folder of the database does not exist: {}", folder.display()),
        )),
        Some(_) | None => Ok(path),
    }
}

/// The right of this process to the file: a lock on a file beside it, which the system takes back when the process ends.
#[derive(Debug)]
pub(super) struct Lock(Mutex<Option<File>>);

impl Lock {
    /// Takes the file for this process.
    pub(super) fn take(path: &Path) -> Result<Self> {
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let unusable = |error| {
            LedgerError::BadUrl(format!("{} cannot be opened: {error}", Path::new(&lock_path).display()))
        };
        let file =
            File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(Mutex::new(Some(file)))),
            Err(TryLockError::WouldBlock) => Err(LedgerError::Occupied(format!(
                "another process works on {}; stop it, or use PostgreSQL, which several processes can share",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// Gives the file back.
    pub(super) fn release(&self) {
        // A thread that panicked while it held this has at most given the file back already.
        let mut file = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *file = None;
    }
}

/// The connections to one file.
#[derive(Debug)]
pub(super) struct Pools {
    /// The one that writes.
    pub(super) writer: SqlitePool,
    /// Those that read for deliveries.
    pub(super) readers: SqlitePool,
    /// Those that search.
    pub(super) looking: SqlitePool,
}

/// Opens the file.
pub(super) async fn pools(path: &Path) -> Result<Pools> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_MAX)
        .foreign_keys(true)
        .disable_statement_logging();
    let writing = options
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // With less, the last commits may be lost with the machine's power.
        .synchronous(SqliteSynchronous::Full)
        // What is erased is overwritten, not only let go.
        .pragma("secure_delete", "ON")
        .pragma("journal_size_limit", "67108864");
    let pool = SqlitePoolOptions::new().acquire_timeout(ACQUIRE_MAX).idle_timeout(None).max_lifetime(None);
    // The writer comes first: it makes the file, which readers cannot.
    let writer =
        pool.clone().max_connections(1).connect_with(writing).await.map_err(|error| unopened(path, error))?;
    let reading = options.read_only(true);
    let readers = pool.clone().max_connections(READERS).connect_lazy_with(reading.clone());
    let looking = pool.max_connections(LOOKING_CONNECTIONS).connect_lazy_with(reading);
    Ok(Pools { writer, readers, looking })
}

fn unopened(path: &Path, error: sqlx::Error) -> LedgerError {
    match LedgerError::from(error) {
        LedgerError::Away(error) => {
            LedgerError::BadUrl(format!("{} cannot be opened: {error}", path.display()))
        }
        LedgerError::Corrupt(error) => {
            LedgerError::BadUrl(format!("{} is no SQLite database: {error}", path.display()))
        }
        error @ (LedgerError::TooSlow
        | LedgerError::Refused(_)
        | LedgerError::Migration(_)
        | LedgerError::Occupied(_)
        | LedgerError::BadUrl(_)) => error,
    }
}

/// Moves what is in the write-ahead log into the file and empties the log: it still holds pages as they were before an erasure. While
/// somebody reads an old snapshot a part has to stay, until the next checkpoint.
pub(super) async fn empty_log(writer: &SqlitePool) -> Result<()> {
    sqlx::query(sql_schema::EMPTY_LOG).execute(writer).await?;
    Ok(())
}

/// Brings the schema to this program's version.
pub(super) async fn migrate(writer: &SqlitePool) -> Result<()> {
    Ok(MIGRATIONS.run(writer).await?)
}

/// How the schema compares with this program's.
pub(super) async fn schema(connection: &mut SqliteConnection) -> Result<Schema> {
    let known: bool = sqlx::query_scalar(sql_schema::MIGRATIONS_KNOWN).fetch_one(&mut *connection).await?;
    let applied: Vec<AppliedRow> =
        if known { sqlx::query_as(sql_schema::MIGRATIONS).fetch_all(connection).await? } else { Vec::new() };
    Ok(compare(&MIGRATIONS, &applied))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file() {
        for (url, expected) in [
            ("sqlite:a.db", "a.db"),
            ("sqlite://a.db", "a.db"),
            ("sqlite:/tmp/a b.db", "/tmp/a b.db"),
            ("sqlite:///tmp/a", "/tmp/a"),
        ] {
            assert_eq!(path(url).unwrap(), Path::new(expected), "{url}");
        }
        for url in [
            "sqlite:",
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite:a?mode=ro",
            "sqlite:/no/such/folder/a.db",
        ] {
            assert!(matches!(path(url), Err(LedgerError::BadUrl(_))), "{url}");
        }
    }
}
