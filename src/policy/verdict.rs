//! The default verdicts, for outcomes that no rule of the endpoint decides.

use crate::call::{ErrorKind, Outcome, Verdict};

/// What an outcome comes to where no rule decides.
///
/// Statuses are those of RFC 9110, section 15. A 503 that names a time to come back asks for a pause; one that does not is a
/// failure of the moment. After 500, 502 and 504 the third party may have done its part before something behind it failed.
pub fn judge(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Answered(answer) => match answer.status {
            200..=299 => Verdict::Success,
            503 if answer.header("retry-after").next().is_some() => Verdict::Limited,
            408 | 425 | 503 => Verdict::Transient,
            429 => Verdict::Limited,
            500 | 502 | 504 => Verdict::Ambiguous,
            _ => Verdict::Rejected,
        },
        Outcome::Failed { kind, .. } => judge_failure(*kind),
    }
}

const fn judge_failure(kind: ErrorKind) -> Verdict {
    match kind {
        ErrorKind::Dns | ErrorKind::Connect | ErrorKind::Tls | ErrorKind::NotSent => Verdict::Transient,
        ErrorKind::Broken | ErrorKind::Timeout | ErrorKind::Malformed | ErrorKind::WorkerLost => {
            Verdict::Ambiguous
        }
        ErrorKind::Unsendable => Verdict::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::attempt::Answer;

    fn answered(status: u16, headers: &[(&str, &str)]) -> Outcome {
        Outcome::Answered(Answer {
            status,
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: bytes::Bytes::new(),
            body_bytes: 0,
        })
    }

    #[test]
    fn statuses_come_to_the_verdicts_of_the_contract() {
        for (statuses, verdict) in [
            (&[200, 201, 202, 204, 299][..], Verdict::Success),
            (&[408, 425, 503], Verdict::Transient),
            (&[429], Verdict::Limited),
            (&[500, 502, 504], Verdict::Ambiguous),
            (
                &[
                    100, 101, 300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 409, 410, 422, 451, 501, 505,
                    599, 600, 999,
                ],
                Verdict::Rejected,
            ),
        ] {
            for status in statuses {
                assert_eq!(judge(&answered(*status, &[])), verdict, "{status}");
            }
        }
        assert_eq!(judge(&answered(503, &[("retry-after", "5")])), Verdict::Limited);
    }

    #[test]
    fn what_certainly_never_left_is_never_ambiguous_and_the_rest_always_is() {
        for kind in ErrorKind::ALL {
            let verdict = judge(&Outcome::Failed { kind: *kind, detail: String::new() });
            assert_eq!(verdict == Verdict::Ambiguous, !kind.certainly_never_left(), "{kind}");
        }
    }
}
