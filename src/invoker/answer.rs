//! Reads an answer: bounded, cut to what rules see, echoes of secrets masked.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use crate::call::attempt::Answer;
use crate::clock::monotonic;
use crate::limits::{
    RESPONSE_HEADERS_KEPT_BYTES, RESPONSE_JUDGED_BYTES, RESPONSE_KEPT_BYTES, RESPONSE_READ_BYTES_MAX,
};

use super::failure::{self, Failure};
use super::mask::Mask;
use super::{Deadlines, Read};

/// What says that a body is compressed. It is gone from an answer that was inflated.
const CONTENT_ENCODING: &str = "content-encoding";
/// A header that the next step depends on; it is kept where others no longer fit.
const RETRY_AFTER: &str = "retry-after";

/// So much of the name of an encoding is shown; real ones are shorter.
const ENCODING_SHOWN_BYTES: usize = 32;

/// Reads the whole answer, or as much of it as is ever read.
pub(super) async fn read(
    mut response: reqwest::Response,
    mask: &Mask,
    deadlines: &Deadlines,
) -> Result<Read, Failure> {
    let status = response.status().as_u16();
    let headers = kept_headers(response.headers(), mask);
    let unasked = unasked_encoding(response.headers());
    let (body, body_bytes, note) =
        read_body(&mut response, RESPONSE_JUDGED_BYTES + mask.reach(), deadlines).await?;
    let body = match mask.masked(&body, RESPONSE_JUDGED_BYTES) {
        Some(masked) => Bytes::from(masked),
        None => body.slice(..body.len().min(RESPONSE_JUDGED_BYTES)),
    };
    Ok(Read { answer: Answer { status, headers, body, body_bytes }, note: note.or(unasked) })
}

/// A sentence about a body that is compressed in a way that nobody asked for: it is never inflated, so rules see what came.
fn unasked_encoding(headers: &HeaderMap) -> Option<String> {
    let encoding = headers.get(CONTENT_ENCODING)?.to_str().unwrap_or("unreadable").trim();
    let is_plain = encoding.is_empty() || encoding.eq_ignore_ascii_case("identity");
    let shown = &encoding[..encoding.floor_char_boundary(ENCODING_SHOWN_BYTES)];
    (!is_plain)
        .then(|| format!("the body is compressed ({shown}), which nobody asked for: it is kept as it came"))
}

/// The first `kept` bytes, the length, and what was wrong with a compressed body. What is compressed is inflated piece by piece, and its
/// inflated length is what is bounded and counted. Dropping a response that is not read to its end closes the connection.
async fn read_body(
    response: &mut reqwest::Response,
    kept: usize,
    deadlines: &Deadlines,
) -> Result<(Bytes, u64, Option<String>), Failure> {
    let announced = response.content_length().unwrap_or(0);
    // What is announced need not come: memory is set aside for what the log keeps, and grows from there on.
    let announced_room = usize::try_from(announced).unwrap_or(kept).min(RESPONSE_KEPT_BYTES);
    let mut body = BytesMut::with_capacity(announced_room);
    let mut read = 0;
    while read < RESPONSE_READ_BYTES_MAX {
        let chunk = match next_chunk(response, deadlines).await? {
            Chunk::Some(chunk) => chunk,
            Chunk::End => return Ok((body.freeze(), read, None)),
            // The third party has answered; that its body cannot be read must not make it look as if it had not.
            Chunk::Undecodable(note) => return Ok((body.freeze(), read, Some(note))),
        };
        read += chunk.len() as u64;
        let room = kept - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok((body.freeze(), read.max(announced), None))
}

/// The next part of a body.
enum Chunk {
    Some(Bytes),
    End,
    /// It is compressed, and broken.
    Undecodable(String),
}

async fn next_chunk(response: &mut reqwest::Response, deadlines: &Deadlines) -> Result<Chunk, Failure> {
    let given_up = (monotonic() + deadlines.silence).min(deadlines.whole);
    match tokio::time::timeout_at(given_up.into(), response.chunk()).await {
        Ok(Ok(Some(chunk))) => Ok(Chunk::Some(chunk)),
        Ok(Ok(None)) => Ok(Chunk::End),
        Ok(Err(error)) => match failure::of_decoding(&error) {
            Some(note) => Ok(Chunk::Undecodable(note)),
            None => Err(failure::from_body(&error)),
        },
        Err(_elapsed) => Err(failure::no_whole_answer(deadlines)),
    }
}

/// Names and values in the order received, as many as fit.
fn kept_headers(headers: &HeaderMap, mask: &Mask) -> Vec<(String, String)> {
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
