//! JSON as it arrives from strangers: read without losing a digit, refused where two readers could read two things.
//!
//! Values stay raw text until somebody asks for them, so a body goes out byte for byte as it came in. The canonical form (keys
//! sorted, numbers and strings normalised) exists only as a hash.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::limits::{FAULTS_MAX, JSON_DEPTH_MAX};

/// Why a text is not JSON that every reader reads alike; a sentence.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

/// The members of an object, in the order they came.
pub struct Members<'a>(pub Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(map.size_hint().unwrap_or(8));
                while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// What a walk over a whole document finds out.
#[derive(Debug, PartialEq, Eq)]
pub struct Walked {
    /// SHA-256 over the canonical form: equal for JSON-equal documents.
    pub fingerprint: [u8; 32],
    /// JSON pointers (RFC 6901) of the first strings that hold U+0000, which no text column can store, and of objects with such a key.
    pub nul_strings: Vec<String>,
}

/// Reads a document as raw text and walks through all of it.
///
/// # Errors
/// Not UTF-8, not one JSON value, a key twice in one object, nesting deeper than [`JSON_DEPTH_MAX`], a lone surrogate, a number
/// beyond the range of a double.
pub fn read(bytes: &[u8]) -> Result<(&RawValue, Walked), Unreadable> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Unreadable(format!("the text is not UTF-8 from byte {} on", error.valid_up_to())))?;
    if text.trim_ascii().is_empty() {
        return Err(Unreadable("the text is empty; a JSON document is expected".to_owned()));
    }
    let raw: &RawValue =
        serde_json::from_str(text).map_err(|error| Unreadable(format!("the text is not JSON: {error}")))?;
    let mut walk = Walk { hash: Sha256::new(), path: Vec::new(), nul_strings: Vec::new() };
    walk.value(raw)?;
    Ok((raw, Walked { fingerprint: walk.hash.finalize().into(), nul_strings: walk.nul_strings }))
}

struct Walk {
    hash: Sha256,
    path: Vec<String>,
    nul_strings: Vec<String>,
}

impl Walk {
    fn value(&mut self, raw: &RawValue) -> Result<(), Unreadable> {
        if self.path.len() > JSON_DEPTH_MAX {
            return Err(Unreadable(format!("the document is nested deeper than {JSON_DEPTH_MAX} levels")));
        }
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'{') => self.object(text),
            Some(b'[') => self.array(text),
            Some(b'"') => self.string(text),
            Some(b't' | b'f' | b'n') => {
                self.hash.update(text);
                Ok(())
            }
            _ => self.number(text),
        }
    }

    fn object(&mut self, text: &str) -> Result<(), Unreadable> {
        let Members(mut members) = self.parse(text)?;
        members.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        if let Some(pair) = members.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let place = self.pointer();
            return Err(Unreadable(format!(
                "the key {:?} stands twice in the object at \"{place}\"",
                pair[0].0
            )));
        }
        if members.iter().any(|(key, _)| key.contains('\0')) {
            self.note_nul();
        }
        self.hash.update(b"{");
        for (key, value) in members {
            self.text(&key);
            self.path.push(key);
            self.value(value)?;
            self.path.pop();
        }
        self.hash.update(b"}");
        Ok(())
    }

    fn array(&mut self, text: &str) -> Result<(), Unreadable> {
        let items: Vec<&RawValue> = self.parse(text)?;
        self.hash.update(b"[");
        for (position, item) in items.into_iter().enumerate() {
            self.path.push(position.to_string());
            self.value(item)?;
            self.path.pop();
            self.hash.update(b",");
        }
        self.hash.update(b"]");
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), Unreadable> {
        let string: String = self.parse(text)?;
        if string.contains('\0') {
            self.note_nul();
        }
        self.text(&string);
        Ok(())
    }

    fn number(&mut self, text: &str) -> Result<(), Unreadable> {
        let value: f64 = self.parse(text)?;
        let form = if value == 0.0 { "0".to_owned() } else { normal_decimal(text) };
        self.hash.update(b"#");
        self.hash.update(form);
        Ok(())
    }

    /// Places are long where keys are: no more are kept than are named.
    fn note_nul(&mut self) {
        if self.nul_strings.len() <= FAULTS_MAX {
            self.nul_strings.push(self.pointer());
        }
    }

    /// A length in front keeps neighbours apart.
    fn text(&mut self, text: &str) {
        self.hash.update(b"\"");
        self.hash.update((text.len() as u64).to_le_bytes());
        self.hash.update(text);
    }

    fn parse<'a, T: Deserialize<'a>>(&self, text: &'a str) -> Result<T, Unreadable> {
        serde_json::from_str(text).map_err(|error| {
            Unreadable(format!("the value at \"{}\" cannot be read: {error}", self.pointer()))
        })
    }

    fn pointer(&self) -> String {
        self.path.iter().fold(String::new(), |pointer, segment| pointer + "/" + &escape(segment))
    }
}

