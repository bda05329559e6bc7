//! `GET /v1/audit`: who did what, when and why.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde_json::{Value, json};

use super::Api;
use super::auth::Viewer;
use super::calls::{bad, read_time};
use super::cursor::Seal;
use super::paging::{Paging, cut};
use super::problem::{Problem, Result};
use crate::clock::Timestamp;
use crate::ledger::audit::{AuditAction, AuditFilter, AuditPlace, AuditSource, Audited};
use crate::limits::NAME_BYTES_MAX;

/// Bytes of a place in a cursor: time, source, number.
const PLACE_BYTES: usize = 17;

/// One page of the audit log, newest first.
///
/// # Errors
/// 400 for a parameter that cannot be read.
pub async fn list(
    State(api): State<Arc<Api>>,
    _: Viewer,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Json<Value>> {
    let page = Page::read(&parameters, &api.cursors)?;
    let mut entries = api.ledger.audit_log(&page.filter, page.before, page.limit + 1).await?;
    let next_cursor =
        cut(&mut entries, page.limit).map(|last| api.cursors.close(&to_bytes(last.place), &page.stamp));
    let entries: Vec<Value> = entries.iter().map(view).collect();
    Ok(Json(json!({ "entries": entries, "next_cursor": next_cursor })))
}

fn view(entry: &Audited) -> Value {
    json!({
        "id": format!("{}-{}", entry.place.source, entry.place.id),
        "at": entry.place.at.to_string(),
        "actor": entry.actor,
        "action": entry.action,
        "call": entry.call.map(|call| call.to_string()),
        "subject": entry.subject,
        "note": entry.note,
        "detail": entry.detail,
    })
}

/// What the log was asked for.
struct Page {
    filter: AuditFilter,
    before: Option<AuditPlace>,
    limit: usize,
    stamp: String,
}

impl Page {
    fn read(parameters: &[(String, String)], cursors: &Seal) -> Result<Self> {
        let (mut filter, mut stamp) = (AuditFilter::default(), String::new());
        let paging = Paging::read(parameters, |name, value| {
            stamp.extend([name, "=", value, "\n"]);
            read_condition(&mut filter, name, value)
        })?;
        let before = paging.place(|text| cursors.open::<PLACE_BYTES>(text, &stamp).and_then(from_bytes))?;
        Ok(Self { filter, before, limit: paging.limit, stamp })
    }
}

/// Adds one parameter to what the log is asked for.
fn read_condition(filter: &mut AuditFilter, name: &str, value: &str) -> Result<()> {
    match name {
        "actor" if value.len() <= 2 * NAME_BYTES_MAX => filter.actor = Some(value.to_owned()),
        "actor" => return Err(bad(name, "is longer than any actor's name")),
        "action" => {
            let action = AuditAction::parse(value);
            let sentence = || bad(name, &format!("must be one of {}", AuditAction::allowed()));
            filter.action = Some(action.ok_or_else(sentence)?);
        }
        "from" => filter.from = Some(read_time(name, value)?),
        "to" => filter.to = Some(read_time(name, value)?),
        _ => {
            let detail = format!(
                "{name} is no parameter of this list; known are actor, action, from, to, limit, cursor"
            );
            return Err(Problem::new(axum::http::StatusCode::BAD_REQUEST, "unknown_parameter", detail));
        }
    }
    Ok(())
}

fn to_bytes(place: AuditPlace) -> [u8; PLACE_BYTES] {
    let mut bytes = [0; PLACE_BYTES];
    bytes[..8].copy_from_slice(&place.at.unix_micros().to_be_bytes());
    bytes[8] = u8::from(place.source == AuditSource::Other);
    bytes[9..].copy_from_slice(&place.id.to_be_bytes());
    bytes
}

fn from_bytes(bytes: [u8; PLACE_BYTES]) -> Option<AuditPlace> {
    let number = |bytes: &[u8]| bytes.try_into().ok().map(i64::from_be_bytes);
    Some(AuditPlace {
        at: Timestamp::from_unix_micros(number(&bytes[..8])?),
        source: if bytes[8] == 0 { AuditSource::Action } else { AuditSource::Other },
        id: number(&bytes[9..])?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_cursor() {
        for source in AuditSource::ALL {
            let at = Timestamp::from_unix_micros(1_800_000_000_123_456);
            let place = AuditPlace { at, source: *source, id: 77 };
            assert_eq!(from_bytes(to_bytes(place)), Some(place));
        }
    }
}
