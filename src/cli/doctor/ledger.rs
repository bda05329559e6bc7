//! The ledger: whether it answers, its schema, its clock, and what its rows say of workers and sweepers.

use std::collections::BTreeSet;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::report::Report;
use crate::app::ledger_config;
use crate::call::{Call, State};
use crate::clock::Timestamp;
use crate::config::Settings;
use crate::config::settings::Engine;
use crate::endpoint::ladder::format_duration;
use crate::ledger::schema::Schema;
use crate::ledger::{self, Ledger, LedgerError};
use crate::limits::SWEEP_BATCH;

/// Clocks that differ by less are as one.
const CLOCK_DIFFERENCE_FINE: Duration = Duration::from_secs(2);
/// Clocks that differ by more spoil deadlines and `Retry-After` dates.
const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_mins(1);
/// A worker that wrote nothing for this long is gone.
const WORKER_SILENT_AFTER: Duration = Duration::from_secs(10);
/// A sweeper that does its work leaves nothing behind for this long.
const SWEPT_WITHIN: Duration = Duration::from_mins(1);

/// Looks at the ledger.
pub(super) async fn look(settings: &Settings, report: &mut Report) {
    let database = &settings.database;
    if database.engine == Engine::Sqlite && !file_exists(database.url.secret().expose_secret()) {
        return report
            .unchecked("ledger", format!("{} is not there yet; `redial serve` makes it", database.url));
    }
    match ledger::open(&ledger_config(settings)).await {
        Ok(ledger) => {
            if let Err(error) = look_into(&*ledger, settings, report).await {
                report.fault("ledger", format!("{}: {}", database.url, chain(&error)));
            }
            ledger.close().await;
        }
        Err(LedgerError::Occupied(_)) => {
            report.unchecked("ledger", format!("{} is in the hands of a running process", database.url));
        }
        Err(error) => report.fault("ledger", format!("{}: {}", database.url, chain(&error))),
    }
}

/// Opening would make the file, and the doctor changes nothing.
fn file_exists(url: &str) -> bool {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    std::path::Path::new(path.strip_prefix("//").unwrap_or(path)).exists()
}

/// An error with its causes.
fn chain(error: &LedgerError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        text.push_str(": ");
        text.push_str(&deeper.to_string());
        cause = deeper.source();
    }
    text
}

async fn look_into(ledger: &dyn Ledger, settings: &Settings, report: &mut Report) -> ledger::Result<()> {
    // The first question opens the connection.
    ledger.now().await?;
    let before = Timestamp::now();
    let its = ledger.now().await?;
    let took = Timestamp::now().since(before);
    report.ok("ledger", format!("{} answers in {} ms", settings.database.url, took.as_millis()));
    let schema = ledger.schema().await?;
    judge_schema(&schema, report);
    let engine = settings.database.engine;
    if engine == Engine::Postgres {
        judge_clock("ledger's clock", before.plus(took / 2), its, Duration::ZERO, report);
    }
    if schema.pending.is_empty() && schema.broken.is_empty() {
        look_at_rows(ledger, settings, its, report).await?;
    }
    Ok(())
}

fn judge_schema(schema: &Schema, report: &mut Report) {
    let Schema { version, pending, newer, broken } = schema;
    if !broken.is_empty() {
        let sentence =
            format!("migrations {broken:?} broke off, or were changed after they were carried out");
        report.fault("schema", sentence);
    }
    if !pending.is_empty() {
        let sentence =
            format!("version {version}; to be carried out: {} (redial migrate)", pending.join(", "));
        report.fault("schema", sentence);
    }
    if !newer.is_empty() {
        report.fault(
            "schema",
            format!("version {version} is of a newer program; this one does not know {newer:?}"),
        );
    }
    if broken.is_empty() && pending.is_empty() && newer.is_empty() {
        report.ok("schema", format!("version {version}, nothing pending"));
    }
}

/// Compares another clock with this machine's; `grain` is how coarse the other one is told.
pub(super) fn judge_clock(
    check: &'static str,
    here: Timestamp,
    there: Timestamp,
    grain: Duration,
    report: &mut Report,
) {
    let difference = here.since(there).max(there.since(here));
    let direction = if there > here { "ahead of" } else { "behind" };
    let sentence = format!("{} ms {direction} this machine's", difference.as_millis());
    if difference <= CLOCK_DIFFERENCE_FINE + grain {
        report.ok(check, sentence);
    } else if difference <= CLOCK_DIFFERENCE_MAX {
        report.warning(check, format!("{sentence}; keep clocks together (NTP)"));
    } else {
        report.fault(check, format!("{sentence}; deadlines and Retry-After dates are off by as much"));
    }
}

