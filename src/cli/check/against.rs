//! `redial check --against`: what a reload of a configuration would change on a running server.
//!
//! The server's API renders what is in force there, and the same function renders what the configuration means; both are compared key by key.
//! What is secret is in neither, so a change of it is not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Checked, join};
use crate::api::configured::in_force;
use crate::cli::client::connection::{Query, Server, ServerArgs};
use crate::cli::client::paper::{Paper, say};
use crate::cli::client::pass_on;
use crate::cli::client::sheet::{Sheet, pairs};
use crate::cli::client::trouble::{Result, Trouble};
use crate::config::{Loaded, SecretUse};

/// What a comparison cannot see.
const UNSEEN: &str = "not compared: values of headers and secrets; sections other than [defaults] and [endpoints], which a reload does not take over";
/// What stands for a value that is not there.
const NOTHING: &str = "-";

/// Compares a configuration with what is in force on a server, and prints what would change.
///
/// # Errors
/// [`Trouble`]: the server does not say what is in force.
pub(super) async fn run(loaded: &Loaded, args: &ServerArgs) -> anyhow::Result<Checked> {
    let server = Server::new(args)?;
    let there = server.get(&["v1", "configuration"], &Query::new()).await.and_then(|answer| answer.read());
    let there: InForce = there.inspect_err(|trouble| {
        if args.json {
            pass_on(trouble);
        }
    })?;
    let changes = Changes::between(&there, &InForce::of(loaded)?, &loaded.secrets);
    if args.json {
        say(&serde_json::to_string(&changes)?);
    } else {
        if let Some(refused) = &there.configuration.refused {
            eprintln!("the server refused its own file at {}; what is in force there is older", refused.at);
        }
        say(&changes.table(&server.name(), Paper::of_stdout()));
        eprintln!("{UNSEEN}");
    }
    Ok(Checked::Sound)
}

/// What is in force somewhere, as the API tells it.
#[derive(Debug, Default, Deserialize)]
struct InForce {
    endpoints: BTreeMap<String, Value>,
    tiers: Vec<String>,
    lanes: BTreeMap<String, Value>,
    single_lanes: BTreeSet<String>,
    #[serde(default)]
    configuration: Configuration,
}

#[derive(Debug, Default, Deserialize)]
struct Configuration {
    refused: Option<Refused>,
}

#[derive(Debug, Deserialize)]
struct Refused {
    at: String,
}

impl InForce {
    /// What would be in force with this configuration. The tiers are those of its ladders: a reload adds no others.
    fn of(loaded: &Loaded) -> Result<Self> {
        let endpoints = &loaded.settings.endpoints;
        let document = in_force(endpoints, endpoints.rungs().into_iter());
        serde_json::from_value(document).map_err(|error| Trouble::NotUnderstood(error.to_string()))
    }
}

/// What a reload would change.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Changes {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<Change>,
    /// That would be declared, shortest first.
    tiers: Vec<String>,
    /// That would be declared.
    lanes: Vec<String>,
    /// That would be declared in the form that one process at a time consumes.
    single_lanes: Vec<String>,
}

/// One key that would have another value.
#[derive(Debug, PartialEq, Serialize)]
struct Change {
    endpoint: String,
    key: String,
    old: Option<Value>,
    new: Option<Value>,
}

impl Changes {
    fn between(there: &InForce, here: &InForce, secrets: &[SecretUse]) -> Self {
        let missing = |from: &InForce, to: &InForce| -> Vec<String> {
            to.endpoints.keys().filter(|name| !from.endpoints.contains_key(*name)).cloned().collect()
        };
        let both =
            here.endpoints.iter().filter_map(|(name, new)| Some((name, there.endpoints.get(name)?, new)));
        Self {
            added: missing(there, here),
            removed: missing(here, there),
            changed: both.flat_map(|(name, old, new)| changes_of(name, old, new, secrets)).collect(),
            tiers: here.tiers.iter().filter(|tier| !there.tiers.contains(tier)).cloned().collect(),
            lanes: here.lanes.keys().filter(|lane| !there.lanes.contains_key(*lane)).cloned().collect(),
            single_lanes: here.single_lanes.difference(&there.single_lanes).cloned().collect(),
        }
    }

    fn table(&self, server: &str, paper: Paper) -> String {
        if *self == Self::default() {
            return format!("a reload would change nothing at {server}");
        }
        let mut text = pairs(
            [
                ("against", server.to_owned()),
                ("added", join(&self.added, ", ")),
                ("removed", join(&self.removed, ", ")),
                ("tiers", join(&self.tiers, ", ")),
                ("lanes", join(&self.lanes, ", ")),
                ("one process at a time", join(&self.single_lanes, ", ")),
            ],
            paper,
        );
        let mut sheet = Sheet::new(&["endpoint", "key", "now", "then"]);
        for Change { endpoint, key, old, new } in &self.changed {
            sheet.row([endpoint.clone(), key.clone(), shown(old.as_ref()), shown(new.as_ref())]);
        }
        // Writing to a String cannot fail.
        if !sheet.is_empty() {
            let _ = write!(text, "\n\n{}", sheet.render(paper));
        }
        if !self.removed.is_empty() {
            text.push_str(
                "\n\ncalls that wait for a removed endpoint go to review as unroutable when they are due",
            );
        }
        text
    }
}

/// The keys of an endpoint that would have another value.
fn changes_of(endpoint: &str, old: &Value, new: &Value, secrets: &[SecretUse]) -> Vec<Change> {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    flatten(String::new(), old, &mut before);
    flatten(String::new(), new, &mut after);
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    changed
        .map(|key| Change {
            endpoint: endpoint.to_owned(),
            key: key.clone(),
            old: before.get(key).cloned(),
            new: after.get(key).map(|value| origin(endpoint, key, secrets).unwrap_or_else(|| value.clone())),
        })
        .collect()
}

