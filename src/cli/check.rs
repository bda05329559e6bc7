//! `redial check`: everything that is wrong with a configuration, or what it means, or what it would change.
//!
//! Faults and warnings go to standard error, the meaning to standard output. Where secrets come from is shown, never what they are.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::Outcome;
use super::client::connection::ServerArgs;
use crate::config::settings::{Broker, Declare, Migrate, Transport};
use crate::config::{self, Loaded, Place, Purpose, SecretUse, Settings, Sources, format_bytes};
use crate::endpoint::ladder::format_duration;
use crate::endpoint::{Destination, Endpoint, Ladder};

mod against;

/// What the command ends with, for `--help`.
const EXIT_CODES: &str = "Exit codes: 0 sound, whatever it would change; 1 failed; 2 faulty. With --against also: 5 the server cannot be \
reached or cannot serve now; 6 the token is missing, unknown, or lacks the role.";

/// What `redial check` is asked.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct CheckArgs {
    /// The configuration file [default: redial.toml, if there is one]
    #[arg(long, short, value_name = "FILE", env = "REDIAL_CONFIG")]
    pub config: Option<PathBuf>,
    /// A running server: say what a reload of this configuration would change there
    #[arg(long, value_name = "URL")]
    pub against: Option<String>,
    /// The token for the running server, or <file:/path> of a file that holds it
    #[arg(long, env = "REDIAL_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Print the changes as one JSON document
    #[arg(long, requires = "against")]
    pub json: bool,
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// The configuration can be served.
    Sound,
    /// It cannot; its faults are printed.
    Faulty,
}

/// Checks the configuration of this process. Exit code 0: sound, 2: faulty, 1: the result could not be written.
///
/// # Errors
/// The running server that it is to be compared with does not say what is in force there.
pub async fn run(args: CheckArgs) -> Outcome {
    let sources = Sources::of_process(args.config.clone(), Purpose::Serve);
    let checked = match args.server() {
        None => check(&sources, &mut io::stdout().lock(), &mut io::stderr().lock())?,
        Some(server) => {
            let loaded = load(&sources, &mut io::stderr().lock())?;
            match loaded {
                Some(loaded) => against::run(&loaded, &server).await?,
                None => Checked::Faulty,
            }
        }
    };
    Ok(match checked {
        Checked::Sound => ExitCode::SUCCESS,
        Checked::Faulty => ExitCode::from(2),
    })
}

impl CheckArgs {
    /// The running server that the configuration is to be compared with.
    fn server(&self) -> Option<ServerArgs> {
        let server = self.against.clone()?;
        Some(ServerArgs { server, token: self.token.clone(), json: self.json })
    }
}

/// Writes what a configuration means to `out`, what is wrong or doubtful to `err`.
///
/// # Errors
/// One of them cannot be written.
pub fn check(sources: &Sources, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Checked> {
    let Some(loaded) = load(sources, err)? else { return Ok(Checked::Faulty) };
    write!(out, "{}", summary(&loaded))?;
    Ok(Checked::Sound)
}

/// Reads a configuration; what is wrong or doubtful goes to `err`. `None`: it is faulty.
fn load(sources: &Sources, err: &mut dyn Write) -> io::Result<Option<Loaded>> {
    match config::load(sources) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                writeln!(err, "warning: {warning}")?;
            }
            Ok(Some(loaded))
        }
        Err(faults) => {
            writeln!(err, "{faults}")?;
            let count = faults.iter().count();
            writeln!(err, "{count} {}; nothing was started", if count == 1 { "fault" } else { "faults" })?;
            Ok(None)
        }
    }
}

fn summary(loaded: &Loaded) -> String {
    let settings = &loaded.settings;
    let file = loaded.file.as_deref().unwrap_or("no file; defaults and environment");
    let mut text = format!("configuration  {file}\n");
    for (name, meaning) in [
        ("api", api(settings)),
        ("tokens", tokens(settings)),
        ("ledger", ledger(settings)),
        ("tickets", tickets(&settings.broker)),
        ("tiers", join(settings.tiers().iter().map(format_duration), " ")),
        ("sweeper", sweeper(settings)),
        ("lanes", lanes(settings)),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<14} {meaning}");
    }
    let _ = writeln!(text, "\n{}", endpoints(loaded).trim_fmt());
    let secrets = secrets(&loaded.secrets);
    if !secrets.is_empty() {
        let _ = writeln!(text, "\nsecrets\n{secrets}");
    }
    text
}

