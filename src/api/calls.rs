//! `GET /v1/calls` and `GET /v1/calls/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Api;
use super::auth::Viewer;
use super::cursor;
use super::problem::{Problem, Result};
use super::render::CallView;
use crate::call::{CallId, EndpointName, Publisher, ReviewReason, Status, TagKey};
use crate::clock::Timestamp;
use crate::ledger::Filter;
use crate::limits::{NAME_BYTES_MAX, PAGE_DEFAULT, PAGE_MAX};

/// One page of calls, newest first.
///
/// # Errors
/// 400 for a parameter that cannot be read.
pub async fn list(
    State(api): State<Arc<Api>>,
    _: Viewer,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Response> {
    let page = Page::read(&parameters)?;
    let mut calls = api.ledger.list(&page.filter, page.before, page.limit + 1).await?;
    let more = calls.len() > page.limit;
    calls.truncate(page.limit);
    let next_cursor = calls.last().filter(|_| more).map(|last| cursor::write(last.id, &page.stamp));
    let views: Vec<CallView> = calls.iter().map(CallView::from).collect();
    Ok(Json(json!({ "calls": views, "next_cursor": next_cursor })).into_response())
}

/// One call with attempts, actions and revisions.
///
/// # Errors
/// 400 for what is no id, 404 for an unknown one.
pub async fn show(State(api): State<Arc<Api>>, _: Viewer, IdInPath(id): IdInPath) -> Result<Response> {
    let story = api.ledger.story(id).await?.ok_or_else(|| unknown(id))?;
    Ok(Json(CallView::from(&story)).into_response())
}

/// The id of a call out of a path.
#[derive(Clone, Copy, Debug)]
pub struct IdInPath(pub CallId);

impl FromRequestParts<Arc<Api>> for IdInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self> {
        // What is not even UTF-8 is no id either.
        let text = Path::<String>::from_request_parts(parts, api).await;
        text.ok().and_then(|Path(text)| CallId::parse(&text)).map(Self).ok_or_else(|| {
            let detail = "a call's id is a UUID, as in 0197a2b4-7c1e-7d0a-9f5e-2f6d1c3b4a59";
            Problem::new(StatusCode::BAD_REQUEST, "invalid_id", detail)
        })
    }
}

/// There is no such call.
pub(super) fn unknown(id: CallId) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown_call", format!("there is no call {id}"))
}

/// What a list was asked for.
#[derive(Debug)]
struct Page {
    filter: Filter,
    before: Option<CallId>,
    limit: usize,
    /// The filter as text: a cursor is only good for the list it came from.
    stamp: String,
}

impl Page {
    fn read(parameters: &[(String, String)]) -> Result<Self> {
        let mut page =
            Self { filter: Filter::default(), before: None, limit: PAGE_DEFAULT, stamp: String::new() };
        let mut cursor_text = None;
        for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
            match name.as_str() {
                "limit" => page.limit = read_limit(value)?,
                "cursor" => cursor_text = Some(value),
                _ => {
                    page.stamp.extend([name.as_str(), "=", value, "\n"]);
                    page.read_condition(name, value)?;
                }
            }
        }
        if let Some(text) = cursor_text {
            let before = cursor::read(text, &page.stamp);
            page.before = Some(before.ok_or_else(|| {
                bad("cursor", "must be the next_cursor of a list with the same conditions")
            })?);
        }
        Ok(page)
    }

    fn read_condition(&mut self, name: &str, value: &str) -> Result<()> {
        let filter = &mut self.filter;
        match name {
            "status" => {
                for status in value.split(',') {
                    filter.statuses.push(
                        Status::parse(status)
                            .ok_or_else(|| bad(name, &format!("must be of {}", Status::allowed())))?,
                    );
                }
            }
            "endpoint" => {
                filter.endpoint =
                    Some(EndpointName::parse(value).map_err(|error| bad(name, &error.to_string()))?);
            }
            "publisher" => {
                filter.publisher =
                    Some(Publisher::parse(value).map_err(|error| bad(name, &error.to_string()))?);
            }
            "reason" => {
                let reason = ReviewReason::parse(value);
                filter.reason = Some(
                    reason
                        .ok_or_else(|| bad(name, &format!("must be one of {}", ReviewReason::allowed())))?,
                );
            }
            "from" => filter.from = Some(read_time(name, value)?),
            "to" => filter.to = Some(read_time(name, value)?),
            "q" if value.len() <= NAME_BYTES_MAX && !value.contains('\0') => {
                filter.text = Some(value.to_owned());
            }
            "q" => return Err(bad(name, "must be at most 255 bytes without U+0000")),
            _ => {
                let key = name.strip_prefix("tag.").ok_or_else(|| unknown_parameter(name))?;
                let key = TagKey::parse(key).map_err(|error| bad(name, &format!("the tag's key {error}")))?;
                filter.tags.push((key, value.replace('\0', "")));
            }
        }
        Ok(())
    }
}

fn read_limit(value: &str) -> Result<usize> {
    let limit = value.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
    limit.ok_or_else(|| bad("limit", &format!("must be a whole number from 1 to {PAGE_MAX}")))
}

fn read_time(name: &str, value: &str) -> Result<Timestamp> {
    Timestamp::parse_rfc3339(value)
        .ok_or_else(|| bad(name, "must be a time in RFC 3339, as in 2026-11-21T10:00:00Z"))
}

fn bad(name: &str, sentence: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_parameter", format!("{name} {sentence}"))
}

fn unknown_parameter(name: &str) -> Problem {
    let detail = format!(
        "{name} is no parameter of this list; known are status, endpoint, publisher, tag.<key>, reason, from, to, q, limit, cursor"
    );
    Problem::new(StatusCode::BAD_REQUEST, "unknown_parameter", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: &[(&str, &str)]) -> Result<Page> {
        let owned: Vec<(String, String)> =
            parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Page::read(&owned)
    }

    #[test]
    fn conditions_are_read_and_hold_together() {
        let page = read(&[
            ("status", "review,scheduled"),
            ("tag.order", "7"),
            ("from", "2026-11-21T10:00:00Z"),
            ("limit", "7"),
        ])
        .unwrap();
        assert_eq!(page.filter.statuses, [Status::Review, Status::Scheduled]);
        assert_eq!(page.filter.tags[0].1, "7");
        assert_eq!(page.limit, 7);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (name, value) in [
            ("status", "lost"),
            ("limit", "0"),
            ("limit", "-1"),
            ("limit", "1000000000"),
            ("from", "today"),
            ("endpoint", "A"),
            ("reason", "bored"),
            ("cursor", "AAAA"),
            ("tag.", "x"),
            ("sort", "asc"),
        ] {
            assert!(read(&[(name, value)]).is_err(), "{name}={value}");
        }
    }
}
