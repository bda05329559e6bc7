//! The sections of a configuration but for the endpoints: which keys each has, and what is allowed under them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::fault::{Complaint, Place};
use super::reference::Secret;
use super::settings::{
    BaseTiers, Broker, CallbackAddresses, Callbacks, Database, Declare, Engine, Log, LogFormat, LogLevel,
    Migrate, Prefix, RabbitMq, Retention, Role, SecretUrl, Server, Sweeper, Token, Transport, Worker,
};
use super::table::{Placed, Table};
use super::value;
use crate::call::{Publisher, WorkerName};
use crate::endpoint::BaseUrl;
use crate::limits::{RUNG_MAX, RUNG_MIN};

/// The bounds of `server.max_body`: a document has some bytes, and RabbitMQ 4 takes no message beyond 16 MiB.
const BODY_BYTES_MIN: usize = 1024;
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
const CONNECTIONS_MAX: u32 = 1_000;
/// Each tier is a queue, and a quorum queue costs some hundred kilobytes of the broker's memory.
const BASE_TIERS_MAX: usize = 64;
const SWEEP_EVERY_MIN: Duration = Duration::from_millis(100);
const SWEEP_EVERY_MAX: Duration = Duration::from_hours(1);
/// A shorter grace would take tickets for lost that are merely on their way.
const GRACE_MIN: Duration = Duration::from_secs(1);
const GRACE_MAX: Duration = Duration::from_hours(1);

/// Shorter is for tests alone; longer than ten years is what no database here is made for.
const RETENTION_MIN: Duration = Duration::from_secs(1);
const RETENTION_MAX: Duration = Duration::from_hours(24 * 3_660);

const DATABASE_URL: &str = "sqlite:file.db, postgres://user:password@host/database";
const BROKER_URL: &str = "embedded:, amqp://user:password@host:5672/vhost, amqps://…";

/// The SHA-256 of `redial-dev-token`, which the documentation shows to everybody.
const DEVELOPMENT_TOKEN: &str = "5820688038910e331e3cbc72fd87e50aaa57dd5ac60640fe2c1e744eb749acbc";

/// `[server]`, and where it is to listen, which depends on the tokens besides.
pub(super) fn server(table: &mut Table<'_>) -> (Option<Placed<SocketAddr>>, Option<Server>) {
    let listen = table.required(
        "listen",
        value::parsed(
            |text| text.parse::<SocketAddr>().ok(),
            "an IP address and a port, as in \"127.0.0.1:8080\", \"[::1]:8080\" or \"0.0.0.0:8080\"",
        ),
    );
    let max_body = table.required("max_body", value::bytes(BODY_BYTES_MIN..=BODY_BYTES_MAX));
    let public_url = table.optional(
        "public_url",
        value::parsed(public_url, "an http:// or https:// URL without user, query and fragment"),
    );
    let server = listen.as_ref().zip(max_body).map(|(listen, max_body)| Server {
        listen: listen.value,
        max_body: max_body.value,
        public_url: public_url.value().map(|url| url.value),
    });
    (listen, server)
}

/// Refuses an API that everybody can reach and that asks nobody who they are.
pub(super) fn check_exposure(
    root: &Table<'_>,
    listen: &Placed<SocketAddr>,
    tokens: &BTreeMap<Publisher, Token>,
) {
    if listen.value.ip().to_canonical().is_loopback() {
        return;
    }
    if root.lacks("tokens") {
        let complaint = Complaint::new(
            format!("{} can be reached from other machines, and no token is configured", listen.value),
            "a loopback address such as 127.0.0.1:8080, or any address with a [tokens.<name>] table",
        );
        return root.desk.fault_at(listen, complaint);
    }
    for (name, _) in tokens.iter().filter(|(_, token)| Some(token.sha256) == value::sha256(DEVELOPMENT_TOKEN))
    {
        let sentence = format!(
            "the token {name} is the one that the documentation shows to everybody, and {} can be reached from other machines",
            listen.value
        );
        root.desk.warn(&listen.place, &listen.key, sentence);
    }
}

