//! `POST /v1/erase`: blanks whatever could be personal of the calls with certain tags, and says what it did.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;

use super::Api;
use super::auth::Operator;
use super::problem::Result;
use super::submit::read_json;
use crate::call::TagKey;
use crate::document::{Faults, Object, each_text};
use crate::ledger::{Erased, Erasure, ErasureMode};
use crate::limits::{NAME_BYTES_MAX, NOTE_BYTES_MAX};

/// What was blanked, or would be.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Erased)]
pub struct ErasedView {
    /// Calls.
    calls: u64,
    /// Their attempts.
    attempts: u64,
    /// Earlier versions of their requests.
    revisions: u64,
    /// Calls that were running and were left as they are: ask again when they have ended.
    running_skipped: u64,
}

impl From<&Erased> for ErasedView {
    fn from(erased: &Erased) -> Self {
        Self {
            calls: erased.calls,
            attempts: erased.attempts,
            revisions: erased.revisions,
            running_skipped: erased.running_skipped,
        }
    }
}

/// What is to be erased.
#[derive(Debug)]
struct Wish {
    tags: Vec<(TagKey, String)>,
    note: String,
    mode: ErasureMode,
}

/// Erases, or counts what would be erased.
///
/// # Errors
/// 422 for a body that names no tag, 503 without the ledger: what was erased by then stays so, and the same request goes on from there.
pub async fn erase(
    State(api): State<Arc<Api>>,
    operator: Operator,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ErasedView>> {
    let bytes = read_json(&api, &headers, body).await?;
    let wish = crate::document::read(&bytes, |raw, _, faults| {
        let mut object = Object::open(raw, String::new(), faults)?;
        let wish = read_wish(&mut object, faults);
        object.close(faults);
        wish
    })?;
    let erasure = Erasure { actor: operator.0.to_string(), note: wish.note, mode: wish.mode };
    let erased = api.desk.erase_to_the_end(wish.tags, erasure).await?;
    Ok(Json(ErasedView::from(&erased)))
}

#[expect(clippy::unnecessary_wraps, reason = "the reader of documents asks for it")]
fn read_wish(object: &mut Object<'_>, faults: &mut Faults) -> Option<Wish> {
    let mut tags = Vec::new();
    if let Some(raw) = object.required("tags", faults) {
        each_text("/tags", raw, faults, |name, value, pointer, faults| match TagKey::parse(name) {
            Err(error) => faults.add(pointer, "invalid_value", format!("a tag's key {error}")),
            Ok(_) if value.len() > NAME_BYTES_MAX => {
                faults.add(pointer, "invalid_value", "must be at most 255 bytes long");
            }
            Ok(key) => tags.push((key, value.to_owned())),
        });
        if tags.is_empty() {
            faults.add("/tags", "invalid_value", "must name at least one tag: everything is never meant");
        }
    }
    let note = object.name("note", faults, |text| {
        if text.len() <= NOTE_BYTES_MAX {
            Ok(text.to_owned())
        } else {
            Err(format!("must be at most {NOTE_BYTES_MAX} bytes long"))
        }
    });
    let only_count = object.truth("dry_run", faults).unwrap_or(false);
    let mode = if only_count { ErasureMode::Count } else { ErasureMode::Erase };
    Some(Wish { tags, note: note.unwrap_or_default(), mode })
}
