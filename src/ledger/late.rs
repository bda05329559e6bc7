//! A record that found its claim gone: what the log tells about it.

use std::sync::Arc;

use super::Record;
use crate::call::attempt::Answer;
use crate::call::{Attempt, ErrorKind, Outcome};

/// How an attempt was closed, as the log has it.
#[derive(sqlx::FromRow)]
pub(super) struct ClosedAttempt {
    claim_number: i64,
    error_kind: Option<String>,
    late_verdict: Option<String>,
}

/// What is to be done about a record whose claim is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It was written before, and only the answer was lost.
    WrittenBefore,
    /// Somebody gave the attempt up before its result came; the result is evidence.
    CameLate,
    /// There is nothing to add.
    Nothing,
}

/// Tells a record that was written before from one that comes late.
///
/// An attempt is closed by the holder of its claim, who then says something else than "worker lost", or by a sweeper. A
/// sweeper that finds the claim gone has nothing to add: another one, or the worker itself, has closed the attempt.
pub(super) fn find_out(closed: Option<&ClosedAttempt>, record: &Record) -> Finding {
    let Some(closed) = closed else { return Finding::Nothing };
    let given_up = closed.error_kind.as_deref() == Some(ErrorKind::WorkerLost.as_str());
    if closed.claim_number != record.claim().get() || gives_up(record) {
        Finding::Nothing
    } else if !given_up {
        Finding::WrittenBefore
    } else if closed.late_verdict.is_none() {
        Finding::CameLate
    } else {
        Finding::Nothing
    }
}

fn gives_up(record: &Record) -> bool {
    matches!(record.attempt.outcome, Outcome::Failed { kind: ErrorKind::WorkerLost, .. })
}

/// The record without anything that could be personal, for a call that was erased while its worker was thought lost.
pub(super) fn stripped(record: &Record) -> Record {
    let mut attempt = Attempt::clone(&record.attempt);
    attempt.request = None;
    attempt.outcome = match attempt.outcome {
        Outcome::Answered(answer) => {
            Outcome::Answered(Answer { headers: Vec::new(), body: bytes::Bytes::new(), ..answer })
        }
        Outcome::Failed { kind, .. } => Outcome::Failed { kind, detail: String::new() },
    };
    Record { attempt: Arc::new(attempt), ..record.clone() }
}
