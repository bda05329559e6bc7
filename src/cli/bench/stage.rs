//! What a bench runs on: a fresh database, queues of its own, the third party and the service.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::process::{Listening, Speaks, Usage};
use super::{BenchArgs, configuration, journal::Journal};
use crate::app;
use crate::broker::{self, Broker};
use crate::cli::demo::Scratch;
use crate::config::{self, Sources};

/// Everything that is set up for one run.
#[derive(Debug)]
pub(super) struct Stage {
    broker: Arc<Broker>,
    third_party: Listening,
    service: Listening,
    client: reqwest::Client,
    server: String,
    database: String,
    #[expect(dead_code, reason = "held for its drop")]
    folder: Scratch,
}

/// CPU and memory of all that takes part.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StageUsage {
    /// The service.
    pub(super) service: Usage,
    /// The third party.
    pub(super) third_party: Usage,
    /// RabbitMQ, if it runs on this machine.
    pub(super) broker: Usage,
    /// PostgreSQL, if it runs on this machine.
    pub(super) database: Usage,
}

impl StageUsage {
    /// What was used since an earlier look.
    #[must_use]
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            service: self.service.since(before.service),
            third_party: self.third_party.since(before.third_party),
            broker: self.broker.since(before.broker),
            database: self.database.since(before.database),
        }
    }
}

impl Stage {
    /// Starts everything and waits until it is ready.
    pub(super) async fn set_up(args: &BenchArgs) -> anyhow::Result<Self> {
        let run = uuid::Uuid::now_v7().simple().to_string();
        let prefix = format!("bench-{}", &run[20..]);
        let database = format!("redial_bench_{run}");
        execute(&args.database, format!("create database {database}")).await?;
        let folder = Scratch::create()?;
        let script = folder.file("third-party.toml");
        std::fs::write(
            &script,
            format!("[[rules]]\npath = \"/\"\nfail_first = {}\nstatus = 503\n", args.failures()),
        )?;
        let third_party = Listening::start(
            &["simulate", "--listen", "127.0.0.1:0", "--keep-requests", "0", "--script", &script],
            Speaks::Out,
        )
        .await?;
        let text = configuration(args, &prefix, &with_database(&args.database, &database)?, &third_party.url);
        let file = folder.file("redial.toml");
        std::fs::write(&file, &text)?;
        let service = Listening::start(&["serve", "--config", &file], Speaks::Err).await?;
        let broker = connect(&text).await?;
        let client = crate::cli::http::client(Duration::from_mins(1))?;
        Ok(Self { broker, third_party, service, client, server: args.database.clone(), database, folder })
    }

    /// Where submissions go.
    pub(super) fn broker(&self) -> &Broker {
        &self.broker
    }

    /// What has been used up to now.
    pub(super) fn usage(&self) -> StageUsage {
        StageUsage {
            service: Usage::of(self.service.id()),
            third_party: Usage::of(self.third_party.id()),
            broker: Usage::of_named(&["beam.smp"]),
            database: Usage::of_named(&["postgres"]),
        }
    }

    /// Takes the third party down.
    pub(super) async fn go_down(&self) -> anyhow::Result<()> {
        self.command("down").await
    }

    /// Takes it up again; answers when that was, counted from its start.
    pub(super) async fn go_up(&self) -> anyhow::Result<Duration> {
        let elapsed_ms = self.summary().await?["elapsed_ms"].as_u64();
        self.command("up").await?;
        elapsed_ms.map(Duration::from_millis).context("the third party's summary has no clock")
    }

    async fn command(&self, name: &str) -> anyhow::Result<()> {
        let url = format!("{}/_simulator/{name}", self.third_party.url);
        self.client.post(url).send().await?.error_for_status()?;
        Ok(())
    }

    /// How many calls have used a rung.
    pub(super) async fn rungs_used(&self) -> anyhow::Result<i64> {
        let mut connection = PgConnection::connect(&with_database(&self.server, &self.database)?).await?;
        let used = sqlx::query_scalar("select count(*) from calls where rung > 0").fetch_one(&mut connection);
        let used = used.await?;
        connection.close().await?;
        Ok(used)
    }

    /// How many calls have taken effect at the third party.
    pub(super) async fn effects(&self) -> anyhow::Result<u64> {
        self.summary().await?["effects"].as_u64().context("the third party's summary has no effects")
    }

    async fn summary(&self) -> anyhow::Result<Value> {
        Ok(self.ask(&format!("{}/_simulator/summary", self.third_party.url)).await?.json().await?)
    }

    /// What the third party saw.
    pub(super) async fn journal(&self) -> anyhow::Result<Journal> {
        let text = self.ask(&format!("{}/_simulator/journal", self.third_party.url)).await?.text().await?;
        Journal::parse(&text)
    }

    /// The service's own counters.
    pub(super) async fn counters(&self) -> anyhow::Result<String> {
        Ok(self.ask(&format!("{}/metrics", self.service.url)).await?.text().await?)
    }

    /// Waits until this many calls wait in the ledger.
    pub(super) async fn wait_until_stored(&self, calls: u32) -> anyhow::Result<()> {
        loop {
            let stats: Value = self.ask(&format!("{}/v1/stats", self.service.url)).await?.json().await?;
            if stats["calls"]["scheduled"].as_u64() >= Some(u64::from(calls)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn ask(&self, url: &str) -> anyhow::Result<reqwest::Response> {
        Ok(self.client.get(url).send().await?.error_for_status()?)
    }

    /// Ends the processes, removes database and queues. What cannot be removed is said.
    pub(super) async fn clear_away(self) {
        self.service.terminate().await;
        self.third_party.terminate().await;
        if let Err(error) = self.broker.admin().delete(&self.broker.topology()).await {
            eprintln!("the bench's queues could not be removed: {error}");
        }
        self.broker.close().await;
        if let Err(error) =
            execute(&self.server, format!("drop database if exists {} with (force)", self.database)).await
        {
            eprintln!("the bench's database {} could not be removed: {error:#}", self.database);
        }
    }
}

async fn connect(text: &str) -> anyhow::Result<Arc<Broker>> {
    let loaded = config::load(&Sources::of_text(text)).map_err(|faults| anyhow::anyhow!("{faults}"))?;
    let address = app::broker_address(&loaded.settings)?.context("the bench needs RabbitMQ")?;
    let config = broker::Config {
        address,
        connection_name: "redial bench".to_owned(),
        declare: broker::Declare::Never,
    };
    let broker = Broker::start(config, app::topology(&loaded.settings)?, CancellationToken::new());
    tokio::time::timeout(Duration::from_secs(10), broker.connected())
        .await
        .context("RabbitMQ cannot be reached")?;
    tokio::time::timeout(Duration::from_secs(20), declared(&broker))
        .await
        .context("the service declares no queues")??;
    Ok(broker)
}

/// Waits until the service has declared every queue.
async fn declared(broker: &Broker) -> anyhow::Result<()> {
    let queues: Vec<String> = broker.topology().queues.iter().map(|queue| queue.name.clone()).collect();
    while broker.admin().ready_in(&queues).await?.contains(&None) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Runs one statement whose only variable part is a name made by [`Stage::set_up`].
async fn execute(server: &str, statement: String) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(server).await.context("PostgreSQL cannot be reached")?;
    connection.execute(AssertSqlSafe(statement)).await?;
    connection.close().await?;
    Ok(())
}

fn with_database(server: &str, database: &str) -> anyhow::Result<String> {
    let mut url = Url::parse(server).context("--database is no URL")?;
    url.set_path(database);
    Ok(url.into())
}
