//! From the errors of the HTTP library to error kinds and sentences.
//!
//! The sentences hold no URL (reqwest puts it into its own message), no header and nothing that the third party sent.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io;
use std::time::Duration;

use crate::call::{ErrorKind, Outcome};
use crate::clock::monotonic;
use crate::endpoint::ladder::format_duration;
use crate::limits::ERROR_BYTES_MAX;

use super::{Deadlines, guard};

/// How an invocation failed below HTTP.
#[derive(Debug)]
pub(super) struct Failure {
    kind: ErrorKind,
    detail: String,
}

impl Failure {
    /// A failure in these words.
    pub(super) fn new(kind: ErrorKind, sentence: impl Into<String>) -> Self {
        let mut detail = sentence.into();
        detail.truncate(detail.floor_char_boundary(ERROR_BYTES_MAX));
        Self { kind, detail }
    }

    /// A failure in these words, and in those of its innermost cause.
    pub(super) fn caused(kind: ErrorKind, sentence: &str, error: &(dyn Error + 'static)) -> Self {
        let mut detail = sentence.to_owned();
        if let Some(cause) = chain(error).skip(1).last() {
            // Writing into a String cannot fail.
            let _infallible = write!(detail, ": {cause}");
        }
        Self::new(kind, detail)
    }

    /// As evidence.
    pub(super) fn into_outcome(self) -> Outcome {
        Outcome::Failed { kind: self.kind, detail: self.detail }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.detail)
    }
}

/// The head of the answer did not come in time.
pub(super) fn no_answer(deadlines: &Deadlines) -> Failure {
    let waited = format_duration(deadlines.head.saturating_duration_since(deadlines.started));
    Failure::new(ErrorKind::Timeout, format!("no answer within {waited}"))
}

/// The rest of the answer did not come in time.
pub(super) fn no_whole_answer(deadlines: &Deadlines) -> Failure {
    let sentence = if monotonic() >= deadlines.whole {
        let waited = format_duration(deadlines.whole.saturating_duration_since(deadlines.started));
        format!("the answer was not complete within {waited}")
    } else {
        format!("silent for {} in the middle of the answer", format_duration(deadlines.silence))
    };
    Failure::new(ErrorKind::Timeout, sentence)
}

/// What went wrong until the head of the answer was there.
pub(super) fn from_sending(error: &reqwest::Error, deadlines: &Deadlines) -> Failure {
    if error.is_builder() {
        return Failure::caused(ErrorKind::Unsendable, "the request could not be built", error);
    }
    if error.is_connect() {
        return from_connecting(error, deadlines.connect);
    }
    let kind = kind_after_sending(error);
    let sentence = if kind == ErrorKind::Malformed {
        "the answer is not HTTP/1.1"
    } else {
        "the connection broke before an answer came"
    };
    Failure::caused(kind, sentence, error)
}

/// What is wrong with a compressed body that arrived as it was sent; `None` if it did not even arrive.
pub(super) fn of_decoding(error: &reqwest::Error) -> Option<String> {
    if !error.is_decode() || find::<hyper::Error>(error).is_some() {
        return None;
    }
    let cause = chain(error).skip(1).last().map_or_else(String::new, |cause| format!(": {cause}"));
    Some(format!("the answer's body could not be decompressed, and is kept as far as it could{cause}"))
}

/// What went wrong in the body of the answer.
pub(super) fn from_body(error: &reqwest::Error) -> Failure {
    let kind = kind_after_sending(error);
    let sentence = if kind == ErrorKind::Malformed {
        "the answer's body is not HTTP/1.1"
    } else {
        "the connection broke in the middle of the answer"
    };
    Failure::caused(kind, sentence, error)
}

/// The connection did not come about, so nothing has left.
fn from_connecting(error: &reqwest::Error, connect: Duration) -> Failure {
    if let Some(refused) = find::<guard::Refused>(error) {
        return Failure::new(ErrorKind::Unsendable, refused.to_string());
    }
    if error.is_dns() {
        return Failure::caused(ErrorKind::Dns, "the host name did not resolve", error);
    }
    if is_handshake(error) {
        return Failure::caused(ErrorKind::Tls, "the TLS handshake failed", error);
    }
    if error.is_timeout() {
        let sentence = format!("no connection within {}", format_duration(connect));
        return Failure::new(ErrorKind::Connect, sentence);
    }
    Failure::caused(ErrorKind::Connect, "no connection", error)
}

/// Whether a connection failed in TLS. The TCP connector wraps its errors in a type of its own; those of the handshake arrive as
/// bare I/O errors, directly below the client's error.
fn is_handshake(error: &reqwest::Error) -> bool {
    let below_client = error.source().and_then(Error::source);
    below_client.is_some_and(|cause| cause.is::<io::Error>() || find::<rustls::Error>(cause).is_some())
}

/// Once a connection stood the request may have left; what remains is how it ended.
fn kind_after_sending(error: &reqwest::Error) -> ErrorKind {
    if find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
        return ErrorKind::Malformed;
    }
    match find::<io::Error>(error).map(io::Error::kind) {
        // Bad framing: chunk sizes that are no numbers, and the like.
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => ErrorKind::Malformed,
        Some(io::ErrorKind::TimedOut) => ErrorKind::Timeout,
        _ => ErrorKind::Broken,
    }
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(<dyn Error>::downcast_ref)
}

/// The error and its causes, outermost first.
pub(crate) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause_of(*error))
}

/// An I/O error's `source` skips the error that it wraps; this does not.
fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
        Some(Some(wrapped)) => Some(wrapped),
        Some(None) | None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_cut_between_characters() {
        let failure = Failure::new(ErrorKind::Broken, "ä".repeat(ERROR_BYTES_MAX));
        assert!(failure.detail.len() <= ERROR_BYTES_MAX && failure.detail.ends_with('ä'));
    }

    #[test]
    fn the_innermost_cause_is_told_even_inside_an_io_error() {
        let inner = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, "bad chunk"));
        let failure = Failure::caused(ErrorKind::Malformed, "sentence", &inner);
        assert_eq!(failure.detail, "sentence: bad chunk");
    }
}
