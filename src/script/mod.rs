//! What a third party does that follows a script: rules by method and path, and outages, read from TOML; where no rule holds, what
//! the path of the request says ([`path`]). All faults of a bad script are found at once.
//!
//! Plain values and the pure choice between them ([`behaviour`]), with chance that depends on a seed alone ([`dice`]). The simulator
//! plays scripts over sockets, a dry run plays them in the third party's place. `docs/simulator.md` is the manual.

pub mod behaviour;
pub mod dice;
pub mod draft;
pub mod latency;
pub mod path;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use behaviour::{Act, Behaviour, Window};
use draft::Draft;

/// What a third party does that follows a script. The empty script leaves everything to the paths.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// The first rule that matches decides.
    pub rules: Vec<Rule>,
    /// Outages of the whole third party.
    pub down: Vec<Window>,
}

/// A behaviour and the requests it is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Only this method, in upper case; `None`: any.
    pub method: Option<String>,
    /// Only paths that begin so.
    pub path: String,
    /// What is done with them.
    pub behaviour: Behaviour,
}

/// One thing that is wrong with a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptFault {
    /// The line, from 1 on.
    pub line: usize,
    /// The key, as in `rules[0].latency`; empty where the text is no TOML.
    pub place: String,
    /// What is wrong and what is allowed.
    pub sentence: String,
}

impl fmt::Display for ScriptFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => write!(f, "line {}: {}", self.line, self.sentence),
            place => write!(f, "line {}: {place}: {}", self.line, self.sentence),
        }
    }
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of its lines.
    pub fn parse(text: &str) -> Result<Self, Vec<ScriptFault>> {
        let mut reader = Reader { text, faults: Vec::new() };
        let (document, broken) = DeTable::parse_recoverable(text);
        for error in &broken {
            reader.refuse(error.span().unwrap_or_default(), "", error.message());
        }
        // What a broken line leaves behind would only be called wrong a second time.
        let script = if broken.is_empty() { reader.script(document.get_ref()) } else { Self::default() };
        reader.faults.sort_by_key(|fault| fault.line);
        if reader.faults.is_empty() { Ok(script) } else { Err(reader.faults) }
    }

    /// What the script says about a request, if it says anything.
    pub fn rule_for(&self, method: &str, path: &str) -> Option<&Behaviour> {
        let matches = |rule: &&Rule| {
            rule.method.as_deref().is_none_or(|wanted| wanted == method) && path.starts_with(&rule.path)
        };
        self.rules.iter().find(matches).map(|rule| &rule.behaviour)
    }

    /// What is done with a request: what the script says, else what its path says.
    pub fn behaviour(&self, method: &str, path: &str, query: Option<&str>) -> Cow<'_, Behaviour> {
        match self.rule_for(method, path) {
            Some(behaviour) => Cow::Borrowed(behaviour),
            None => {
                Cow::Owned(path::parse(path, query).unwrap_or_else(|sentence| Behaviour::refusing(&sentence)))
            }
        }
    }

    /// What the whole third party does at this moment, if it is down.
    pub fn outage(&self, elapsed: Duration) -> Option<&Act> {
        self.down.iter().find(|window| window.holds(elapsed)).map(|window| &window.act)
    }
}

/// Reads tables and gathers faults.
struct Reader<'a> {
    text: &'a str,
    faults: Vec<ScriptFault>,
}

