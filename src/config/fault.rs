//! What can be wrong with a configuration, and where.
//!
//! A fault stops the start (or the reload), a warning does not. Neither ever holds a secret's value: sentences about
//! secret-bearing keys speak of the key alone.

use std::fmt;
use std::sync::Arc;

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file as a whole.
    Whole {
        /// Its name as it was given.
        name: Arc<str>,
    },
    /// A position in a file.
    Position {
        /// The file's name as it was given.
        name: Arc<str>,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
    },
    /// An environment variable.
    Variable {
        /// Its name.
        name: Arc<str>,
    },
    /// The defaults that the program brings along.
    BuiltIn,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { name } => f.write_str(name),
            Self::Position { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Self::Variable { name } => write!(f, "environment variable {name}"),
            Self::BuiltIn => f.write_str("built-in defaults"),
        }
    }
}

/// One thing that is wrong: where, with which key, what, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where it was written.
    pub place: Place,
    /// The key with dots, as in `endpoints.sms.ladder`; empty where the text cannot be read at all.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What is allowed.
    pub allowed: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; allowed: {}", self.problem, self.allowed)
    }
}

/// Everything that is wrong, at least one fault, in the order of the file and then of the variables' names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// These faults in their order, each once.
    pub(super) fn new(mut faults: Vec<Fault>) -> Self {
        faults.sort();
        faults.dedup();
        Self(faults)
    }

    /// The faults in order.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

/// One fault a line.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, fault) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

/// Something that works, but probably not as it was meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// Where it was written.
    pub place: Place,
    /// The key with dots; empty for a variable that is no key.
    pub key: String,
    /// What is doubtful, and what would be better.
    pub sentence: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.sentence)
    }
}

/// What is wrong with one value, by somebody who does not know where it stands.
#[derive(Debug)]
pub(super) struct Complaint {
    pub(super) problem: String,
    pub(super) allowed: String,
}

impl Complaint {
    pub(super) fn new(problem: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { problem: problem.into(), allowed: allowed.into() }
    }
}

/// A text as it appears in a sentence: in quotes, escaped, and not longer than a line.
pub(super) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_stand_in_the_order_of_the_file_each_once() {
        let fault = |line, column, key: &str| Fault {
            place: Place::Position { name: "f".into(), line, column },
            key: key.into(),
            problem: "p".into(),
            allowed: "a".into(),
        };
        let faults =
            Faults::new(vec![fault(10, 1, "c"), fault(9, 3, "b"), fault(9, 3, "b"), fault(9, 1, "a")]);
        assert_eq!(
            faults.to_string(),
            "f:9:1: a: p; allowed: a\nf:9:3: b: p; allowed: a\nf:10:1: c: p; allowed: a"
        );
    }

    #[test]
    fn a_long_or_hostile_text_is_shown_short_and_inert() {
        assert_eq!(quoted("\u{1b}[31m"), r#""\u{1b}[31m""#);
        assert!(quoted(&"ä".repeat(1_000)).chars().count() < 70);
    }
}
