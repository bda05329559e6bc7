//! Conditions on calls, as lists take them in a query and bulk jobs in a document.

use serde_json::{Map, Value, json};

use crate::call::{EndpointName, Mode, ProviderName, Publisher, ReviewReason, Status, TagKey};
use crate::clock::Timestamp;
use crate::ledger::Filter;
use crate::limits::NAME_BYTES_MAX;

/// The names of all conditions, for sentences about what is allowed.
pub(super) const KNOWN: &str =
    "status, endpoint, publisher, tag.<key>, reason, error, provider, dry_run, from, to, q";
/// Stands for "no error is known" where a condition asks for an error.
const NO_ERROR: &str = "none";

/// Why a condition cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misread {
    /// There is no condition of this name.
    Unknown,
    /// The sentence says what is allowed.
    Bad(String),
}

/// Adds one condition to a filter.
pub(super) fn add_condition(filter: &mut Filter, name: &str, value: &str) -> Result<(), Misread> {
    match name {
        "status" => {
            for status in value.split(',') {
                let sentence = || format!("must be of {}", Status::allowed());
                filter.statuses.push(Status::parse(status).ok_or_else(|| Misread::Bad(sentence()))?);
            }
        }
        "endpoint" => filter.endpoint = Some(parsed(EndpointName::parse(value))?),
        "publisher" => filter.publisher = Some(parsed(Publisher::parse(value))?),
        "provider" => filter.provider = Some(parsed(ProviderName::parse(value))?),
        "reason" => {
            let sentence = || format!("must be one of {}", ReviewReason::allowed());
            filter.reason = Some(ReviewReason::parse(value).ok_or_else(|| Misread::Bad(sentence()))?);
        }
        "error" => {
            let error = text(value)?;
            filter.error = Some(if error == NO_ERROR { String::new() } else { error });
        }
        "dry_run" => {
            filter.mode = Some(match value {
                "true" => Mode::DryRun,
                "false" => Mode::Live,
                _ => return Err(Misread::Bad("must be true or false".to_owned())),
            });
        }
        "from" => filter.from = Some(time(value)?),
        "to" => filter.to = Some(time(value)?),
        "q" => filter.text = Some(text(value)?),
        _ => {
            let key = name.strip_prefix("tag.").ok_or(Misread::Unknown)?;
            let key = TagKey::parse(key).map_err(|error| Misread::Bad(format!("the tag's key {error}")))?;
            filter.tags.push((key, value.replace('\0', "")));
        }
    }
    Ok(())
}

fn parsed<T, E: std::fmt::Display>(value: Result<T, E>) -> Result<T, Misread> {
    value.map_err(|error| Misread::Bad(error.to_string()))
}

fn text(value: &str) -> Result<String, Misread> {
    if value.len() <= NAME_BYTES_MAX && !value.contains('\0') {
        return Ok(value.to_owned());
    }
    Err(Misread::Bad(format!("must be at most {NAME_BYTES_MAX} bytes without U+0000")))
}

fn time(value: &str) -> Result<Timestamp, Misread> {
    Timestamp::parse_rfc3339(value)
        .ok_or_else(|| Misread::Bad("must be a time in RFC 3339, as in 2026-11-21T10:00:00Z".to_owned()))
}

/// A filter as a document: what a bulk job was asked for, with what was added to it.
pub(super) fn document(filter: &Filter) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    if !filter.statuses.is_empty() {
        let statuses: Vec<&str> = filter.statuses.iter().map(|status| status.as_str()).collect();
        put("status", json!(statuses.join(",")));
    }
    for (name, value) in [
        ("endpoint", filter.endpoint.as_ref().map(ToString::to_string)),
        ("publisher", filter.publisher.as_ref().map(ToString::to_string)),
        ("reason", filter.reason.as_ref().map(ToString::to_string)),
        (
            "error",
            filter.error.as_deref().map(|error| if error.is_empty() { NO_ERROR } else { error }.to_owned()),
        ),
        ("provider", filter.provider.as_ref().map(ToString::to_string)),
        ("from", filter.from.as_ref().map(ToString::to_string)),
        ("to", filter.to.as_ref().map(ToString::to_string)),
        ("q", filter.text.clone()),
    ] {
        if let Some(value) = value {
            put(name, value.into());
        }
    }
    if let Some(mode) = filter.mode {
        put("dry_run", (mode == Mode::DryRun).into());
    }
    if !filter.tags.is_empty() {
        let tags = filter.tags.iter().map(|(key, value)| (key.to_string(), Value::from(value.as_str())));
        put("tags", Value::Object(tags.collect()));
    }
    if let Some(ids) = &filter.ids {
        put("ids", ids.iter().map(ToString::to_string).collect());
    }
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_is_read_or_refused() {
        for (name, value, fits) in [
            ("status", "review,scheduled", true),
            ("status", "lost", false),
            ("endpoint", "A", false),
            ("reason", "bored", false),
            ("error", "the third party answered 503", true),
            ("error", "a\0", false),
            ("provider", "alpha", true),
            ("dry_run", "true", true),
            ("dry_run", "yes", false),
            ("from", "today", false),
            ("tag.order", "7", true),
            ("tag.", "7", false),
        ] {
            let read = add_condition(&mut Filter::default(), name, value);
            assert_eq!(read.is_ok(), fits, "{name}={value}: {read:?}");
        }
        assert_eq!(add_condition(&mut Filter::default(), "sort", "asc"), Err(Misread::Unknown));
    }

    #[test]
    fn a_filter_is_shown_as_it_was_asked_for() {
        let mut filter = Filter::default();
        for (name, value) in
            [("status", "review"), ("error", "none"), ("tag.order", "7"), ("dry_run", "false")]
        {
            add_condition(&mut filter, name, value).unwrap();
        }
        let shown =
            json!({ "status": "review", "error": "none", "tags": { "order": "7" }, "dry_run": false });
        assert_eq!(document(&filter), shown);
    }
}
