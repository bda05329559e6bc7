//! `GET /v1/calls` and `GET /v1/calls/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Api;
use super::auth::Viewer;
use super::cursor::Seal;
use super::filter::{KNOWN, Misread, add_condition};
use super::paging::{Paging, cut};
use super::problem::{Problem, Result};
use super::render::CallView;
use crate::call::{CallId, Revision};
use crate::clock::Timestamp;
use crate::ledger::Filter;
use crate::limits::PAGE_MAX;

/// A page of calls. Serialized as it stands: inside a [`serde_json::Value`] bodies would lose digits and the order of their members.
#[derive(Serialize)]
struct CallPage {
    calls: Vec<CallView>,
    next_cursor: Option<String>,
}

/// One page of calls, newest first.
///
/// # Errors
/// 400 for a parameter that cannot be read.
pub async fn list(
    State(api): State<Arc<Api>>,
    _: Viewer,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Response> {
    let page = Page::read(&parameters, &api.cursors)?;
    let mut calls = api.ledger.search(&page.filter, page.before, page.limit + 1).await?;
    let next_cursor = cut(&mut calls, page.limit).map(|last| api.cursors.write(last.id, &page.stamp));
    let calls = calls.iter().map(CallView::from).collect();
    Ok(Json(CallPage { calls, next_cursor }).into_response())
}

/// One call with attempts, actions and revisions.
///
/// # Errors
/// 400 for what is no id, 404 for an unknown one.
pub async fn show(State(api): State<Arc<Api>>, _: Viewer, IdInPath(id): IdInPath) -> Result<Response> {
    let story = api.ledger.story(id).await?.ok_or_else(|| unknown(id))?;
    let view = CallView::from(&story).with_reports(&api.ledger.reports(id).await?);
    Ok(([(header::ETAG, tag(story.call.revision))], Json(view)).into_response())
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

/// A revision as an entity tag: what `If-Match` takes.
pub(super) fn tag(revision: Revision) -> String {
    format!("\"{}\"", revision.get())
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
    fn read(parameters: &[(String, String)], cursors: &Seal) -> Result<Self> {
        let (mut filter, mut stamp) = (Filter::default(), String::new());
        let paging = Paging::read(parameters, |name, value| {
            stamp.extend([name, "=", value, "\n"]);
            read_condition(&mut filter, name, value)
        })?;
        let before = paging.place(|text| cursors.read(text, &stamp))?;
        Ok(Self { filter, before, limit: paging.limit, stamp })
    }
}

/// Adds one parameter of a list to its filter.
pub(super) fn read_condition(filter: &mut Filter, name: &str, value: &str) -> Result<()> {
    add_condition(filter, name, value).map_err(|misread| match misread {
        Misread::Bad(sentence) => bad(name, &sentence),
        Misread::Unknown => unknown_parameter(name),
    })
}

pub(super) fn read_limit(value: &str) -> Result<usize> {
    let limit = value.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
    limit.ok_or_else(|| bad("limit", &format!("must be a whole number from 1 to {PAGE_MAX}")))
}

pub(super) fn read_time(name: &str, value: &str) -> Result<Timestamp> {
    Timestamp::parse_rfc3339(value)
        .ok_or_else(|| bad(name, "must be a time in RFC 3339, as in 2026-11-21T10:00:00Z"))
}

/// A parameter that cannot be read.
pub(super) fn bad(name: &str, sentence: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_parameter", format!("{name} {sentence}"))
}

fn unknown_parameter(name: &str) -> Problem {
    let detail = format!("{name} is no parameter of this list; known are {KNOWN}, limit, cursor");
    Problem::new(StatusCode::BAD_REQUEST, "unknown_parameter", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Status;

    fn read(parameters: &[(&str, &str)]) -> Result<Page> {
        let owned: Vec<(String, String)> =
            parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Page::read(&owned, &Seal::new([]))
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
