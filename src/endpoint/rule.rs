//! Rules: ordered conditions, each with what it means that it holds. The first that holds decides.
//!
//! A rule that cannot be asked about an answer (a field that is not there, a wrong type) does not hold; the notes say so.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use cel::Value;

use super::condition::{ANSWER_NAMES, Condition, ConditionFault, Facts, MESSAGE_NAMES};
use crate::call::attempt::Answer;
use crate::call::{Outcome, Ruling};
use crate::limits::{JSON_VALUES_JUDGED_MAX, RULING_BYTES_MAX};

/// Rules whose conditions mean an `A`: a verdict, or what a query or a report says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules<A> {
    /// Where they are configured, below their endpoint.
    name: Arc<str>,
    rules: Arc<[Rule<A>]>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule<A> {
    /// When it holds.
    pub when: Condition,
    /// What it means.
    pub means: A,
}

impl<A> Rules<A> {
    /// No rules.
    pub fn none() -> Self {
        Self { name: "".into(), rules: Arc::new([]) }
    }

    /// These rules, configured under this name.
    pub fn new(name: &str, rules: Vec<Rule<A>>) -> Self {
        Self { name: name.into(), rules: rules.into() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules in order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule<A>> {
        self.rules.iter()
    }

    fn ask_for(&self, name: &str) -> bool {
        self.rules.iter().any(|rule| rule.when.names().contains(&name))
    }
}

impl<A> Default for Rules<A> {
    fn default() -> Self {
        Self::none()
    }
}

impl<A: Copy> Rule<A> {
    /// A rule about what an invocation brought.
    ///
    /// # Errors
    /// As for [`Condition::parse`].
    pub fn about_answers(when: &str, means: A) -> Result<Self, ConditionFault> {
        Ok(Self { when: Condition::parse(when, ANSWER_NAMES)?, means })
    }

    /// A rule about a message of the third party.
    ///
    /// # Errors
    /// As for [`Condition::parse`].
    pub fn about_messages(when: &str, means: A) -> Result<Self, ConditionFault> {
        Ok(Self { when: Condition::parse(when, MESSAGE_NAMES)?, means })
    }
}

impl<A: Copy> Rules<A> {
    /// What the first rule that holds means for this outcome; `None`: no rule holds.
    pub fn decide(&self, outcome: &Outcome, elapsed: Duration) -> (Option<A>, Ruling) {
        if self.is_empty() {
            return (None, Ruling::default());
        }
        let answer = match outcome {
            Outcome::Answered(answer) => Some(answer),
            Outcome::Failed { .. } => None,
        };
        let kind = match outcome {
            Outcome::Answered(_) => Value::Null,
            Outcome::Failed { kind, .. } => Value::from(kind.as_str()),
        };
        let mut values = vec![
            ("status", answer.map_or(Value::Null, |answer| Value::Int(i64::from(answer.status)))),
            ("error", kind),
            ("elapsed_ms", Value::Int(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))),
        ];
        if self.ask_for("headers") {
            let headers = answer.map(|answer| answer.headers.as_slice()).unwrap_or_default();
            values.push(("headers", header_values(headers)));
        }
        let mut notes = Notes::default();
        if self.ask_for("body") {
            values.push(("body", answer.map_or(Value::Null, |answer| body_value(answer, &mut notes))));
        }
        self.first_that_holds(&Facts::new(values), notes)
    }

    /// What the first rule that holds means for this message; `None`: no rule holds.
    pub fn decide_message(&self, body: &[u8], headers: &[(String, String)]) -> (Option<A>, Ruling) {
        let mut notes = Notes::default();
        let values = [("body", json_or_text(body, &mut notes)), ("headers", header_values(headers))];
        self.first_that_holds(&Facts::new(values), notes)
    }

    fn first_that_holds(&self, facts: &Facts, mut notes: Notes) -> (Option<A>, Ruling) {
        for (position, rule) in self.rules.iter().enumerate() {
            match rule.when.holds(facts) {
                Ok(true) => {
                    let shown =
                        bounded(format!("{}[{position}]: {}", self.name, rule.when.text()), RULING_BYTES_MAX);
                    return (Some(rule.means), Ruling { rule: Some(shown), notes: notes.text() });
                }
                Ok(false) => {}
                Err(sentence) => notes.add(&format!("{}[{position}]: {}", self.name, bounded(sentence, 200))),
            }
        }
        (None, Ruling { rule: None, notes: notes.text() })
    }
}

/// What could not be asked, in the order of the rules.
#[derive(Default)]
struct Notes(String);

impl Notes {
    fn add(&mut self, note: &str) {
        let separator = if self.0.is_empty() { "" } else { "; " };
        if self.0.len() < RULING_BYTES_MAX {
            // Writing into a String cannot fail.
            let _infallible = write!(self.0, "{separator}{note}");
        }
    }

