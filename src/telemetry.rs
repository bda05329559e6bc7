//! Counters of the process, and where its log goes.
//!
//! One [`Metrics`] a process part, handed in, never global: two instances in one process (demo, tests) do not mix. Label values
//! are names from the configuration or fixed words, so their number is bounded.

use std::collections::HashSet;
use std::hash::Hash;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// A label set of one fixed word.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Word {
    kind: &'static str,
}

/// A label set of an endpoint and one fixed word.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointWord {
    endpoint: Arc<str>,
    verdict: &'static str,
}

/// A label set of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabel {
    endpoint: Arc<str>,
}

/// A label set of an endpoint and why it is held.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointKind {
    endpoint: Arc<str>,
    kind: &'static str,
}

/// A label set of an endpoint and how its breaker may stand.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointState {
    endpoint: Arc<str>,
    state: &'static str,
}

type HistogramOf<L> = Family<L, Histogram, fn() -> Histogram>;

/// Gauges that are set all at once. A scrape in between sees no gap: what is gone is removed, and all else stays.
#[derive(Clone)]
struct Shown<L> {
    gauges: Family<L, Gauge>,
    labels: Arc<Mutex<HashSet<L>>>,
}

impl<L: Clone + Eq + Hash> Default for Shown<L> {
    fn default() -> Self {
        Self { gauges: Family::default(), labels: Arc::default() }
    }
}

impl<L: Clone + Eq + Hash> Shown<L> {
    /// These stand so, and there are no others.
    fn show(&self, values: impl Iterator<Item = (L, i64)>) {
        let mut shown = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        let mut present = HashSet::new();
        for (labels, value) in values {
            self.gauges.get_or_create(&labels).set(value);
            present.insert(labels);
        }
        for gone in shown.difference(&present) {
            self.gauges.remove(gone);
        }
        *shown = present;
    }
}

/// Everything the process counts. Cheap to clone: all clones count into the same place.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    submissions: Family<Word, Counter>,
    claims: Family<Word, Counter>,
    attempts: Family<EndpointWord, Counter>,
    durations: HistogramOf<EndpointLabel>,
    lateness: Histogram,
    rescued: Family<Word, Counter>,
    batches: HistogramOf<Word>,
    bundles: Histogram,
    running: Gauge,
    events: Family<Word, Counter>,
    held: Shown<EndpointKind>,
    breakers: Shown<EndpointState>,
    reloads: Family<Word, Counter>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("redial");
        let metrics = Self {
            registry: Arc::default(),
            submissions: Family::default(),
            claims: Family::default(),
            attempts: Family::default(),
            durations: Family::new_with_constructor(seconds_histogram),
            lateness: seconds_histogram(),
            rescued: Family::default(),
            batches: Family::new_with_constructor(size_histogram),
            bundles: size_histogram(),
            running: Gauge::default(),
            events: Family::default(),
            held: Shown::default(),
            breakers: Shown::default(),
            reloads: Family::default(),
        };
        metrics.register(&mut registry);
        metrics.begin_at_zero();
        Self { registry: Arc::new(registry), ..metrics }
    }
}

