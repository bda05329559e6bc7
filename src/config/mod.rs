//! Configuration: what was written, read into what it means, all faults at once with their place.
//!
//! Two shapes. What was typed is a tree of values with places (`written`): the built-in defaults (`config.default.toml`), one
//! TOML file over them, the environment over both. What it means is [`Settings`]: domain types that hold only what is valid. Between
//! the two stands a cursor (`table`) and one small reader a section (`sections`, `endpoints`).
//!
//! The defaults stand in `config.default.toml` alone, never in code. No secret's value appears in a fault, a warning or any
//! `Debug` or `Display`. Only `app` and `cli` see this module; every other one takes what it needs.

mod endpoints;
mod environment;
mod fault;
mod reference;
mod sections;
pub mod settings;
mod suggest;
mod table;
mod value;
mod written;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use environment::Environment;
pub use fault::{Fault, Faults, Place, Warning};
pub use reference::Origin;
pub use settings::Settings;
pub use table::SecretUse;
pub use value::format_bytes;

use fault::Complaint;
use table::{Desk, Findings, Table};
use written::Entries;

use crate::limits::CONFIGURATION_STACK_BYTES;

/// The built-in defaults: the reference manual and the lowest layer in one.
pub const DEFAULTS: &str = include_str!("../../config.default.toml");
/// The file that is read if no other is named.
pub const DEFAULT_FILE: &str = "redial.toml";
/// Longest configuration file, in bytes: a bound against a device or a log named by mistake.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where the file's layer comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file that must be there.
    File(PathBuf),
    /// A file that may be missing.
    FileIfAny(PathBuf),
    /// A text, and the name that it has in faults.
    Text {
        /// Its name.
        name: String,
        /// TOML.
        text: String,
    },
}

/// What the configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To make calls: there must be an endpoint.
    Serve,
    /// To look after database and broker: endpoints may be missing.
    Administer,
}

/// All that a configuration is read from.
#[derive(Clone)]
pub struct Sources {
    /// The file over the defaults.
    pub file: Source,
    /// The variables over the file.
    pub environment: Environment,
    /// What for.
    pub purpose: Purpose,
}

impl Sources {
    /// The sources of a process: the file that was named, else `redial.toml` if there is one, and its environment.
    pub fn of_process(config: Option<PathBuf>, purpose: Purpose) -> Self {
        let file = config.map_or_else(|| Source::FileIfAny(DEFAULT_FILE.into()), Source::File);
        Self { file, environment: Environment::of_process(), purpose }
    }

    /// A text alone, without any environment.
    pub fn of_text(text: impl Into<String>) -> Self {
        let file = Source::Text { name: DEFAULT_FILE.to_owned(), text: text.into() };
        Self { file, environment: Environment::default(), purpose: Purpose::Serve }
    }
}

/// A configuration that was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it means.
    pub settings: Settings,
    /// What is doubtful, in order.
    pub warnings: Vec<Warning>,
    /// The values that may hold a secret, with where they come from.
    pub secrets: Vec<SecretUse>,
    /// The file that was read; `None` if there is none.
    pub file: Option<String>,
}

/// Reads a configuration.
///
/// # Errors
/// Everything that is wrong with it, unless the file is no TOML at all: that is one fault.
pub fn load(sources: &Sources) -> Result<Loaded, Faults> {
    // The TOML parser loses count of the depth in broken text and recurses as deep as that goes on. A running process reads its file
    // again on a task's stack, and must not end because somebody saved half a file.
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(CONFIGURATION_STACK_BYTES);
        match builder.spawn_scoped(scope, || read(sources)) {
            Ok(reading) => reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => Err(Faults::new(vec![Fault {
                place: Place::Whole { name: Arc::from("the configuration") },
                key: String::new(),
                problem: format!("cannot be read now: {error}"),
                allowed: "a process that may start a thread".to_owned(),
            }])),
        }
    })
}

fn read(sources: &Sources) -> Result<Loaded, Faults> {
    let typed = read_layers(sources).map_err(|fault| Faults::new(vec![fault]))?;
    let desk = Desk::new(&sources.environment);
    let name = typed.name.as_deref().unwrap_or("redial.toml (no such file)");
    let place = Place::Whole { name: Arc::from(name) };
    let settings = desk.read(&typed.document, place, |root| read_settings(root, sources.purpose));
    let Findings { mut faults, mut warnings, secrets, known } = desk.findings();
    faults.extend(typed.faults);
    let (stray_faults, stray_warnings) = sources.environment.strays(&known);
    faults.extend(stray_faults);
    warnings.extend(stray_warnings);
    warnings.sort();
    warnings.dedup();
    match settings {
        Some(settings) if faults.is_empty() => Ok(Loaded { settings, warnings, secrets, file: typed.name }),
        Some(_) | None => Err(Faults::new(faults)),
    }
}

/// What was typed, all layers in one.
struct Typed {
    document: Entries,
    /// The file's name, if there is a file.
    name: Option<String>,
    /// Variables that could not be laid over.
    faults: Vec<Fault>,
}

fn read_layers(sources: &Sources) -> Result<Typed, Fault> {
    let mut document = written::parse("config.default.toml", DEFAULTS)?;
    written::as_built_in(&mut document);
    let file = read_source(&sources.file)?;
    if let Some((name, text)) = &file {
        written::lay_over(&mut document, written::parse(name, text)?);
    }
    let faults = sources.environment.lay_over(&mut document);
    Ok(Typed { document, name: file.map(|(name, _)| name), faults })
}

/// Name and text of the file, if there is one.
fn read_source(source: &Source) -> Result<Option<(String, String)>, Fault> {
    match source {
        Source::Text { name, text } => Ok(Some((name.clone(), text.clone()))),
        Source::File(path) => read_file(path).map(Some),
        Source::FileIfAny(path) if path.exists() => read_file(path).map(Some),
        Source::FileIfAny(_) => Ok(None),
    }
}

