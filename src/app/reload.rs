//! Hot reload: endpoints follow their file while the program runs.
//!
//! A configuration is taken over whole or not at all. New queues exist before a ticket can be published for them, so RabbitMQ and the
//! timers come first, then the endpoints, then the lanes. What is not an endpoint takes effect at the next start, and is said so.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{App, topology};
use crate::api::Configuration;
use crate::broker::Broker;
use crate::clock::Timestamp;
use crate::config::settings::Settings;
use crate::config::{self, Faults, Loaded, Source, Sources};
use crate::delay::Delay;
use crate::endpoint::{Endpoints, Registry};
use crate::telemetry::Metrics;
use crate::worker::Worker;

/// How often the file is looked at. Reading it is cheap and, unlike the kernel's notices, sees through every kind of mount.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What follows the configuration.
pub(super) struct Reload {
    settings: Settings,
    sources: Sources,
    registry: Arc<Registry>,
    broker: Option<Arc<Broker>>,
    delay: Arc<dyn Delay>,
    worker: Option<Arc<Worker>>,
    metrics: Metrics,
    shown: Configuration,
}

impl App {
    /// Follows these sources until the program stops: when the file changes, and whenever `asked` is notified.
    pub fn follow(&self, sources: Sources, asked: Arc<Notify>) {
        let parts = &self.parts;
        let reload = Reload {
            settings: parts.settings.clone(),
            sources,
            registry: Arc::clone(&parts.registry),
            broker: parts.broker.clone(),
            delay: Arc::clone(&parts.delay),
            worker: parts.worker.clone(),
            metrics: parts.metrics.clone(),
            shown: parts.configuration.clone(),
        };
        self.vital.spawn(&self.background, "reload", reload.run(asked, self.stop_background.clone()));
    }
}

impl Reload {
    async fn run(mut self, asked: Arc<Notify>, stop: CancellationToken) {
        let mut known = self.fingerprint().await;
        loop {
            let was_asked = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = asked.notified() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            let found = self.fingerprint().await;
            if was_asked || found != known {
                known = found;
                self.reload().await;
            }
        }
    }

    /// What tells one content of the file from another; `None` while there is no file.
    async fn fingerprint(&self) -> Option<[u8; 32]> {
        let bytes = tokio::fs::read(file(&self.sources)?).await.ok()?;
        Some(Sha256::digest(bytes).into())
    }

    async fn reload(&mut self) {
        let sources = self.sources.clone();
        // Files of secrets are read as well, and those may lie where reading takes long.
        match tokio::task::spawn_blocking(move || config::load(&sources)).await {
            Ok(Ok(loaded)) => self.adopt(loaded).await,
            Ok(Err(faults)) => self.refuse(&faults),
            Err(error) => {
                tracing::error!(%error, "the configuration could not be read; what was stays in force");
            }
        }
    }

    fn refuse(&self, faults: &Faults) {
        tracing::error!(%faults, "the changed configuration is not taken over; the one before stays in force");
        self.metrics.reload("refused");
        self.shown.refused(Timestamp::now(), faults.to_string());
    }

    async fn adopt(&mut self, loaded: Loaded) {
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let Settings { endpoints, .. } = loaded.settings.clone();
        self.say_what_waits_for_a_restart(&loaded.settings);
        let (before, lanes) = (self.registry.snapshot(), endpoints.lanes());
        let next = Settings { endpoints: endpoints.clone(), ..self.settings.clone() };
        self.prepare_broker(&next).await;
        let tiers = next.tiers();
        self.delay.adopt(&lanes, tiers.clone());
        let changes = Changes::between(&before, &endpoints);
        self.registry.replace(endpoints);
        if let Some(worker) = &self.worker {
            worker.adopt(&self.registry.snapshot());
        }
        self.settings = next;
        tracing::info!(
            added = changes.added,
            removed = changes.removed,
            changed = changes.changed,
            "endpoints are taken over from the configuration"
        );
        self.metrics.reload("adopted");
        self.shown.adopted(Timestamp::now(), tiers);
    }

    async fn prepare_broker(&self, settings: &Settings) {
        let (Some(broker), Ok(topology)) = (&self.broker, topology(settings)) else { return };
        if let Err(error) = broker.adopt(topology).await {
            tracing::warn!(%error, "new queues are declared when RabbitMQ is back");
        }
    }

    fn say_what_waits_for_a_restart(&self, next: &Settings) {
        for section in waiting_for_a_restart(&self.settings, next) {
            tracing::warn!(section, "a changed section takes effect at the next start");
        }
    }
}

/// The sections that differ and are read at the start only: all but the endpoints.
fn waiting_for_a_restart(now: &Settings, next: &Settings) -> Vec<&'static str> {
    let sections = |settings: &Settings| {
        let Settings {
            server,
            database,
            broker,
            tokens,
            sweeper,
            callbacks,
            retention,
            log,
            worker,
            endpoints: _,
        } = settings;
        [
            ("server", format!("{server:?}")),
            ("database", format!("{database:?}")),
            ("broker", format!("{broker:?}")),
            ("tokens", format!("{tokens:?}")),
            ("sweeper", format!("{sweeper:?}")),
            ("callbacks", format!("{callbacks:?}")),
            ("retention", format!("{retention:?}")),
            ("log", format!("{log:?}")),
            ("worker", format!("{worker:?}")),
        ]
    };
    let pairs = sections(now).into_iter().zip(sections(next));
    pairs.filter(|((_, now), (_, next))| now != next).map(|((section, _), _)| section).collect()
}

fn file(sources: &Sources) -> Option<&PathBuf> {
    match &sources.file {
        Source::File(path) | Source::FileIfAny(path) => Some(path),
        Source::Text { .. } => None,
    }
}

/// What a reload did to the endpoints, for the log.
#[derive(Debug, PartialEq, Eq)]
struct Changes {
    added: String,
    removed: String,
    changed: String,
}

impl Changes {
    fn between(before: &Endpoints, after: &Endpoints) -> Self {
        let names = |set: &Endpoints, keep: &dyn Fn(&crate::endpoint::Endpoint) -> bool| {
            let kept = set.iter().filter(|endpoint| keep(endpoint)).map(|endpoint| endpoint.name.to_string());
            kept.collect::<Vec<_>>().join(", ")
        };
        Self {
            added: names(after, &|endpoint| before.get(&endpoint.name).is_none()),
            removed: names(before, &|endpoint| after.get(&endpoint.name).is_none()),
            changed: names(after, &|endpoint| {
                before.get(&endpoint.name).is_some_and(|old| format!("{old:?}") != format!("{endpoint:?}"))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        let endpoint = "[endpoints.sms]\nbase_url = \"https://sms.example\"\n";
        config::load(&Sources::of_text(format!("{endpoint}{text}"))).unwrap().settings
    }

    #[test]
    fn what_is_read_at_the_start_only_is_named_when_it_changes() {
        let now = settings("");
        for (section, text) in [
            ("server", "[server]\nmax_body = \"2MiB\""),
            ("database", "[database]\nmax_connections = 7"),
            ("broker", "[broker]\nprefix = \"other\""),
            ("sweeper", "[sweeper]\ngrace = \"7s\""),
            ("retention", "[retention]\nfinished = \"20d\""),
            ("log", "[log]\nformat = \"json\""),
            ("worker", "[worker]\nname = \"other\""),
        ] {
            assert_eq!(waiting_for_a_restart(&now, &settings(text)), [section], "{text}");
        }
        let endpoint = "[endpoints.mail]\nbase_url = \"https://sms.example\"";
        assert!(waiting_for_a_restart(&now, &settings(endpoint)).is_empty());
    }
}
