//! `redial demo`: everything in one process, against a third party that misbehaves.
//!
//! It uses the program as everybody does: calls go in by HTTP, and what became of them is read from the ledger and from the
//! third party's own books.

mod board;
mod summary;
mod workload;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{Outcome, signals, start_log};
use crate::app::{self, App, Part};
use crate::broker::Admin;
use crate::call::{Call, CallId, TagKey};
use crate::config::{self, Loaded, Settings, Sources};
use crate::ledger::{Filter, Ledger};
use crate::limits::PAGE_MAX;
use crate::simulator::{Script, Simulator, SimulatorConfig};

/// Arguments of `redial demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many calls are submitted
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=5_000), value_name = "N")]
    calls: u32,
    /// RabbitMQ in place of timers in this process, as in <amqp://guest:guest@127.0.0.1:5672>; its queues are removed at the end
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// PostgreSQL in place of a temporary SQLite file, as in <postgres://postgres@127.0.0.1/demo>; a database of its own
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Where the API listens
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Keep serving after the summary, until Ctrl-C
    #[arg(long)]
    stay: bool,
}

/// The tag that all calls of one demo carry.
const TAG: &str = "demo";
/// How often the board is drawn anew.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// When the third party is down, counted from its start.
const OUTAGE: &str = "down = [{ from = \"2s\", to = \"5s\" }]\n";

/// Runs the demo. Exit code 1 if the numbers do not add up.
///
/// # Errors
/// A part cannot be started, or the database holds other calls.
pub async fn run(args: DemoArgs) -> Outcome {
    let stop = signals::stop_on_signal();
    let third_party = start_third_party(&stop).await?;
    let folder = Scratch::create()?;
    let Loaded { settings, .. } =
        config::load(&Sources::of_text(configuration(&args, &third_party.url(), &folder)))
            .map_err(super::Failure::Configuration)?;
    start_log(&settings);
    let app = App::start(settings.clone(), &BTreeSet::from(Part::ALL), &stop).await?;
    let outcome = play(&args, &app, &third_party, &stop).await;
    if args.stay && outcome.is_ok() {
        println!("\nstill serving; Ctrl-C ends it");
        stop.cancelled().await;
    }
    app.stop().await;
    if let Err(error) = clear_broker(&settings).await {
        eprintln!("what the demo declared in RabbitMQ is still there: {error:#}");
    }
    drop(folder);
    Ok(outcome?)
}

/// Removes the exchanges and queues of the demo's prefix: the RabbitMQ may be one that others work with.
async fn clear_broker(settings: &Settings) -> anyhow::Result<()> {
    let Some(address) = app::broker_address(settings)? else { return Ok(()) };
    let admin = Admin::new(&address, "redial demo");
    let removed = admin.delete(&app::topology(settings)?).await;
    admin.close().await;
    Ok(removed?)
}

async fn play(
    args: &DemoArgs,
    app: &App,
    third_party: &Simulator,
    stop: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    let strangers: Vec<String> = app
        .ledger()
        .waiting_endpoints()
        .await?
        .into_iter()
        .filter(|endpoint| !workload::ENDPOINTS.contains(&endpoint.as_str()))
        .map(|endpoint| endpoint.to_string())
        .collect();
    if !strangers.is_empty() {
        bail!(
            "this database holds calls of other endpoints ({}); the demo wants a database of its own",
            strangers.join(", ")
        );
    }
    let api = format!("http://{}", app.address().context("the API is always started")?);
    println!("console      {api}/");
    println!("API          {api}/v1/calls  {api}/v1/stats  {api}/docs  {api}/metrics");
    println!(
        "third party  {}  (down for 3 s in a moment, flaky, slow, and sometimes it refuses)",
        third_party.url()
    );
    let run = CallId::generate().to_string();
    workload::submit(&api, &run, args.calls).await?;
    let calls = watch(args, app, &run, stop).await?;
    Ok(summary::print(&calls, args.calls, third_party))
}

/// Draws the board until every call is finished or waits for a person.
async fn watch(args: &DemoArgs, app: &App, run: &str, stop: &CancellationToken) -> anyhow::Result<Vec<Call>> {
    let mut board = board::Board::new(args.calls);
    loop {
        let calls = calls_of(app.ledger().as_ref(), run).await?;
        let depths = app.delay().depths().await.unwrap_or_default();
        let open = board.draw(&calls, &depths);
        if open == 0 || stop.is_cancelled() {
            board.finish();
            return Ok(calls);
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn calls_of(ledger: &dyn Ledger, run: &str) -> anyhow::Result<Vec<Call>> {
    let filter = Filter { tags: vec![(TagKey::parse(TAG)?, run.to_owned())], ..Filter::default() };
    let mut calls: Vec<Call> = Vec::new();
    loop {
        let page = ledger.list(&filter, calls.last().map(|call| call.id), PAGE_MAX).await?;
        let last = page.len() < PAGE_MAX;
        calls.extend(page);
        if last {
            return Ok(calls);
        }
    }
}

async fn start_third_party(stop: &CancellationToken) -> anyhow::Result<Simulator> {
    let script = Script::parse(OUTAGE).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    Ok(Simulator::start(SimulatorConfig { script, ..SimulatorConfig::default() }, stop.clone()).await?)
}

fn configuration(args: &DemoArgs, third_party: &str, folder: &Scratch) -> String {
    let database = args.database.clone().unwrap_or_else(|| format!("sqlite:{}", folder.file("demo.db")));
    let broker = args.broker.as_deref().unwrap_or("embedded:");
    let server = format!("[server]\nlisten = \"{}\"\n[log]\nlevel = \"error\"\n", args.listen);
    let stores =
        format!("[database]\nurl = {database:?}\n[broker]\nurl = {broker:?}\nprefix = \"redial-demo\"\n");
    let endpoint = |(name, ladder): (&str, &str)| {
        format!(
            "[endpoints.{name}]\nbase_url = \"{third_party}\"\nladder = {ladder}\nconcurrency = 32\n\
             timeout = {{ connect = \"1s\", read = \"2s\", overall = \"3s\" }}\n"
        )
    };
    let endpoints: String = workload::LADDERS.into_iter().map(endpoint).collect();
    format!("{server}{stores}{endpoints}")
}

/// A folder that is removed when it is dropped.
#[derive(Debug)]
pub(in crate::cli) struct Scratch(std::path::PathBuf);

impl Scratch {
    /// A new folder below the system's folder for temporary files.
    pub(in crate::cli) fn create() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("redial-{}", CallId::generate()));
        std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    /// The path of a file in it.
    pub(in crate::cli) fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to the system, which clears its folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
