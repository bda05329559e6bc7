//! Builds the program from its configuration, starts its parts in order and stops them in order.
//!
//! Start: ledger, broker and listener are built without waiting for anything outside, so `/healthz` answers at once; then the schema
//! is brought up to date, then timers are refilled, then lanes, doors and sweeper open, then the process is ready. Stop: doors, claiming,
//! running attempts (bounded), broker, ledger.

mod parts;
mod reload;
mod vital;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::auth::Token;
use crate::api::session::PublicUrl;
use crate::api::stream::Hub;
use crate::api::{Api, Tokens};
use crate::broker::Broker;
use crate::call::CallId;
use crate::callback::Callbacks;
use crate::clock::{Timestamp, monotonic};
use crate::config::settings::{CallbackAddresses, Engine, Migrate, Settings, Transport};
use crate::delay::{Delay, Departure};
use crate::endpoint::{CATCH_ALL_LANE, LaneName};
use crate::intake::Intake;
use crate::intake::amqp::AmqpDoor;
use crate::invoker::guard::Reach;
use crate::ledger::{self, Ledger, LedgerError};
use crate::limits::{DRAIN_MAX, EMBEDDED_TIMERS_MAX, RECONNECT_PAUSE_MAX, RETENTION_BATCH, RETENTION_PAUSE};
use crate::notice::Outbox;
use crate::review::Desk;
use crate::review::queue::ReplayQueue;
use crate::sweeper::{self, Sweeper};
use crate::telemetry::Metrics;
use crate::upkeep;
use crate::worker::{Drained, Form, Worker};

pub use parts::{broker_address, ledger_config, topology};

use parts::Parts;
use vital::Vital;

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
/// The pause before a start that the ledger broke off goes on.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long each of the last steps of a stop may take.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(2);
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
    vital: Vital,
    stop_doors: CancellationToken,
    stop_api: CancellationToken,
    stop_background: CancellationToken,
}

