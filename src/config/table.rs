//! Reading a table: a cursor that knows where it stands, takes values by key and kind, and reports what it cannot take.
//!
//! Nothing stops at the first fault: what cannot be read is reported and missing from the result. A table is only ever read inside
//! [`Table::table`], [`Table::each`] or [`Desk::read`], so that the keys nobody asked for are always reported at its end.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;

use super::environment::Environment;
use super::fault::{Complaint, Fault, Place, Warning, quoted};
use super::reference::{self, Origin, Secret};
use super::suggest;
use super::written::{Entries, Node};

/// Where a configuration is read: what is looked up, and what is found.
pub(super) struct Desk<'a> {
    environment: &'a Environment,
    findings: RefCell<Findings>,
}

/// What reading found apart from the values.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Warning>,
    pub(super) secrets: Vec<SecretUse>,
    /// Every key that was asked for, with dots.
    pub(super) known: BTreeSet<String>,
}

/// A value that may hold a secret, and where the secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretUse {
    /// The key with dots.
    pub key: String,
    /// Where it was written.
    pub place: Place,
    /// Where the value comes from.
    pub origins: Vec<Origin>,
}

impl SecretUse {
    /// Whether the value was not written out where its key stands.
    pub fn is_by_reference(&self) -> bool {
        !self.origins.is_empty()
    }
}

/// A value with the key and the place where it was written.
#[derive(Clone)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Place,
    pub(super) key: String,
}

/// What stands under a key.
#[derive(Clone, Default)]
pub(super) enum Found<T> {
    #[default]
    Nothing,
    /// Something that has been reported.
    Faulty,
    Value(Placed<T>),
}

impl<T> Found<T> {
    pub(super) fn value(self) -> Option<Placed<T>> {
        match self {
            Self::Nothing | Self::Faulty => None,
            Self::Value(placed) => Some(placed),
        }
    }

    /// What it holds, if there is something.
    pub(super) fn get(&self) -> Option<&T> {
        if let Self::Value(placed) = self { Some(&placed.value) } else { None }
    }

