//! What a configuration means: values that hold only what is valid. Nobody checks them again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;

pub use crate::api::auth::Role;
use crate::call::{Publisher, WorkerName, named};
use crate::delay::walk::Tiers;
use crate::endpoint::Endpoints;
use crate::limits::RETENTION_REST;

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The HTTP API.
    pub server: Server,
    /// The ledger's database.
    pub database: Database,
    /// What tickets travel through.
    pub broker: Broker,
    /// Who may use the API, by name. Empty: anybody who reaches it, and it listens on loopback only.
    pub tokens: BTreeMap<Publisher, Token>,
    /// The sweeper.
    pub sweeper: Sweeper,
    /// Outcomes posted to publishers.
    pub callbacks: Callbacks,
    /// How long finished calls are kept.
    pub retention: Retention,
    /// The program's log.
    pub log: Log,
    /// The worker of this process.
    pub worker: Worker,
    /// The third-party interfaces.
    pub endpoints: Endpoints,
}

impl Settings {
    /// Every tier that is to exist: the base tiers, and one for every distinct rung.
    pub fn tiers(&self) -> Tiers {
        self.broker.base_tiers.with(self.endpoints.rungs())
    }
}

/// The HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it listens; port 0 is any free one.
    pub listen: SocketAddr,
    /// Longest body of a request, in bytes.
    pub max_body: usize,
    /// What links in events begin with; without it, the address it listens on.
    pub public_url: Option<String>,
}

/// The ledger's database.
#[derive(Clone, Debug)]
pub struct Database {
    /// Which kind of database the URL names.
    pub engine: Engine,
    /// Where it is.
    pub url: SecretUrl,
    /// Most connections of this process.
    pub max_connections: u32,
    /// Who brings the schema up to date.
    pub migrate: Migrate,
}

named! {
    /// A kind of database.
    Engine {
        /// A file, for one process.
        Sqlite = "sqlite",
        /// A server, for any number of processes.
        Postgres = "postgres",
    }
}

/// Who brings the schema up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migrate {
    /// `redial serve`, when it starts.
    AtStart,
    /// A person or a job, with `redial migrate`.
    ByHand,
}

/// What tickets travel through.
#[derive(Clone, Debug)]
pub struct Broker {
    /// RabbitMQ or timers.
    pub transport: Transport,
    /// Begins the name of every queue and exchange.
    pub prefix: Prefix,
    /// The tiers that exist whatever the ladders are; see [`Settings::tiers`] for all.
    pub base_tiers: BaseTiers,
}

/// RabbitMQ or timers.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Timers in this process.
    Embedded,
    /// RabbitMQ.
    RabbitMq(RabbitMq),
}

/// A RabbitMQ broker.
#[derive(Clone, Debug)]
pub struct RabbitMq {
    /// Where it speaks AMQP.
    pub url: SecretUrl,
    /// Where its management API is, for checks of what is really in force.
    pub management_url: Option<SecretUrl>,
    /// Who declares queues and exchanges.
    pub declare: Declare,
}

/// Who declares queues and exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declare {
    /// `redial serve`, whenever it connects.
    AtConnect,
    /// The broker's own definitions, or `redial topology apply`.
    ByHand,
}

/// The beginning of every queue's and exchange's name: `[a-z0-9][a-z0-9._-]{0,31}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Reads a prefix; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let lower_or_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = text.len() <= 32
            && text.bytes().next().is_some_and(lower_or_digit)
            && text.bytes().all(|byte| lower_or_digit(byte) || b"._-".contains(&byte));
        fits.then(|| Self(text.to_owned()))
    }

    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tiers that exist whatever the ladders are, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseTiers(Tiers);

impl BaseTiers {
    /// These tiers; `None` if there is none.
    pub fn new(delays: impl IntoIterator<Item = Duration>) -> Option<Self> {
        Tiers::new(delays).map(Self)
    }

    /// All of them, shortest first.
    pub fn iter(&self) -> impl Iterator<Item = Duration> {
        self.0.iter()
    }

    /// These and more.
    fn with(&self, rungs: BTreeSet<Duration>) -> Tiers {
        // There is at least one base tier, so the union is never empty.
        Tiers::new(self.iter().chain(rungs)).unwrap_or_else(|| self.0.clone())
    }
}

/// A bearer token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The SHA-256 of the token.
    pub sha256: [u8; 32],
    /// What it may do; at least one.
    pub roles: BTreeSet<Role>,
}

/// Shows the roles alone: a hash is no secret, but nobody needs it in a log.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("roles", &self.roles).finish_non_exhaustive()
    }
}

/// The sweeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweeper {
    /// Between two sweeps.
    pub every: Duration,
    /// A call overdue by more than this is taken for lost.
    pub grace: Duration,
}

/// How long finished calls are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The calls themselves, with all that belongs to them.
    pub finished: Duration,
    /// Their bodies, and those of the answers; at most as long as the calls.
    pub bodies: Duration,
}

impl Retention {
    /// The pause between two walks over the calls: short retentions ask for short pauses.
    pub fn rest(self) -> Duration {
        (self.bodies / 10).min(RETENTION_REST)
    }
}

/// Outcomes posted to publishers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callbacks {
    /// Where a callback URL may lead.
    pub addresses: CallbackAddresses,
}

named! {
    /// Where a callback URL may lead.
    CallbackAddresses {
        /// To public addresses only.
        Public = "public",
        /// Anywhere, private networks and this machine included.
        Any = "any",
    }
}

/// The program's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// For people or for programs.
    pub format: LogFormat,
    /// The least level that is written.
    pub level: LogLevel,
}

named! {
    /// How a log line is written.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

named! {
    /// How much is logged.
    LogLevel {
        /// Somebody must act.
        Error = "error",
        /// Somebody should look.
        Warn = "warn",
        /// What a process does as a whole.
        Info = "info",
        /// What happens to each call.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

/// The worker of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its name in attempts and logs; without one it is made of host and process.
    pub name: Option<WorkerName>,
}

/// A URL that may hold a password. It is printed as it was typed, without user, password and query.
#[derive(Clone)]
pub struct SecretUrl {
    url: SecretString,
    shown: String,
}

impl SecretUrl {
    pub(super) fn new(url: SecretString, shown: &str) -> Self {
        Self { url, shown: shown.replace(char::is_control, "?") }
    }

    /// The URL with everything in it.
    pub fn secret(&self) -> &SecretString {
        &self.url
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shown, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_fits_into_every_name() {
        for good in ["redial", "0", "redial.eu-1_a", &"a".repeat(32)] {
            assert!(Prefix::parse(good).is_some(), "{good}");
        }
        for bad in ["", "-a", ".a", "_a", "Redial", "a b", "a#", "ä", &"a".repeat(33)] {
            assert!(Prefix::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn there_is_a_tier_for_every_rung_and_every_base_tier_once() {
        let seconds = Duration::from_secs;
        let base = BaseTiers::new([seconds(1), seconds(5)]).unwrap();
        let tiers = base.with([seconds(5), seconds(7)].into());
        assert_eq!(tiers.iter().collect::<Vec<_>>(), [1, 5, 7].map(seconds));
    }
}
