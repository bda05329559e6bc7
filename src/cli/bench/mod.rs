//! `redial bench`: how fast, how late, how frugal, and whether anything was lost.
//!
//! Third party and service run as processes of their own, so that their CPU and memory can be told apart and the third party's one
//! clock and journal are the truth for lost, doubled and late. Database and queues are fresh and are removed afterwards.

mod journal;
mod load;
mod process;
mod report;
mod stage;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::{Outcome, signals};
use crate::clock::monotonic;
use crate::endpoint::ladder::{format_duration, parse_duration};
use report::Report;
use stage::Stage;

/// Arguments of `redial bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// How many calls are submitted
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=500_000), value_name = "N")]
    calls: u32,
    /// How many attempts of each call fail before one succeeds
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=10), value_name = "N")]
    failures: u32,
    /// The rung that each failure waits for
    #[arg(long, default_value = "1s", value_parser = parse_duration, value_name = "DELAY")]
    delay: Duration,
    /// Calls per second; without it, as fast as they are taken
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Only submit, with the first attempt due in an hour, and look at the memory
    #[arg(long)]
    waiting: bool,
    /// The third party is down for this long while all calls wait for it: what goes out meanwhile, and how it comes back
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", conflicts_with_all = ["waiting", "failures", "rate"])]
    outage: Option<Duration>,
    /// RabbitMQ
    #[arg(long, default_value = "amqp://guest:guest@127.0.0.1:5672", value_name = "URL")]
    broker: String,
    /// A PostgreSQL server on which databases may be created
    #[arg(
        long,
        default_value = "postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable",
        value_name = "URL"
    )]
    database: String,
    /// Attempts in flight
    #[arg(long, default_value_t = 256, value_name = "N")]
    concurrency: u32,
    /// One JSON object in place of the table
    #[arg(long)]
    json: bool,
}

impl BenchArgs {
    /// How many attempts of each call fail by themselves: an outage is fault enough.
    const fn failures(&self) -> u32 {
        if self.outage.is_some() { 0 } else { self.failures }
    }
}

/// Without progress for this long, what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than an open breaker waits before a probe.
const PROBE_PATIENCE: Duration = Duration::from_mins(1);
/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs the bench. Exit code 1 if anything was lost or doubled.
///
/// # Errors
/// Broker, database or a part cannot be reached or started.
pub async fn run(args: BenchArgs) -> Outcome {
    let stop = signals::stop_on_signal();
    let stage = Stage::set_up(&args).await?;
    let measured = tokio::select! {
        measured = measure(&args, &stage) => measured,
        () = stop.cancelled() => Err(anyhow::anyhow!("interrupted")),
    };
    stage.clear_away().await;
    let report = measured?;
    if args.json {
        println!("{}", report.json());
    } else {
        report.print();
    }
    Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(args: &BenchArgs, stage: &Stage) -> anyhow::Result<Report> {
    let before = stage.usage();
    let began = monotonic();
    if args.outage.is_some() {
        stage.go_down().await?;
    }
    let submitted = load::publish(args, stage.broker()).await?;
    let published_for = monotonic().saturating_duration_since(began);
    if submitted < args.calls {
        bail!("the broker confirmed only {submitted} of {} submissions", args.calls);
    }
    let mut up = None;
    if let Some(lasting) = args.outage {
        tokio::time::sleep(lasting.saturating_sub(monotonic().saturating_duration_since(began))).await;
        up = Some(stage.go_up().await?);
    }
    if args.waiting {
        stage.wait_until_stored(args.calls).await?;
    } else {
        wait_for_effects(args, stage).await?;
    }
    let finished_for = monotonic().saturating_duration_since(began);
    let used = stage.usage().since(&before);
    let journal = stage.journal().await?;
    let counters = stage.counters().await?;
    let report = Report::new(args, published_for, finished_for, used, &journal, &counters);
    let Some(up) = up else { return Ok(report) };
    Ok(report.with_outage(journal.outage(up), stage.rungs_used().await?))
}

/// Waits until every call has taken effect at the third party, or nothing moves any more.
async fn wait_for_effects(args: &BenchArgs, stage: &Stage) -> anyhow::Result<()> {
    let probe = if args.outage.is_some() { PROBE_PATIENCE } else { Duration::ZERO };
    let patience = PATIENCE + args.delay * args.failures() + probe;
    let (mut effects, mut moved_at) = (0, monotonic());
    loop {
        let seen = stage.effects().await?;
        if seen >= u64::from(args.calls) {
            return Ok(());
        }
        if seen > effects {
            (effects, moved_at) = (seen, monotonic());
        }
        if monotonic().saturating_duration_since(moved_at) > patience {
            return Ok(());
        }
        if std::io::stderr().is_terminal() {
            eprint!("\r{seen} of {} calls succeeded ", args.calls);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The configuration of the service under test.
fn configuration(args: &BenchArgs, prefix: &str, database: &str, third_party: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[log]\nlevel = \"info\"\n[database]\nurl = {database:?}\n\
         [broker]\nurl = {:?}\nprefix = {prefix:?}\n\
         [endpoints.bench]\nbase_url = {third_party:?}\nladder = [\"{} x{}\"]\nconcurrency = {}\n{}\
         timeout = {{ connect = \"2s\", read = \"10s\", overall = \"10s\" }}\nlease = \"40s\"\n",
        args.broker,
        format_duration(args.delay),
        args.failures().max(1) + 2,
        args.concurrency,
        args.outage.map_or("", |_| "breaker = { failure_rate = 0.5 }\n"),
    )
}