fn read_file(path: &Path) -> Result<(String, String), Fault> {
    let name = path.display().to_string();
    let fault = |problem: String| Fault {
        place: Place::Whole { name: Arc::from(name.as_str()) },
        key: String::new(),
        problem,
        allowed: "a readable TOML file of at most 1 MiB".to_owned(),
    };
    let file =
        std::fs::File::open(path).map_err(|error| fault(format!("cannot be opened: {}", error.kind())))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fault(format!("cannot be read: {}", error.kind())))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(fault("is longer than 1 MiB".to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|byte| *byte == b'\n').count();
        fault(format!("is not UTF-8 in line {line}"))
    })?;
    Ok((name, text))
}

/// Reads every section before any is missed, so that all faults are found.
fn read_settings(root: &mut Table<'_>, purpose: Purpose) -> Option<Settings> {
    let (listen, server) = root.table("server", sections::server).unwrap_or_default();
    let database = root.table("database", sections::database).flatten();
    let broker = root.table("broker", sections::broker).flatten();
    let tokens = sections::tokens(root);
    let sweeper = root.table("sweeper", sections::sweeper).flatten();
    let callbacks = root.table("callbacks", sections::callbacks).flatten();
    let retention = root.table("retention", sections::retention).flatten();
    let log = root.table("log", sections::log).flatten();
    let worker = root.table("worker", sections::worker);
    let endpoints = endpoints::read(root);
    if purpose == Purpose::Serve && root.lacks("endpoints") {
        root.fault(Complaint::new(
            "no endpoint is configured, so there is nothing to call",
            "at least one, as in [endpoints.sms] with base_url = \"https://sms.example.com\"",
        ));
    }
    if let Some(listen) = listen {
        sections::check_exposure(root, &listen, &tokens);
    }
    Some(Settings {
        server: server?,
        database: database?,
        broker: broker?,
        tokens,
        sweeper: sweeper?,
        callbacks: callbacks?,
        retention: retention?,
        log: log?,
        worker: worker?,
        endpoints,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every key that the readers ask for. Endpoints have those of `[defaults]`.
    fn known_keys() -> BTreeSet<String> {
        let text = "[tokens.billing]\nsha256 = ''\nroles = []\n[endpoints.sms]\nbase_url = 'http://a'\n\
                    [defaults]\nrules = [{}]\n[defaults.confirm]\nrules = [{}]\n[defaults.callback]\nrules = [{}]\n\
                    token = {}\nsignature = {}\n[[defaults.providers]]\nrequest = {}\n";
        let sources = Sources::of_text(text);
        let typed = read_layers(&sources).unwrap();
        let desk = Desk::new(&sources.environment);
        desk.read(&typed.document, Place::BuiltIn, |root| read_settings(root, Purpose::Serve));
        let sections =
            |key: &String| !key.starts_with("endpoints") && key.contains('.') && key != "tokens.billing";
        // Rules are written out as lists, one a line.
        let sections = |key: &String| sections(key) && !key.contains(".rules[");
        desk.findings().known.into_iter().filter(sections).map(of_provider).collect()
    }

    /// The keys of a provider, without what stands inside them: most of that is an endpoint's too.
    #[expect(clippy::needless_pass_by_value, reason = "handed to map as it is")]
    fn of_provider(key: String) -> String {
        let key = key.replace("[0]", "");
        match key.strip_prefix("defaults.providers.").and_then(|own| own.split_once('.')) {
            Some((own, _)) => format!("defaults.providers.{own}"),
            None => key,
        }
    }

    /// Every key that a file names, in a comment or not.
    fn mentioned_keys(text: &str) -> BTreeSet<String> {
        let mut section = String::new();
        let mut keys = BTreeSet::new();
        for line in text.lines().map(|line| line.trim_start_matches("# ")) {
            if line.starts_with('[') && line.ends_with(']') {
                section = line.trim_matches(['[', ']']).to_owned();
                if line.starts_with("[[") {
                    keys.insert(section.clone());
                }
            } else if let Some((key, value)) = line.split_once(" = ").filter(|(key, _)| is_bare(key)) {
                keys.insert(format!("{section}.{key}"));
                let inner = value.strip_prefix('{').unwrap_or_default().split('}').next().unwrap_or_default();
                let inner = inner.split(',').filter_map(|pair| pair.split_once('='));
                keys.extend(inner.map(|(inner, _)| format!("{section}.{key}.{}", inner.trim())));
            }
        }
        let as_defaults = |key: String| key.replace("endpoints.sms.", "defaults.");
        keys.into_iter().map(as_defaults).map(of_provider).filter(|key| !key.contains(".headers.")).collect()
    }

    fn is_bare(key: &str) -> bool {
        key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    }

    #[test]
    fn the_defaults_mention_every_key_and_no_other() {
        let known = known_keys();
        assert!(known.contains("broker.tiers") && known.contains("defaults.timeout.read"), "{known:?}");
        assert_eq!(mentioned_keys(DEFAULTS), known);
    }

    #[test]
    fn the_program_and_its_manual_agree() {
        use crate::endpoint::ladder::format_duration;
        use crate::limits::{LEASE_MARGIN_DEFAULT, SUBMISSION_BYTES_DEFAULT};
        let loaded = load(&Sources::of_text("[endpoints.sms]\nbase_url = 'http://a'")).unwrap();
        assert_eq!(loaded.settings.server.max_body, SUBMISSION_BYTES_DEFAULT);
        assert!(
            DEFAULTS.contains(&format!("without it: overall + {}.", format_duration(LEASE_MARGIN_DEFAULT)))
        );
    }
}
