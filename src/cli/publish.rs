//! `redial publish`: a publisher that keeps going, so that there is something to see.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::{ConfigArgs, Outcome, load, signals};
use crate::app;
use crate::broker::{self, Broker, Message, Published};
use crate::call::EndpointName;
use crate::config::Purpose;

/// Arguments of `redial publish`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Calls per second
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "N")]
    rate: u32,
    /// Stop after this many calls
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// The paths that are called in turn; the simulator reads its behaviour from them
    #[arg(long, value_delimiter = ',', default_values = ["/flaky/0.4", "/ok", "/fail/2", "/slow?ms=700", "/status/422"], value_name = "PATH")]
    paths: Vec<String>,
}

/// Publishes calls to every configured endpoint in turn, until stopped.
///
/// # Errors
/// The configuration is wrong or names no RabbitMQ.
pub async fn run(args: PublishArgs) -> Outcome {
    let settings = load(&args.config, Purpose::Serve)?;
    let Some(address) = app::broker_address(&settings)? else {
        return Err(anyhow::anyhow!("broker.url is embedded: there is no exchange to publish to").into());
    };
    let stop = signals::stop_on_signal();
    let config = broker::Config {
        address,
        connection_name: "redial publish".to_owned(),
        declare: broker::Declare::Never,
    };
    let broker = Broker::start(config, app::topology(&settings)?, stop.clone());
    let endpoints: Vec<EndpointName> =
        settings.endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
    let published = tokio::select! {
        published = publish_all(&args, &broker, &endpoints) => published,
        () = stop.cancelled() => Ok(()),
    };
    broker.close().await;
    published?;
    Ok(ExitCode::SUCCESS)
}

async fn publish_all(args: &PublishArgs, broker: &Broker, endpoints: &[EndpointName]) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / args.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let run = uuid::Uuid::now_v7();
    let mut paths = args.paths.iter().cycle();
    let mut endpoints = endpoints.iter().cycle();
    for number in 0..args.count.unwrap_or(u64::MAX) {
        ticks.tick().await;
        let endpoint = endpoints.next().context("no endpoint is configured")?;
        let path = paths.next().context("--paths is empty")?;
        let document = json!({
            "endpoint": endpoint.as_str(),
            "idempotency_key": format!("{run}-{number}"),
            "request": { "method": "POST", "path": path, "body": { "number": number } },
            "tags": { "source": "redial-publish" },
        });
        let message = Message::json(
            broker.topology().names.submit(),
            endpoint.as_str(),
            document.to_string().into_bytes(),
        );
        publish_one(broker, message).await;
    }
    Ok(())
}

/// Publishes until RabbitMQ has it: unconfirmed is unknown, and the idempotency key makes repeating safe.
async fn publish_one(broker: &Broker, message: Message) {
    loop {
        match broker.publish(vec![message.clone()]).await.first() {
            Some(Published::Confirmed) => return,
            Some(Published::Unroutable | Published::Refused | Published::Unknown | Published::Away)
            | None => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