impl Reader<'_> {
    fn refuse(&mut self, span: Range<usize>, place: &str, sentence: impl Into<String>) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        self.faults.push(ScriptFault { line, place: place.to_owned(), sentence: sentence.into() });
    }

    fn script(&mut self, document: &DeTable<'_>) -> Script {
        let mut script = Script::default();
        for (key, value) in document {
            match key.get_ref().as_ref() {
                "rules" => script.rules = self.each(value, "rules", Self::rule),
                "down" => script.down = self.each(value, "down", Self::outage),
                other => self.refuse(key.span(), other, "there is no such key; there are: rules, down"),
            }
        }
        script
    }

    /// Reads every table of an array; those that are wrong are left out, their faults kept.
    fn each<T>(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        place: &str,
        read: fn(&mut Self, &DeTable<'_>, Range<usize>, &str) -> Option<T>,
    ) -> Vec<T> {
        let DeValue::Array(array) = value.get_ref() else {
            self.refuse(value.span(), place, format!("must be an array of tables, as in [[{place}]]"));
            return Vec::new();
        };
        self.tables(array, place, read)
    }

    fn tables<T>(
        &mut self,
        array: &DeArray<'_>,
        place: &str,
        read: fn(&mut Self, &DeTable<'_>, Range<usize>, &str) -> Option<T>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for (position, element) in array.iter().enumerate() {
            let place = format!("{place}[{position}]");
            if let DeValue::Table(table) = element.get_ref() {
                values.extend(read(self, table, element.span(), &place));
            } else {
                self.refuse(element.span(), &place, "must be a table");
            }
        }
        values
    }

    fn rule(&mut self, table: &DeTable<'_>, span: Range<usize>, place: &str) -> Option<Rule> {
        let mut rule_path = "/".to_owned();
        let mut method = None;
        let mut draft = Draft::default();
        let known = self.faults.len();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let place = format!("{place}.{name}");
            match name {
                "path" => rule_path = self.path(value, &place).unwrap_or(rule_path),
                "method" => method = self.scalar(value, &place).map(|method| method.to_ascii_uppercase()),
                "headers" => self.headers(&mut draft, value, &place),
                "down" => {
                    for window in self.each(value, &place, Self::outage) {
                        draft.add_outage(window);
                    }
                }
                setting => self.setting(&mut draft, setting, value, &place),
            }
        }
        let behaviour = self.finish(draft.finish(), known, span, place)?;
        Some(Rule { method, path: rule_path, behaviour })
    }

    fn outage(&mut self, table: &DeTable<'_>, span: Range<usize>, place: &str) -> Option<Window> {
        let mut draft = Draft::default();
        let known = self.faults.len();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            self.setting(&mut draft, name, value, &format!("{place}.{name}"));
        }
        self.finish(draft.finish_outage(), known, span, place)
    }

    /// Settings that are fine one by one may not go together; where one was wrong already that is not worth saying.
    fn finish<T>(
        &mut self,
        finished: Result<T, String>,
        known: usize,
        span: Range<usize>,
        place: &str,
    ) -> Option<T> {
        match finished {
            Ok(value) => Some(value),
            Err(sentence) => {
                if self.faults.len() == known {
                    self.refuse(span, place, sentence);
                }
                None
            }
        }
    }

    fn setting(&mut self, draft: &mut Draft, name: &str, value: &Spanned<DeValue<'_>>, place: &str) {
        let Some(text) = self.scalar(value, place) else { return };
        if let Err(sentence) = draft.set(name, &text) {
            self.refuse(value.span(), place, sentence);
        }
    }

    fn path(&mut self, value: &Spanned<DeValue<'_>>, place: &str) -> Option<String> {
        let path = self.scalar(value, place)?;
        if path.starts_with('/') {
            return Some(path);
        }
        self.refuse(value.span(), place, "must begin with '/'");
        None
    }

    fn headers(&mut self, draft: &mut Draft, value: &Spanned<DeValue<'_>>, place: &str) {
        let DeValue::Table(table) = value.get_ref() else {
            self.refuse(value.span(), place, "must be a table of names and values");
            return;
        };
        for (key, value) in table {
            let place = format!("{place}.{}", key.get_ref());
            let Some(text) = self.scalar(value, &place) else { continue };
            if let Err(sentence) = draft.add_header(key.get_ref(), &text) {
                self.refuse(value.span(), &place, sentence);
            }
        }
    }

    /// A string, number or truth value as text.
    fn scalar(&mut self, value: &Spanned<DeValue<'_>>, place: &str) -> Option<String> {
        match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) => Some(number.to_string()),
            DeValue::Float(number) => Some(number.to_string()),
            DeValue::Boolean(truth) => Some(truth.to_string()),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                self.refuse(value.span(), place, "must be a string, a number, true or false");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::latency::Latency;

    #[test]
    fn rules_are_matched_in_order_by_method_and_path() {
        let script = Script::parse(
            r#"
            down = [{ from = "5s", to = "15s" }, { from = "20s", to = "21s", fault = "reset" }]

            [[rules]]
            method = "post"
            path = "/v1/messages"
            fail_first = 2
            status = 503
            latency = "normal:50ms,10ms"
            headers = { retry-after = "1" }

            [[rules]]
            path = "/v1"
            probability = 0.1
            down = [{ from = "1s", to = "2s", status = 500 }]
            "#,
        )
        .unwrap();
        let first = script.rule_for("POST", "/v1/messages/7").unwrap();
        assert_eq!(first.fail_first, Some(2));
        assert!(matches!(first.latency, Latency::Normal { .. }));
        assert_eq!(script.rule_for("GET", "/v1/messages").unwrap().down.len(), 1);
        assert_eq!(script.rule_for("GET", "/v2"), None);
        let at = Duration::from_secs;
        assert!(script.outage(at(4)).is_none() && script.outage(at(5)).is_some());
        assert!(matches!(script.outage(at(20)), Some(Act::Reset(_))));
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        let faults = Script::parse(
            "colour = 1\ndown = [{ status = 503 }]\n[[rules]]\npath = \"v1\"\nlatency = \"soon\"\nstauts = 3\n[[rules]]\nstatus = [1]\n[[rules]]\nfault = \"hang\"\nstatus = 503\n",
        )
        .unwrap_err();
        let places: Vec<_> = faults.iter().map(|fault| (fault.line, fault.place.as_str())).collect();
        assert_eq!(
            places,
            [
                (1, "colour"),
                (2, "down[0]"),
                (4, "rules[0].path"),
                (5, "rules[0].latency"),
                (6, "rules[0].stauts"),
                (8, "rules[1].status"),
                (9, "rules[2]"),
            ]
        );
    }

    #[test]
    fn what_is_no_toml_is_named_with_its_line() {
        let faults = Script::parse("[[rules]]\npath = \n").unwrap_err();
        assert_eq!(faults[0].line, 2, "{faults:?}");
        assert!(faults[0].to_string().starts_with("line 2: "));
    }

    #[test]
    fn an_empty_script_leaves_everything_to_the_paths() {
        assert_eq!(Script::parse("").unwrap(), Script::default());
    }
}
