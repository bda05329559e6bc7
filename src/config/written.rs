//! What was typed: a tree of values, each with the place where it was written.
//!
//! Nothing here knows any key. Layers are laid over each other: tables key by key, everything else as a whole. No type here can
//! be printed, because values may be secrets.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Complaint, Fault, Place};

/// A value and where it was written.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A value as it was written.
#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Decimal(f64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Entries),
    /// The text of an environment variable: whoever reads it decides by the key what it is.
    Untyped(String),
    /// What no key takes, by its name.
    Other(&'static str),
}

/// The keys of a table with their values.
pub(super) type Entries = BTreeMap<String, Entry>;

/// A key of a table.
#[derive(Clone)]
pub(super) struct Entry {
    /// Where the key itself stands.
    pub(super) place: Place,
    pub(super) node: Node,
}

impl Node {
    /// What the value is, for a sentence.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Text(_) | Value::Untyped(_) => "text",
            Value::Integer(_) => "a number",
            Value::Decimal(_) => "a decimal number",
            Value::Boolean(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }

    /// The value as text.
    pub(super) fn text(&self) -> Result<&str, Complaint> {
        if let Value::Text(text) | Value::Untyped(text) = &self.value {
            return Ok(text);
        }
        Err(self.wrong_kind("text in quotes"))
    }

    /// The value as a list; an environment variable holds a TOML array, or items between commas.
    pub(super) fn list(&self) -> Result<Cow<'_, [Node]>, Complaint> {
        match &self.value {
            Value::List(items) => return Ok(Cow::Borrowed(items)),
            Value::Untyped(text) if !text.trim_start().starts_with('[') => {
                return Ok(Cow::Owned(self.comma_separated(text)));
            }
            Value::Untyped(text) => {
                if let Value::List(items) = self.inline(text)? {
                    return Ok(Cow::Owned(items));
                }
            }
            Value::Text(_)
            | Value::Integer(_)
            | Value::Decimal(_)
            | Value::Boolean(_)
            | Value::Table(_)
            | Value::Other(_) => {}
        }
        Err(self.wrong_kind("a list, as in [\"a\", \"b\"]"))
    }

    /// The value as a table; an environment variable holds a TOML inline table.
    pub(super) fn table(&self) -> Result<Cow<'_, Entries>, Complaint> {
        if let Value::Table(entries) = &self.value {
            return Ok(Cow::Borrowed(entries));
        }
        if let Value::Untyped(text) = &self.value
            && let Value::Table(entries) = self.inline(text)?
        {
            return Ok(Cow::Owned(entries));
        }
        Err(self.wrong_kind("a table"))
    }

    pub(super) fn wrong_kind(&self, allowed: &str) -> Complaint {
        Complaint::new(format!("is {}", self.kind()), allowed)
    }

    fn comma_separated(&self, text: &str) -> Vec<Node> {
        let item =
            |item: &str| Node { place: self.place.clone(), value: Value::Untyped(item.trim().to_owned()) };
        if text.trim().is_empty() { Vec::new() } else { text.split(',').map(item).collect() }
    }

    /// The TOML value in an environment variable; everything in it stands at the variable.
    fn inline(&self, text: &str) -> Result<Value, Complaint> {
        let parsed = DeValue::parse(text.trim()).map_err(|error| {
            Complaint::new(
                format!("is no TOML value: {}", error.message()),
                "a TOML value, as in [\"5s\", \"1m\"] or { read = \"5s\" }",
            )
        })?;
        Ok(value(parsed.get_ref(), &|_| self.place.clone()))
    }
}

/// Reads TOML text.
///
/// # Errors
/// The first fault: broken TOML has no meaning beyond it.
pub(super) fn parse(name: &str, text: &str) -> Result<Entries, Fault> {
    let positions = Positions::new(name, text);
    match DeTable::parse(text) {
        Ok(table) => Ok(entries(table.get_ref(), &|offset| positions.at(offset))),
        Err(error) => Err(Fault {
            place: positions.at(error.span().map_or(0, |span| span.start)),
            key: String::new(),
            problem: format!("this is no valid TOML: {}", error.message()),
            allowed: "TOML (https://toml.io), each key and each table once".to_owned(),
        }),
    }
}

/// Lays a layer over another: tables are merged, any other value takes the place of the one below it.
pub(super) fn lay_over(below: &mut Entries, above: Entries) {
    for (key, entry) in above {
        match (below.get_mut(&key), entry) {
            (
                Some(Entry { place, node: Node { place: table, value: Value::Table(old) } }),
                Entry { place: key_place, node: Node { place: table_place, value: Value::Table(new) } },
            ) => {
                *place = key_place;
                *table = table_place;
                lay_over(old, new);
            }
            (_, entry) => {
                below.insert(key, entry);
            }
        }
    }
}

