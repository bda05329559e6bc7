//! Builds the program from its configuration, starts its parts in order and stops them in order.
//!
//! Start: ledger, broker and listener are built without waiting for anything outside, so `/healthz` answers at once; then the schema
//! is brought up to date, then timers are refilled, then lanes, doors and sweeper open, then the process is ready. Stop: doors, claiming,
//! running attempts (bounded), broker, ledger.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::auth::Token;
use crate::api::{Api, Health, Tokens};
use crate::broker::{self, Broker, Names, Topology};
use crate::call::{CallId, WorkerName};
use crate::callback::Callbacks;
use crate::callback::guard::Reach;
use crate::clock::{Timestamp, monotonic};
use crate::config::settings::{CallbackAddresses, Declare, Engine, Migrate, Settings, Transport};
use crate::delay::embedded::EmbeddedDelay;
use crate::delay::rabbitmq::RabbitMqDelay;
use crate::delay::{Delay, Departure};
use crate::endpoint::{CATCH_ALL_LANE, LaneName, Registry};
use crate::intake::Intake;
use crate::intake::amqp::AmqpDoor;
use crate::invoker::Invoker;
use crate::ledger::batch::SharedLedger;
use crate::ledger::{self, Ledger, LedgerError};
use crate::limits::{DRAIN_MAX, EMBEDDED_TIMERS_MAX, RECONNECT_PAUSE_MAX};
use crate::notice::{Events, Link, Outbox};
use crate::review::Desk;
use crate::review::queue::ReplayQueue;
use crate::sweeper::{self, Sweeper};
use crate::telemetry::Metrics;
use crate::worker::{Drained, Tools, Worker};

/// The parts that one process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The HTTP API.
    Api,
    /// The AMQP door and the replay queue.
    Intake,
    /// Attempts.
    Worker,
    /// Sweeper and outbox.
    Sweeper,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 4] = [Self::Api, Self::Intake, Self::Worker, Self::Sweeper];
}

/// How long doors may take to finish what they have begun.
const DOORS_PATIENCE: Duration = Duration::from_secs(20);
/// How long a start waits for RabbitMQ before it goes on without.
const BROKER_PATIENCE: Duration = Duration::from_secs(5);
/// What remains for answers on their way when the attempts took all the time there was.
const ANSWERS_PATIENCE: Duration = Duration::from_secs(1);
/// How often a worker writes down how far it has got, for the sweepers of other processes.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Calls of one page when timers are refilled.
const REFILL_PAGE: usize = 5_000;

/// A running program.
#[derive(Debug)]
pub struct App {
    parts: Parts,
    address: Option<SocketAddr>,
    doors: TaskTracker,
    api: TaskTracker,
    background: TaskTracker,
    stop_doors: CancellationToken,
    stop_api: CancellationToken,
    stop_background: CancellationToken,
}

/// What the program is made of.
#[derive(Debug)]
struct Parts {
    settings: Settings,
    registry: Arc<Registry>,
    ledger: Arc<dyn Ledger>,
    shared: SharedLedger,
    broker: Option<Arc<Broker>>,
    delay: Arc<dyn Delay>,
    worker: Option<Arc<Worker>>,
    events: Events,
    metrics: Metrics,
    health: Health,
    link: Link,
}

