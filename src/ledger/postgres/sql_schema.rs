//! The statements that ask which migrations were carried out; twins of `sqlite::sql_schema`.

/// Whether there is a list of migrations at all.
pub const MIGRATIONS_KNOWN: &str = "select to_regclass('_sqlx_migrations') is not null";

/// The migrations that were carried out, or begun.
pub const MIGRATIONS: &str = "\
select version, success, checksum
from _sqlx_migrations
order by version";

/// Every statement, for the test that prepares them.
pub const ALL: &[&str] = &[MIGRATIONS_KNOWN, MIGRATIONS];
