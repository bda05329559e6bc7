//! Reads an answer: bounded, cut to what is kept, echoes of secrets masked.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use crate::call::attempt::Answer;
use crate::clock::monotonic;
use crate::limits::{RESPONSE_HEADERS_KEPT_BYTES, RESPONSE_KEPT_BYTES, RESPONSE_READ_BYTES_MAX};

use super::Deadlines;
use super::failure::{self, Failure};
use super::mask::Mask;

/// A header that the next step depends on; it is kept where others no longer fit.
const RETRY_AFTER: &str = "retry-after";

/// Reads the whole answer, or as much of it as is ever read.
pub(super) async fn read(
    mut response: reqwest::Response,
    mask: &Mask<'_>,
    deadlines: &Deadlines,
) -> Result<Answer, Failure> {
    let status = response.status().as_u16();
    let headers = kept_headers(response.headers(), mask);
    let (body, body_bytes) = read_body(&mut response, RESPONSE_KEPT_BYTES + mask.reach(), deadlines).await?;
    let body = match mask.masked(&body, RESPONSE_KEPT_BYTES) {
        Some(masked) => Bytes::from(masked),
        None => body.slice(..body.len().min(RESPONSE_KEPT_BYTES)),
    };
    Ok(Answer { status, headers, body, body_bytes })
}

/// The first `kept` bytes, and the length. Dropping a response that is not read to its end closes the connection.
async fn read_body(
    response: &mut reqwest::Response,
    kept: usize,
    deadlines: &Deadlines,
) -> Result<(Bytes, u64), Failure> {
    let announced = response.content_length().unwrap_or(0);
    let mut body = BytesMut::with_capacity(usize::try_from(announced).unwrap_or(kept).min(kept));
    let mut read = 0;
    while read < RESPONSE_READ_BYTES_MAX {
        let Some(chunk) = next_chunk(response, deadlines).await? else {
            return Ok((body.freeze(), read));
        };
        read += chunk.len() as u64;
        let room = kept - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok((body.freeze(), read.max(announced)))
}

async fn next_chunk(
    response: &mut reqwest::Response,
    deadlines: &Deadlines,
) -> Result<Option<Bytes>, Failure> {
    let given_up = (monotonic() + deadlines.silence).min(deadlines.whole);
    match tokio::time::timeout_at(given_up.into(), response.chunk()).await {
        Ok(chunk) => chunk.map_err(|error| failure::from_body(&error)),
        Err(_elapsed) => Err(failure::no_whole_answer(deadlines)),
    }
}

/// Names and values in the order received, as many as fit.
fn kept_headers(headers: &HeaderMap, mask: &Mask<'_>) -> Vec<(String, String)> {
    let mut room = RESPONSE_HEADERS_KEPT_BYTES;
    let mut kept = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let bytes = name.as_str().len() + value.len();
        if bytes <= room {
            room -= bytes;
        } else if name != RETRY_AFTER || bytes > RESPONSE_HEADERS_KEPT_BYTES {
            continue;
        }
        let value = mask.text(String::from_utf8_lossy(value.as_bytes()).into_owned());
        kept.push((name.as_str().to_owned(), value));
    }
    kept
}
