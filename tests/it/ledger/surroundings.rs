//! What lies around the ledger: servers that are away, migrations, one process alone, connections that are cut.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redial::call::CallId;
use redial::ledger::audit::AuditFilter;
use redial::ledger::{self, Accepted, Config, Filter, Ledger, LedgerError, Recorded};
use redial::limits::LOOKING_CONNECTIONS;
use sqlx::{Connection, Executor, SqlSafeStr};

use super::calls::{accept, due, find, record, running, success};
use crate::support::database::{Database, Place};
use crate::support::wait_for;

on_both_ledgers!(
    migrating_twice_is_harmless,
    a_schema_of_a_newer_program_is_refused,
    a_closed_ledger_is_away,
    what_was_accepted_is_there_after_a_restart,
    a_row_that_nobody_could_have_written_is_corrupt,
);

async fn migrating_twice_is_harmless(database: Database) {
    let call = accept(&*database.ledger(), due("a")).await;
    database.ledger().migrate().await.unwrap();
    assert_eq!(find(&*database.ledger(), &call).await, call);
}

async fn a_schema_of_a_newer_program_is_refused(database: Database) {
    let newer = "insert into _sqlx_migrations
        select 9999, description, installed_on, success, checksum, execution_time from _sqlx_migrations where version = 1";
    database.run(newer).await.unwrap();
    let refused = database.ledger().migrate().await;
    assert!(matches!(refused, Err(LedgerError::Migration(_))), "{refused:?}");
}

async fn a_closed_ledger_is_away(database: Database) {
    let ledger = database.ledger();
    drop(accept(&*ledger, due("a")).await);
    ledger.close().await;
    assert!(matches!(ledger.now().await, Err(LedgerError::Away(_))));
    assert!(matches!(ledger.accept(&[due("b")]).await, Err(LedgerError::Away(_))));
}

async fn what_was_accepted_is_there_after_a_restart(database: Database) {
    let call = accept(&*database.ledger(), due("a")).await;
    database.ledger().close().await;
    let again = database.place().open().await.unwrap();
    assert_eq!(find(&*again, &call).await, call);
    again.close().await;
}

async fn a_row_that_nobody_could_have_written_is_corrupt(database: Database) {
    let ledger = database.ledger();
    let call = accept(&*ledger, due("a")).await;
    let sound = accept(&*ledger, due("b")).await;
    database.run("update calls set headers = '[[1]]' where idempotency_key = 'a'").await.unwrap();
    let found = ledger.find(call.id).await;
    assert!(
        matches!(&found, Err(LedgerError::Corrupt(what)) if what.contains(&call.id.to_string())),
        "{found:?}"
    );
    // It does not stand in the way of the others.
    drop(super::calls::claim(&*ledger, &sound).await);
    let stuck = ledger.claim(&[super::calls::wish(&call)]).await.unwrap();
    assert_eq!(stuck, [redial::ledger::Claimed::Stale]);
}

/// A ledger at a port of this machine.
async fn at_port(port: u16) -> Arc<dyn Ledger> {
    let url = format!("postgres://postgres@127.0.0.1:{port}/redial");
    ledger::open(&Config { url: url.into(), connections_max: 4 }).await.unwrap()
}

#[tokio::test]
async fn a_server_that_is_down_is_away() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let ledger = at_port(closed).await;
    let (call, filter) = ([due("a")], Filter::default());
    let (now, accepted, listed, held, migrated) = tokio::join!(
        ledger.now(),
        ledger.accept(&call),
        ledger.list(&filter, None, 1),
        ledger.hold_exclusively(),
        ledger.migrate(),
    );
    assert!(matches!(now, Err(LedgerError::Away(_))), "{now:?}");
    assert!(matches!(accepted, Err(LedgerError::Away(_))), "{accepted:?}");
    assert!(matches!(listed, Err(LedgerError::Away(_))), "{listed:?}");
    assert!(matches!(held, Err(LedgerError::Away(_))), "{held:?}");
    assert!(matches!(migrated, Err(LedgerError::Away(_))), "{migrated:?}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_away() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let ledger = at_port(silent.local_addr().unwrap().port()).await;
    let (now, held) = tokio::join!(ledger.now(), ledger.hold_exclusively());
    assert!(matches!(now, Err(LedgerError::Away(_))), "{now:?}");
    assert!(matches!(held, Err(LedgerError::Away(_))), "{held:?}");
}

