//! Templates: text with `{{ … }}` that is filled in from a call or from a message, for confirm queries, providers and callbacks.
//!
//! Jinja's language without anything that reaches outside: no files, no inclusion, no macros. What a template may use up is
//! bounded ([`TEMPLATE_FUEL`], [`TEMPLATE_OUTPUT_BYTES_MAX`]); a name that does not exist is a fault, never an empty place.

use std::fmt;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior};

use crate::call::{AttemptNumber, Body, Call, Headers, ProviderName, RequestPath, State as CallState};
use crate::clock::Timestamp;
use crate::limits::{TEMPLATE_BYTES_MAX, TEMPLATE_FUEL, TEMPLATE_OUTPUT_BYTES_MAX};

/// What a template may name that is filled in from a call.
pub const CALL_VARIABLES: &[&str] = &[
    "attempt",
    "body",
    "call",
    "endpoint",
    "first_attempt_at",
    "headers",
    "idempotency_key",
    "method",
    "path",
    "provider",
    "tags",
];

/// What a template may name that is filled in from a message of the third party.
pub const MESSAGE_VARIABLES: &[&str] = &["body", "headers"];

/// A name under which an environment keeps its only template; it is in no sentence.
const NAME: &str = "template";

/// The escaping of paths, as the template engine knows it.
const PATH_ESCAPING: AutoEscape = AutoEscape::Custom(std::borrow::Cow::Borrowed("path"));

/// Text with places to fill in; checked, ready to be rendered any number of times.
#[derive(Clone)]
pub struct Template {
    text: Arc<str>,
    environment: Arc<Environment<'static>>,
}

/// A template whose text is a path with its query. Everything that is filled in is percent-encoded, a `/` as well, so that no value can
/// change where a request goes; `| safe` leaves a value as it is.
#[derive(Clone, Debug)]
pub struct PathTemplate(Template);

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateFault {
    /// The line of the text, from 1.
    pub line: usize,
    /// What is wrong there.
    pub sentence: String,
}

impl fmt::Display for TemplateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the template: {}", self.line, self.sentence)
    }
}

/// What a template is filled in with.
#[derive(Clone, Debug)]
pub struct Variables(Value);

impl Template {
    /// Reads a template that is filled in from a call: its names are [`CALL_VARIABLES`].
    ///
    /// # Errors
    /// What is wrong, and on which line: bad syntax, a name that no call has, too long.
    pub fn parse(text: &str) -> Result<Self, TemplateFault> {
        Self::compile(text, AutoEscape::None, CALL_VARIABLES)
    }

    /// Reads a template that is filled in from a message of the third party: its names are [`MESSAGE_VARIABLES`].
    ///
    /// # Errors
    /// As for [`Template::parse`].
    pub fn parse_for_message(text: &str) -> Result<Self, TemplateFault> {
        Self::compile(text, AutoEscape::None, MESSAGE_VARIABLES)
    }

    fn compile(text: &str, escaping: AutoEscape, names: &[&str]) -> Result<Self, TemplateFault> {
        if text.len() > TEMPLATE_BYTES_MAX {
            let sentence = format!("a template is at most {TEMPLATE_BYTES_MAX} bytes long");
            return Err(TemplateFault { line: 1, sentence });
        }
        let mut environment = environment(escaping);
        environment.add_template_owned(NAME, text.to_owned()).map_err(|error| fault(&error))?;
        let template = environment.get_template(NAME).map_err(|error| fault(&error))?;
        // The engine's own functions are among them: what a call holds is all there is.
        let unknown: Option<String> = template
            .undeclared_variables(false)
            .into_iter()
            .filter(|name| !names.contains(&name.as_str()))
            .min();
        if let Some(name) = unknown {
            let line = text.lines().position(|line| line.contains(&name)).map_or(1, |line| line + 1);
            let sentence =
                format!("{name:?} is nothing that a template knows; there are {}", names.join(", "));
            return Err(TemplateFault { line, sentence });
        }
        Ok(Self { text: text.into(), environment: Arc::new(environment) })
    }

