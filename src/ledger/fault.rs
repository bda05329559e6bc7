//! Errors of the database drivers, sorted by what the caller can do about them.

use std::borrow::Cow;
use std::io;

use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgDatabaseError;

use super::LedgerError;

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        if let Some(database_error) = error.as_database_error() {
            return match reaction(database_error) {
                Reaction::Wait => Self::Away(error),
                Reaction::GiveUp => Self::Refused(error),
                Reaction::LookAtTheFile => Self::Corrupt(error.to_string()),
            };
        }
        if is_about_a_row(&error) {
            return Self::Corrupt(error.to_string());
        }
        if matches!(error, sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_)) {
            return Self::Refused(error);
        }
        Self::Away(error)
    }
}

impl From<MigrateError> for LedgerError {
    fn from(error: MigrateError) -> Self {
        if let MigrateError::Execute(error) = error {
            // Only talking to the database failed; its schema is not at fault.
            return Self::from(error);
        }
        Self::Migration(error)
    }
}

/// The error of an operation that took longer than this program waits.
pub(super) fn took_too_long() -> LedgerError {
    LedgerError::Away(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
}

/// The error of a search: that it was given up for its length is no trouble of the server's.
pub(super) fn of_a_search(error: LedgerError) -> LedgerError {
    const QUERY_CANCELED: &str = "57014";
    let code = match &error {
        LedgerError::Away(error) => error.as_database_error().and_then(DatabaseError::code),
        LedgerError::TooSlow
        | LedgerError::Refused(_)
        | LedgerError::Corrupt(_)
        | LedgerError::Migration(_)
        | LedgerError::Occupied(_)
        | LedgerError::BadUrl(_) => None,
    };
    if code.as_deref() == Some(QUERY_CANCELED) { LedgerError::TooSlow } else { error }
}

/// Whether the database undid the statement only because others were in its way: the same statement may be sent again at once.
pub(super) fn is_deadlock(error: &LedgerError) -> bool {
    let LedgerError::Away(error) = error else { return false };
    let code = error.as_database_error().and_then(DatabaseError::code);
    matches!(code.as_deref(), Some("40P01" | "40001"))
}

fn is_about_a_row(error: &sqlx::Error) -> bool {
    matches!(
        error,
        sqlx::Error::RowNotFound
            | sqlx::Error::TypeNotFound { .. }
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
    )
}

enum Reaction {
    Wait,
    GiveUp,
    LookAtTheFile,
}

fn reaction(error: &dyn DatabaseError) -> Reaction {
    let code = error.code().unwrap_or(Cow::Borrowed(""));
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        postgres_reaction(&code)
    } else {
        sqlite_reaction(code.parse().unwrap_or_default())
    }
}

/// By the class of the SQLSTATE (PostgreSQL, appendix A). What is neither bad data nor a broken rule is the server's trouble, even
/// a missing table: whoever mends it, mends it without the publishers sending anything again.
fn postgres_reaction(code: &str) -> Reaction {
    match code.get(..2) {
        Some("22" | "23" | "54") => Reaction::GiveUp,
        _ => Reaction::Wait,
    }
}

/// By the primary result code, which is the low byte of the extended one (sqlite.org/rescode.html).
fn sqlite_reaction(code: i32) -> Reaction {
    const CORRUPT: i32 = 11;
    const TOO_BIG: i32 = 18;
    const CONSTRAINT: i32 = 19;
    const MISMATCH: i32 = 20;
    const RANGE: i32 = 25;
    const NO_DATABASE: i32 = 26;
    match code & 0xff {
        TOO_BIG | CONSTRAINT | MISMATCH | RANGE => Reaction::GiveUp,
        CORRUPT | NO_DATABASE => Reaction::LookAtTheFile,
        _ => Reaction::Wait,
    }
}