/// `[database]`.
pub(super) fn database(table: &mut Table<'_>) -> Option<Database> {
    let judge = |url: &str| match scheme(url) {
        "sqlite" => Ok(Engine::Sqlite),
        "postgres" | "postgresql" => Ok(Engine::Postgres),
        "mysql" | "mariadb" => {
            Err("MySQL and MariaDB are not supported: they cannot return the rows they update")
        }
        _ => Err("names no database that Redial knows"),
    };
    let url = table.required_secret("url").and_then(|url| judge_url(table, url, DATABASE_URL, judge));
    let max_connections = table.required("max_connections", value::integer(1..=CONNECTIONS_MAX));
    let migrate = table.required("migrate", value::boolean);
    let (engine, url) = url?;
    Some(Database {
        engine,
        url,
        max_connections: max_connections?.value,
        migrate: if migrate?.value { Migrate::AtStart } else { Migrate::ByHand },
    })
}

/// `[broker]`.
pub(super) fn broker(table: &mut Table<'_>) -> Option<Broker> {
    let judge = |url: &str| match scheme(url) {
        "embedded" if url == "embedded:" => Ok(Via::Timers),
        "amqp" | "amqps" if has_host(url) => Ok(Via::Amqp),
        "amqp" | "amqps" => Err("names no host"),
        _ => Err("names no broker that Redial knows"),
    };
    let url = table.required_secret("url").and_then(|url| judge_url(table, url, BROKER_URL, judge));
    let prefix = table.required(
        "prefix",
        value::parsed(
            Prefix::parse,
            "lower-case letters, digits, '.', '_' and '-': [a-z0-9][a-z0-9._-]{0,31}",
        ),
    );
    let management_url = management_url(table);
    let declare = table.required("declare", value::boolean);
    let base_tiers = base_tiers(table);
    let (via, url) = url?;
    let declare = if declare?.value { Declare::AtConnect } else { Declare::ByHand };
    let transport = match via {
        Via::Timers => Transport::Embedded,
        Via::Amqp => Transport::RabbitMq(RabbitMq { url, management_url, declare }),
    };
    Some(Broker { transport, prefix: prefix?.value, base_tiers: base_tiers? })
}

/// What a broker's URL asks for.
enum Via {
    Timers,
    Amqp,
}

fn management_url(table: &mut Table<'_>) -> Option<SecretUrl> {
    let found = table.secret("management_url").value()?;
    let allowed = "http://host:15672 or https://…, perhaps with user:password@";
    let url = judge_url(table, found, allowed, |url| match scheme(url) {
        "http" | "https" if has_host(url) => Ok(()),
        _ => Err("is no address of a management API"),
    });
    url.map(|((), url)| url)
}

fn base_tiers(table: &mut Table<'_>) -> Option<BaseTiers> {
    let tiers = table.required_list("tiers", value::duration(RUNG_MIN..=RUNG_MAX))?;
    let allowed = format!("1 to {BASE_TIERS_MAX} durations");
    if tiers.value.len() > BASE_TIERS_MAX {
        table.desk.fault_at(&tiers, Complaint::new(format!("holds {} tiers", tiers.value.len()), allowed));
        return None;
    }
    let base = BaseTiers::new(tiers.value.iter().copied());
    if base.is_none() {
        table.desk.fault_at(&tiers, Complaint::new("holds no tier", allowed));
    }
    base
}

/// A URL that may hold a secret, so that no sentence shows any of it.
fn judge_url<T>(
    table: &Table<'_>,
    found: Placed<Secret>,
    allowed: &str,
    judge: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Option<(T, SecretUrl)> {
    match judge(found.value.value.expose_secret()) {
        Ok(judged) => {
            warn_of_literal_password(table, &found);
            Some((judged, SecretUrl::new(found.value.value, &found.value.shown)))
        }
        Err(problem) => {
            table.desk.fault_at(&found, Complaint::new(problem, allowed));
            None
        }
    }
}

/// Passwords in a file end in a repository. `guest` is no secret: RabbitMQ takes it from its own machine only.
fn warn_of_literal_password(table: &Table<'_>, found: &Placed<Secret>) {
    let written_out = matches!(found.place, Place::Position { .. }) && found.value.is_literal();
    let password = |url: url::Url| url.password().map(str::to_owned);
    let secret = url::Url::parse(found.value.value.expose_secret()).ok().and_then(password);
    if written_out && secret.is_some_and(|password| password != "guest") {
        let sentence =
            "holds a password; a reference keeps it out of the file: \"scheme://user:${PASSWORD}@host\"";
        table.desk.warn(&found.place, &found.key, sentence.to_owned());
    }
}

fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}

