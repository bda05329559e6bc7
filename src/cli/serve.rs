//! `redial serve`: the service.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{ConfigArgs, Outcome, load, signals, sources, start_log};
use crate::app::{App, Part};
use crate::config::Purpose;
use crate::config::settings::Migrate;

/// Arguments of `redial serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The parts that this process runs
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Role::ALL, value_name = "ROLE")]
    roles: Vec<Role>,
    /// Leave the database's schema alone; `redial migrate` brings it up to date
    #[arg(long)]
    no_migrate: bool,
}

/// A part of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// The HTTP API
    Api,
    /// Submissions and replay requests by AMQP
    Intake,
    /// Attempts
    Worker,
    /// Finds calls whose ticket or worker was lost
    Sweeper,
}

impl Role {
    const ALL: [Self; 4] = [Self::Api, Self::Intake, Self::Worker, Self::Sweeper];

    const fn part(self) -> Part {
        match self {
            Self::Api => Part::Api,
            Self::Intake => Part::Intake,
            Self::Worker => Part::Worker,
            Self::Sweeper => Part::Sweeper,
        }
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// The configuration is wrong, the address is taken, the ledger belongs to another process or cannot be migrated.
pub async fn run(args: ServeArgs) -> Outcome {
    let sources = sources(&args.config, Purpose::Serve);
    let mut settings = load(&args.config, Purpose::Serve)?;
    if args.no_migrate {
        settings.database.migrate = Migrate::ByHand;
    }
    start_log(&settings);
    let roles: BTreeSet<Part> = args.roles.iter().map(|role| role.part()).collect();
    let (stop, reload) = (signals::stop_on_signal(), signals::reload_on_signal());
    let app = match App::start(settings, &roles, &stop).await {
        Ok(app) => app,
        // Stopped while it waited for the ledger: nothing was begun, so nothing is lost.
        Err(_) if stop.is_cancelled() => return Ok(ExitCode::SUCCESS),
        Err(error) => return Err(error.into()),
    };
    app.follow(sources, reload);
    if let Some(address) = app.address() {
        tracing::info!(%address, "redial serves http://{address}");
    } else {
        tracing::info!("redial serves without an API");
    }
    let is_broken = tokio::select! {
        () = stop.cancelled() => false,
        () = app.broken() => true,
    };
    tracing::info!("stopping");
    app.stop().await;
    tracing::info!("stopped");
    if is_broken {
        return Err(anyhow::anyhow!("a part of the process panicked; the log says which").into());
    }
    Ok(ExitCode::SUCCESS)
}