    /// The text, filled in.
    ///
    /// # Errors
    /// A sentence: something that is not there was asked for, null was to be written, or the result would be too long.
    pub fn render(&self, variables: &Variables) -> Result<String, String> {
        let template = self.environment.get_template(NAME).map_err(|error| fault(&error).to_string())?;
        let mut output = Bounded(Vec::new());
        template
            .render_captured_to(variables.0.clone(), &mut output)
            .map_err(|error| fault(&error).to_string())?;
        // Templates write text only; a writer sees it in pieces that are whole characters.
        String::from_utf8(output.0).map_err(|_| "the template did not come to text".to_owned())
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Template {}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.text).finish()
    }
}

impl PathTemplate {
    /// Reads a template that is filled in from a call: its names are [`CALL_VARIABLES`].
    ///
    /// # Errors
    /// As for [`Template::parse`]; also a text that does not begin with `/`.
    pub fn parse(text: &str) -> Result<Self, TemplateFault> {
        if !text.starts_with(['/', '{']) {
            let sentence = "a path begins with '/': it is joined to the endpoint's base_url".to_owned();
            return Err(TemplateFault { line: 1, sentence });
        }
        Template::compile(text, PATH_ESCAPING, CALL_VARIABLES).map(Self)
    }

    /// The path, filled in.
    ///
    /// # Errors
    /// A sentence: as for [`Template::render`], or the result is no path that stays below the endpoint's base URL.
    pub fn render(&self, variables: &Variables) -> Result<RequestPath, String> {
        let path = self.0.render(variables)?;
        if !path.starts_with('/') {
            return Err("the path that the template makes does not begin with '/'".to_owned());
        }
        RequestPath::parse(&path).map_err(|error| format!("the path that the template makes {error}"))
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        self.0.text()
    }
}

impl Variables {
    /// What templates may name of a call: the attempt that is to be made, and the provider that it goes to, if there are several.
    pub fn of_call(call: &Call, attempt: AttemptNumber, provider: Option<&ProviderName>) -> Self {
        let tags = call.tags.iter().map(|(key, value)| (key.as_str().to_owned(), Value::from(value)));
        let headers = call.request.headers.iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
        let values = [
            ("attempt", Value::from(attempt.get())),
            ("body", body(&call.request.body)),
            ("call", Value::from(call.id.to_string())),
            ("endpoint", Value::from(call.endpoint.as_str())),
            ("first_attempt_at", Value::from(first_attempt_at(call).to_string())),
            ("headers", Value::from_pairs(headers)),
            ("idempotency_key", Value::from(call.outgoing_key().as_str())),
            ("method", Value::from(call.request.method.as_str())),
            // It has been read as a path already.
            ("path", Value::from_safe_string(call.request.path.as_str().to_owned())),
            ("provider", Value::from(provider.map(ProviderName::as_str))),
            ("tags", Value::from_pairs(tags)),
        ];
        Self(Value::from_pairs(values))
    }

    /// What templates may name of a message of the third party.
    pub fn of_message(body: &[u8], headers: &[(String, String)]) -> Self {
        let headers = headers.iter().map(|(name, value)| (name.clone(), Value::from(value)));
        let values = [("body", json_or_text(body)), ("headers", Value::from_pairs(headers))];
        Self(Value::from_pairs(values))
    }
}

/// When the third party may have seen the request first; before that, when the attempt that is being made began.
fn first_attempt_at(call: &Call) -> Timestamp {
    let running = match &call.state {
        CallState::Running(claim) => Some(claim.started_at),
        CallState::Scheduled { .. }
        | CallState::Review { .. }
        | CallState::Succeeded { .. }
        | CallState::Resolved { .. }
        | CallState::Cancelled { .. }
        | CallState::Superseded { .. } => None,
    };
    call.course.arrival.map(|arrival| arrival.first_at).or(running).unwrap_or(call.created_at)
}

fn body(body: &Body) -> Value {
    match body {
        Body::Empty => Value::from(""),
        Body::Json(bytes) | Body::Bytes(bytes) => json_or_text(bytes),
    }
}

fn json_or_text(bytes: &[u8]) -> Value {
    let text = |_| Value::from(String::from_utf8_lossy(bytes).into_owned());
    serde_json::from_slice(bytes).unwrap_or_else(text)
}

/// An environment for one template.
fn environment(escaping: AutoEscape) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(TEMPLATE_FUEL));
    // Debug information would put the template's text, and with it what it holds, into messages.
    environment.set_debug(false);
    environment.add_filter("urlencode", urlencode);
    environment.set_formatter(write_value);
    environment.set_auto_escape_callback(move |_| escaping.clone());
    environment
}