fn has_host(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| url.host_str().is_some_and(|host| !host.is_empty()))
}

/// `[tokens]`.
pub(super) fn tokens(root: &mut Table<'_>) -> BTreeMap<Publisher, Token> {
    let mut tokens = BTreeMap::<Publisher, Token>::new();
    let read = root.each("tokens", |name, table| {
        let name = Publisher::parse(name).map_err(|error| {
            table.fault(Complaint::new(
                format!("the name {error}"),
                "a name of 1 to 255 bytes without control characters",
            ));
        });
        let sha256 = table.required(
            "sha256",
            value::parsed(value::sha256, "64 hexadecimal digits: printf %s \"$TOKEN\" | sha256sum"),
        );
        let roles = roles(table);
        let sha256 = sha256?;
        Some((name.ok()?, sha256.clone(), Token { sha256: sha256.value, roles: roles? }))
    });
    for (name, sha256, token) in read.into_iter().flatten() {
        if let Some((other, _)) = tokens.iter().find(|(_, other)| other.sha256 == token.sha256) {
            let complaint =
                Complaint::new(format!("is the token of {other}"), "a token of its own for every name");
            root.desk.fault_at(&sha256, complaint);
        }
        tokens.insert(name, token);
    }
    tokens
}

fn roles(table: &mut Table<'_>) -> Option<BTreeSet<Role>> {
    let roles = table.required_list("roles", |node| value::parsed(Role::parse, Role::allowed())(node))?;
    if roles.value.is_empty() {
        table.desk.fault_at(&roles, Complaint::new("holds no role", Role::allowed()));
        return None;
    }
    Some(roles.value.into_iter().collect())
}

/// `[sweeper]`.
pub(super) fn sweeper(table: &mut Table<'_>) -> Option<Sweeper> {
    let every = table.required("every", value::duration(SWEEP_EVERY_MIN..=SWEEP_EVERY_MAX));
    let grace = table.required("grace", value::duration(GRACE_MIN..=GRACE_MAX));
    Some(Sweeper { every: every?.value, grace: grace?.value })
}

fn public_url(text: &str) -> Option<String> {
    BaseUrl::parse(text).ok().map(|url| url.as_str().to_owned())
}

/// `[callbacks]`.
pub(super) fn callbacks(table: &mut Table<'_>) -> Option<Callbacks> {
    let addresses =
        table.required("addresses", value::parsed(CallbackAddresses::parse, CallbackAddresses::allowed()));
    Some(Callbacks { addresses: addresses?.value })
}

/// `[retention]`.
pub(super) fn retention(table: &mut Table<'_>) -> Option<Retention> {
    let finished = table.required("finished", value::duration(RETENTION_MIN..=RETENTION_MAX));
    let bodies = table.required("bodies", value::duration(RETENTION_MIN..=RETENTION_MAX));
    let (finished, bodies) = (finished?, bodies?);
    if bodies.value > finished.value {
        let complaint = Complaint::new(
            "is longer than retention.finished: a body is gone when its call is",
            "at most retention.finished",
        );
        table.desk.fault_at(&bodies, complaint);
        return None;
    }
    Some(Retention { finished: finished.value, bodies: bodies.value })
}

/// `[log]`.
pub(super) fn log(table: &mut Table<'_>) -> Option<Log> {
    let format = table.required("format", value::parsed(LogFormat::parse, LogFormat::allowed()));
    let level = table.required("level", value::parsed(LogLevel::parse, LogLevel::allowed()));
    Some(Log { format: format?.value, level: level?.value })
}

/// `[worker]`.
pub(super) fn worker(table: &mut Table<'_>) -> Worker {
    let allowed = "1 to 255 bytes without control characters";
    let name = table.optional("name", value::parsed(|text| WorkerName::parse(text).ok(), allowed));
    Worker { name: name.value().map(|name| name.value) }
}