/// One segment of a JSON pointer (RFC 6901, 3).
pub fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

/// A JSON number other than zero as sign, digits without zeros at either end, and power of ten: `-12.50e1` is `-125e0`. Exact, so numbers
/// that differ beyond the precision of a double stay different.
fn normal_decimal(text: &str) -> String {
    let (sign, unsigned) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    let trailing = digits.len() - digits.trim_end_matches('0').len();
    // The value is finite and not zero, so the exponent fits.
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let power = exponent - i64::try_from(fraction.len()).unwrap_or(0) + i64::try_from(trailing).unwrap_or(0);
    format!("{sign}{significant}e{power}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(text: &str) -> [u8; 32] {
        read(text.as_bytes()).unwrap().1.fingerprint
    }

    #[test]
    fn equal_documents_have_one_fingerprint() {
        for (left, right) in [
            (r#"{"a":1,"b":[1,2]}"#, r#" { "b" : [ 1 , 2 ] , "a" : 1 } "#),
            (r#""é""#, r#""\u00e9""#),
            ("10", "1e1"),
            ("1.0", "1"),
            ("0", "-0.0"),
            ("0.10e2", "10"),
            ("100e-2", "1"),
        ] {
            assert_eq!(fingerprint(left), fingerprint(right), "{left} {right}");
        }
    }

    #[test]
    fn different_documents_have_different_fingerprints() {
        for (left, right) in [
            (r#"{"a":"b"}"#, r#"{"ab":""}"#),
            ("[1,2]", "[12]"),
            ("[[1],2]", "[[1,2]]"),
            ("1", r#""1""#),
            ("12345678901234567890123", "12345678901234567890124"),
            ("1", "-1"),
            ("null", "false"),
            ("0.1", "0.01"),
        ] {
            assert_ne!(fingerprint(left), fingerprint(right), "{left} {right}");
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        for text in [
            "",
            " ",
            "{",
            "{} {}",
            "[1,]",
            r#"{"a":1,"a":2}"#,
            r#"{"a":{"b":1,"\u0062":2}}"#,
            r#""\ud800""#,
            "1e999",
            "-1e999",
            "NaN",
            &deep,
        ] {
            assert!(read(text.as_bytes()).is_err(), "{}", &text[..text.len().min(40)]);
        }
        assert!(read(b"\"\xff\"").is_err());
        let fits = "[".repeat(60) + &"]".repeat(60);
        assert!(read(fits.as_bytes()).is_ok());
    }

    #[test]
    fn strings_with_nul_are_named_by_their_pointer() {
        let (_, walked) = read(br#"{"a/b":["x","\u0000"]}"#).unwrap();
        assert_eq!(walked.nul_strings, ["/a~1b/1"]);
        let (_, walked) = read(br#"{"a":{"b\u0000":1}}"#).unwrap();
        assert_eq!(walked.nul_strings, ["/a"]);
    }
}