impl App {
    /// Starts the parts; returns when the process is ready, which may take until the ledger can be reached.
    ///
    /// # Errors
    /// The listener's address is taken, the ledger is another process's or cannot be migrated; also when `stop` is cancelled before
    /// the process is ready.
    pub async fn start(
        settings: Settings,
        roles: &BTreeSet<Part>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let listener = listen(settings.server.listen, roles).await?;
        let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let (doors, api, background) = (TaskTracker::new(), TaskTracker::new(), TaskTracker::new());
        let (stop_doors, stop_api, stop_background) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let parts = Parts::build(settings, roles, address, &background, &stop_background).await?;
        let app = Self { parts, address, doors, api, background, stop_doors, stop_api, stop_background };
        if let Some(listener) = listener {
            app.open_api(listener, roles);
        }
        let ready = async {
            app.prepare_ledger().await?;
            app.refill_timers().await?;
            app.meet_broker().await;
            anyhow::Ok(())
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                app.stop().await;
                anyhow::bail!("stopped before the process was ready");
            }
            prepared = ready => if let Err(error) = prepared {
                app.stop().await;
                return Err(error);
            },
        }
        app.open(roles)?;
        app.parts.health.serving();
        Ok(app)
    }

    /// Where the API listens, or what answers probes in its place.
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// What the process counts.
    pub const fn metrics(&self) -> &Metrics {
        &self.parts.metrics
    }

    /// The ledger.
    pub const fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.parts.ledger
    }

    /// The delay transport.
    pub const fn delay(&self) -> &Arc<dyn Delay> {
        &self.parts.delay
    }

    fn open_api(&self, listener: TcpListener, roles: &BTreeSet<Part>) {
        let parts = &self.parts;
        let intake = self.intake();
        let api = Api {
            intake,
            desk: self.desk(),
            ledger: Arc::clone(&parts.ledger),
            delay: Arc::clone(&parts.delay),
            registry: Arc::clone(&parts.registry),
            tokens: tokens(&parts.settings),
            health: parts.health.clone(),
            metrics: parts.metrics.clone(),
            body_bytes_max: parts.settings.server.max_body,
            rates: crate::api::stats::Rates::default(),
        };
        let api = Arc::new(api);
        let router =
            if roles.contains(&Part::Api) { crate::api::router(api) } else { crate::api::probe_router(api) };
        self.api.spawn(crate::api::serve::serve(listener, router, self.stop_api.clone()));
    }

    fn intake(&self) -> Intake {
        let parts = &self.parts;
        Intake::new(
            parts.shared.clone(),
            Arc::clone(&parts.delay),
            parts.worker.clone(),
            parts.events.clone(),
            parts.metrics.clone(),
            self.background.clone(),
        )
    }

    fn desk(&self) -> Desk {
        let parts = &self.parts;
        Desk::new(
            Arc::clone(&parts.ledger),
            Arc::clone(&parts.delay),
            parts.events.clone(),
            self.background.clone(),
        )
    }

    /// Waits for the ledger, however long it is away, and brings its schema up to date.
    async fn prepare_ledger(&self) -> anyhow::Result<()> {
        let parts = &self.parts;
        let mut pause = Duration::from_millis(100);
        loop {
            let prepared = async {
                if matches!(parts.settings.broker.transport, Transport::Embedded) {
                    parts.ledger.hold_exclusively().await?;
                }
                match parts.settings.database.migrate {
                    Migrate::AtStart => parts.ledger.migrate().await,
                    Migrate::ByHand => parts.ledger.now().await.map(drop),
                }
            };
            match prepared.await {
                Ok(()) => return Ok(()),
                Err(error @ LedgerError::Away(_)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the ledger is away; waiting for it"
                    );
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RECONNECT_PAUSE_MAX);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Timers live in memory: at start they are set again for everything that waits.
    async fn refill_timers(&self) -> anyhow::Result<()> {
        let parts = &self.parts;
        if !matches!(parts.settings.broker.transport, Transport::Embedded) || parts.worker.is_none() {
            return Ok(());
        }
        let far = Timestamp::from_unix_micros(i64::MAX / 2);
        let mut refilled = 0;
        for endpoint in parts.ledger.waiting_endpoints().await? {
            let mut after: Option<(Timestamp, CallId)> = None;
            while refilled < EMBEDDED_TIMERS_MAX {
                let page = parts.ledger.waiting(&endpoint, after, far, REFILL_PAGE).await?;
                let Some(last) = page.last() else { break };
                after = Some((last.wake_at, last.ticket.call));
                refilled += page.len();
                let now = Timestamp::now();
                let departures = page.into_iter().map(|waiting| Departure {
                    ticket: waiting.ticket,
                    endpoint: waiting.endpoint,
                    wait: waiting.wake_at.since(now),
                    wake_at: waiting.wake_at,
                });
                parts.delay.depart(departures.collect()).await?;
            }
        }
        if refilled > 0 {
            tracing::info!(calls = refilled, "timers were set again for calls that wait");
        }
        Ok(())
    }

    /// Waits a little for the first connection to RabbitMQ: whoever were ready before it would leave the tickets of the first calls to
    /// the sweeper. Not for long, because without RabbitMQ calls are taken and made as well.
    async fn meet_broker(&self) {
        if let Some(broker) = &self.parts.broker {
            let _ = tokio::time::timeout(BROKER_PATIENCE, broker.connected()).await;
        }
    }

    fn open(&self, roles: &BTreeSet<Part>) -> anyhow::Result<()> {
        let parts = &self.parts;
        if let Some(worker) = &parts.worker {
            for lane in lanes(&parts.registry) {
                worker.consume(lane);
            }
            if parts.is_shared() {
                self.background.spawn(report(
                    Arc::clone(worker),
                    Arc::clone(&parts.ledger),
                    self.stop_background.clone(),
                ));
            }
        }
        if roles.contains(&Part::Sweeper) {
            self.open_sweeper()?;
        }
        if let Some(broker) = parts.broker.as_ref().filter(|_| roles.contains(&Part::Intake)) {
            self.open_amqp(broker);
        }
        Ok(())
    }

    fn open_sweeper(&self) -> anyhow::Result<()> {
        let parts = &self.parts;
        let sweeper = Arc::new(Sweeper {
            ledger: Arc::clone(&parts.ledger),
            registry: Arc::clone(&parts.registry),
            delay: Arc::clone(&parts.delay),
            worker: parts.worker.clone(),
            events: parts.events.clone(),
            metrics: parts.metrics.clone(),
            config: sweeper::Config {
                every: parts.settings.sweeper.every,
                grace: parts.settings.sweeper.grace,
            },
        });
        let outbox = Outbox {
            ledger: Arc::clone(&parts.ledger),
            broker: parts.broker.clone(),
            link: parts.link.clone(),
            metrics: parts.metrics.clone(),
        };
        let callbacks = Callbacks::new(
            reach(&parts.settings),
            Arc::clone(&parts.ledger),
            parts.link.clone(),
            parts.metrics.clone(),
        )?;
        let stop = &self.stop_background;
        self.background.spawn(callbacks.run(parts.events.callback_signal(), stop.clone()));
        self.background.spawn(Arc::clone(&sweeper).run(stop.clone()));
        self.background.spawn(sweeper.run_handover(stop.clone()));
        self.background.spawn(outbox.run(parts.events.outbox_signal(), stop.clone()));
        Ok(())
    }

    fn open_amqp(&self, broker: &Arc<Broker>) {
        let parts = &self.parts;
        let door = AmqpDoor {
            intake: self.intake(),
            broker: Arc::clone(broker),
            registry: Arc::clone(&parts.registry),
            body_bytes_max: parts.settings.server.max_body,
        };
        let replays = ReplayQueue { desk: self.desk(), broker: Arc::clone(broker) };
        self.doors.spawn(door.run(self.stop_doors.clone()));
        self.doors.spawn(replays.run(self.stop_doors.clone()));
    }

    /// Stops in order: doors, claiming, running attempts (30 s at most in all), broker, ledger.
    pub async fn stop(self) {
        let began = monotonic();
        self.parts.health.draining();
        if let Some(worker) = &self.parts.worker {
            worker.stop_claiming();
        }
        self.stop_doors.cancel();
        self.doors.close();
        let _ = tokio::time::timeout(DOORS_PATIENCE, self.doors.wait()).await;
        if let Some(worker) = &self.parts.worker {
            let left = DRAIN_MAX.saturating_sub(monotonic().saturating_duration_since(began));
            match worker.drain(left).await {
                Drained::Clean => tracing::info!("every attempt is recorded"),
                Drained::Abandoned(attempts) => {
                    tracing::warn!(
                        attempts,
                        "attempts were given up; the sweeper closes them when their leases end"
                    );
                }
            }
        }
        // Until here probes were told that the process is draining; a listener that is gone tells them nothing.
        self.stop_api.cancel();
        self.api.close();
        let left =
            DRAIN_MAX.saturating_sub(monotonic().saturating_duration_since(began)).max(ANSWERS_PATIENCE);
        let _ = tokio::time::timeout(left.min(DOORS_PATIENCE), self.api.wait()).await;
        self.stop_background.cancel();
        let Self { parts, background, .. } = self;
        let (ledger, broker) = parts.into_stores();
        background.close();
        // Tickets and events on their last way; the ledger knows what does not get out.
        let _ = tokio::time::timeout(Duration::from_secs(3), background.wait()).await;
        if let Some(broker) = broker {
            broker.close().await;
        }
        ledger.close().await;
    }
}

impl Parts {
    async fn build(
        settings: Settings,
        roles: &BTreeSet<Part>,
        address: Option<SocketAddr>,
        background: &TaskTracker,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let metrics = Metrics::default();
        let registry = Arc::new(settings.endpoints.clone());
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
                &registry.lanes(),
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
            };
            Worker::new(settings.worker.name.clone().unwrap_or_else(worker_name), tools)
        });
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
            health: Health::default(),
            link,
        })
    }

    /// What is closed last. Everything else is dropped here, because the tasks that commit and publish end when nobody can ask
    /// them any more.
    fn into_stores(self) -> (Arc<dyn Ledger>, Option<Arc<Broker>>) {
        let Self { ledger, broker, .. } = self;
        (ledger, broker)
    }

    /// Whether other processes may work on the same ledger.
    const fn is_shared(&self) -> bool {
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
    Ok(Topology::new(names, &settings.tiers().iter().collect(), &settings.endpoints.lanes()))
}

