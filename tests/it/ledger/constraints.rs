//! Illegal rows cannot be stored: every named constraint is broken once, past the ledger, and refuses by its name.

use std::collections::BTreeSet;

use redial::call::{ActionKind, ReviewReason, Submission, TagKey};
use redial::endpoint::reporting::Report;
use redial::ledger::{Filter, HoldChange, NewCall, Next, OperatorAction, Order, Record, Start};
use sqlx::{AssertSqlSafe, Connection};

use super::calls::{
    accept, claim, due, due_with, failure, record, request, running, submission, success, versioned,
};
use crate::support::database::{Database, Place};

on_both_ledgers!(each_rule_refuses_the_row_that_breaks_it, every_rule_is_broken_here);

/// Checks on `calls`: name, what is set, in which row.
const CALLS: &[(&str, &str, &str)] = &[
    ("known_status", "status = 'odd', finished_at = null", "succeeded"),
    ("known_trigger", "trigger = 'odd'", "scheduled"),
    ("known_reason", "review_reason = 'odd'", "review"),
    ("known_ending", "ending = 'cancelled'", "running"),
    ("known_verdict", "last_verdict = 'odd'", "succeeded"),
    ("known_method", "method = 'BREW'", "scheduled"),
    ("known_body_kind", "body_kind = 'odd'", "scheduled"),
    ("due_iff_scheduled", "due_at = null", "scheduled"),
    ("due_iff_scheduled", "due_at = created_at", "running"),
    ("wake_iff_scheduled", "wake_at = null", "scheduled"),
    ("wake_iff_scheduled", "wake_at = created_at", "review"),
    ("trigger_iff_scheduled_or_running", "trigger = null", "scheduled"),
    ("trigger_iff_scheduled_or_running", "trigger = 'ladder'", "review"),
    ("lease_iff_running", "lease_until = null", "running"),
    ("lease_iff_running", "lease_until = created_at", "succeeded"),
    ("worker_iff_running", "worker = null", "running"),
    ("worker_iff_running", "worker = 'w'", "scheduled"),
    ("start_iff_running", "started_at = null", "running"),
    ("start_iff_running", "started_at = created_at", "review"),
    ("attempt_while_running", "attempts_made = 0", "running"),
    ("ending_only_while_running", "ending = 'superseded'", "scheduled"),
    ("reason_iff_review", "review_reason = null", "review"),
    ("reason_iff_review", "review_reason = 'expired'", "scheduled"),
    ("finished_iff_final", "finished_at = null", "succeeded"),
    ("finished_iff_final", "finished_at = created_at", "review"),
    ("rung_in_bounds", "rung = -1", "scheduled"),
    ("rung_in_bounds", "rung = 65536", "scheduled"),
    ("attempts_not_negative", "attempts_made = -1", "scheduled"),
    ("claims_cover_attempts", "attempts_made = 9", "running"),
    ("revision_from_one", "revision = 0", "scheduled"),
    ("entity_whole", "entity_version = 1", "scheduled"),
    ("entity_version_not_negative", "entity_key = 'e', entity_version = -1", "scheduled"),
    ("body_iff_kind", "body = null", "scheduled"),
    ("body_iff_kind", "body_kind = 'empty'", "scheduled"),
    ("key_in_bounds", "idempotency_key = ''", "scheduled"),
    ("http_status_in_bounds", "last_http_status = 99", "succeeded"),
    ("outcome_has_verdict", "last_error = 'e'", "scheduled"),
    ("body_erased_only_when_final", "body_erased_at = created_at", "scheduled"),
    ("erased_without_body", "erased_at = created_at", "succeeded"),
];

