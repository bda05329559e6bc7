//! The statements that ask which migrations were carried out; twins of `postgres::sql_schema`.

/// Whether there is a list of migrations at all.
pub const MIGRATIONS_KNOWN: &str =
    "select count(*) > 0 from sqlite_schema where type = 'table' and name = '_sqlx_migrations'";

/// The migrations that were carried out, or begun.
pub const MIGRATIONS: &str = "\
select version, success, checksum
from _sqlx_migrations
order by version";

/// Moves the write-ahead log into the file and empties it.
pub const EMPTY_LOG: &str = "pragma wal_checkpoint(truncate)";

/// Every statement, for the test that prepares them.
pub const ALL: &[&str] = &[MIGRATIONS_KNOWN, MIGRATIONS, EMPTY_LOG];