    fn text(self) -> Option<String> {
        (!self.0.is_empty()).then(|| bounded(self.0, RULING_BYTES_MAX))
    }
}

/// The text, cut between characters to at most so many bytes.
fn bounded(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes - '…'.len_utf8()));
        text.push('…');
    }
    text
}

/// Lower-case names; the values of a name that came several times, with commas between them (RFC 9110, 5.3).
fn header_values(headers: &[(String, String)]) -> Value {
    let mut values = HashMap::<String, String>::with_capacity(headers.len());
    for (name, value) in headers {
        values
            .entry(name.to_ascii_lowercase())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(value);
            })
            .or_insert_with(|| value.clone());
    }
    Value::from(values)
}

/// What there is of a body. One that was cut is no JSON any more, whatever it may have been.
fn body_value(answer: &Answer, notes: &mut Notes) -> Value {
    if !answer.is_beginning() {
        return json_or_text(&answer.body, notes);
    }
    let (seen, all) = (answer.body.len(), answer.body_bytes);
    notes.add(&format!("the rules saw the first {seen} bytes of {all} of the body, as text"));
    text(&answer.body)
}

fn json_or_text(bytes: &[u8], notes: &mut Notes) -> Value {
    match serde_json::from_slice(bytes) {
        Ok(json) if values_in(&json) <= JSON_VALUES_JUDGED_MAX => value_of(json),
        Ok(_) => {
            notes.add(&format!(
                "the body has more than {JSON_VALUES_JUDGED_MAX} values: the rules saw it as text"
            ));
            text(bytes)
        }
        Err(_) => text(bytes),
    }
}

fn text(bytes: &[u8]) -> Value {
    Value::from(String::from_utf8_lossy(bytes).into_owned())
}

/// How many values a document has, itself and those inside of others counted.
fn values_in(json: &serde_json::Value) -> usize {
    match json {
        serde_json::Value::Array(items) => 1 + items.iter().map(values_in).sum::<usize>(),
        serde_json::Value::Object(fields) => 1 + fields.values().map(values_in).sum::<usize>(),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => 1,
    }
}

