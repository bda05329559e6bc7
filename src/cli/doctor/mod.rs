//! `redial doctor`: looks at everything the service stands on, and says what is not as it should be. It changes nothing.
//!
//! One line a check: `ok`, `warning` (it works, and somebody should look), `fault` (calls are or will be in trouble), `unchecked` (it
//! could not be looked at, and why). Exit code 1 if there is a fault.

mod broker;
mod ledger;
mod report;
mod server;

use std::process::ExitCode;

use clap::Args;

use super::client::paper::{Paper, say};
use super::{ConfigArgs, Outcome};
use crate::config::{self, Loaded, Purpose, Sources};
use report::Report;

/// Arguments of `redial doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// A running server that is to be looked at as well
    #[arg(long, env = "REDIAL_SERVER", value_name = "URL")]
    server: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Looks at everything; exit code 1 if there is a fault.
///
/// # Errors
/// The report could not be made; what is wrong with the service is no error.
pub async fn run(args: DoctorArgs) -> Outcome {
    let mut report = Report::default();
    report.ok("program", format!("redial {}", env!("CARGO_PKG_VERSION")));
    let sources = Sources::of_process(args.config.config.clone(), Purpose::Administer);
    if let Some(Loaded { settings, .. }) = configuration(&sources, &mut report) {
        ledger::look(&settings, &mut report).await;
        broker::look(&settings, &mut report).await?;
    }
    if let Some(url) = &args.server {
        server::look(url, &mut report).await?;
    }
    say(&if args.json { report.json() } else { report.text(Paper::of_stdout()) });
    Ok(if report.has_faults() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The configuration, if there is one to go on with.
fn configuration(sources: &Sources, report: &mut Report) -> Option<Loaded> {
    match config::load(sources) {
        Ok(loaded) => {
            let file = loaded.file.as_deref().unwrap_or("no file; defaults and environment");
            let endpoints = loaded.settings.endpoints.iter().count();
            report.ok("configuration", format!("{file}, endpoints: {endpoints}"));
            for warning in &loaded.warnings {
                report.warning("configuration", warning.to_string());
            }
            Some(loaded)
        }
        Err(faults) => {
            for fault in faults.iter() {
                report.fault("configuration", fault.to_string());
            }
            None
        }
    }
}