fn api(settings: &Settings) -> String {
    format!("http://{}, bodies up to {}", settings.server.listen, format_bytes(settings.server.max_body))
}

fn tokens(settings: &Settings) -> String {
    if settings.tokens.is_empty() {
        return "none: whoever reaches the API may do everything".to_owned();
    }
    let tokens = settings.tokens.iter().map(|(name, token)| format!("{name} ({})", join(&token.roles, ", ")));
    join(tokens, "; ")
}

fn ledger(settings: &Settings) -> String {
    let database = &settings.database;
    let migrate = match database.migrate {
        Migrate::AtStart => "serve migrates",
        Migrate::ByHand => "redial migrate migrates",
    };
    format!("{}, {} ({migrate})", database.url, count(u64::from(database.max_connections), "connection"))
}

fn tickets(broker: &Broker) -> String {
    match &broker.transport {
        Transport::Embedded => "embedded: timers in the process".to_owned(),
        Transport::RabbitMq(rabbit) => {
            let declare = match rabbit.declare {
                Declare::AtConnect => "serve declares",
                Declare::ByHand => "redial topology apply or definitions.json declares",
            };
            let management = rabbit.management_url.as_ref().map(|url| format!(", management {url}"));
            format!("{}, prefix {} ({declare}){}", rabbit.url, broker.prefix, management.unwrap_or_default())
        }
    }
}

fn sweeper(settings: &Settings) -> String {
    let sweeper = settings.sweeper;
    format!("every {}, grace {}", format_duration(sweeper.every), format_duration(sweeper.grace))
}

fn lanes(settings: &Settings) -> String {
    let lane = |(lane, endpoints): (_, std::collections::BTreeSet<_>)| match endpoints.len() {
        0 | 1 => format!("{lane}"),
        _ => format!("{lane} ({})", join(endpoints, ", ")),
    };
    join(settings.endpoints.lanes().into_iter().map(lane), ", ")
}

