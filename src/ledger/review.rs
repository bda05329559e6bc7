//! The group of the error that a call goes to review with: written where it goes there, and only there.

use super::row::storable;
use super::{NewCall, Next, Record, Start};
use crate::call::{Call, error_group};

/// Of a call whose attempt sends it to review.
pub(super) fn group_of_record(record: &Record) -> Option<String> {
    match record.next {
        Next::Review(_) => record.attempt.error().map(|error| group(&error)),
        Next::Succeeded | Next::Scheduled { .. } => None,
    }
}

/// Of a new call that starts in review: what its publisher met.
pub(super) fn group_of_new(call: &NewCall) -> Option<String> {
    match call.start {
        Start::Review(_) => call.submission.failure.as_ref()?.error.as_deref().map(group),
        Start::Waiting { .. } | Start::Claimed { .. } => None,
    }
}

/// Of a call that is set aside without an attempt.
pub(super) fn group_of(call: &Call) -> Option<String> {
    call.known_error().map(group)
}

fn group(error: &str) -> String {
    storable(&error_group(error)).into_owned()
}
