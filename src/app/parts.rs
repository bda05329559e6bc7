//! What the program is made of, built from its configuration without waiting for anything outside.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Part;
use crate::api::{Configuration, Health};
use crate::broker::{self, Broker, Names, Topology};
use crate::call::WorkerName;
use crate::clock::Timestamp;
use crate::config::settings::{Declare, Engine, Settings, Transport};
use crate::delay::Delay;
use crate::delay::embedded::EmbeddedDelay;
use crate::delay::rabbitmq::RabbitMqDelay;
use crate::endpoint::Registry;
use crate::invoker::Invoker;
use crate::ledger::batch::SharedLedger;
use crate::ledger::{self, Ledger};
use crate::notice::{Events, Link};
use crate::tally::Tallies;
use crate::telemetry::Metrics;
use crate::worker::{Company, Tools, Worker};

/// What the program is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) settings: Settings,
    pub(super) registry: Arc<Registry>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) shared: SharedLedger,
    pub(super) broker: Option<Arc<Broker>>,
    pub(super) delay: Arc<dyn Delay>,
    pub(super) worker: Option<Arc<Worker>>,
    pub(super) events: Events,
    pub(super) metrics: Metrics,
    pub(super) tallies: Tallies,
    pub(super) health: Health,
    pub(super) link: Link,
    pub(super) configuration: Configuration,
}

impl Parts {
    pub(super) async fn build(
        settings: Settings,
        roles: &BTreeSet<Part>,
        address: Option<SocketAddr>,
        background: &TaskTracker,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let (metrics, tallies) = (Metrics::default(), Tallies::default());
        let registry = Arc::new(Registry::from(settings.endpoints.clone()));
        let ledger = ledger::open(&ledger_config(&settings)).await?;
        let shared = SharedLedger::start(Arc::clone(&ledger), &metrics, background);
        let listening = format!("http://{}", address.unwrap_or(settings.server.listen));
        let link = Link::below(settings.server.public_url.as_deref().unwrap_or(&listening));
        let broker = start_broker(&settings, stop)?;
        let delay: Arc<dyn Delay> = match &broker {
            Some(broker) => {
                Arc::new(RabbitMqDelay::new(Arc::clone(broker), settings.tiers(), metrics.clone()))
            }
            None => EmbeddedDelay::start(
                &registry.snapshot().lanes(),
                settings.tiers(),
                settings.broker.prefix.to_string(),
                background,
                stop.clone(),
            ),
        };
        let events = match &broker {
            Some(broker) => Events::start(Arc::clone(broker), link.clone(), &metrics, background),
            None => Events::without_broker(&metrics),
        };
        let worker = roles.contains(&Part::Worker).then(|| {
            let tools = Tools {
                ledger: shared.clone(),
                registry: Arc::clone(&registry),
                delay: Arc::clone(&delay),
                invoker: Arc::new(Invoker::new()),
                events: events.clone(),
                metrics: metrics.clone(),
                company: if broker.is_some() { Company::Others } else { Company::Alone },
                tallies: tallies.clone(),
            };
            Worker::new(settings.worker.name.clone().unwrap_or_else(worker_name), tools)
        });
        let configuration = Configuration::started(Timestamp::now(), settings.tiers());
        Ok(Self {
            settings,
            registry,
            ledger,
            shared,
            broker,
            delay,
            worker,
            events,
            metrics,
            tallies,
            health: Health::default(),
            link,
            configuration,
        })
    }

    /// What is closed last. Everything else is dropped here, because the tasks that commit and publish end when nobody can ask
    /// them any more.
    pub(super) fn into_stores(self) -> (Arc<dyn Ledger>, Option<Arc<Broker>>) {
        let Self { ledger, broker, .. } = self;
        (ledger, broker)
    }

    /// Whether other processes may work on the same ledger.
    pub(super) const fn is_shared(&self) -> bool {
        self.broker.is_some() && matches!(self.settings.database.engine, Engine::Postgres)
    }
}

/// Where the configured RabbitMQ is; `None` if the transport is embedded.
///
/// # Errors
/// The URL names no broker.
pub fn broker_address(settings: &Settings) -> anyhow::Result<Option<broker::Address>> {
    let Transport::RabbitMq(rabbitmq) = &settings.broker.transport else { return Ok(None) };
    broker::Address::parse(rabbitmq.url.secret()).map(Some).map_err(anyhow::Error::msg)
}

fn start_broker(settings: &Settings, stop: &CancellationToken) -> anyhow::Result<Option<Arc<Broker>>> {
    let Transport::RabbitMq(rabbitmq) = &settings.broker.transport else { return Ok(None) };
    let Some(address) = broker_address(settings)? else { return Ok(None) };
    let config = broker::Config {
        address,
        connection_name: format!("redial {}", worker_name()),
        declare: match rabbitmq.declare {
            Declare::AtConnect => broker::Declare::Apply,
            Declare::ByHand => broker::Declare::Never,
        },
    };
    Ok(Some(Broker::start(config, topology(settings)?, stop.clone())))
}

/// The topology that a configuration asks for.
///
/// # Errors
/// The prefix makes no names.
pub fn topology(settings: &Settings) -> anyhow::Result<Topology> {
    let names = Names::parse(settings.broker.prefix.as_str()).map_err(anyhow::Error::msg)?;
    let endpoints = &settings.endpoints;
    let topology = Topology::new(names, &settings.tiers().iter().collect(), &endpoints.lanes());
    Ok(topology.with_single(&endpoints.single_lanes()))
}

/// How the ledger of a configuration is opened.
pub fn ledger_config(settings: &Settings) -> ledger::Config {
    ledger::Config {
        url: settings.database.url.secret().clone(),
        connections_max: settings.database.max_connections,
    }
}

/// Host, process and a random part: two processes never share a name, not even in two containers with the same process id.
fn worker_name() -> WorkerName {
    let host = std::env::var("HOSTNAME")
        .ok()
        .or_else(|| std::fs::read_to_string("/etc/hostname").ok())
        .map(|host| host.trim().chars().filter(|letter| !letter.is_control()).take(64).collect::<String>())
        .filter(|host| !host.is_empty())
        .unwrap_or_else(|| "host".to_owned());
    let mark: u16 = rand::random();
    let name = format!("{host}-{}-{mark:04x}", std::process::id());
    // 64 printable characters, a number and a mark are always a name.
    WorkerName::parse(&name).unwrap_or_else(|_| unreachable!("{name:?} is a name"))
}
