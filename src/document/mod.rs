//! Documents from strangers: read field by field, every fault kept with its place, nothing guessed.
//!
//! What a document means is not decided here; the doors do that with [`Object`].

pub mod json;
pub mod request;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::limits::{FAULT_TEXT_BYTES_MAX, FAULTS_MAX};
use json::{Members, Unreadable, escape};

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What kind, stable.
    pub code: &'static str,
    /// What is wrong and what is allowed, a sentence.
    pub detail: String,
}

/// Why a document is no submission.
#[derive(Debug, PartialEq, Eq)]
pub enum DocumentError {
    /// It is not JSON that every reader reads alike.
    Unreadable(String),
    /// It is readable but wrong; at least one fault.
    Invalid(Vec<Fault>),
}

impl DocumentError {
    /// The stable code of the first fault.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "malformed_json",
            Self::Invalid(faults) => faults.first().map_or("invalid_value", |fault| fault.code),
        }
    }

    /// All faults in one sentence.
    pub fn detail(&self) -> String {
        match self {
            Self::Unreadable(sentence) => sentence.clone(),
            Self::Invalid(faults) => {
                let sentences: Vec<String> =
                    faults.iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).collect();
                sentences.join("; ")
            }
        }
    }
}

/// Reads a document: `read_root` takes its fields and notes faults; it gets the document and its fingerprint.
///
/// # Errors
/// [`DocumentError`], with all faults.
pub fn read<T>(
    bytes: &[u8],
    read_root: impl FnOnce(&RawValue, [u8; 32], &mut Faults) -> Option<T>,
) -> Result<T, DocumentError> {
    let (raw, walked) =
        json::read(bytes).map_err(|Unreadable(sentence)| DocumentError::Unreadable(sentence))?;
    let mut faults = Faults::default();
    for pointer in walked.nul_strings {
        faults.add(pointer, "invalid_value", "must not contain U+0000");
    }
    match read_root(raw, walked.fingerprint, &mut faults) {
        Some(read) if faults.found.is_empty() => Ok(read),
        Some(_) | None => Err(DocumentError::Invalid(faults.into_list())),
    }
}

/// The longest beginning of a text that fits into this many bytes.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The faults found so far. The first [`FAULTS_MAX`] are kept: a document that is wrong everywhere must not become an answer that is
/// a thousand times its size.
#[derive(Debug, Default)]
pub struct Faults {
    found: Vec<Fault>,
    left_out: usize,
    circumstantial: usize,
}

impl Faults {
    /// Notes one fault.
    pub fn add(&mut self, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        if self.found.len() == FAULTS_MAX {
            self.left_out += 1;
            return;
        }
        let [pointer, detail] = [pointer.into(), detail.into()].map(|mut text| {
            text.truncate(text.floor_char_boundary(FAULT_TEXT_BYTES_MAX));
            text
        });
        self.found.push(Fault { pointer, code, detail });
    }

    fn into_list(mut self) -> Vec<Fault> {
        if self.left_out > 0 {
            let detail = format!("{} more faults are not named", self.left_out);
            self.found.push(Fault { pointer: String::new(), code: "too_many_faults", detail });
        }
        self.found
    }

    /// Notes one fault that lies in when and where the document is read: elsewhere, or earlier, it was none.
    pub fn add_circumstance(
        &mut self,
        pointer: impl Into<String>,
        code: &'static str,
        detail: impl Into<String>,
    ) {
        self.add(pointer, code, detail);
        self.circumstantial += 1;
    }

    /// Whether there are faults, and all of them lie in when and where the document is read.
    pub fn are_circumstantial(&self) -> bool {
        self.circumstantial > 0 && self.circumstantial == self.found.len() + self.left_out
    }
}

/// An object that is being read: fields are taken out one by one, and what is left at the end is unknown.
pub struct Object<'a> {
    pointer: String,
    members: Vec<(String, &'a RawValue)>,
    known: Vec<&'static str>,
}

