//! `redial health`: asks a running server whether it is ready.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::Outcome;

/// Arguments of `redial health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// The server
    #[arg(long, env = "REDIAL_SERVER", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    server: String,
}

/// Prints what `/readyz` says; exit code 0 if the server is ready (degraded included), else 1.
///
/// # Errors
/// The server cannot be reached.
pub async fn run(args: HealthArgs) -> Outcome {
    let client = super::http::client(Duration::from_secs(3))?;
    let response = client.get(format!("{}/readyz", args.server.trim_end_matches('/'))).send().await?;
    let ready = response.status().is_success();
    println!("{}", response.text().await?.trim());
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
