//! What a journey is played on: a database, a transport, a third party, and a configuration that joins them. All of it is the test's
//! own and gone when the test ends, however it ends.

use std::fmt::Write as _;
use std::path::PathBuf;

use redial::broker::Topology;
use redial::config::Sources;
use redial::simulator::{Simulator, SimulatorConfig};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::broker::{amqp_url, apart, delete};
use super::database::Place;
use super::publisher::Publisher;
use super::service::{Program, Service};

/// Everything that one process can do.
pub(crate) const EVERYTHING: &str = "api,intake,worker,sweeper";

/// Where a test names no lease, no stall of a busy machine is taken for the death of a worker.
const DEFAULTS: &str = "[defaults]\nlease = \"2m\"\n";

/// What tickets travel through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// The server that all tests share.
    RabbitMq,
    /// Timers in the process.
    Embedded,
}

/// Where calls are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// A database of the test's own on the server that all tests share.
    Postgres,
    /// A file.
    Sqlite,
}

/// What a stage is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What tickets travel through.
    pub transport: Transport,
    /// Where calls are kept.
    pub store: Store,
    /// The endpoints: name, and the lines of its table. Those that name no base URL lead to the third party.
    pub endpoints: Vec<(&'static str, String)>,
    /// The lines of `[sweeper]`.
    pub sweeper: &'static str,
    /// A RabbitMQ of the test's own in place of the shared one.
    pub broker_url: Option<String>,
    /// The database's URL through whatever stands between the program and it.
    pub database_url: Option<String>,
}

impl Plan {
    /// One endpoint on RabbitMQ and PostgreSQL, or whatever else is said.
    pub(crate) fn new(transport: Transport, store: Store, endpoint: &'static str, lines: &str) -> Self {
        Self {
            transport,
            store,
            endpoints: vec![(endpoint, lines.to_owned())],
            sweeper: "every = \"500ms\"\ngrace = \"2s\"",
            broker_url: None,
            database_url: None,
        }
    }

    /// With one more endpoint.
    pub(crate) fn and(mut self, endpoint: &'static str, lines: &str) -> Self {
        self.endpoints.push((endpoint, lines.to_owned()));
        self
    }
}

/// A stage that is set.
pub(crate) struct Stage {
    /// The third party.
    pub third_party: Simulator,
    /// Where the calls lie.
    pub database: Place,
    prefix: String,
    plan: Plan,
    folder: TempDir,
    stop: CancellationToken,
    /// What earlier configurations declared: queues stay when an endpoint goes.
    earlier: Vec<Topology>,
}

impl Stage {
    /// Sets the stage.
    pub(crate) async fn set(plan: Plan) -> Self {
        let database = match plan.store {
            Store::Postgres => Place::on_postgres().await,
            Store::Sqlite => Place::in_folder(),
        };
        Self::set_on(plan, database).await
    }

    /// Sets the stage on a database that is there.
    pub(crate) async fn set_on(plan: Plan, database: Place) -> Self {
        let stop = CancellationToken::new();
        let config = SimulatorConfig { keep_requests: 2_000, ..SimulatorConfig::default() };
        let third_party = Simulator::start(config, stop.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        // The random end of a name is what tells it from others; a prefix has no room for all of it.
        let prefix = format!("j{}", &super::unique_name()[9..]);
        let stage = Self { third_party, database, prefix, plan, folder, stop, earlier: Vec::new() };
        stage.write_config();
        stage
    }

    /// The configuration, anew: `change` sees the endpoints before they are written.
    pub(crate) fn configure<T>(&mut self, change: impl FnOnce(&mut Vec<(&'static str, String)>) -> T) -> T {
        self.earlier.extend(self.topology());
        let changed = change(&mut self.plan.endpoints);
        self.write_config();
        changed
    }

    /// Processes started from now on reach the database without whatever stood between.
    pub(crate) fn reach_database_directly(&mut self) {
        self.plan.database_url = None;
        self.write_config();
    }

    /// The URL of the broker; for stages that have one.
    pub(crate) fn broker_url(&self) -> String {
        self.plan.broker_url.clone().unwrap_or_else(|| amqp_url().to_owned())
    }

    /// A foreign program that publishes to this stage.
    pub(crate) async fn publisher(&self) -> Publisher {
        Publisher::connect(&self.broker_url(), &self.prefix).await
    }

    /// How a process of the program is started here.
    pub(crate) fn program(&self, name: &str, roles: &'static str) -> Program {
        Program { name: name.to_owned(), config: self.config(), roles }
    }

    /// Starts a process that does everything.
    pub(crate) async fn serve(&self) -> Service {
        Service::start(&self.program("single", EVERYTHING)).await
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("redial.toml")
    }

    fn write_config(&self) {
        std::fs::write(self.config(), self.config_text()).unwrap();
    }

    fn config_text(&self) -> String {
        let broker = match self.plan.transport {
            Transport::RabbitMq => self.broker_url(),
            Transport::Embedded => "embedded:".to_owned(),
        };
        let database = self.plan.database_url.clone().unwrap_or_else(|| self.database.url());
        let mut text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[database]\nurl = \"{database}\"\nmax_connections = 5\n\
             [broker]\nurl = \"{broker}\"\nprefix = \"{}\"\ntiers = [\"1s\"]\n[sweeper]\n{}\n{DEFAULTS}",
            self.prefix, self.plan.sweeper
        );
        for (name, lines) in &self.plan.endpoints {
            let url = self.third_party.url();
            let leads_elsewhere = lines.contains("base_url");
            let own = if leads_elsewhere { String::new() } else { format!("base_url = \"{url}\"\n") };
            let _ = write!(text, "[endpoints.{name}]\n{own}{lines}\n");
        }
        text
    }

    /// What the present configuration declares; nothing if it is faulty.
    fn topology(&self) -> Option<Topology> {
        let loaded = redial::config::load(&Sources::of_text(self.config_text())).ok()?;
        redial::app::topology(&loaded.settings).ok()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
        if self.plan.transport == Transport::RabbitMq {
            self.earlier.extend(self.topology());
            let (url, topologies) = (self.broker_url(), std::mem::take(&mut self.earlier));
            apart(async move {
                for topology in topologies {
                    delete(&url, &topology).await;
                }
            });
        }
    }
}
