//! The command line: one file a command.
//!
//! Exit codes: 0 done; 1 failed; 2 the command line or the configuration is wrong; commands that ask a running server tell more
//! ([`client`]). Results go to standard output, the log and everything for people in between to standard error.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what a command line is for")]

pub mod bench;
pub mod check;
pub mod client;
pub mod completions;
pub mod demo;
pub mod doctor;
pub mod health;
pub mod http;
pub mod migrate;
pub mod publish;
pub mod serve;
pub mod signals;
pub mod simulate;
pub mod token;
pub mod topology;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::settings::{LogFormat, Settings};
use crate::config::{self, Faults, Loaded, Purpose, Sources};
use crate::telemetry;

/// Takes over failed calls to third parties: records them, retries them through RabbitMQ delay queues, and ends in success or in
/// front of a person.
#[derive(Debug, Parser)]
#[command(name = "redial", version, max_term_width = 120, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, at the start")]
enum Command {
    /// Run the service, or the parts of it that --roles names
    Serve(serve::ServeArgs),
    /// Show it all at work in one process: a few hundred calls against a third party that misbehaves
    Demo(demo::DemoArgs),
    /// Run the misbehaving third party alone
    Simulate(simulate::SimulateArgs),
    /// Publish calls to the exchange at a steady rate, to see something happen
    Publish(publish::PublishArgs),
    /// Measure: calls per second, lateness, doubles, losses, memory, CPU
    Bench(bench::BenchArgs),
    /// Bring the database's schema to this program's version
    Migrate(ConfigArgs),
    /// Export, declare or verify RabbitMQ's exchanges and queues
    #[command(subcommand)]
    Topology(topology::TopologyCommand),
    /// Read the configuration and say what it means, everything that is wrong with it, or what it would change on a running server
    Check(check::CheckArgs),
    /// Ask a running server whether it is ready; for health checks of containers
    Health(health::HealthArgs),
    /// Look at everything the service stands on, and say what is not as it should be
    Doctor(doctor::DoctorArgs),
    /// Make tokens for the API
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Print what a shell needs to complete this program's commands
    Completions(completions::CompletionsArgs),
    #[command(flatten)]
    Client(client::ClientCommand),
}

/// Where the configuration is.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// The configuration file [default: redial.toml, if there is one]
    #[arg(long, short, value_name = "FILE", env = "REDIAL_CONFIG")]
    config: Option<PathBuf>,
}

/// Why a command ended before it was done.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is wrong.
    Configuration(Faults),
    /// Anything else.
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// The result of a command.
pub type Outcome = Result<ExitCode, Failure>;

/// Runs the program.
pub fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    if matches!(command, Command::Serve(_)) {
        roomy_stacks();
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime could be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(command)) {
        Ok(code) => code,
        Err(Failure::Configuration(faults)) => {
            eprintln!("{faults}");
            ExitCode::from(2)
        }
        Err(Failure::Other(error)) => {
            eprintln!("error: {error:#}");
            client::trouble::exit_code(&error)
        }
    }
}

/// Stacks of all threads, in bytes: reserved, not used.
const STACK_BYTES: &str = "536870912";

/// Begins anew with roomy stacks, unless they are. lapin reads header tables recursively: a message whose headers are nested as deep
/// as one frame can hold would overflow a stack of the usual 2 MiB and end the process, and again after every redelivery.
fn roomy_stacks() {
    use std::os::unix::process::CommandExt as _;

    const VARIABLE: &str = "RUST_MIN_STACK";
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    // It only returns if it failed; the process then serves as it is.
    let error = std::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(VARIABLE, STACK_BYTES)
        .exec();
    eprintln!("warning: the program could not begin anew with roomy stacks: {error}");
}

async fn run(command: Command) -> Outcome {
    match command {
        Command::Serve(args) => serve::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Simulate(args) => {
            simulate::run(args, signals::stop_on_signal()).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Publish(args) => publish::run(args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Topology(command) => topology::run(command).await,
        Command::Check(args) => check::run(args).await,
        Command::Health(args) => health::run(args).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Token(command) => token::run(&command),
        Command::Completions(args) => Ok(completions::run(&args)),
        Command::Client(command) => client::run(command).await,
    }
}

/// Reads the configuration of this process; warnings go to standard error.
fn load(args: &ConfigArgs, purpose: Purpose) -> Result<Settings, Failure> {
    let Loaded { settings, warnings, .. } =
        config::load(&sources(args, purpose)).map_err(Failure::Configuration)?;
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    Ok(settings)
}

/// Where the configuration of this process comes from.
fn sources(args: &ConfigArgs, purpose: Purpose) -> Sources {
    Sources::of_process(args.config.clone(), purpose)
}

/// Sets the log up as configured; `REDIAL_LOG` (a filter such as `redial=debug`) goes before. lapin calls every lost connection
/// an error, which the broker's own log says better.
fn start_log(settings: &Settings) {
    let format = match settings.log.format {
        LogFormat::Text => telemetry::LogFormat::Text,
        LogFormat::Json => telemetry::LogFormat::Json,
    };
    let filter = std::env::var("REDIAL_LOG")
        .unwrap_or_else(|_| format!("warn,lapin=off,redial={}", settings.log.level));
    if let Err(sentence) = telemetry::log_to_stderr(format, &filter) {
        eprintln!("warning: {sentence}");
    }
}
