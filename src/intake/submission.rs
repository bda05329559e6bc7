//! The submission document: JSON in, a valid [`Submission`] out, or every fault at once with its JSON pointer.

use std::sync::Arc;

use serde_json::value::RawValue;
use url::Url;

use crate::call::{
    EndpointName, Entity, EntityKey, Failure, IdempotencyKey, KeyUse, Mode, ProviderName, Publisher, Request,
    Submission, TagKey,
};
use crate::clock::Timestamp;
use crate::document::request::read_request;
use crate::document::{DocumentError, Faults, Object, cut, each_text};
use crate::endpoint::{Endpoint, Registry};
use crate::limits::{DEADLINE_DEFAULT, ERROR_BYTES_MAX, HORIZON_MAX, NAME_BYTES_MAX, TAGS_MAX};

/// What comes with a document from outside it.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Who hands it over.
    pub publisher: Publisher,
    /// The key if the document has none (AMQP `message_id`).
    pub fallback_key: Option<IdempotencyKey>,
    /// W3C `traceparent`.
    pub trace_parent: Option<String>,
    /// Now, by this machine's clock: deadlines already past are refused.
    pub now: Timestamp,
}

/// A document that cannot become a call.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub error: DocumentError,
    /// Under which key it may have become one before: only if nothing is wrong with it but when and where it is read (a deadline that
    /// has passed since, an endpoint that is gone).
    pub key_use: Option<KeyUse>,
}

/// Reads one document.
///
/// # Errors
/// [`Refused`], with all faults.
pub fn read(
    bytes: &[u8],
    envelope: Envelope,
    registry: &Registry,
) -> Result<(Submission, Arc<Endpoint>), Refused> {
    let mut key_use = None;
    crate::document::read(bytes, |raw, fingerprint, faults| {
        read_root(raw, envelope, fingerprint, registry, faults, &mut key_use)
    })
    .map_err(|error| Refused { error, key_use })
}

fn read_root(
    raw: &RawValue,
    envelope: Envelope,
    fingerprint: [u8; 32],
    registry: &Registry,
    faults: &mut Faults,
    key_use: &mut Option<KeyUse>,
) -> Option<(Submission, Arc<Endpoint>)> {
    let mut root = Object::open(raw, String::new(), faults)?;
    let endpoint = read_endpoint(&mut root, registry, faults);
    let request = root.required("request", faults).and_then(|raw| read_request(raw, None, faults));
    let key = root.name("idempotency_key", faults, IdempotencyKey::parse);
    let failure = root.optional("failure").and_then(|raw| read_failure(raw, faults));
    let not_before = root.time("not_before", faults);
    let deadline = root.time("deadline", faults);
    let entity = root.optional("entity").and_then(|raw| read_entity(raw, faults));
    let callback_url = root.name("callback_url", faults, parse_callback_url);
    let provider = root.name("provider", faults, ProviderName::parse);
    let dry_run = root.truth("dry_run", faults).unwrap_or(false);
    let tags = root.optional("tags").map(|raw| read_tags(raw, faults)).unwrap_or_default();
    root.close(faults);
    check_times(not_before, deadline, envelope.now, faults);
    if let (Some(endpoint), Some(request)) = (&endpoint, &request) {
        check_destination(endpoint, request, provider.as_ref(), faults);
    }
    let (publisher, key) = (envelope.publisher, key.or(envelope.fallback_key));
    if faults.are_circumstantial() {
        *key_use = key.map(|key| KeyUse { publisher, key, fingerprint });
        return None;
    }
    let (endpoint, request) = (endpoint?, request?);
    let submission = Submission {
        publisher,
        idempotency_key: key,
        fingerprint,
        endpoint: endpoint.name.clone(),
        request,
        failure,
        not_before,
        deadline,
        entity,
        tags,
        callback_url,
        trace_parent: envelope.trace_parent,
        provider,
        mode: if dry_run { Mode::DryRun } else { endpoint.dry_run.mode },
    };
    Some((submission, endpoint))
}