/// Whole numbers become `int` where they fit, so that they compare with the literals of an expression.
fn value_of(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(boolean) => Value::Bool(boolean),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::UInt(number),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::from(text),
        serde_json::Value::Array(items) => Value::from(items.into_iter().map(value_of).collect::<Vec<_>>()),
        serde_json::Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, value_of(value)));
            Value::from(fields.collect::<HashMap<String, Value>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::ErrorKind;
    use crate::limits::RESPONSE_JUDGED_BYTES;
    use bytes::Bytes;

    fn answered(status: u16, headers: &[(&str, &str)], body: &str) -> Outcome {
        Outcome::Answered(Answer {
            status,
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: Bytes::copy_from_slice(&body.as_bytes()[..body.len().min(RESPONSE_JUDGED_BYTES)]),
            body_bytes: body.len() as u64,
        })
    }

    fn failed(kind: ErrorKind) -> Outcome {
        Outcome::Failed { kind, detail: String::new() }
    }

    fn rules(conditions: &[&str]) -> Rules<usize> {
        let rule = |(position, when): (usize, &&str)| Rule::about_answers(when, position).unwrap();
        Rules::new("rules", conditions.iter().enumerate().map(rule).collect())
    }

    fn holds(condition: &str, outcome: &Outcome) -> (bool, Option<String>) {
        let (held, ruling) = rules(&[condition]).decide(outcome, Duration::from_millis(1_500));
        (held.is_some(), ruling.notes)
    }

    #[test]
    fn what_conditions_see_of_an_answer() {
        let json = answered(
            200,
            &[("x-code", "7"), ("set-cookie", "a"), ("set-cookie", "b")],
            r#"{"code": 4002, "big": 18446744073709551615, "rate": 1.0, "text": "wörld", "none": null, "list": [{"id": 1}, {"id": 2}], "ok": true}"#,
        );
        for condition in [
            "status == 200 && body.code == 4002",
            "body.code in [4001, 4002]",
            "body.rate == 1",
            "body.big > 5",
            "body.none == null",
            "has(body.code) && !has(body.missing)",
            "error == null",
            "elapsed_ms == 1500",
            "headers['x-code'] == '7' && headers['set-cookie'] == 'a, b'",
            "'x-code' in headers && !('x-none' in headers)",
            "body.list.exists(item, item.id == 2) && body.list.size() == 2 && body.list[0].id == 1",
            "body.list.map(item, item.id) == [1, 2]",
            "body.text.matches('^w.rld$') && body.text.startsWith('w') && body.text.contains('rl')",
            "string(status).startsWith('2')",
            "type(body.code) == int && type(body) == map",
            "body.ok",
            "body.code == 1 || body.code == 4002",
            "body.missing == 1 || body.code == 4002",
            "status in [200, 201] ? body.ok : false",
        ] {
            assert_eq!(holds(condition, &json), (true, None), "{condition}");
        }
        assert!(holds("body == 'no json {'", &answered(200, &[], "no json {")).0);
        assert!(holds("body == ''", &answered(204, &[], "")).0);
        assert!(holds("body[1] == 2", &answered(200, &[], "[1, 2]")).0);
    }

    #[test]
    fn what_conditions_see_of_a_failure() {
        let timeout = failed(ErrorKind::Timeout);
        for condition in
            ["error == 'timeout'", "status == null", "body == null", "status != 200", "size(headers) == 0"]
        {
            assert_eq!(holds(condition, &timeout), (true, None), "{condition}");
        }
        assert_eq!(holds("status == 200", &timeout), (false, None));
    }

    #[test]
    fn what_cannot_be_asked_does_not_hold_and_is_noted() {
        let text = answered(200, &[], "plain");
        for condition in [
            "body.code == 1",
            "body.code > 1",
            "headers['x'] == 'y'",
            "status + 1",
            "body > 5",
            "1 / 0 == 1",
            "status",
        ] {
            let (held, notes) = holds(condition, &text);
            assert!(
                !held && notes.as_deref().is_some_and(|notes| notes.starts_with("rules[0]: ")),
                "{condition}: {notes:?}"
            );
        }
        let (held, ruling) = rules(&["body.a.b == 1", "headers['x'] == 'y'", "status == 200", "body.z == 1"])
            .decide(&text, Duration::ZERO);
        assert_eq!(held, Some(2));
        assert_eq!(ruling.rule.as_deref(), Some("rules[2]: status == 200"));
        let notes = ruling.notes.unwrap();
        assert!(
            notes.contains("rules[0]: ") && notes.contains("; rules[1]: ") && !notes.contains("rules[3]"),
            "{notes}"
        );
    }

    #[test]
    fn notes_and_shown_rules_are_short_whatever_is_in_them() {
        let long = answered(200, &[], &format!(r#"{{"text": "{}"}}"#, "ä".repeat(4_000)));
        let many = vec!["body.text > 5"; 50];
        let notes = rules(&many).decide(&long, Duration::ZERO).1.notes.unwrap();
        assert!(notes.len() <= RULING_BYTES_MAX, "{}", notes.len());
        let rule = format!("body.text != '{}'", "ö".repeat(1_000));
        let shown = rules(&[&rule]).decide(&long, Duration::ZERO).1.rule.unwrap();
        assert!(shown.len() <= RULING_BYTES_MAX && shown.ends_with('…'));
    }

    #[test]
    fn a_long_body_is_json_until_it_is_cut() {
        let long = |bytes| answered(200, &[], &format!(r#"{{"code": 7, "x": "{}"}}"#, "x".repeat(bytes)));
        let rules = rules(&["body.code == 7", "body.startsWith('{\"code\": 7,')"]);
        let whole = long(RESPONSE_JUDGED_BYTES - 100);
        assert_eq!(rules.decide(&whole, Duration::ZERO).0, Some(0));
        for (cut, seen) in [
            (whole.kept(), "the rules saw the first 16384 bytes of 262"),
            (long(RESPONSE_JUDGED_BYTES), "the rules saw the first 262144 bytes of 262"),
        ] {
            let (held, ruling) = rules.decide(&cut, Duration::ZERO);
            let notes = ruling.notes.unwrap();
            assert!(held == Some(1) && notes.starts_with(seen), "{held:?}: {notes}");
        }
    }

    #[test]
    fn a_document_of_too_many_values_is_text() {
        let ones = |count: usize| format!("[{}1]", "1,".repeat(count - 2));
        for (count, held) in [(JSON_VALUES_JUDGED_MAX, 0), (JSON_VALUES_JUDGED_MAX + 1, 1)] {
            let rules = rules(&["body[0] == 1", "body.startsWith('[1')"]);
            let (said, ruling) = rules.decide_message(ones(count).as_bytes(), &[]);
            assert_eq!((said, ruling.notes.is_some()), (Some(held), held == 1), "{count}");
        }
    }

    #[test]
    fn the_costliest_rules_on_the_worst_bodies_end_soon_on_a_small_stack() {
        let ones = format!("[{}1]", "1,".repeat(JSON_VALUES_JUDGED_MAX - 2));
        let long = format!(r#"{{"text": "{}", "list": {ones}}}"#, "a".repeat(RESPONSE_JUDGED_BYTES - 20_000));
        let deep = format!("{}{}", "[".repeat(120), "]".repeat(120));
        let nested = format!("[{}[]]", "[[],[],[]],".repeat(1_400));
        let fields = (0..1_000).fold(String::new(), |fields, name| format!(r#"{fields}"{name}":1,"#));
        let fields = format!("{{{fields}\"x\":1}}");
        let bodies = [ones, long, deep, nested, fields];
        let work = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(move || {
            for condition in [
                "body.all(a, a == 1 && a != 2 && a >= 0 && a < 5 && a in [1, 2, 3] && !(a == 7) && a + 1 == 2)",
                "body.map(a, a + 1).filter(b, b == 2).exists_one(c, c == 3)",
                "body.all(a, a.all(b, b.all(c, c == 1)))",
                "body.exists(a, string(a).matches('^(a|b)*c$'))",
                "body.list.all(a, !body.text.contains('aab'))",
                "body.text.matches('^(a|b)*c$') || body.text.matches('(a|b)*c')",
                "body == [[[[[[[[]]]]]]]]",
            ] {
                for body in &bodies {
                    let outcome = answered(200, &[], body);
                    let _ = rules(&[condition]).decide(&outcome, Duration::ZERO);
                }
            }
        });
        work.unwrap().join().unwrap();
    }
}
