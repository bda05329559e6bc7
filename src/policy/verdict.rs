//! From an outcome to a verdict: the rules first, then the defaults.

use std::time::Duration;

use crate::call::{ErrorKind, Outcome, Ruling, Verdict};
use crate::endpoint::{Finding, Rules};

/// What an outcome comes to, and what decided it.
///
/// Rules speak of what was sent; nothing was where the request could not leave, and nobody knows what was where the worker was
/// lost, so those outcomes are not put to them.
pub fn judge(outcome: &Outcome, elapsed: Duration, rules: &Rules<Verdict>) -> (Verdict, Ruling) {
    let beyond_rules = matches!(
        outcome,
        Outcome::Failed { kind: ErrorKind::NotSent | ErrorKind::Unsendable | ErrorKind::WorkerLost, .. }
    );
    if beyond_rules || rules.is_empty() {
        return (judge_by_default(outcome), Ruling::default());
    }
    let (verdict, ruling) = rules.decide(outcome, elapsed);
    match (verdict, outcome) {
        // Only the third party can say that it did or took something.
        (Some(Verdict::Success | Verdict::Pending), Outcome::Failed { .. }) => {
            let rule = ruling.rule.unwrap_or_default();
            let notes = format!("not followed, because there was no answer: {rule}");
            (judge_by_default(outcome), Ruling { rule: None, notes: Some(notes) })
        }
        (Some(verdict), _) => (verdict, ruling),
        (None, _) => (judge_by_default(outcome), ruling),
    }
}

/// What a confirm query found out, and what decided it. Where no rule holds, nothing was found out; nor was it without an answer,
/// whatever a rule says of that.
pub fn find(outcome: &Outcome, elapsed: Duration, rules: &Rules<Finding>) -> (Finding, Ruling) {
    let (finding, ruling) = rules.decide(outcome, elapsed);
    match outcome {
        Outcome::Answered(_) => (finding.unwrap_or(Finding::Unknown), ruling),
        Outcome::Failed { .. } => (Finding::Unknown, Ruling { rule: None, ..ruling }),
    }
}

/// What an outcome comes to where no rule decides.
///
/// Statuses are those of RFC 9110, section 15. A 503 that names a time to come back asks for a pause; one that does not is a
/// failure of the moment. After 500, 502 and 504 the third party may have done its part before something behind it failed.
pub fn judge_by_default(outcome: &Outcome) -> Verdict {
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
    use crate::endpoint::Rule;

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
                assert_eq!(judge_by_default(&answered(*status, &[])), verdict, "{status}");
            }
        }
        assert_eq!(judge_by_default(&answered(503, &[("retry-after", "5")])), Verdict::Limited);
    }

    fn rules<A: Copy>(rules: &[(&str, A)]) -> Rules<A> {
        let rule = |(when, means): &(&str, A)| Rule::about_answers(when, *means).unwrap();
        Rules::new("rules", rules.iter().map(rule).collect())
    }

    #[test]
    fn the_first_rule_that_holds_comes_before_the_defaults() {
        let contract = rules(&[
            ("status == 200 && body.code == 0", Verdict::Success),
            ("status == 200 && body.code == 4002", Verdict::Success),
            ("status == 200 && body.code in [4001, 4003]", Verdict::Rejected),
            ("status == 200", Verdict::Transient),
            ("status == 202", Verdict::Pending),
            ("status == 429 && headers['x-scope'] == 'day'", Verdict::Rejected),
            ("error == 'timeout' && elapsed_ms > 1000", Verdict::Transient),
        ]);
        let body = |status: u16, body: &str| match answered(status, &[("x-scope", "day")]) {
            Outcome::Answered(answer) => {
                let (body, body_bytes) = (bytes::Bytes::from(body.to_owned()), body.len() as u64);
                Outcome::Answered(Answer { body, body_bytes, ..answer })
            }
            failed @ Outcome::Failed { .. } => failed,
        };
        let failed = |kind| Outcome::Failed { kind, detail: String::new() };
        for (outcome, verdict, rule) in [
            (body(200, r#"{"code": 0}"#), Verdict::Success, Some(0)),
            (body(200, r#"{"code": 4002}"#), Verdict::Success, Some(1)),
            (body(200, r#"{"code": 4003}"#), Verdict::Rejected, Some(2)),
            (body(200, r#"{"code": 5000}"#), Verdict::Transient, Some(3)),
            (body(200, "<html>maintenance</html>"), Verdict::Transient, Some(3)),
            (body(202, ""), Verdict::Pending, Some(4)),
            (body(429, ""), Verdict::Rejected, Some(5)),
            (body(500, ""), Verdict::Ambiguous, None),
            (body(201, ""), Verdict::Success, None),
            (failed(ErrorKind::Timeout), Verdict::Transient, Some(6)),
            (failed(ErrorKind::Dns), Verdict::Transient, None),
            (failed(ErrorKind::Broken), Verdict::Ambiguous, None),
        ] {
            let (judged, ruling) = judge(&outcome, Duration::from_secs(2), &contract);
            let by = ruling.rule.map(|rule| rule.split_once(':').unwrap().0.to_owned());
            assert_eq!((judged, by), (verdict, rule.map(|rule| format!("rules[{rule}]"))), "{outcome:?}");
        }
    }

    #[test]
    fn only_an_answer_says_that_something_was_done() {
        let sloppy = rules(&[("true", Verdict::Success)]);
        for kind in ErrorKind::ALL {
            let outcome = Outcome::Failed { kind: *kind, detail: String::new() };
            let (verdict, ruling) = judge(&outcome, Duration::ZERO, &sloppy);
            assert_eq!((verdict, ruling.rule), (judge_by_default(&outcome), None), "{kind}");
            let sloppy = rules(&[("true", Finding::Done)]);
            assert_eq!(find(&outcome, Duration::ZERO, &sloppy).0, Finding::Unknown, "{kind}");
        }
        let found = rules(&[("status == 200", Finding::Done), ("status == 404", Finding::Absent)]);
        for (status, finding) in [(200, Finding::Done), (404, Finding::Absent), (500, Finding::Unknown)] {
            assert_eq!(find(&answered(status, &[]), Duration::ZERO, &found).0, finding);
        }
    }

    #[test]
    fn what_certainly_never_left_is_never_ambiguous_and_the_rest_always_is() {
        for kind in ErrorKind::ALL {
            let verdict = judge_by_default(&Outcome::Failed { kind: *kind, detail: String::new() });
            assert_eq!(verdict == Verdict::Ambiguous, !kind.certainly_never_left(), "{kind}");
        }
    }
}

#[cfg(test)]
mod properties;