#[tokio::test]
async fn a_database_without_a_schema_is_away_and_refuses_nothing() {
    for place in [Place::on_postgres().await, Place::in_folder()] {
        let ledger = place.open().await.unwrap();
        let answer = ledger.accept(&[due("a")]).await;
        assert!(matches!(answer, Err(LedgerError::Away(_))), "{answer:?}");
        ledger.close().await;
    }
}

#[tokio::test]
async fn a_url_of_no_known_database_is_refused_with_a_sentence() {
    for url in [
        "mysql://x",
        "redial.db",
        "",
        "sqlite::memory:",
        "sqlite:",
        "sqlite:/no/such/folder/redial.db",
        "postgres://h:port/x",
    ] {
        let config = Config { url: url.into(), connections_max: 1 };
        let refused = ledger::open(&config).await;
        assert!(
            matches!(&refused, Err(LedgerError::BadUrl(sentence)) if sentence.len() > 30),
            "{url}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_with_its_name() {
    let place = Place::in_folder();
    let path = place.url().trim_start_matches("sqlite:").to_owned();
    std::fs::write(
        &path,
        "not a database, but long enough to be taken for one by its length alone ".repeat(20),
    )
    .unwrap();
    let refused = place.open().await;
    assert!(
        matches!(&refused, Err(LedgerError::BadUrl(sentence)) if sentence.contains(&path)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn many_processes_may_migrate_at_once() {
    let place = Place::on_postgres().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let ledger = place.open().await.unwrap();
        tasks.spawn(async move { ledger.migrate().await });
    }
    for migrated in tasks.join_all().await {
        migrated.unwrap();
    }
    drop(accept(&*place.open().await.unwrap(), due("a")).await);
}

#[tokio::test]
async fn a_second_process_on_the_same_file_is_turned_away() {
    let place = Place::in_folder();
    let first = place.open().await.unwrap();
    first.hold_exclusively().await.unwrap();
    let second = place.open().await;
    assert!(
        matches!(&second, Err(LedgerError::Occupied(sentence)) if sentence.contains("redial.db") && sentence.contains("PostgreSQL")),
        "{second:?}"
    );
    first.close().await;
    let third = place.open().await.unwrap();
    drop(third);
    drop(place.open().await.unwrap());
}

#[tokio::test]
async fn one_process_holds_a_postgres_schema_alone() {
    let database = Database::postgres().await;
    let (first, second) = (database.ledger(), database.place().open().await.unwrap());
    first.hold_exclusively().await.unwrap();
    first.hold_exclusively().await.unwrap();
    let refused = second.hold_exclusively().await;
    assert!(matches!(&refused, Err(LedgerError::Occupied(_))), "{refused:?}");

    // Its connection is cut: it takes the schema again by itself.
    let holder = "select pid from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())";
    let pid = database.number(&format!("select ({holder})::bigint")).await;
    database.run(&format!("select pg_terminate_backend({pid})")).await.unwrap();
    wait_for("the schema is held again", || async {
        let holders =
            database.number(&format!("select count(*) from ({holder} and pid <> {pid}) as held")).await;
        (holders == 1).then_some(())
    })
    .await;
    assert!(matches!(second.hold_exclusively().await, Err(LedgerError::Occupied(_))));

    first.close().await;
    wait_for("the schema is free", || async { second.hold_exclusively().await.ok() }).await;
    second.close().await;
}

#[tokio::test]
async fn connections_that_are_cut_under_load_lose_nothing_that_was_confirmed() {
    const TASKS: usize = 6;
    const BATCHES: usize = 40;
    let database = Database::postgres().await;
    let done = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let ledger = database.ledger();
        tasks.spawn(async move { accept_stubbornly(&*ledger, task, BATCHES).await });
    }
    let cutting = async {
        while !done.load(Ordering::Relaxed) {
            // Those of this database that belong to the ledger; the one that cuts has another name.
            let cut = "select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and application_name = 'redial'";
            database.run(cut).await.unwrap();
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let working = async {
        let confirmed = tasks.join_all().await;
        done.store(true, Ordering::Relaxed);
        confirmed
    };
    let (confirmed, ()) = tokio::join!(working, cutting);
    let ledger = database.ledger();
    // A connection that was cut while it lay idle is found out by the next one who uses it.
    wait_for("the pool has recovered", || async { ledger.totals().await.ok() }).await;
    let mut cuts = 0;
    for (answers, away) in confirmed {
        cuts += away;
        for (key, id) in answers {
            let call =
                ledger.find(id).await.unwrap().unwrap_or_else(|| panic!("{key} was confirmed and is lost"));
            assert_eq!(call.idempotency_key.as_str(), key);
        }
    }
    assert!(cuts > 0, "no connection was cut in the middle of anything");
    let stored = database.number("select count(*) from calls").await;
    assert_eq!(stored, i64::try_from(TASKS * BATCHES * 5).unwrap());
}

/// Accepts batches, each again and again until it is answered. Says under which id each key is known, and how often the ledger was away.
async fn accept_stubbornly(
    ledger: &dyn Ledger,
    task: usize,
    batches: usize,
) -> (HashMap<String, CallId>, usize) {
    let (mut known, mut away) = (HashMap::new(), 0);
    for batch in 0..batches {
        let calls: Vec<_> = (0..5).map(|place| due(&format!("{task}-{batch}-{place}"))).collect();
        let answers = loop {
            match ledger.accept(&calls).await {
                Ok(answers) => break answers,
                Err(LedgerError::Away(_)) => away += 1,
                Err(error) => panic!("{error:?}"),
            }
        };
        for (call, answer) in calls.iter().zip(answers) {
            let id = match answer {
                Accepted::Stored(stored) => stored.id,
                Accepted::Known(id) => id,
                Accepted::KeyReused(id) => panic!("{id} has another document"),
            };
            known.insert(call.key().to_string(), id);
        }
    }
    (known, away)
}

/// Somebody's long work on the audit log makes every search of it hang.
#[tokio::test]
async fn searches_that_hang_are_given_up_and_hold_no_delivery_up() {
    const SEARCHES: usize = 12;
    let database = Database::postgres().await;
    let ledger = database.ledger();
    let mut other = sqlx::PgConnection::connect(&database.place().url()).await.unwrap();
    let mut work = other.begin().await.unwrap();
    work.execute("lock table audit in access exclusive mode").await.unwrap();
    let mut searches = tokio::task::JoinSet::new();
    for _ in 0..SEARCHES {
        let ledger = database.ledger();
        searches.spawn(async move { ledger.audit_log(&AuditFilter::default(), None, 10).await });
    }
    wait_for("searches hang", || async {
        let hanging = "select count(*) from pg_stat_activity
             where datname = current_database() and application_name = 'redial' and wait_event_type = 'Lock'";
        (database.number(hanging).await == i64::from(LOOKING_CONNECTIONS)).then_some(())
    })
    .await;
    let call = running(&*ledger, "a").await;
    assert!(matches!(record(&*ledger, success(&call)).await, Recorded::Applied { .. }));
    let ends = searches.join_all().await;
    assert!(ends.iter().any(|end| matches!(end, Err(LedgerError::TooSlow))), "{ends:?}");
    assert!(ends.iter().all(Result::is_err), "{ends:?}");
    work.rollback().await.unwrap();
    assert_eq!(ledger.audit_log(&AuditFilter::default(), None, 10).await.unwrap().len(), 0);
}

#[tokio::test]
async fn every_statement_can_be_prepared_on_postgres() {
    use ledger::postgres::sql::{self, audit, bulk, holds, look, reports};
    use ledger::postgres::{sql_schema as schema, sql_upkeep as upkeep};

    let database = Database::postgres().await;
    let mut connection = sqlx::PgConnection::connect(&database.place().url()).await.unwrap();
    let statements =
        [sql::ALL, audit::ALL, bulk::ALL, holds::ALL, look::ALL, reports::ALL, schema::ALL, upkeep::ALL];
    for statement in statements.concat() {
        let prepared = (&mut connection).prepare(statement.into_sql_str()).await;
        assert!(prepared.is_ok(), "{:?}: {statement}", prepared.err());
    }
}

#[tokio::test]
async fn every_statement_can_be_prepared_on_sqlite() {
    use ledger::sqlite::sql::{self, audit, bulk, holds, look, reports};
    use ledger::sqlite::{sql_schema as schema, sql_upkeep as upkeep};

    let database = Database::sqlite().await;
    let mut connection = sqlx::SqliteConnection::connect(&database.place().url()).await.unwrap();
    let statements =
        [sql::ALL, audit::ALL, bulk::ALL, holds::ALL, look::ALL, reports::ALL, schema::ALL, upkeep::ALL];
    for statement in statements.concat() {
        let prepared = (&mut connection).prepare(statement.into_sql_str()).await;
        assert!(prepared.is_ok(), "{:?}: {statement}", prepared.err());
    }
}