fn endpoints(loaded: &Loaded) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header([
        "endpoint",
        "base URL",
        "ladder",
        "takes",
        "attempt",
        "lease",
        "in flight",
        "ambiguous",
    ]);
    for endpoint in loaded.settings.endpoints.iter() {
        table.add_row([
            endpoint.name.to_string(),
            base_url(endpoint, &loaded.secrets),
            ladder(&endpoint.ladder),
            in_words(endpoint.ladder.delays().iter().sum()),
            overall(endpoint),
            format_duration(endpoint.timeouts.lease()),
            endpoint.concurrency.to_string(),
            endpoint.judging.on_ambiguous.to_string(),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// A base URL with references in it is not shown: they may stand for anything.
fn base_url(endpoint: &Endpoint, secrets: &[SecretUse]) -> String {
    let key = format!("endpoints.{}.base_url", endpoint.name);
    let by_reference = |used: &&SecretUse| used.key == key && used.is_by_reference();
    match secrets.iter().find(by_reference) {
        Some(used) => format!("from {}", join(&used.origins, ", ")),
        None => destination(endpoint),
    }
}

fn destination(endpoint: &Endpoint) -> String {
    match &endpoint.destination {
        Destination::Base(base_url) => base_url.shown().to_owned(),
        Destination::Providers(providers) => {
            let names = providers.iter().map(|provider| format!("{} x{}", provider.name, provider.weight));
            format!("{}: {}", endpoint.vendors.strategy, join(names, ", "))
        }
        Destination::Named(hosts) => format!("named by submissions: {}", join(&hosts.patterns, ", ")),
    }
}

fn overall(endpoint: &Endpoint) -> String {
    let longest = format_duration(endpoint.timeouts.overall());
    match endpoint.timeouts.adaptive_floor() {
        Some(floor) => format!("adaptive, {} to {longest}", format_duration(floor)),
        None => longest,
    }
}

/// The rungs as they would be written, repetitions counted.
fn ladder(ladder: &Ladder) -> String {
    let runs = ladder.delays().chunk_by(|one, next| one == next).map(|run| match run.len() {
        1 => format_duration(run[0]),
        times => format!("{} x{times}", format_duration(run[0])),
    });
    join(runs, ", ")
}

/// Where each value comes from that is not simply written out, and where a secret is.
fn secrets(secrets: &[SecretUse]) -> String {
    let line = |used: &SecretUse| match (&used.place, used.origins.as_slice()) {
        (place @ Place::Position { .. }, []) if used.key.contains(".headers.") => {
            Some(format!("  {}  written out in {place}", used.key))
        }
        (Place::Whole { .. } | Place::Position { .. } | Place::Variable { .. } | Place::BuiltIn, []) => None,
        (_, origins) => Some(format!("  {}  from {}", used.key, join(origins, ", "))),
    };
    join(secrets.iter().filter_map(line), "\n")
}

/// A duration for people, in at most all of days, hours, minutes, seconds and milliseconds: `21h 42m 40s`.
fn in_words(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut parts = Vec::new();
    for (unit, ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= ms {
            parts.push(format!("{}{unit}", rest / ms));
            rest %= ms;
        }
    }
    join(parts, " ")
}

fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn join<T: std::fmt::Display>(items: impl IntoIterator<Item = T>, separator: &str) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn checked(text: &str, variables: &[(&str, &str)]) -> (Checked, String, String) {
        let environment = Environment::new(variables.iter().copied());
        let sources = Sources { environment, ..Sources::of_text(text) };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let checked = check(&sources, &mut out, &mut err).unwrap();
        (checked, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn a_sound_configuration_is_explained_without_its_secrets() {
        let text = r#"
[broker]
url = "amqp://redial:${PW}@rabbit:5672/redial"
[endpoints.sms]
base_url = "https://sms.example.com"
ladder = ["5s", "1m", "10m x3"]
headers = { authorization = "Bearer ${TOKEN}", x-tenant = "seven" }
[endpoints.mms]
base_url = "${MMS}"
lane = "sms"
"#;
        let variables = [("PW", "canary1"), ("TOKEN", "canary2"), ("MMS", "http://canary3")];
        let (checked, out, err) = checked(text, &variables);
        assert_eq!((checked, err.as_str()), (Checked::Sound, ""));
        for part in [
            "amqp://rabbit:5672/redial, prefix redial (serve declares)",
            "tiers          1s 5s 10s 30s 1m 2m 5m 10m 30m 1h 2h 6h 12h",
            "5s, 1m, 10m x3",
            "31m 5s",
            "21h 42m 40s",
            "from environment variable MMS",
            "sms (mms, sms)",
            "broker.url  from environment variable PW",
            "endpoints.sms.headers.authorization  from environment variable TOKEN",
            "endpoints.sms.headers.x-tenant  written out in redial.toml:7:59",
        ] {
            assert!(out.contains(part), "{part:?} in\n{out}");
        }
        assert!(!out.contains("canary") && !out.contains("seven"), "{out}");
    }

    #[test]
    fn a_faulty_configuration_is_refused_with_all_its_faults() {
        let (checked, out, err) = checked("[server]\nport = 1\n", &[]);
        assert_eq!((checked, out.as_str()), (Checked::Faulty, ""));
        assert_eq!(err.lines().count(), 3, "{err}");
        assert!(err.ends_with("2 faults; nothing was started\n"), "{err}");
    }

    #[test]
    fn long_waits_are_told_in_words() {
        for (ms, words) in [(0, ""), (1, "1ms"), (1_885_000, "31m 25s"), (90_061_001, "1d 1h 1m 1s 1ms")] {
            assert_eq!(in_words(Duration::from_millis(ms)), words);
        }
    }
}