/// Makes every place of a layer the built-in defaults.
pub(super) fn as_built_in(entries: &mut Entries) {
    for entry in entries.values_mut() {
        entry.place = Place::BuiltIn;
        entry.node.place = Place::BuiltIn;
        match &mut entry.node.value {
            Value::Table(inner) => as_built_in(inner),
            Value::List(items) => items.iter_mut().for_each(|item| item.place = Place::BuiltIn),
            Value::Text(_)
            | Value::Integer(_)
            | Value::Decimal(_)
            | Value::Boolean(_)
            | Value::Untyped(_)
            | Value::Other(_) => {}
        }
    }
}

fn entries(table: &DeTable<'_>, place_at: &dyn Fn(usize) -> Place) -> Entries {
    table
        .iter()
        .map(|(key, value)| {
            let entry = Entry { place: place_at(key.span().start), node: node(value, place_at) };
            (key.get_ref().clone().into_owned(), entry)
        })
        .collect()
}

fn node(spanned: &Spanned<DeValue<'_>>, place_at: &dyn Fn(usize) -> Place) -> Node {
    Node { place: place_at(spanned.span().start), value: value(spanned.get_ref(), place_at) }
}

fn value(value: &DeValue<'_>, place_at: &dyn Fn(usize) -> Place) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or(Value::Other("a number beyond 64 bits"), Value::Integer),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Array(items) => Value::List(items.iter().map(|item| node(item, place_at)).collect()),
        DeValue::Table(table) => Value::Table(entries(table, place_at)),
        DeValue::Float(number) => {
            number.as_str().replace('_', "").parse().map_or(Value::Other("a decimal number"), Value::Decimal)
        }
        DeValue::Datetime(_) => Value::Other("a date"),
    }
}

/// Finds line and column of an offset in a text.
struct Positions<'a> {
    name: Arc<str>,
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Positions<'a> {
    fn new(name: &str, text: &'a str) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name: name.into(), text, line_starts }
    }

    fn at(&self, offset: usize) -> Place {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        Place::Position { name: Arc::clone(&self.name), line, column }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_of(text: &str, path: &[&str]) -> String {
        let mut entries = parse("f", text).unwrap_or_else(|fault| panic!("{fault}"));
        let (last, tables) = path.split_last().unwrap();
        for key in tables {
            let Value::Table(inner) = entries.remove(*key).unwrap().node.value else { panic!("{key}") };
            entries = inner;
        }
        entries[*last].node.place.to_string()
    }

    #[test]
    fn every_value_knows_its_line_and_column() {
        let text = "\u{feff}[a]\r\nb = 1\n\n  [a.c]\n  ä = \"x\"\nd = { e = [\n 1 ] }\n";
        let text = text.trim_start_matches('\u{feff}').replace('ä', "\"ä\"");
        assert_eq!(place_of(&text, &["a", "b"]), "f:2:5");
        assert_eq!(place_of(&text, &["a", "c", "ä"]), "f:5:9");
        assert_eq!(place_of(&text, &["a", "c", "d", "e"]), "f:6:11");
    }

    #[test]
    fn broken_text_is_one_fault_with_its_position_and_without_its_content() {
        for (text, place) in [
            ("a = 1\na = 2\n", "f:2:1"),
            ("[a]\n[b]\n[a]\n", "f:3:2"),
            ("a = \"hunter2\n", "f:1:13"),
            ("[a", "f:1:3"),
            ("a", "f:1:2"),
        ] {
            let Err(fault) = parse("f", text) else { panic!("{text}") };
            assert_eq!(fault.place.to_string(), place, "{text}: {fault}");
            assert!(!fault.to_string().contains("hunter2"), "{fault}");
        }
    }

    #[test]
    fn tables_are_merged_and_lists_replaced() {
        let mut below = parse("below", "[a]\nb = 1\nc = [1, 2]\n").unwrap_or_else(|fault| panic!("{fault}"));
        lay_over(&mut below, parse("above", "[a]\nc = [3]\n").unwrap_or_else(|fault| panic!("{fault}")));
        let Value::Table(a) = &below["a"].node.value else { panic!("no table") };
        assert_eq!(a["b"].node.place.to_string(), "below:2:5");
        assert!(matches!(&a["c"].node.value, Value::List(items) if items.len() == 1));
    }
}