/// Checks on the other tables: name, table, what is set.
const OTHERS: &[(&str, &str, &str)] = &[
    ("entities_version_not_negative", "entities", "version = -1"),
    ("attempts_numbered_from_one", "attempts", "number = 0"),
    ("attempts_claim_from_one", "attempts", "claim_number = 0"),
    ("attempts_known_trigger", "attempts", "trigger = 'odd'"),
    ("attempts_known_verdict", "attempts", "verdict = 'odd'"),
    ("attempts_known_late_verdict", "lost", "late_verdict = 'odd', late_recorded_at = started_at"),
    ("attempts_known_error_kind", "lost", "error_kind = 'odd'"),
    ("attempts_duration_not_negative", "attempts", "duration_us = -1"),
    ("attempts_http_status_in_bounds", "attempts", "http_status = 1000"),
    ("attempts_answer_or_error", "attempts", "error_kind = 'timeout'"),
    ("attempts_answer_or_error", "lost", "error_kind = null, error_detail = null"),
    ("attempts_answer_whole", "attempts", "response_headers = null"),
    ("attempts_answer_whole", "attempts", "response_body = null"),
    ("attempts_request_whole", "attempts", "request_url = null"),
    ("attempts_request_whole", "attempts", "request_revision = null"),
    ("attempts_body_bytes_not_negative", "attempts", "response_body_bytes = -1"),
    ("attempts_error_whole", "attempts", "error_detail = 'e'"),
    ("attempts_cost_of_a_provider", "attempts", "cost_millionths = 1"),
    ("attempts_late_whole", "lost", "late_verdict = 'success'"),
    ("attempts_late_only_after_loss", "attempts", "late_verdict = 'success', late_recorded_at = started_at"),
    ("actions_known_kind", "actions", "kind = 'odd'"),
    ("actions_revision_from_one", "actions", "revision = 0"),
    ("revisions_from_one", "revisions", "revision = 0"),
    ("revisions_known_method", "revisions", "method = 'BREW'"),
    ("revisions_known_body_kind", "revisions", "body_kind = 'odd'"),
    ("revisions_body_iff_kind", "revisions", "body = null"),
    ("notices_known_channel", "notices", "channel = 'odd'"),
    ("notices_known_status", "notices", "status = 'odd', review_reason = null"),
    ("notices_known_reason", "notices", "review_reason = 'odd'"),
    ("notices_reason_iff_review", "notices", "review_reason = null"),
    ("notices_url_iff_callback", "notices", "callback_url = 'https://x.example/'"),
    ("notices_tries_not_negative", "notices", "tries = -1"),
    ("tallies_known_kind", "tallies", "kind = 'odd'"),
    ("tallies_not_negative", "tallies", "n = -1"),
    ("bulk_jobs_known_action", "bulk_jobs", "action = 'odd'"),
    (
        "bulk_jobs_known_status",
        "bulk_jobs",
        "status = 'odd', finished_at = created_at, held_by = null, held_until = null",
    ),
    ("bulk_jobs_finished_iff_ended", "bulk_jobs", "status = 'done'"),
    (
        "bulk_jobs_finished_iff_ended",
        "bulk_jobs",
        "finished_at = created_at, held_by = null, held_until = null",
    ),
    ("bulk_jobs_held_while_open", "bulk_jobs", "status = 'done', finished_at = created_at"),
    ("bulk_jobs_lease_whole", "bulk_jobs", "held_until = null"),
    ("bulk_jobs_counts_add_up", "bulk_jobs", "acted = total + 1"),
    ("bulk_jobs_counts_add_up", "bulk_jobs", "succeeded = acted + 1"),
    ("bulk_jobs_counts_add_up", "bulk_jobs", "skipped = -1"),
    ("bulk_calls_known_result", "bulk_calls", "result = 'odd'"),
    ("reports_known_report", "reports", "report = 'odd'"),
    ("holds_known_kind", "holds", "kind = 'odd', actor = null"),
    ("holds_known_phase", "holds", "phase = 'odd'"),
    ("holds_worker_iff_probing", "holds", "worker = 'w'"),
    ("holds_until_iff_it_ends", "holds", "until = since"),
    ("holds_actor_iff_paused", "holds", "actor = null"),
    ("holds_parks_not_negative", "holds", "parks = -1"),
];

/// Keys: name, what SQLite calls it, the statement that breaks it.
const KEYS: &[(&str, &str, &str)] = &[
    ("calls_pk", "calls.id", "update calls set id = (select call_id from call_tags limit 1)"),
    (
        "one_call_per_key",
        "calls.publisher, calls.idempotency_key",
        "update calls set idempotency_key = 'same', publisher = 'same'",
    ),
    (
        "call_tags_pk",
        "call_tags.key, call_tags.value, call_tags.call_id",
        "insert into call_tags select * from call_tags",
    ),
    ("entities_pk", "entities.endpoint, entities.entity_key", "insert into entities select * from entities"),
    ("attempts_pk", "attempts.call_id, attempts.number", "insert into attempts select * from attempts"),
    (
        "revisions_pk",
        "revisions.call_id, revisions.revision",
        "insert into revisions select * from revisions",
    ),
    (
        "lane_reports_pk",
        "lane_reports.worker, lane_reports.endpoint",
        "insert into lane_reports select * from lane_reports",
    ),
    ("bulk_jobs_pk", "bulk_jobs.id", "insert into bulk_jobs select * from bulk_jobs"),
    (
        "bulk_calls_pk",
        "bulk_calls.job_id, bulk_calls.call_id",
        "insert into bulk_calls select * from bulk_calls",
    ),
    ("reports_pk", "reports.call_id, reports.digest", "insert into reports select * from reports"),
    (
        "tallies_pk",
        "tallies.minute, tallies.endpoint, tallies.provider, tallies.kind, tallies.label",
        "insert into tallies select * from tallies",
    ),
    ("holds_pk", "holds.endpoint", "insert into holds select * from holds"),
    ("walks_pk", "walks.name", "insert into walks select * from walks"),
    (
        "actions_of_a_call",
        "FOREIGN KEY",
        "delete from calls where id = (select call_id from actions limit 1)",
    ),
    (
        "revisions_of_a_call",
        "FOREIGN KEY",
        "delete from actions; delete from calls where id = (select call_id from revisions limit 1)",
    ),
];

/// Rules that need a value only one of the databases can write, or a key that both number by themselves.
const ELSEWHERE: &[&str] = &["fingerprint_is_sha256", "actions_pk", "audit_pk", "notices_pk"];