    /// Place and key of what stands here, or of the table around it.
    pub(super) fn value_or(&self, whole: &Placed<()>) -> (Place, String) {
        match self {
            Self::Value(placed) => (placed.place.clone(), placed.key.clone()),
            Self::Nothing | Self::Faulty => (whole.place.clone(), whole.key.clone()),
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    pub(super) fn is_faulty(&self) -> bool {
        matches!(self, Self::Faulty)
    }

    /// The value as something else; `None` has been reported.
    pub(super) fn and_then<U>(self, change: impl FnOnce(&Placed<T>) -> Option<U>) -> Found<U> {
        match self {
            Self::Nothing => Found::Nothing,
            Self::Faulty => Found::Faulty,
            Self::Value(placed) => match change(&placed) {
                Some(value) => Found::Value(Placed { value, place: placed.place, key: placed.key }),
                None => Found::Faulty,
            },
        }
    }

    /// This, or what is found elsewhere if nothing stands here.
    pub(super) fn or(self, other: Self) -> Self {
        match self {
            Self::Nothing => other,
            Self::Faulty | Self::Value(_) => self,
        }
    }
}

impl<'a> Desk<'a> {
    pub(super) fn new(environment: &'a Environment) -> Self {
        Self { environment, findings: RefCell::default() }
    }

    /// Reads a whole document.
    pub(super) fn read<T>(
        &self,
        document: &Entries,
        place: Place,
        read: impl FnOnce(&mut Table<'_>) -> T,
    ) -> T {
        let mut table = Table::new(self, Cow::Borrowed(document), place, String::new());
        let result = read(&mut table);
        table.report_unknown();
        result
    }

    pub(super) fn findings(self) -> Findings {
        self.findings.into_inner()
    }

    pub(super) fn fault(&self, place: &Place, key: &str, complaint: Complaint) {
        let Complaint { problem, allowed } = complaint;
        let fault = Fault { place: place.clone(), key: key.to_owned(), problem, allowed };
        self.findings.borrow_mut().faults.push(fault);
    }

    pub(super) fn warn(&self, place: &Place, key: &str, sentence: String) {
        let warning = Warning { place: place.clone(), key: key.to_owned(), sentence };
        self.findings.borrow_mut().warnings.push(warning);
    }

    /// Reports a value that does not fit to others.
    pub(super) fn fault_at<T>(&self, placed: &Placed<T>, complaint: Complaint) {
        self.fault(&placed.place, &placed.key, complaint);
    }

    fn known(&self, key: String) {
        self.findings.borrow_mut().known.insert(key);
    }
}

/// A table that is being read.
pub(super) struct Table<'t> {
    pub(super) desk: &'t Desk<'t>,
    entries: Cow<'t, Entries>,
    place: Place,
    key: String,
    asked: BTreeSet<String>,
}

impl<'t> Table<'t> {
    fn new(desk: &'t Desk<'t>, entries: Cow<'t, Entries>, place: Place, key: String) -> Self {
        Self { desk, entries, place, key, asked: BTreeSet::new() }
    }

    /// The table's own key, with dots.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Whether nothing is written under the key, or a table with nothing in it.
    pub(super) fn lacks(&self, key: &str) -> bool {
        self.entries.get(key).is_none_or(|entry| entry.node.table().is_ok_and(|table| table.is_empty()))
    }

    /// Whether anything is written under the key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The keys that are written, where any name may be.
    pub(super) fn names(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    /// Reports what is wrong with the table as a whole.
    pub(super) fn fault(&self, complaint: Complaint) {
        self.desk.fault(&self.place, &self.key, complaint);
    }

    /// The value under the key, if there is one.
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&Node) -> Result<T, Complaint>,
    ) -> Found<T> {
        let dotted = self.ask(key);
        let Some(entry) = self.entries.get(key) else { return Found::Nothing };
        let place = entry.node.place.clone();
        match read(&entry.node) {
            Ok(value) => Found::Value(Placed { value, place, key: dotted }),
            Err(complaint) => {
                self.desk.fault(&place, &dotted, complaint);
                Found::Faulty
            }
        }
    }

    /// The value under the key; `None` has been reported.
    pub(super) fn required<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&Node) -> Result<T, Complaint>,
    ) -> Option<Placed<T>> {
        let found = self.optional(key, read);
        self.insist(key, found)
    }

    /// The list under the key; `None` has been reported.
    pub(super) fn required_list<T>(
        &mut self,
        key: &str,
        read: impl FnMut(&Node) -> Result<T, Complaint>,
    ) -> Option<Placed<Vec<T>>> {
        let found = self.list(key, read);
        self.insist(key, found)
    }

    /// The value under the key with its references filled in; `None` has been reported.
    pub(super) fn required_secret(&mut self, key: &str) -> Option<Placed<Secret>> {
        let found = self.secret(key);
        self.insist(key, found)
    }

    fn insist<T>(&self, key: &str, found: Found<T>) -> Option<Placed<T>> {
        if matches!(found, Found::Nothing) {
            let complaint = Complaint::new("is missing", "a value: this key has no default");
            self.desk.fault(&self.place, &dotted(&self.key, key), complaint);
        }
        found.value()
    }

    /// The items of the list under the key, each read by itself.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&Node) -> Result<T, Complaint>,
    ) -> Found<Vec<T>> {
        let desk = self.desk;
        let dotted = dotted(&self.key, key);
        let mut item_faulty = false;
        let found = self.optional(key, |node| {
            let items = node.list()?;
            let read_item = |(position, item): (usize, &Node)| match read(item) {
                Ok(value) => Some(value),
                Err(complaint) => {
                    desk.fault(&item.place, &format!("{dotted}[{position}]"), complaint);
                    item_faulty = true;
                    None
                }
            };
            Ok(items.iter().enumerate().filter_map(read_item).collect())
        });
        if item_faulty { Found::Faulty } else { found }
    }

    /// The table under the key, read by `read`; `None` if there is none, or one that has been reported.
    pub(super) fn table<T>(&mut self, key: &str, read: impl FnOnce(&mut Table<'_>) -> T) -> Option<T> {
        let dotted = self.ask(key);
        let entry = self.entries.get(key)?;
        match entry.node.table() {
            Ok(entries) => {
                // The key's place: that of a table is its first bracket, which may be far away.
                let mut table = Table::new(self.desk, entries, entry.place.clone(), dotted);
                let result = read(&mut table);
                table.report_unknown();
                Some(result)
            }
            Err(complaint) => {
                self.desk.fault(&entry.node.place, &dotted, complaint);
                None
            }
        }
    }

    /// The tables of the array under the key, each read by `read`.
    pub(super) fn rows<T>(&mut self, key: &str, mut read: impl FnMut(&mut Table<'_>) -> T) -> Found<Vec<T>> {
        let (desk, dotted) = (self.desk, dotted(&self.key, key));
        let mut position = 0;
        self.list(key, |node| {
            let row = format!("{dotted}[{position}]");
            position += 1;
            let mut table = Table::new(desk, node.table()?, node.place.clone(), row);
            let result = read(&mut table);
            table.report_unknown();
            Ok(result)
        })
    }

    /// The table itself, for faults that are found later.
    pub(super) fn whole(&self) -> Placed<()> {
        Placed { value: (), place: self.place.clone(), key: self.key.clone() }
    }

    /// Every table in the table under the key, by its name.
    pub(super) fn each<T>(&mut self, key: &str, mut read: impl FnMut(&str, &mut Table<'_>) -> T) -> Vec<T> {
        let read_all = |outer: &mut Table<'_>| {
            let names = outer.names();
            names.iter().filter_map(|name| outer.table(name, |inner| read(name, inner))).collect()
        };
        self.table(key, read_all).unwrap_or_default()
    }

    /// The text under the key, or that of the file that it names; no secret.
    pub(super) fn text_or_file(&mut self, key: &str) -> Found<Secret> {
        let desk = self.desk;
        self.optional(key, |node| reference::resolve(node.text()?, desk.environment))
    }

    /// The value under the key with its references filled in.
    pub(super) fn secret(&mut self, key: &str) -> Found<Secret> {
        let desk = self.desk;
        let found = self.optional(key, |node| reference::resolve(node.text()?, desk.environment));
        if let Found::Value(Placed { value, place, key }) = &found {
            for sentence in &value.doubts {
                desk.warn(place, key, sentence.clone());
            }
            let origins = match place {
                Place::Variable { name } if value.is_literal() => vec![Origin::Variable(name.to_string())],
                Place::Whole { .. } | Place::Position { .. } | Place::Variable { .. } | Place::BuiltIn => {
                    value.origins.clone()
                }
            };
            let secret_use = SecretUse { key: key.clone(), place: place.clone(), origins };
            desk.findings.borrow_mut().secrets.push(secret_use);
        }
        found
    }

    /// Makes the keys of an inner table known, also where no such table is written.
    pub(super) fn mention(&self, key: &str, inner: &[&str]) {
        for name in inner {
            self.desk.known(dotted(&dotted(&self.key, key), name));
        }
    }

    fn ask(&mut self, key: &str) -> String {
        self.asked.insert(key.to_owned());
        let dotted = dotted(&self.key, key);
        self.desk.known(dotted.clone());
        dotted
    }

    fn report_unknown(&self) {
        let unknown = |key: &str| !self.asked.contains(key);
        for (key, entry) in self.entries.iter().filter(|(key, _)| unknown(key)) {
            let keys: Vec<&str> = self.asked.iter().map(String::as_str).collect();
            let problem = match suggest::nearest(key, keys.iter().copied()) {
                Some(meant) => format!("unknown key; did you mean {meant:?}?"),
                None => "unknown key".to_owned(),
            };
            self.desk.fault(&entry.place, &dotted(&self.key, key), Complaint::new(problem, keys.join(", ")));
        }
    }
}

/// A key below another one; a part that is no bare key stands in quotes.
fn dotted(parent: &str, key: &str) -> String {
    let bare =
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let key = if bare && key.len() <= 64 { key.to_owned() } else { quoted(key) };
    if parent.is_empty() { key } else { format!("{parent}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{value, written};

    fn text(node: &Node) -> Result<String, Complaint> {
        node.text().map(str::to_owned)
    }

    fn faults(text: &str, read: impl FnOnce(&mut Table<'_>)) -> Vec<String> {
        let document = written::parse("f", text).unwrap_or_else(|fault| panic!("{fault}"));
        let environment = Environment::default();
        let desk = Desk::new(&environment);
        desk.read(&document, Place::Whole { name: "f".into() }, read);
        desk.findings()
            .faults
            .iter()
            .map(|fault| format!("{}: {}: {}", fault.place, fault.key, fault.problem))
            .collect()
    }

    #[test]
    fn reading_goes_on_after_a_fault_and_ends_with_the_unknown_keys() {
        let found = faults("a = 1\n[t]\nn = 'x'\nnn = 1\n'b c' = 2\nl = ['1', 2, true]\n", |table| {
            table.table("t", |table| {
                assert!(table.optional("n", value::integer(1..=9)).is_faulty());
                assert!(table.required("m", text).is_none());
                assert!(table.list("l", text).is_faulty());
            });
        });
        assert_eq!(
            found,
            [
                "f:3:5: t.n: is text",
                "f:2:2: t.m: is missing",
                "f:6:11: t.l[1]: is a number",
                "f:6:14: t.l[2]: is true or false",
                "f:5:1: t.\"b c\": unknown key",
                "f:4:1: t.nn: unknown key; did you mean \"n\"?",
                "f:1:1: a: unknown key; did you mean \"t\"?",
            ]
        );
    }

    #[test]
    fn a_table_that_is_none_is_one_fault() {
        assert_eq!(
            faults("t = 3\n", |table| assert!(table.table("t", |_| ()).is_none())),
            ["f:1:5: t: is a number"]
        );
    }
}