async fn look_at_rows(
    ledger: &dyn Ledger,
    settings: &Settings,
    now: Timestamp,
    report: &mut Report,
) -> ledger::Result<()> {
    if settings.database.engine == Engine::Postgres {
        look_at_workers(ledger, report).await?;
    }
    let left = ledger.expired_leases(SWEEP_BATCH).await?;
    judge_leases(&left, now, report);
    look_at_overdue(ledger, settings, now, report).await
}

async fn look_at_workers(ledger: &dyn Ledger, report: &mut Report) -> ledger::Result<()> {
    let reports = ledger.lane_reports(WORKER_SILENT_AFTER).await?;
    let workers: BTreeSet<String> = reports.iter().map(|(worker, _)| worker.to_string()).collect();
    if workers.is_empty() {
        let silent = format_duration(WORKER_SILENT_AFTER);
        report.ok("workers", format!("none has taken a ticket in the last {silent}"));
    } else {
        let names: Vec<String> = workers.into_iter().collect();
        report.ok("workers", format!("{} at work: {}", names.len(), names.join(", ")));
    }
    Ok(())
}

/// A lease that ran out a moment ago is a sweeper's next task; one that ran out long ago has no sweeper.
fn judge_leases(expired: &[Call], now: Timestamp, report: &mut Report) {
    let forgotten = |call: &&Call| matches!(&call.state, State::Running(claim) if now.since(claim.lease_until) > SWEPT_WITHIN);
    let count = expired.iter().filter(forgotten).count();
    if count == 0 {
        report.ok("leases", "no attempt has outlived its lease");
    } else {
        let more = if expired.len() == SWEEP_BATCH { " or more" } else { "" };
        let sentence = format!("{count}{more} attempts have outlived their leases: no sweeper closes them");
        report.fault("leases", sentence);
    }
}

async fn look_at_overdue(
    ledger: &dyn Ledger,
    settings: &Settings,
    now: Timestamp,
    report: &mut Report,
) -> ledger::Result<()> {
    let before = now.minus(SWEPT_WITHIN + settings.sweeper.grace);
    let (mut late, mut unknown) = (Vec::new(), Vec::new());
    for endpoint in ledger.waiting_endpoints().await? {
        if settings.endpoints.iter().all(|known| known.name != endpoint) {
            unknown.push(endpoint.to_string());
        } else if !ledger.waiting(&endpoint, None, before, 1).await?.is_empty() {
            late.push(endpoint.to_string());
        }
    }
    if !unknown.is_empty() {
        let sentence = format!("calls wait for what is not configured: {}", unknown.join(", "));
        report.warning("endpoints", sentence);
    }
    if late.is_empty() {
        report.ok("lateness", format!("no call is overdue by more than {}", format_duration(SWEPT_WITHIN)));
    } else {
        let sentence = format!(
            "calls are overdue by more than {}: {}; held, too slow, or nobody works on them",
            format_duration(SWEPT_WITHIN),
            late.join(", ")
        );
        report.warning("lateness", sentence);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_a_little() {
        let here = Timestamp::from_unix_micros(1_000_000_000_000);
        for (seconds, expected) in [(0, "ok"), (2, "ok"), (3, "warning"), (60, "warning"), (61, "fault")] {
            for there in [here.plus(Duration::from_secs(seconds)), here.minus(Duration::from_secs(seconds))] {
                let mut report = Report::default();
                judge_clock("clock", here, there, Duration::ZERO, &mut report);
                assert!(report.json().contains(&format!("\"status\":\"{expected}\"")), "{seconds}");
            }
        }
    }

    #[test]
    fn every_difference_of_the_schema_is_a_fault() {
        let good = Schema { version: 4, ..Schema::default() };
        for (schema, faulty) in [
            (good.clone(), false),
            (Schema { pending: vec!["0005 bulk".to_owned()], ..good.clone() }, true),
            (Schema { newer: vec![9], ..good.clone() }, true),
            (Schema { broken: vec![2], ..good }, true),
        ] {
            let mut report = Report::default();
            judge_schema(&schema, &mut report);
            assert_eq!(report.has_faults(), faulty, "{schema:?}");
        }
    }
}