impl Metrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("submissions", "Submissions by what became of them", self.submissions.clone());
        registry.register("claims", "Tickets by what became of them", self.claims.clone());
        registry.register("attempts", "Recorded attempts by endpoint and verdict", self.attempts.clone());
        registry.register_with_unit(
            "attempt_duration",
            "From a request's leaving to its answer's end",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register_with_unit(
            "lateness",
            "From due to claimed, for attempts that were waited for",
            Unit::Seconds,
            self.lateness.clone(),
        );
        registry.register(
            "rescued",
            "Calls the sweeper set going again, by reason; 0 in a run without faults",
            self.rescued.clone(),
        );
        registry.register("commit_batch_size", "Calls that shared one commit, by kind", self.batches.clone());
        registry.register("bundle_size", "Tickets that shared one message", self.bundles.clone());
        registry.register("running", "Attempts in flight in this process", self.running.clone());
        registry.register(
            "endpoint_held",
            "Endpoints that nothing goes out to, by why (paused, limited, breaker); breaker is an open one",
            self.held.gauges.clone(),
        );
        registry.register(
            "endpoint_breaker_state",
            "Where the breaker of each endpoint that has one stands: 1 for that state (closed, open, half_open), 0 for the others",
            self.breakers.gauges.clone(),
        );
        registry.register(
            "configuration_reloads",
            "Changed configurations by what became of them",
            self.reloads.clone(),
        );
        registry.register("events", "Events and callbacks by what became of them", self.events.clone());
    }

    /// What is counted under fixed words is there from the start: Prometheus sees no increase in a series that begins with 1, and an alert
    /// on it would miss the first event of every process.
    fn begin_at_zero(&self) {
        for (family, kinds) in [
            (&self.submissions, &["stored", "known", "key_reused", "rejected"][..]),
            (&self.claims, &["won", "early", "expired", "stale", "postponed", "unroutable"]),
            (&self.rescued, &["overdue", "worker_lost", "expired", "handed", "unroutable"]),
            (&self.events, &["published", "dropped", "delivered", "failed"]),
            (&self.reloads, &["adopted", "refused"]),
        ] {
            for kind in kinds {
                drop(family.get_or_create(&Word { kind }));
            }
        }
    }

    /// The same for the attempts of an endpoint that is configured.
    pub fn expect_attempts(&self, endpoint: &Arc<str>, verdicts: impl Iterator<Item = &'static str>) {
        for verdict in verdicts {
            drop(self.attempts.get_or_create(&EndpointWord { endpoint: Arc::clone(endpoint), verdict }));
        }
    }

    /// A submission became `stored`, `known`, `key_reused` or `rejected`.
    pub fn submission(&self, kind: &'static str) {
        self.submissions.get_or_create(&Word { kind }).inc();
    }

    /// These endpoints are held and no others, each for this reason.
    pub fn holds<'a>(&self, held: impl Iterator<Item = (&'a Arc<str>, &'static str)>) {
        let label = |(endpoint, kind): (&Arc<str>, _)| EndpointKind { endpoint: Arc::clone(endpoint), kind };
        self.held.show(held.map(|held| (label(held), 1)));
    }

    /// The breakers of these endpoints stand so, and there are no others: for each endpoint every state, and whether it is that one.
    pub fn breakers<'a>(&self, states: impl Iterator<Item = (&'a Arc<str>, &'static str, bool)>) {
        self.breakers.show(states.map(|(endpoint, state, is_present)| {
            (EndpointState { endpoint: Arc::clone(endpoint), state }, i64::from(is_present))
        }));
    }

    /// A ticket was `won`, `early`, `expired`, `stale`, `postponed` or `unroutable`.
    pub fn claim(&self, kind: &'static str) {
        self.claims.get_or_create(&Word { kind }).inc();
    }

    /// A claim was won this long after its call was due.
    pub fn late(&self, lateness: Duration) {
        self.lateness.observe(lateness.as_secs_f64());
    }

    /// An attempt was recorded.
    pub fn attempt(&self, endpoint: &Arc<str>, verdict: &'static str, duration: Duration) {
        self.attempts.get_or_create(&EndpointWord { endpoint: Arc::clone(endpoint), verdict }).inc();
        self.durations
            .get_or_create(&EndpointLabel { endpoint: Arc::clone(endpoint) })
            .observe(duration.as_secs_f64());
    }

    /// The sweeper set calls going again: `overdue` (ticket lost), `worker_lost` (lease ran out), `expired` (deadline passed
    /// unnoticed) or `handed` (straight to a worker, because the broker is away).
    pub fn rescued(&self, kind: &'static str, calls: usize) {
        self.rescued.get_or_create(&Word { kind }).inc_by(calls as u64);
    }

    /// One commit took this many calls: `accept`, `claim` or `record`.
    pub fn commit(&self, kind: &'static str, calls: usize) {
        self.batches.get_or_create(&Word { kind }).observe(calls_as_float(calls));
    }

    /// One ticket message took this many tickets.
    pub fn bundle(&self, tickets: usize) {
        self.bundles.observe(calls_as_float(tickets));
    }

    /// An event or callback was `published`, `dropped`, `delivered` or `failed`.
    pub fn event(&self, kind: &'static str, count: usize) {
        self.events.get_or_create(&Word { kind }).inc_by(count as u64);
    }

    /// A changed configuration was `adopted` or `refused`.
    pub fn reload(&self, kind: &'static str) {
        self.reloads.get_or_create(&Word { kind }).inc();
    }

    /// An attempt begins; it ends when the guard is dropped.
    pub fn begin(&self) -> Running {
        self.running.inc();
        Running(self.running.clone())
    }

    /// Attempts in flight.
    pub fn running(&self) -> i64 {
        self.running.get()
    }

    /// Everything in Prometheus' text format (`OpenMetrics` 1.0).
    pub fn render(&self) -> String {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(error) => format!("# {error}\n# EOF\n"),
        }
    }
}

/// Counts one attempt in flight while it lives.
#[derive(Debug)]
pub struct Running(Gauge<i64, std::sync::atomic::AtomicI64>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn seconds_histogram() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}

fn size_histogram() -> Histogram {
    Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0])
}

#[expect(clippy::cast_precision_loss, reason = "batches are far below 2^52")]
fn calls_as_float(calls: usize) -> f64 {
    calls as f64
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends the log to standard error: `filter` in the syntax of `tracing_subscriber::EnvFilter`, such as `info` or `redial=debug`.
///
/// # Errors
/// The filter cannot be read, or a log is set up already.
pub fn log_to_stderr(format: LogFormat, filter: &str) -> Result<(), String> {
    use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

    let filter =
        EnvFilter::try_new(filter).map_err(|error| format!("{filter:?} is no log filter: {error}"))?;
    let registry = tracing_subscriber::registry().with(filter);
    let set_up = match format {
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            registry.with(fmt::layer().with_ansi(colours).with_writer(std::io::stderr)).try_init()
        }
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init(),
    };
    set_up.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_all_at_once_leaves_nothing_of_before() {
        let (metrics, sms, mail): (_, Arc<str>, Arc<str>) = (Metrics::default(), "sms".into(), "mail".into());
        metrics.holds([(&sms, "paused"), (&mail, "limited")].into_iter());
        metrics.holds([(&sms, "breaker"), (&mail, "limited")].into_iter());
        let text = metrics.render();
        let held: Vec<_> = text.lines().filter(|line| line.contains("held{")).collect();
        assert_eq!(held.len(), 2, "{text}");
        assert!(text.contains("kind=\"breaker\"") && !text.contains("kind=\"paused\""), "{text}");
    }
}