impl<'a> Object<'a> {
    /// Opens an object; a fault if it is something else.
    pub fn open(raw: &'a RawValue, pointer: String, faults: &mut Faults) -> Option<Self> {
        let Members(members) = typed(raw, &pointer, "an object", faults)?;
        Some(Self { pointer, members, known: Vec::with_capacity(10) })
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.pointer)
    }

    /// The field's value, `null` included.
    pub fn raw(&mut self, name: &'static str) -> Option<&'a RawValue> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.members.iter().find(|(key, _)| key == name).map(|(_, raw)| *raw)
    }

    /// The field's value; `null` counts as absent, because that is what many languages write for "none".
    pub fn optional(&mut self, name: &'static str) -> Option<&'a RawValue> {
        self.raw(name).filter(|raw| raw.get() != "null")
    }

    /// The field's value; a fault if it is absent.
    pub fn required(&mut self, name: &'static str, faults: &mut Faults) -> Option<&'a RawValue> {
        let value = self.optional(name);
        if value.is_none() {
            faults.add(self.at(name), "missing_field", "is required");
        }
        value
    }

    /// A string that is parsed into something.
    pub fn name<T, E: ToString>(
        &mut self,
        name: &'static str,
        faults: &mut Faults,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let raw = self.optional(name)?;
        let text: String = typed(raw, &self.at(name), "a string", faults)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                faults.add(self.at(name), "invalid_value", error.to_string());
                None
            }
        }
    }

    /// A time in RFC 3339.
    pub fn time(&mut self, name: &'static str, faults: &mut Faults) -> Option<Timestamp> {
        self.name(name, faults, |text| {
            Timestamp::parse_rfc3339(text).ok_or("must be a time in RFC 3339, as in \"2026-11-21T10:00:00Z\"")
        })
    }

    /// A whole number that has to fit.
    pub fn number<T>(
        &mut self,
        name: &'static str,
        allowed: &'static str,
        faults: &mut Faults,
        fit: impl FnOnce(i64) -> Option<T>,
    ) -> Option<T> {
        let raw = self.optional(name)?;
        let fitting = serde_json::from_str::<i64>(raw.get()).ok().and_then(fit);
        if fitting.is_none() {
            let code = if raw.get().starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
                "invalid_value"
            } else {
                "wrong_type"
            };
            faults.add(self.at(name), code, format!("must be {allowed}"));
        }
        fitting
    }

    /// `true` or `false`.
    pub fn truth(&mut self, name: &'static str, faults: &mut Faults) -> Option<bool> {
        let raw = self.optional(name)?;
        typed(raw, &self.at(name), "true or false", faults)
    }

    /// All members, for objects whose names are free.
    pub fn into_members(self) -> Vec<(String, &'a RawValue)> {
        self.members
    }

    /// Names every field that nobody asked for.
    pub fn close(self, faults: &mut Faults) {
        for (name, _) in &self.members {
            if !self.known.contains(&name.as_str()) {
                let allowed = self.known.join(", ");
                faults.add(
                    self.at(&escape(name)),
                    "unknown_field",
                    format!("is not known here; known are: {allowed}"),
                );
            }
        }
    }
}

fn typed<'a, T: Deserialize<'a>>(
    raw: &'a RawValue,
    pointer: &str,
    allowed: &str,
    faults: &mut Faults,
) -> Option<T> {
    let value = serde_json::from_str(raw.get()).ok();
    if value.is_none() {
        faults.add(pointer, "wrong_type", format!("must be {allowed}"));
    }
    value
}

/// Visits the members of an object whose values must be strings.
pub fn each_text(
    pointer: &str,
    raw: &RawValue,
    faults: &mut Faults,
    mut visit: impl FnMut(&str, &str, String, &mut Faults),
) {
    let Some(object) = Object::open(raw, pointer.to_owned(), faults) else { return };
    for (name, value) in object.into_members() {
        let place = format!("{pointer}/{}", escape(&name));
        if let Some(text) = typed::<String>(value, &place, "a string", faults) {
            visit(&name, &text, place, faults);
        }
    }
}
