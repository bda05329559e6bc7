//! `redial topology`: RabbitMQ's exchanges and queues, exported, declared or verified.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;

use super::{ConfigArgs, Failure, Outcome, load};
use crate::app;
use crate::broker::definitions::definitions_json;
use crate::broker::topology::Binding;
use crate::broker::{Address, Admin, ManagementUrl, Stale, Topology, check};
use crate::config::Purpose;
use crate::config::settings::{Settings, Transport};

/// What to do with the topology.
#[derive(Debug, Subcommand)]
pub enum TopologyCommand {
    /// Print the definitions that the broker can load at boot
    Export(ConfigArgs),
    /// Declare what is missing and unbind lanes of removed endpoints; exit code 1 if something exists with other arguments
    Apply(ConfigArgs),
    /// Compare what is declared, effective policies included, with what should be; exit code 1 if anything differs
    Check(ConfigArgs),
}

/// Carries out a topology command.
///
/// # Errors
/// The configuration is wrong or names no RabbitMQ, or RabbitMQ cannot be reached.
pub async fn run(command: TopologyCommand) -> Outcome {
    match command {
        TopologyCommand::Export(config) => {
            // Nothing is asked of the broker, so its URL does not matter.
            let settings = load(&config, Purpose::Administer)?;
            println!("{}", definitions_json(&app::topology(&settings)?).trim_end());
            Ok(ExitCode::SUCCESS)
        }
        TopologyCommand::Apply(config) => apply(&load(&config, Purpose::Administer)?).await,
        TopologyCommand::Check(config) => verify(&load(&config, Purpose::Administer)?).await,
    }
}

async fn apply(settings: &Settings) -> Outcome {
    let (address, admin) = connect(settings)?;
    let topology = app::topology(settings)?;
    let refusals = admin.apply(&topology).await;
    let stale = admin.stale_lanes(&topology, Stale::Unbind).await;
    let deserted = unbind_deserted(settings, &address, &admin, &topology).await;
    admin.close().await;
    let refusals = refusals.context("the topology could not be declared")?;
    for refusal in &refusals {
        println!("{}: refused ({}): {}", refusal.object, refusal.code, refusal.text);
    }
    for (queue, messages) in stale.context("lanes of another configuration could not be looked for")? {
        println!(
            "queue {queue}: a lane of another configuration, unbound now; `redial serve` moves its {messages} messages over"
        );
    }
    for Binding { queue, key, .. } in deserted.context("lanes of removed endpoints could not be unbound")? {
        println!("queue {queue}: no configured endpoint has this lane; its binding {key} is gone now");
    }
    let declared = topology.exchanges.len() + topology.queues.len();
    println!(
        "{} of {declared} exchanges and queues are as they should be",
        declared.saturating_sub(refusals.len())
    );
    Ok(if refusals.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Unbinds the lanes that no configured endpoint has, and answers the bindings that are gone. Only the management API knows them.
async fn unbind_deserted(
    settings: &Settings,
    address: &Address,
    admin: &Admin,
    topology: &Topology,
) -> anyhow::Result<Vec<Binding>> {
    let Some(url) = management_url(settings)? else {
        println!("not looked for: lanes of removed endpoints: no management URL is configured");
        return Ok(Vec::new());
    };
    match check::deserted(&url, address.vhost(), topology).await {
        Ok(bindings) => {
            admin.unbind(bindings.iter()).await?;
            Ok(bindings)
        }
        Err(silent) => {
            println!("not looked for: lanes of removed endpoints: the management API at {url}: {silent}");
            Ok(Vec::new())
        }
    }
}

async fn verify(settings: &Settings) -> Outcome {
    let (address, admin) = connect(settings)?;
    let management = management_url(settings)?;
    let report = check::check(&admin, &address, management.as_ref(), &app::topology(settings)?).await;
    admin.close().await;
    let report = report.context("the topology could not be checked")?;
    for finding in &report.findings {
        println!("{finding}");
    }
    for unchecked in &report.unchecked {
        println!("not checked: {unchecked}");
    }
    if report.findings.is_empty() {
        println!("everything that was checked is as it should be");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn connect(settings: &Settings) -> Result<(Address, Admin), Failure> {
    let address =
        app::broker_address(settings)?.context("broker.url is embedded: there is no RabbitMQ to ask")?;
    let admin = Admin::new(&address, "redial topology");
    Ok((address, admin))
}

fn management_url(settings: &Settings) -> anyhow::Result<Option<ManagementUrl>> {
    let Transport::RabbitMq(rabbitmq) = &settings.broker.transport else { return Ok(None) };
    let url = rabbitmq.management_url.as_ref().map(|url| ManagementUrl::parse(url.secret()));
    url.transpose().map_err(anyhow::Error::msg)
}
