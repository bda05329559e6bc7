//! What was measured, for people and for programs.

use std::time::Duration;

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use super::BenchArgs;
use super::journal::{Journal, Outage, quantile};
use super::stage::StageUsage;

/// The figures of one run.
#[derive(Debug)]
pub(super) struct Report {
    calls: u32,
    waiting: bool,
    submitted_per_s: f64,
    completed_per_s: f64,
    requests: usize,
    lost: usize,
    doubled: usize,
    early: usize,
    lateness_us: Vec<i64>,
    used: StageUsage,
    rescued: f64,
    accept_batch: Option<f64>,
    claim_batch: Option<f64>,
    record_batch: Option<f64>,
    bundle: Option<f64>,
    /// What was seen of an outage, and how many calls it cost a rung.
    outage: Option<(Outage, i64)>,
}

/// RabbitMQ's timers may fire this much early.
const EARLY_US: i64 = -1_000;

impl Report {
    /// The report on a run.
    pub(super) fn new(
        args: &BenchArgs,
        published: Duration,
        finished: Duration,
        used: StageUsage,
        journal: &Journal,
        counters: &str,
    ) -> Self {
        let calls = f64::from(args.calls);
        let waited = args.delay * args.failures();
        let lateness_us = journal.lateness_us(args.delay);
        let expected = if args.waiting { 0 } else { args.calls as usize };
        let mean = |name: &str, label: &str| mean_of(counters, name, label);
        Self {
            calls: args.calls,
            waiting: args.waiting,
            submitted_per_s: calls / published.as_secs_f64(),
            completed_per_s: calls / finished.saturating_sub(waited).as_secs_f64(),
            requests: journal.requests(),
            lost: expected.saturating_sub(journal.succeeded()),
            // What fails in an outage comes again: only effects count there.
            doubled: match args.outage {
                Some(_) => journal.surplus_effects(),
                None => journal.surplus(args.failures() as usize + 1),
            },
            early: lateness_us.iter().filter(|late| **late < EARLY_US).count(),
            lateness_us,
            used,
            rescued: counters
                .lines()
                .filter(|line| line.starts_with("redial_rescued_total"))
                .filter_map(value_of)
                .sum(),
            accept_batch: mean("redial_commit_batch_size", "kind=\"accept\""),
            claim_batch: mean("redial_commit_batch_size", "kind=\"claim\""),
            record_batch: mean("redial_commit_batch_size", "kind=\"record\""),
            bundle: mean("redial_bundle_size", ""),
            outage: None,
        }
    }

    /// The same with what was seen of an outage that cost so many calls a rung.
    pub(super) fn with_outage(self, outage: Outage, rungs_lost: i64) -> Self {
        Self { outage: Some((outage, rungs_lost)), ..self }
    }

    /// Whether nothing was lost, doubled or early, and no outage cost a rung.
    pub(super) fn is_whole(&self) -> bool {
        let kept = self.outage.as_ref().is_none_or(|(_, rungs_lost)| *rungs_lost == 0);
        self.lost == 0 && self.doubled == 0 && self.early == 0 && kept
    }

    /// One JSON object.
    pub(super) fn json(&self) -> Value {
        let mut document = self.figures();
        if let Some((outage, rungs_lost)) = &self.outage {
            document["outage"] = json!({
                "requests_while_down": outage.requests_while_down,
                "rungs_lost": rungs_lost,
                "back_after_s": outage.back_after.map(|back| round(back.as_secs_f64())),
                "requests_in_first_second": outage.first_second,
                "requests_in_busiest_second": outage.busiest_second,
                "drained_after_s": outage.drained_after.map(|drained| round(drained.as_secs_f64())),
            });
        }
        document
    }

    fn figures(&self) -> Value {
        let per_call = |cpu_ms: u64| as_float(cpu_ms) / f64::from(self.calls);
        json!({
            "calls": self.calls,
            "requests": self.requests,
            "submitted_per_s": round(self.submitted_per_s),
            "completed_per_s": (!self.waiting).then(|| round(self.completed_per_s)),
            "lost": self.lost,
            "doubled": self.doubled,
            "early": self.early,
            "rescued": self.rescued,
            "lateness_ms": {
                "p50": self.late(500), "p99": self.late(990), "max": self.late(1_000),
            },
            "peak_memory_mib": round(as_float(self.used.service.peak_kib) / 1_024.0),
            "cpu_s_per_1000_calls": {
                "redial": per_call(self.used.service.cpu_ms),
                "rabbitmq": per_call(self.used.broker.cpu_ms),
                "postgresql": per_call(self.used.database.cpu_ms),
                "third_party": per_call(self.used.third_party.cpu_ms),
            },
            "batch_sizes": {
                "accept": self.accept_batch, "claim": self.claim_batch, "record": self.record_batch, "bundle": self.bundle,
            },
        })
    }

    /// A table.
    pub(super) fn print(&self) {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        flatten("", &self.json(), &mut |name, value| {
            table.add_row([name, value]);
        });
        println!("\n{table}");
    }

    fn late(&self, per_mille: usize) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds for people")]
        quantile(&self.lateness_us, per_mille).map(|late_us| round(late_us as f64 / 1_000.0))
    }
}

fn flatten(prefix: &str, value: &Value, row: &mut impl FnMut(String, String)) {
    let Value::Object(members) = value else { return row(prefix.to_owned(), value.to_string()) };
    for (name, value) in members {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        flatten(&name, value, row);
    }
}

/// The mean of a histogram in Prometheus' text format.
fn mean_of(counters: &str, name: &str, label: &str) -> Option<f64> {
    let read = |suffix: &str| {
        let start = format!("{name}_{suffix}");
        counters.lines().find(|line| line.starts_with(&start) && line.contains(label)).and_then(value_of)
    };
    let (sum, count) = (read("sum")?, read("count")?);
    (count > 0.0).then(|| round(sum / count))
}

fn value_of(line: &str) -> Option<f64> {
    line.rsplit_once(' ')?.1.parse().ok()
}

fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn as_float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_read_out_of_the_counters() {
        let counters = "redial_commit_batch_size_sum{kind=\"accept\"} 30.0\nredial_commit_batch_size_count{kind=\"accept\"} 3\n";
        assert_eq!(mean_of(counters, "redial_commit_batch_size", "kind=\"accept\""), Some(10.0));
        assert_eq!(mean_of(counters, "redial_commit_batch_size", "kind=\"claim\""), None);
    }
}