/// Writes a value where `{{ … }}` stands.
#[expect(clippy::wildcard_enum_match_arm, reason = "another crate's enum, of which only these are meant")]
fn write_value(
    output: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), minijinja::Error> {
    let refuse = |sentence: &'static str| Err(minijinja::Error::new(ErrorKind::InvalidOperation, sentence));
    let text = match value.kind() {
        ValueKind::Undefined => return refuse("a value that is not there cannot be written"),
        ValueKind::None => {
            return refuse("null has no text; `| tojson` writes null, `| default('', true)` nothing");
        }
        // The engine's own word is Python's.
        ValueKind::Bool => value.is_true().to_string(),
        ValueKind::Number | ValueKind::String => value.to_string(),
        _ => return refuse("only text, numbers and booleans can be written; `| tojson` writes the rest"),
    };
    let is_plain = *state.auto_escape() != PATH_ESCAPING || value.is_safe();
    Ok(output.write_str(&if is_plain { text } else { percent_encoded(&text) })?)
}

/// Jinja's filter leaves `/` as it is; a value in a path must not begin another segment.
fn urlencode(value: &Value) -> Value {
    Value::from_safe_string(percent_encoded(&value.to_string()))
}

/// All but the unreserved characters of RFC 3986, section 2.3. Two dots alone are a step upwards wherever they stand, so dots are
/// encoded there and [`RequestPath`] refuses them.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The engine's words for what is wrong, without its name for the template.
fn fault(error: &minijinja::Error) -> TemplateFault {
    let sentence = match (error.kind(), error.detail()) {
        (ErrorKind::WriteFailure, _) => {
            format!("the result would be longer than {TEMPLATE_OUTPUT_BYTES_MAX} bytes")
        }
        (ErrorKind::OutOfFuel, _) => format!("it takes more than {TEMPLATE_FUEL} steps"),
        (kind, None) => kind.to_string(),
        (ErrorKind::SyntaxError | ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
    };
    TemplateFault { line: error.line().unwrap_or(1), sentence }
}

/// Takes what is written up to a bound.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > TEMPLATE_OUTPUT_BYTES_MAX {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The headers that templates make, in their order.
///
/// # Errors
/// A sentence that names the header: its template cannot be filled in, or what comes of it is no header.
pub fn render_headers(
    templates: &[(http::HeaderName, Template)],
    variables: &Variables,
) -> Result<Headers, String> {
    let mut headers = Headers::default();
    for (name, template) in templates {
        let value =
            template.render(variables).map_err(|sentence| format!("the header {name}: {sentence}"))?;
        headers.insert(name.as_str(), &value).map_err(|error| format!("the header {name} {error}"))?;
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(json: &str) -> Variables {
        let values = [
            ("body", json_or_text(json.as_bytes())),
            ("idempotency_key", Value::from("order/1 ?x=ä")),
            ("path", Value::from_safe_string("/v1/a?b=c".to_owned())),
            ("tags", Value::from_pairs([("order", "7")])),
            ("provider", Value::from(None::<String>)),
            ("attempt", Value::from(3)),
        ];
        Variables(Value::from_pairs(values))
    }

    fn rendered(template: &str, json: &str) -> Result<String, String> {
        Template::parse(template).unwrap().render(&variables(json))
    }

    #[test]
    fn bodies_are_filled_in() {
        let json =
            r#"{"to": "+86 \"1\"", "amount": 12.5, "list": [1, 2], "none": null, "deep": {"a": "ä<&"}}"#;
        for (template, text) in [
            (r#"{"mobile": {{ body.to | tojson }}}"#, r#"{"mobile": "+86 \"1\""}"#),
            ("{{ body.amount }} {{ attempt }} {{ tags.order }}", "12.5 3 7"),
            ("{% for item in body.list %}{{ item }},{% endfor %}", "1,2,"),
            ("{{ body.none | tojson }}", "null"),
            ("{{ body.deep.a }}", "ä<&"),
            ("{{ body.to | urlencode }}", "%2B86%20%221%22"),
            ("{{ path }}", "/v1/a?b=c"),
            ("{{ body.missing | default('x') }}", "x"),
        ] {
            assert_eq!(rendered(template, json).as_deref(), Ok(text), "{template}");
        }
        assert_eq!(rendered("{{ body }}", "plain text").as_deref(), Ok("plain text"));
        let value: serde_json::Value =
            serde_json::from_str(&rendered("{{ body.deep | tojson }}", json).unwrap()).unwrap();
        assert_eq!(value, serde_json::json!({"a": "ä<&"}));
    }

    #[test]
    fn what_is_not_there_is_a_fault_and_never_an_empty_place() {
        for template in [
            "{{ body.missing }}",
            "{{ body.missing.deeper }}",
            "{{ tags.none }}",
            "{{ provider }}",
            "{{ body.none }}",
            "{{ body.to | nosuchfilter }}",
            "{{ body.to + 1 }}",
        ] {
            assert!(rendered(template, r#"{"to": "x", "none": null}"#).is_err(), "{template}");
        }
    }

    #[test]
    fn a_text_that_is_no_template_is_refused_with_its_line() {
        for (text, line) in [
            ("{{ body.", 1),
            ("a\nb\n{% for x in %}", 3),
            ("a\n{{ bdy.x }}", 2),
            ("{% include 'x' %}", 1),
            ("{% macro a() %}{% endmacro %}", 1),
            ("{{ x() }}", 1),
            ("\n{{ namespace(a=1) }}", 2),
        ] {
            let fault = Template::parse(text).unwrap_err();
            assert_eq!(fault.line, line, "{text:?}: {fault}");
        }
        assert!(Template::parse(&"x".repeat(TEMPLATE_BYTES_MAX + 1)).is_err());
        assert!(Template::parse_for_message("{{ tags.x }}").is_err());
        let deep = format!("{{{{ {}1{} }}}}", "(".repeat(5_000), ")".repeat(5_000));
        assert!(Template::parse(&deep).is_err());
    }

    #[test]
    fn what_a_template_uses_up_is_bounded() {
        let (long, many) = ("x".repeat(100_000), "1,".repeat(999));
        let json = format!(r#"{{"x": "{long}", "list": [{many} 1]}}"#);
        let doubled = "{% for a in body.list %}{{ body.x }}{% endfor %}";
        assert!(rendered(doubled, &json).unwrap_err().contains("longer"));
        let endless = "{% for a in body.list %}{% for b in body.list %}{% endfor %}{% endfor %}";
        assert!(rendered(endless, &json).unwrap_err().contains("steps"));
    }

    #[test]
    fn no_value_changes_where_a_path_leads() {
        let path = |template: &str, json: &str| {
            PathTemplate::parse(template)
                .unwrap()
                .render(&variables(json))
                .map(|path| path.as_str().to_owned())
        };
        assert_eq!(path("/m/{{ idempotency_key }}", "{}").as_deref(), Ok("/m/order%2F1%20%3Fx%3D%C3%A4"));
        assert_eq!(
            path("/m?id={{ body.a }}&n={{ body.n }}", r#"{"a": "1&b=2#", "n": 5}"#).as_deref(),
            Ok("/m?id=1%26b%3D2%23&n=5")
        );
        assert_eq!(path("/m?id={{ body.a | urlencode }}", r#"{"a": "ä"}"#).as_deref(), Ok("/m?id=%C3%A4"));
        assert_eq!(path("{{ path }}&again=1", "{}").as_deref(), Ok("/v1/a?b=c&again=1"));
        for (template, json) in [
            ("/m/{{ body.a }}", r#"{"a": ".."}"#),
            ("/m/{{ body.a }}", r#"{"a": "x/../.."}"#),
            ("/m/{{ body.a | safe }}", r#"{"a": "../../admin"}"#),
            ("{{ body.a | safe }}", r#"{"a": "//evil.test/"}"#),
            ("{{ body.a | safe }}", r#"{"a": "http://evil.test/"}"#),
            ("/m/{{ body.a }}", r#"{"a": {"b": 1}}"#),
            ("/m/{{ body.a | safe }}", "{\"a\": \"x\\r\\nhost: evil\"}"),
        ] {
            assert!(path(template, json).is_err(), "{template} {json}");
        }
        assert!(PathTemplate::parse("v1/x").is_err());
    }
}