/// How the ledger of a configuration is opened.
pub fn ledger_config(settings: &Settings) -> ledger::Config {
    ledger::Config {
        url: settings.database.url.secret().clone(),
        connections_max: settings.database.max_connections,
    }
}

const fn reach(settings: &Settings) -> Reach {
    match settings.callbacks.addresses {
        CallbackAddresses::Public => Reach::Public,
        CallbackAddresses::Any => Reach::Anywhere,
    }
}

/// The listener. A process without the API only answers probes, and where another process of the same machine has the address, not
/// even those.
async fn listen(address: SocketAddr, roles: &BTreeSet<Part>) -> anyhow::Result<Option<TcpListener>> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if roles.contains(&Part::Api) => {
            Err(error).with_context(|| format!("cannot listen on {address}"))
        }
        Err(error) => {
            tracing::warn!(%address, %error, "probes and metrics are not served: the address is taken");
            Ok(None)
        }
    }
}

fn tokens(settings: &Settings) -> Tokens {
    let token = |(name, token): (&crate::call::Publisher, &crate::config::settings::Token)| Token {
        name: name.clone(),
        sha256: token.sha256,
        roles: token.roles.iter().copied().collect(),
    };
    Tokens::new(settings.tokens.iter().map(token).collect())
}

/// Every lane, the catch-all lane included.
fn lanes(registry: &Registry) -> BTreeSet<LaneName> {
    registry.lanes().into_keys().chain(LaneName::parse(CATCH_ALL_LANE)).collect()
}

async fn report(worker: Arc<Worker>, ledger: Arc<dyn Ledger>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(REPORT_EVERY) => {}
        }
        let reports = worker.progress().reports();
        if !reports.is_empty()
            && let Err(error) = ledger.report_lanes(worker.name(), &reports).await
        {
            tracing::debug!(%error, "progress could not be written down");
        }
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
