//! The ledger's conformance suite: every test holds on PostgreSQL and on SQLite.

/// Runs each of these tests on both ledgers. A test takes a [`Database`](crate::support::database::Database) of its own.
macro_rules! on_both_ledgers {
    ($($test:ident),+ $(,)?) => {
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::support::database::Database::postgres().await).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::support::database::Database::sqlite().await).await;
            })+
        }
    };
}

mod accepting;
mod bulk;
mod calls;
mod claiming;
mod constraints;
mod erasing;
mod holding;
mod keeping;
mod looking;
mod operating;
mod outbox;
mod recording;
mod reporting;
mod reviewing;
mod surroundings;
mod tallies;
mod waiting;