/// Fills every table with at least one row.
async fn fill(database: &Database) {
    let ledger = database.ledger();
    let tagged =
        Submission { tags: vec![(TagKey::parse("k").unwrap(), "v".to_owned())], ..submission("scheduled") };
    drop(accept(&*ledger, due_with(tagged)).await);
    drop(accept(&*ledger, versioned("entity", "deal", 1)).await);
    drop(running(&*ledger, "running").await);
    drop(accept(&*ledger, NewCall { start: Start::Review(ReviewReason::Ambiguous), ..due("review") }).await);
    let done = running(&*ledger, "succeeded").await;
    drop(record(&*ledger, success(&done)).await);
    let lost = running(&*ledger, "lost").await;
    drop(record(&*ledger, super::calls::given_up(&lost)).await);
    let edited = claim(&*ledger, &accept(&*ledger, due("edited")).await).await;
    drop(record(&*ledger, Record { next: Next::Review(ReviewReason::Rejected), ..failure(&edited) }).await);
    let order = Order::Replay { request: Some(request("/v2")), new_key: false };
    let action = OperatorAction {
        call: edited.id,
        actor: "ada".into(),
        note: String::new(),
        if_revision: None,
        order,
    };
    drop(ledger.act(&action).await.unwrap());
    drop(super::bulk::job(&*ledger, ActionKind::Replay, Filter::default()).await);
    drop(ledger.take_bulks("holder", super::calls::LONG, 10).await.unwrap());
    let report = redial::ledger::LaneReport {
        endpoint: super::calls::endpoint("sms"),
        oldest_held: None,
        last_taken: None,
    };
    ledger.report_lanes(&super::calls::worker("w"), &[report]).await.unwrap();
    drop(ledger.settle(&super::reporting::word(&done, Report::Done, "ok")).await.unwrap());
    let pause = HoldChange::Pause { actor: "ada".into(), note: String::new() };
    drop(ledger.change_hold(&super::calls::endpoint("sms"), &pause).await.unwrap());
    let tallies = redial::tally::Tallies::default();
    tallies.accepted(&super::calls::endpoint("sms"), redial::clock::Timestamp::now());
    ledger.add_tallies(&tallies.take()).await.unwrap();
}

async fn each_rule_refuses_the_row_that_breaks_it(database: Database) {
    fill(&database).await;
    for (name, set, key) in CALLS {
        refused(&database, name, &format!("update calls set {set} where idempotency_key = '{key}'")).await;
    }
    let (short, on_postgres) = match database.place() {
        Place::Postgres(_) => (r"'\x00'", true),
        Place::Sqlite(_) => ("x'00'", false),
    };
    refused(&database, "fingerprint_is_sha256", &format!("update calls set fingerprint = {short}")).await;
    for (name, table, set) in OTHERS {
        let statement = match *table {
            "attempts" => format!("update attempts set {set} where verdict = 'success'"),
            "lost" => format!("update attempts set {set} where error_kind = 'worker_lost'"),
            "notices" => format!("update notices set {set} where channel = 'broker'"),
            table => format!("update {table} set {set}"),
        };
        refused(&database, name, &statement).await;
    }
    for (name, on_sqlite, statement) in KEYS {
        refused(&database, if on_postgres { name } else { on_sqlite }, statement).await;
    }
}

/// The statement must be refused, by the rule with this name.
async fn refused(database: &Database, name: &str, statement: &str) {
    match database.run(statement).await {
        Ok(rows) => panic!("{name} let {rows} rows pass: {statement}"),
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains(name), "{name} should have refused, but {said}: {statement}");
        }
    }
}

async fn every_rule_is_broken_here(database: Database) {
    let broken: BTreeSet<String> = CALLS
        .iter()
        .chain(OTHERS)
        .map(|(name, _, _)| *name)
        .chain(KEYS.iter().map(|(name, _, _)| *name))
        .chain(ELSEWHERE.iter().copied())
        .map(str::to_owned)
        .collect();
    assert_eq!(rules(&database).await, broken);
}

/// The names of all rules that the schema has.
async fn rules(database: &Database) -> BTreeSet<String> {
    let url = database.place().url();
    match database.place() {
        Place::Postgres(_) => {
            let query = "select conname::text from pg_constraint
                 where connamespace = 'public'::regnamespace and conrelid <> '_sqlx_migrations'::regclass";
            let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
            let names: Vec<String> = sqlx::query_scalar(query).fetch_all(&mut connection).await.unwrap();
            names.into_iter().collect()
        }
        Place::Sqlite(_) => {
            let query = AssertSqlSafe("select sql from sqlite_schema where sql is not null");
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            let tables: Vec<String> = sqlx::query_scalar(query).fetch_all(&mut connection).await.unwrap();
            let all = tables.join("\n");
            all.split("constraint ")
                .skip(1)
                .filter_map(|rest| Some(rest.split_whitespace().next()?.to_owned()))
                .collect()
        }
    }
}