/// Every value that has no parts with a name, under its whole key: `timeout.read`, `rules[0].when`. A list of plain values is one value.
fn flatten(key: String, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (name, member) in members {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(key, member, into);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (position, item) in items.iter().enumerate() {
                flatten(format!("{key}[{position}]"), item, into);
            }
        }
        // None is the same as nothing.
        Value::Array(items) if items.is_empty() => {}
        Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            into.insert(key, value.clone());
        }
    }
}

/// Where a value comes from that was not written out: what a reference stands for is not shown.
fn origin(endpoint: &str, key: &str, secrets: &[SecretUse]) -> Option<Value> {
    let keys = [format!("endpoints.{endpoint}.{key}"), format!("defaults.{key}")];
    let used = secrets.iter().find(|used| used.is_by_reference() && keys.contains(&used.key))?;
    Some(Value::String(format!("(from {})", join(&used.origins, ", "))))
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => NOTHING.to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => join(items.iter().map(|item| shown(Some(item))), ", "),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::paper::Ink;
    use crate::config::{self, Environment, Sources};

    const BEFORE: &str = r#"
[endpoints.sms]
base_url = "https://sms.example.com"
ladder = ["10s", "30s"]
headers = { authorization = "Bearer ${TOKEN}" }
rules = [{ when = "status == 200", verdict = "success" }]
[endpoints.fax]
base_url = "https://fax.example.com"
"#;

    fn loaded(text: &str, variables: &[(&str, &str)]) -> Loaded {
        let environment = Environment::new(variables.iter().copied());
        let sources = Sources { environment, ..Sources::of_text(text) };
        config::load(&sources).unwrap_or_else(|faults| panic!("{faults}"))
    }

    fn changes(before: &str, after: &str) -> Changes {
        let variables = [("TOKEN", "canary"), ("HOST", "https://canary.example")];
        let (before, after) = (loaded(before, &variables), loaded(after, &variables));
        Changes::between(&InForce::of(&before).unwrap(), &InForce::of(&after).unwrap(), &after.secrets)
    }

    #[test]
    fn a_configuration_changes_nothing_against_itself() {
        let none = changes(BEFORE, BEFORE);
        assert_eq!(none, Changes::default());
        let text = none.table("http://here", Paper { width: None, ink: Ink::Plain });
        assert_eq!(text, "a reload would change nothing at http://here");
    }

    #[test]
    fn every_key_that_would_have_another_value_is_told_with_both() {
        for (line, key, old, new) in [
            ("ladder = [\"5s\", \"1m x2\"]", "ladder", "10s, 30s", "5s, 1m, 1m"),
            ("concurrency = 7", "concurrency", "64", "7"),
            ("timeout = { read = \"7s\" }", "timeout.read", "10s", "7s"),
            ("jitter = 0.5", "jitter", "0.0", "0.5"),
            ("rate_limit = \"5/s\"", "rate_limit", "-", "5/s"),
            ("immediate_retries = 3", "immediate_retries", "0", "3"),
            ("breaker = { min_calls = 7 }", "breaker.min_calls", "-", "7"),
            ("on_ambiguous = \"review\"", "on_ambiguous", "retry", "review"),
            ("idempotency_window = \"1h\"", "idempotency_window", "-", "1h"),
            ("idempotency_header = \"X-Key\"", "idempotency_header", "idempotency-key", "x-key"),
            ("headers = { x-a = \"canary\" }", "headers", "-", "x-a"),
            (
                "base_url = \"${HOST}\"",
                "base_url",
                "https://sms.example.com",
                "(from environment variable HOST)",
            ),
            ("lane = \"slow\"", "lane", "sms", "slow"),
            ("dry_run = true", "dry_run", "false", "true"),
            (
                "rules = [{ when = \"status == 201\", verdict = \"success\" }]",
                "rules[0].when",
                "-",
                "status == 201",
            ),
        ] {
            let before =
                "[endpoints.sms]\nladder = [\"10s\", \"30s\"]\nbase_url = \"https://sms.example.com\"\n";
            let name = line.split(' ').next().unwrap();
            let kept = before.lines().filter(|kept| !kept.starts_with(name)).collect::<Vec<_>>().join("\n");
            let changes = changes(before, &format!("{kept}\n{line}\n"));
            let found = changes.changed.iter().find(|change| change.key == key);
            let found = found.unwrap_or_else(|| panic!("{line}: {changes:?}"));
            let shown = (shown(found.old.as_ref()), shown(found.new.as_ref()));
            assert_eq!((shown.0.as_str(), shown.1.as_str()), (old, new), "{line}");
            let text = changes.table("http://here", Paper { width: None, ink: Ink::Plain });
            assert!(text.contains(key) && !text.contains("canary"), "{text}");
            assert!(!serde_json::to_string(&changes).unwrap().contains("canary"), "{line}");
        }
    }

    #[test]
    fn what_comes_and_goes_is_told_with_its_tiers_and_lanes() {
        let after = BEFORE
            .replace("[endpoints.fax]", "[endpoints.mail]\nladder = [\"7s\", \"2m\"]\nrate_limit = \"1/s\"");
        let changes = changes(BEFORE, &after);
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!((&changes.added, &changes.removed), (&owned(&["mail"]), &owned(&["fax"])));
        assert_eq!(changes.changed, []);
        assert_eq!(changes.tiers, ["7s"], "two minutes are the tier of a rung that is there");
        assert_eq!((changes.lanes, changes.single_lanes), (owned(&["mail"]), owned(&["mail"])));
    }
}
