//! How the schema of a database compares with the one that this program brings along.

use sqlx::migrate::Migrator;

/// What a look at the schema found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// The latest migration that was carried out; 0 before the first.
    pub version: i64,
    /// Migrations that are still to be carried out, by number and name.
    pub pending: Vec<String>,
    /// Migrations of a newer program, by number: this one is older than the schema.
    pub newer: Vec<i64>,
    /// Migrations that broke off, or whose text was another one, by number.
    pub broken: Vec<i64>,
}

/// A migration in the database's own list.
#[derive(sqlx::FromRow)]
pub(super) struct AppliedRow {
    version: i64,
    success: bool,
    checksum: Vec<u8>,
}

/// Compares the database's list with the program's.
pub(super) fn compare(migrator: &Migrator, applied: &[AppliedRow]) -> Schema {
    let mut schema =
        Schema { version: applied.iter().map(|row| row.version).max().unwrap_or(0), ..Schema::default() };
    for migration in migrator.iter() {
        match applied.iter().find(|row| row.version == migration.version) {
            None => schema.pending.push(format!("{:04} {}", migration.version, migration.description)),
            Some(row) if row.success && *row.checksum == *migration.checksum => {}
            Some(row) => schema.broken.push(row.version),
        }
    }
    let known = |version: i64| migrator.iter().any(|migration| migration.version == version);
    schema.newer = applied.iter().map(|row| row.version).filter(|version| !known(*version)).collect();
    schema
}
