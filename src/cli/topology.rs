//! `redial topology`: RabbitMQ's exchanges and queues, exported, declared or verified.

use std::process::ExitCode;

use clap::Subcommand;

use super::{ConfigArgs, Outcome};

/// What to do with the topology.
#[derive(Debug, Subcommand)]
pub enum TopologyCommand {
    /// Print the definitions that the broker can load at boot
    Export(ConfigArgs),
    /// Declare what is missing
    Apply(ConfigArgs),
    /// Compare what is declared, effective policies included, with what should be
    Check(ConfigArgs),
}

/// Carries out a topology command.
///
/// # Errors
/// The configuration is wrong or names no RabbitMQ, or RabbitMQ cannot be reached.
pub async fn run(_command: TopologyCommand) -> Outcome {
    Ok(ExitCode::SUCCESS)
}
