//! The environment as a layer over the file: `REDIAL_DATABASE__URL` is the key `database.url`.
//!
//! A name has no dots, hyphens or lower case, so `__` stands for a dot, and a part matches a key that is there if both are the same
//! but for case and for `_` in the place of `-`. Endpoint and header names that are not there yet are made with `-`, because
//! neither usually holds a `_`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::Arc;

use super::fault::{Complaint, Fault, Place, Warning};
use super::written::{Entries, Entry, Node, Value};

/// The variables that a configuration is read with: those over the file, and those that `${NAME}` names.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

/// What a variable holds.
pub(super) enum Variable<'a> {
    Unset,
    NotText,
    Text(&'a str),
}

/// The variable's name says that it is meant for Redial.
const PREFIX: &str = "REDIAL_";
/// What separates the parts of a key.
const DOT: &str = "__";
/// Deeper than any key.
const PARTS_MAX: usize = 8;
/// Variables of the program that are no configuration keys.
const NO_KEYS: &[&str] = &["REDIAL_CONFIG", "REDIAL_SERVER", "REDIAL_TOKEN"];
/// Beginnings of more of them, unless the name holds a `__`.
const NO_KEY_PREFIXES: &[&str] = &["REDIAL_LOG", "REDIAL_TEST"];

impl Environment {
    /// These variables.
    pub fn new<N: Into<String>, V: Into<OsString>>(variables: impl IntoIterator<Item = (N, V)>) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// The variables of this process; one whose name is no Unicode is nobody's key.
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Variable<'_> {
        match self.0.get(name).map(|value| value.to_str()) {
            None => Variable::Unset,
            Some(None) => Variable::NotText,
            Some(Some(text)) => Variable::Text(text),
        }
    }

    /// Lays the variables that are keys over the other layers.
    pub(super) fn lay_over(&self, document: &mut Entries) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut set_by = BTreeMap::<Vec<String>, &str>::new();
        for name in self.0.keys().filter(|name| is_key(name)) {
            let laid = match self.get(name) {
                Variable::Text(text) => lay_variable(document, name, text),
                Variable::NotText => Err(Complaint::new("is not UTF-8", "UTF-8 text")),
                Variable::Unset => continue,
            };
            let doubled = |path| match set_by.insert(path, name) {
                Some(other) => {
                    Err(Complaint::new(format!("sets what {other} sets too"), "one variable for a key"))
                }
                None => Ok(()),
            };
            if let Err(Complaint { problem, allowed }) = laid.and_then(doubled) {
                faults.push(Fault { place: place_of(name), key: dotted_key(name), problem, allowed });
            }
        }
        faults
    }

    /// Judges the variables that look like Redial's but are no keys, by all the keys that there are.
    pub(super) fn strays(&self, known: &BTreeSet<String>) -> (Vec<Fault>, Vec<Warning>) {
        let mut faults = Vec::new();
        let mut warnings = Vec::new();
        for name in self.0.keys().filter(|name| is_stray(name)) {
            let single = |key: &&String| key.replace(['.', '-'], "_") == bare(name).to_ascii_lowercase();
            match known.iter().find(single) {
                Some(key) => faults.push(Fault {
                    place: place_of(name),
                    key: key.clone(),
                    problem: format!("did you mean {}?", variable_of(key)),
                    allowed: "two underscores between the parts of a key".to_owned(),
                }),
                None => warnings.push(Warning {
                    place: place_of(name),
                    key: String::new(),
                    sentence: "is no configuration key and changes nothing; keys are written as REDIAL_SERVER__LISTEN"
                        .to_owned(),
                }),
            }
        }
        (faults, warnings)
    }
}

/// The name of the variable that sets this key.
pub(super) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('-', "_").replace('.', DOT).to_ascii_uppercase())
}

fn is_key(name: &str) -> bool {
    name.starts_with(PREFIX) && name.contains(DOT) && !name.starts_with("REDIAL_TEST_")
}

fn is_stray(name: &str) -> bool {
    let ours = NO_KEYS.contains(&name) || NO_KEY_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    name.starts_with(PREFIX) && !name.contains(DOT) && !ours && !is_service_link(name)
}

/// Kubernetes sets such variables in every container beside a service that is called `redial` or `redial-…`.
fn is_service_link(name: &str) -> bool {
    name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.split('_').any(|part| part == "PORT")
}

fn bare(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

fn dotted_key(name: &str) -> String {
    bare(name).to_ascii_lowercase().replace(DOT, ".")
}

fn place_of(name: &str) -> Place {
    Place::Variable { name: Arc::from(name) }
}

/// Lays one variable over the document; returns the parts of its key.
fn lay_variable(document: &mut Entries, name: &str, text: &str) -> Result<Vec<String>, Complaint> {
    let place = place_of(name);
    let parts: Vec<&str> = bare(name).split(DOT).collect();
    let Some((last, tables)) = parts.split_last().filter(|_| parts.len() <= PARTS_MAX) else {
        return Err(Complaint::new("is no configuration key", "a name such as REDIAL_DATABASE__URL"));
    };
    let mut path = Vec::with_capacity(parts.len());
    let mut entries = document;
    for part in tables {
        let key = key_for(entries, &path, part);
        path.push(key.clone());
        entries = table_at(entries, key, &place)?;
    }
    let key = key_for(entries, &path, last);
    path.push(key.clone());
    let node = Node { place: place.clone(), value: Value::Untyped(text.to_owned()) };
    entries.insert(key, Entry { place, node });
    Ok(path)
}

/// The table under a key, made if there is none.
fn table_at<'a>(entries: &'a mut Entries, key: String, place: &Place) -> Result<&'a mut Entries, Complaint> {
    let new = || Entry {
        place: place.clone(),
        node: Node { place: place.clone(), value: Value::Table(Entries::new()) },
    };
    let entry = entries.entry(key).or_insert_with(new);
    // A variable may hold a whole table that another one changes in part.
    let opened = entry.node.table().map(std::borrow::Cow::into_owned);
    let opened = opened.map_err(|_| {
        Complaint::new(
            format!("lies below a key that is {} ({})", entry.node.kind(), entry.node.place),
            "keys below a table",
        )
    })?;
    entry.node.value = Value::Table(opened);
    if let Value::Table(table) = &mut entry.node.value {
        return Ok(table);
    }
    Err(Complaint::new("lies below a key that is no table", "keys below a table"))
}