fn read_endpoint(root: &mut Object<'_>, registry: &Registry, faults: &mut Faults) -> Option<Arc<Endpoint>> {
    root.required("endpoint", faults)?;
    let name = root.name("endpoint", faults, EndpointName::parse)?;
    let endpoint = registry.get(&name);
    if endpoint.is_none() {
        let known = registry.snapshot();
        let known: Vec<&str> = known.iter().map(|endpoint| endpoint.name.as_str()).take(20).collect();
        let sentence = format!("no endpoint {name} is configured; configured are: {}", known.join(", "));
        faults.add_circumstance("/endpoint", "unknown_endpoint", sentence);
    }
    endpoint
}

/// Whether the request can go where it wants to: below the endpoint's URL or to a host that may be named, and to a provider there is; and
/// whether it says anything that the endpoint would say over.
fn check_destination(
    endpoint: &Endpoint,
    request: &Request,
    provider: Option<&ProviderName>,
    faults: &mut Faults,
) {
    if let Err(misdirected) = endpoint.destination.check(&request.path) {
        faults.add_circumstance("/request/url", misdirected.code(), misdirected.to_string());
    }
    if request.headers.get(endpoint.idempotency_header.as_str()).is_some() {
        let sentence = format!(
            "must not contain {}, which carries the idempotency key to endpoint {}: give the key as idempotency_key",
            endpoint.idempotency_header, endpoint.name
        );
        faults.add_circumstance("/request/headers", "invalid_value", sentence);
    }
    let providers = endpoint.destination.providers();
    if let Some(wanted) = provider
        && providers.iter().all(|provider| provider.name != *wanted)
    {
        let names: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let sentence = format!("endpoint {} has no provider {wanted}; it has: {known}", endpoint.name);
        faults.add_circumstance("/provider", "unknown_provider", sentence);
    }
}

fn read_tags(raw: &RawValue, faults: &mut Faults) -> Vec<(TagKey, String)> {
    let mut tags = Vec::new();
    each_text("/tags", raw, faults, |name, value, pointer, faults| match TagKey::parse(name) {
        Err(error) => faults.add(pointer, "invalid_value", format!("a tag's key {error}")),
        Ok(_) if value.len() > NAME_BYTES_MAX => {
            faults.add(pointer, "invalid_value", "must be at most 255 bytes long");
        }
        Ok(key) => tags.push((key, value.to_owned())),
    });
    if tags.len() > TAGS_MAX {
        faults.add("/tags", "invalid_value", format!("must have at most {TAGS_MAX} members"));
    }
    tags
}

fn read_failure(raw: &RawValue, faults: &mut Faults) -> Option<Failure> {
    let mut object = Object::open(raw, "/failure".to_owned(), faults)?;
    let failure = Failure {
        occurred_at: object.time("occurred_at", faults),
        status: object.number("status", "a whole number from 100 to 999", faults, |number| {
            u16::try_from(number).ok().filter(|status| (100..=999).contains(status))
        }),
        error: object.name("error", faults, |text| Ok::<_, String>(cut(text, ERROR_BYTES_MAX).to_owned())),
        ambiguous: object.truth("ambiguous", faults).unwrap_or(false),
        attempts: object.number("attempts", "a whole number from 0 to 4294967295", faults, |number| {
            u32::try_from(number).ok()
        }),
    };
    object.close(faults);
    Some(failure)
}

fn read_entity(raw: &RawValue, faults: &mut Faults) -> Option<Entity> {
    let mut object = Object::open(raw, "/entity".to_owned(), faults)?;
    object.required("key", faults);
    object.required("version", faults);
    let key = object.name("key", faults, EntityKey::parse);
    let version =
        object.number("version", "a whole number from 0 to 9223372036854775807", faults, |number| {
            (number >= 0).then_some(number)
        });
    object.close(faults);
    Some(Entity { key: key?, version: version? })
}

fn parse_callback_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("must be an absolute URL: {error}"))?;
    let fits =
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    if fits && text.len() <= 2_048 {
        Ok(url)
    } else {
        Err("must be http or https, without user and password, at most 2048 bytes".to_owned())
    }
}

