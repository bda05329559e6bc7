//! `redial simulate`: a third party that misbehaves on command.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::simulator::{Script, Simulator, SimulatorConfig, Summary};

/// Arguments of `redial simulate`.
#[derive(Args, Clone, Debug)]
pub struct SimulateArgs {
    /// Where it listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// What it does beyond what paths say (TOML; docs/simulator.md)
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Makes chance repeatable
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The header by which repetitions of a request are recognised
    #[arg(long, default_value = "idempotency-key", value_name = "NAME")]
    key_header: http::HeaderName,
    /// How many of the newest requests are kept whole for /_simulator/requests
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    keep_requests: usize,
}

/// Runs the simulator until the stop token is cancelled.
///
/// # Errors
/// The script is wrong, or the address cannot be listened on.
#[expect(clippy::print_stdout, reason = "a command's output")]
pub async fn run(args: SimulateArgs, stop: CancellationToken) -> anyhow::Result<()> {
    let script = args.script.as_deref().map(read_script).transpose()?.unwrap_or_default();
    let listen = args.listen;
    let config = SimulatorConfig {
        listen,
        script,
        seed: args.seed,
        key_header: args.key_header,
        keep_requests: args.keep_requests,
    };
    let simulator = Simulator::start(config, stop.clone())
        .await
        .with_context(|| format!("cannot listen on {listen}: choose another address with --listen"))?;
    println!("the simulator listens on {}", simulator.url());
    println!("what it has seen: {}/_simulator/summary", simulator.url());
    stop.cancelled().await;
    println!("{}", farewell(&simulator.summary()));
    simulator.stopped().await;
    Ok(())
}

fn read_script(path: &Path) -> anyhow::Result<Script> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the script {}", path.display()))?;
    match Script::parse(&text) {
        Ok(script) => Ok(script),
        Err(faults) => {
            let lines: Vec<_> = faults.iter().map(|fault| format!("{}: {fault}", path.display())).collect();
            bail!("the script is wrong:\n{}", lines.join("\n"))
        }
    }
}

fn farewell(summary: &Summary) -> String {
    format!(
        "{} requests with {} keys; {} took effect, {} of them a second time or more; {} were answered",
        summary.requests, summary.keys, summary.effects, summary.duplicates, summary.answered
    )
}