/// The key that a part of a variable's name stands for.
fn key_for(entries: &Entries, parents: &[String], part: &str) -> String {
    let same = |key: &&String| key.replace('-', "_").eq_ignore_ascii_case(part);
    if let Some(key) = entries.keys().find(same) {
        return key.clone();
    }
    let lower = part.to_ascii_lowercase();
    let names_an_endpoint = parents == ["endpoints"];
    let names_a_header = parents.last().is_some_and(|parent| parent == "headers");
    if names_an_endpoint || names_a_header { lower.replace('_', "-") } else { lower }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::written;

    fn overlaid(text: &str, variables: &[(&str, &str)]) -> (Entries, Vec<Fault>) {
        let mut document = written::parse("f", text).unwrap_or_else(|fault| panic!("{fault}"));
        let faults = Environment::new(variables.iter().copied()).lay_over(&mut document);
        (document, faults)
    }

    fn keys(entries: &Entries, prefix: &str) -> Vec<String> {
        entries
            .iter()
            .flat_map(|(key, entry)| {
                if let Value::Table(inner) = &entry.node.value {
                    return keys(inner, &format!("{prefix}{key}."));
                }
                vec![format!("{prefix}{key}")]
            })
            .collect()
    }

    #[test]
    fn a_part_matches_a_key_in_any_case_and_with_a_hyphen() {
        let (document, faults) = overlaid(
            "[endpoints.sms-cn]\nbase_url = 'x'\n[tokens.Billing-EU]\n",
            &[
                ("REDIAL_ENDPOINTS__SMS_CN__BASE_URL", "y"),
                ("REDIAL_TOKENS__BILLING_EU__SHA256", "z"),
                ("REDIAL_ENDPOINTS__PAY_PAL__HEADERS__X_API_KEY", "k"),
                ("REDIAL_DATABASE__MAX_CONNECTIONS", "3"),
                ("REDIAL_TEST__X", "no"),
                ("PATH", "no"),
            ],
        );
        assert!(faults.is_empty());
        assert_eq!(
            keys(&document, ""),
            [
                "database.max_connections",
                "endpoints.pay-pal.headers.x-api-key",
                "endpoints.sms-cn.base_url",
                "tokens.Billing-EU.sha256"
            ]
        );
    }

    #[test]
    fn a_variable_changes_a_part_of_a_table_that_another_one_holds() {
        let (document, faults) = overlaid(
            "",
            &[
                ("REDIAL_DEFAULTS__TIMEOUT", "{ read = '1s', connect = '1s' }"),
                ("REDIAL_DEFAULTS__TIMEOUT__READ", "2s"),
            ],
        );
        assert!(faults.is_empty());
        assert_eq!(keys(&document, ""), ["defaults.timeout.connect", "defaults.timeout.read"]);
    }

    #[test]
    fn what_cannot_be_laid_over_is_a_fault_at_its_variable() {
        let deep = format!("REDIAL_{}", vec!["A"; 5_000].join(DOT));
        let (_, faults) = overlaid(
            "server = 1",
            &[
                ("REDIAL_SERVER__LISTEN", "x"),
                (&deep, "x"),
                ("REDIAL_LOG__LEVEL", "x"),
                ("REDIAL_LOG__level", "y"),
            ],
        );
        let problems: Vec<&str> = faults.iter().map(|fault| fault.problem.as_str()).collect();
        assert_eq!(
            problems,
            [
                "is no configuration key",
                "sets what REDIAL_LOG__LEVEL sets too",
                "lies below a key that is a number (f:1:10)"
            ]
        );
    }

    #[test]
    fn a_single_underscore_is_a_fault_and_a_foreign_name_a_warning() {
        let known = ["database.url", "server.listen"].map(str::to_owned).into_iter().collect();
        let environment = Environment::new([
            ("REDIAL_DATABASE_URL", "x"),
            ("REDIAL_CONFIG", "x"),
            ("REDIAL_SERVER", "x"),
            ("REDIAL_TOKEN", "x"),
            ("REDIAL_LOG", "x"),
            ("REDIAL_TEST_POSTGRES", "x"),
            ("REDIAL_SERVICE_HOST", "x"),
            ("REDIAL_PORT_8080_TCP_ADDR", "x"),
            ("REDIAL_SERVER_SERVICE_PORT_HTTP", "x"),
            ("REDIAL_DATABSE", "x"),
        ]);
        let (faults, warnings) = environment.strays(&known);
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].problem, "did you mean REDIAL_DATABASE__URL?");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_eq!(warnings[0].place.to_string(), "environment variable REDIAL_DATABSE");
    }
}