fn check_times(
    not_before: Option<Timestamp>,
    deadline: Option<Timestamp>,
    now: Timestamp,
    faults: &mut Faults,
) {
    for (pointer, time) in [("/not_before", not_before), ("/deadline", deadline)] {
        if time.is_some_and(|time| time > now.plus(HORIZON_MAX)) {
            faults.add_circumstance(pointer, "invalid_value", "must lie within the next 366 days");
        }
    }
    if deadline.is_some_and(|deadline| deadline <= now) {
        faults.add_circumstance("/deadline", "deadline_passed", "must not be past already");
    }
    match (not_before, deadline) {
        (Some(not_before), Some(deadline)) if deadline <= not_before => {
            faults.add("/deadline", "invalid_value", "must be after not_before");
        }
        (Some(not_before), None) if not_before >= now.plus(DEADLINE_DEFAULT) => {
            let days = DEADLINE_DEFAULT.as_secs() / 86_400;
            let sentence =
                format!("lies beyond the default deadline, {days} days from now; give a deadline after it");
            faults.add_circumstance("/not_before", "invalid_value", sentence);
        }
        (Some(_) | None, Some(_) | None) => {}
    }
}

/// A W3C `traceparent` of version 00 that may be passed on; anything else is ignored, as the recommendation asks (Trace
/// Context, 3.2.2).
pub fn trace_parent(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex =
        |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let not_zero = |part: &str| part.bytes().any(|byte| byte != b'0');
    let fits = lengths == [2, 32, 16, 2]
        && parts.iter().all(is_hex)
        && parts[0] == "00"
        && not_zero(parts[1])
        && not_zero(parts[2]);
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Body, Method};
    use crate::endpoint::{BaseUrl, Ladder, Timeouts};
    use std::time::Duration;

    fn registry() -> Registry {
        let second = Duration::from_secs(1);
        Registry::new([Endpoint::plain(
            EndpointName::parse("sms").unwrap(),
            BaseUrl::parse("http://127.0.0.1:1").unwrap(),
            Ladder::parse(&["1s"]).unwrap(),
            Timeouts::new(second, second, second, None).unwrap(),
        )])
    }

    fn read_text(text: &str) -> Result<Submission, Refused> {
        let envelope = Envelope {
            publisher: Publisher::anonymous(),
            fallback_key: None,
            trace_parent: None,
            now: Timestamp::parse_rfc3339("2026-11-21T10:00:00Z").unwrap(),
        };
        read(text.as_bytes(), envelope, &registry()).map(|(submission, _)| submission)
    }

    #[test]
    fn only_a_document_that_was_none_the_worse_before_goes_by_its_key() {
        let request = r#""idempotency_key":"k","request":{"path":"/"}"#;
        for (text, goes_by_its_key) in [
            (format!(r#"{{"endpoint":"mms",{request}}}"#), true),
            (format!(r#"{{"endpoint":"sms",{request},"deadline":"2026-11-21T09:59:59Z"}}"#), true),
            (format!(r#"{{"endpoint":"mms",{request},"deadline":"2026-11-21T09:59:59Z"}}"#), true),
            (format!(r#"{{"endpoint":"sms",{request},"deadline":"2036-01-01T00:00:00Z"}}"#), true),
            (format!(r#"{{"endpoint":"sms",{request},"provider":"beta"}}"#), true),
            (r#"{"endpoint":"mms","request":{"path":"/"}}"#.to_owned(), false),
            (format!(r#"{{"endpoint":"mms",{request},"colour":"red"}}"#), false),
            (format!(r#"{{"endpoint":"mms",{request},"deadline":"soon"}}"#), false),
            (r#"{"endpoint":"mms","idempotency_key":"k"}"#.to_owned(), false),
            ("{".to_owned(), false),
        ] {
            let key_use = read_text(&text).unwrap_err().key_use;
            let key = key_use.map(|key_use| key_use.key.to_string());
            assert_eq!(key.as_deref(), goes_by_its_key.then_some("k"), "{text}");
        }
    }

    fn faults(text: &str) -> Vec<(String, &'static str)> {
        match read_text(text).unwrap_err().error {
            DocumentError::Invalid(faults) => {
                faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
            }
            DocumentError::Unreadable(sentence) => panic!("{text} is not even readable: {sentence}"),
        }
    }

    #[test]
    fn the_document_of_the_contract_is_read() {
        let submission = read_text(
            r#"{"endpoint":"sms","idempotency_key":"order-1234-paid",
            "request":{"method":"POST","path":"/v1/messages?lang=en","headers":{"x-tenant":"7"},"body":{"to":"+861380000", "n": 1.10}},
            "failure":{"occurred_at":"2026-11-21T10:00:00Z","status":503,"error":"upstream timeout","ambiguous":false,"attempts":3},
            "not_before":"2026-11-21T10:05:00Z","deadline":"2026-11-28T10:00:00Z","entity":{"key":"deal-42","version":7},
            "callback_url":"https://publisher.example/redial","tags":{"order":"1234"}}"#,
        )
        .unwrap();
        assert_eq!(
            submission.request.body.bytes(),
            r#"{"to":"+861380000", "n": 1.10}"#,
            "a body keeps its bytes"
        );
        assert_eq!(submission.entity.unwrap().version, 7);
        assert_eq!(submission.failure.unwrap().attempts, Some(3));
        assert_eq!(submission.tags[0].1, "1234");
    }

    #[test]
    fn a_small_document_is_enough() {
        let submission = read_text(r#"{"endpoint":"sms","request":{"path":"/a"},"failure":null}"#).unwrap();
        assert_eq!((submission.request.method, submission.request.body), (Method::Post, Body::Empty));
    }

    #[test]
    fn every_fault_is_named_at_once_with_its_place() {
        let text = r#"{"endpoint":"mms","request":{"method":"BREW","path":"../x","headers":{"host":"a","x":1},"boddy":1},
            "deadline":"2020-01-01T00:00:00Z","entity":{"key":""},"tags":{"a b":"c","n":null},"extra/1":0,"idempotency_key":7}"#;
        let expected = [
            ("/endpoint", "unknown_endpoint"),
            ("/request/method", "invalid_value"),
            ("/request/path", "invalid_value"),
            ("/request/headers/host", "invalid_value"),
            ("/request/headers/x", "wrong_type"),
            ("/request/boddy", "unknown_field"),
            ("/idempotency_key", "wrong_type"),
            ("/entity/version", "missing_field"),
            ("/entity/key", "invalid_value"),
            ("/tags/a b", "invalid_value"),
            ("/tags/n", "wrong_type"),
            ("/extra~11", "unknown_field"),
            ("/deadline", "deadline_passed"),
        ];
        assert_eq!(faults(text), expected.map(|(pointer, code)| (pointer.to_owned(), code)));
    }

    #[test]
    fn single_faults_are_told_apart() {
        let request = r#""request":{"path":"/"}"#;
        for (text, pointer, code) in [
            ("[]".to_owned(), "", "wrong_type"),
            ("{}".to_owned(), "/endpoint", "missing_field"),
            (r#"{"endpoint":"sms"}"#.to_owned(), "/request", "missing_field"),
            (
                format!(r#"{{"endpoint":"sms",{request},"idempotency_key":""}}"#),
                "/idempotency_key",
                "invalid_value",
            ),
            (
                format!(r#"{{"endpoint":"sms",{request},"not_before":"9999-01-01T00:00:00Z"}}"#),
                "/not_before",
                "invalid_value",
            ),
            (
                format!(r#"{{"endpoint":"sms",{request},"not_before":"2026-11-28T10:00:00Z"}}"#),
                "/not_before",
                "invalid_value",
            ),
            (
                format!(
                    r#"{{"endpoint":"sms",{request},"entity":{{"key":"a","version":9223372036854775808}}}}"#
                ),
                "/entity/version",
                "invalid_value",
            ),
            (
                format!(r#"{{"endpoint":"sms",{request},"callback_url":"ftp://x"}}"#),
                "/callback_url",
                "invalid_value",
            ),
            (
                r#"{"endpoint":"sms","request":{"body":1,"body_base64":"AA=="}}"#.to_owned(),
                "/request/body_base64",
                "invalid_value",
            ),
            (
                r#"{"endpoint":"sms","request":{"body_base64":"AA=="}}"#.to_owned(),
                "/request/headers",
                "missing_field",
            ),
            (
                r#"{"endpoint":"sms","request":{"body":"a\u0000"}}"#.to_owned(),
                "/request/body",
                "invalid_value",
            ),
        ] {
            assert_eq!(faults(&text)[0], (pointer.to_owned(), code), "{text}");
        }
    }

    #[test]
    fn only_a_well_formed_traceparent_is_passed_on() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_parent(good).as_deref(), Some(good));
        for bad in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            &good.to_uppercase(),
            &good.replace("00-4b", "ff-4b"),
            &format!("{good}-x"),
        ] {
            assert_eq!(trace_parent(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_long_error_text_is_cut_where_a_character_ends() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
    }
}