/// Whether the ledger can be worked with.
enum Readiness {
    /// It can.
    Ready,
    /// Its schema lacks this many migrations.
    Behind(usize),
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
        let vital = Vital::default();
        let app =
            Self { parts, address, doors, api, background, vital, stop_doors, stop_api, stop_background };
        if let Some(listener) = listener {
            app.open_api(listener, roles);
        }
        let ready = async {
            while let Err(error) = app.prepare().await {
                if !is_absence(&error) {
                    return Err(error);
                }
                tracing::warn!(
                    error = &*error as &dyn std::error::Error,
                    "the ledger went away again; waiting for it"
                );
                tokio::time::sleep(AGAIN_AFTER).await;
            }
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

    /// Returns if a part of the process has panicked: the rest of it goes on, but not for long without that part.
    pub async fn broken(&self) {
        self.vital.broken().await;
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
        let tokens = tokens(&parts.settings);
        let api = Api {
            intake: self.intake(),
            desk: self.desk(),
            ledger: Arc::clone(&parts.ledger),
            delay: Arc::clone(&parts.delay),
            registry: Arc::clone(&parts.registry),
            cursors: tokens.cursors(),
            tokens,
            health: parts.health.clone(),
            metrics: parts.metrics.clone(),
            body_bytes_max: parts.settings.server.max_body,
            configuration: parts.configuration.clone(),
            broker: parts.broker.clone(),
            totals: crate::api::totals::SharedTotals::default(),
            public_url: PublicUrl::parse(parts.settings.server.public_url.as_deref()),
            hub: Hub::new(self.stop_api.clone()),
        };
        let api = Arc::new(api);
        let router = if roles.contains(&Part::Api) {
            self.vital.spawn(&self.api, "stream", crate::api::stream::run(Arc::clone(&api)));
            crate::api::router(api).merge(crate::console::router())
        } else {
            crate::api::probe_router(api)
        };
        let serving = crate::api::serve::serve(listener, router, self.stop_api.clone());
        self.vital.spawn(&self.api, "api", serving);
    }

    fn intake(&self) -> Intake {
        let parts = &self.parts;
        Intake::new(
            parts.shared.clone(),
            Arc::clone(&parts.delay),
            parts.worker.clone(),
            parts.events.clone(),
            parts.metrics.clone(),
            parts.tallies.clone(),
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

    /// All that has to be known before anything goes out.
    async fn prepare(&self) -> anyhow::Result<()> {
        self.prepare_ledger().await?;
        self.learn_holds().await?;
        self.refill_timers().await
    }

    /// Waits for the ledger, however long it is away, and brings its schema up to date or waits until somebody has.
    async fn prepare_ledger(&self) -> anyhow::Result<()> {
        let mut pause = Duration::from_millis(100);
        loop {
            match self.try_ledger().await {
                Ok(Readiness::Ready) => return Ok(()),
                // A file is held by this process, so nobody else could migrate it.
                Ok(Readiness::Behind(migrations))
                    if self.parts.settings.database.engine == Engine::Sqlite =>
                {
                    anyhow::bail!(
                        "the database lacks {migrations} migrations: run `redial migrate` first, or let serve do it (database.migrate)"
                    );
                }
                Ok(Readiness::Behind(migrations)) => {
                    tracing::warn!(
                        migrations,
                        "the ledger's schema lacks migrations; waiting for `redial migrate`"
                    );
                }
                Err(error @ LedgerError::Away(_)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the ledger is away; waiting for it"
                    );
                }
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_PAUSE_MAX);
        }
    }

    async fn try_ledger(&self) -> Result<Readiness, LedgerError> {
        let parts = &self.parts;
        if parts.settings.database.migrate == Migrate::ByHand {
            // Before the database is held: the program that migrates it needs it.
            let pending = parts.ledger.schema().await?.pending;
            if !pending.is_empty() {
                return Ok(Readiness::Behind(pending.len()));
            }
        }
        if matches!(parts.settings.broker.transport, Transport::Embedded) {
            parts.ledger.hold_exclusively().await?;
        }
        if parts.settings.database.migrate == Migrate::AtStart {
            parts.ledger.migrate().await?;
        }
        Ok(Readiness::Ready)
    }

    /// What was held before this process began is held now: nothing goes out before that is known.
    async fn learn_holds(&self) -> anyhow::Result<()> {
        if let Some(worker) = &self.parts.worker {
            worker.learn_holds().await?;
        }
        Ok(())
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
        let (vital, background, stop) = (&self.vital, &self.background, &self.stop_background);
        let tallies = upkeep::tallies::run(parts.tallies.clone(), Arc::clone(&parts.ledger), stop.clone());
        vital.spawn(background, "tallies", tallies);
        if let Some(worker) = &parts.worker {
            worker.adopt(&parts.registry.snapshot());
            if let Ok(catch_all) = LaneName::parse(CATCH_ALL_LANE) {
                worker.consume(catch_all, Form::Shared);
            }
            vital.spawn(background, "gates", Arc::clone(worker).run_gates(stop.clone()));
            if parts.is_shared() {
                let report = report(Arc::clone(worker), Arc::clone(&parts.ledger), stop.clone());
                vital.spawn(background, "reports", report);
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
        let keeper = upkeep::retention::Keeper {
            ledger: Arc::clone(&parts.ledger),
            retention: retention(&parts.settings),
        };
        let (vital, background, stop) = (&self.vital, &self.background, &self.stop_background);
        vital.spawn(background, "retention", keeper.run(stop.clone()));
        vital.spawn(background, "callbacks", callbacks.run(parts.events.callback_signal(), stop.clone()));
        vital.spawn(background, "sweeper", Arc::clone(&sweeper).run(stop.clone()));
        vital.spawn(background, "handover", sweeper.run_handover(stop.clone()));
        vital.spawn(background, "outbox", outbox.run(parts.events.outbox_signal(), stop.clone()));
        let bulks = crate::bulk::Runner::new(
            Arc::clone(&parts.ledger),
            Arc::clone(&parts.delay),
            parts.events.clone(),
        );
        // It stops with the doors: a process that is stopping begins nothing new.
        vital.spawn(&self.doors, "bulk", bulks.run(self.stop_doors.clone()));
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
        self.vital.spawn(&self.doors, "intake", door.run(self.stop_doors.clone()));
        self.vital.spawn(&self.doors, "replays", replays.run(self.stop_doors.clone()));
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
        // Tickets and events on their last way; the ledger knows what does not get out. A server that has fallen silent must not keep the
        // process: whoever stopped it would kill it.
        let _ = tokio::time::timeout(GOODBYE_PATIENCE, background.wait()).await;
        let goodbyes = async {
            if let Some(broker) = broker {
                broker.close().await;
            }
        };
        let _ = tokio::time::timeout(GOODBYE_PATIENCE, goodbyes).await;
        if tokio::time::timeout(GOODBYE_PATIENCE, ledger.close()).await.is_err() {
            tracing::warn!("the ledger did not answer to the goodbye; its connections are cut");
        }
    }
}

/// Whether the ledger was away: that is no reason to end.
fn is_absence(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<LedgerError>(), Some(LedgerError::Away(_)))
}

/// How long finished calls are kept, at the pace that keeps the ledger free for others.
fn retention(settings: &Settings) -> ledger::Retention {
    ledger::Retention {
        finished: settings.retention.finished,
        bodies: settings.retention.bodies,
        batch: RETENTION_BATCH,
        pause: RETENTION_PAUSE,
        rest: settings.retention.rest(),
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
