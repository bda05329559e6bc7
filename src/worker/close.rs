//! From what came back to what goes into the log and what comes next: evidence, verdict, decision.

use std::time::Duration;

use super::choose::Alternative;
use crate::call::{Attempt, Call, Claim, Course, ErrorKind, Outcome, Verdict};
use crate::clock::Timestamp;
use crate::document::cut;
use crate::endpoint::Endpoint;
use crate::invoker::Invoked;
use crate::ledger::Next;
use crate::policy::{Decision, Reach, Standing, Step, judge, next_step, retry_after};

/// What a note shows of a header that makes no sense, in bytes.
const RETRY_AFTER_SHOWN_BYTES_MAX: usize = 100;

/// A closed attempt, and what comes next.
#[derive(Debug)]
pub(super) struct Closed {
    /// As it goes into the log.
    pub(super) attempt: Attempt,
    /// What was decided.
    pub(super) step: Step,
    /// The ledger's word for it.
    pub(super) next: Next,
    /// What is remembered.
    pub(super) course: Course,
    /// The pause the third party asked for.
    pub(super) retry_after: Option<Duration>,
}

/// Judges what came back and decides what comes next.
///
/// `weigh` is told the verdict and the pause that was asked for, and answers for how long the endpoint is parked, if it is.
pub(super) fn close(
    call: &Call,
    claim: &Claim,
    endpoint: &Endpoint,
    invoked: Invoked,
    alternative: Alternative,
    weigh: impl FnOnce(Verdict, Option<Duration>) -> Option<Duration>,
) -> Closed {
    let Invoked { sent, outcome, note, duration } = invoked;
    let (verdict, ruling) = judge(&outcome, duration, &endpoint.judging.rules);
    let now = Timestamp::now();
    let retry_after = pause_asked_for(&outcome, verdict, now);
    let parked = weigh(verdict, retry_after);
    let standing = Standing {
        now,
        rung: call.rung,
        deadline: call.deadline,
        course: &call.course,
        started_at: claim.started_at,
        reach: reach(&outcome),
        retry_after,
        parked,
        worker_lost: false,
        provider: endpoint.provider.as_ref(),
        has_alternative: alternative == Alternative::Present,
        draw: rand::random(),
    };
    let Decision { step, course } = next_step(verdict, &standing, endpoint);
    let attempt = Attempt {
        number: claim.attempt,
        claim: claim.number,
        trigger: claim.trigger,
        choice: None,
        ruling: ruling.with_note(note).with_note(pause_passed_over(&outcome, verdict, retry_after)),
        worker: claim.worker.clone(),
        started_at: claim.started_at,
        duration,
        verdict,
        request: Some(sent),
        outcome,
        late: None,
    };
    Closed { attempt, step, next: next_of(step, call.rung), course, retry_after }
}

/// The ledger's word for a step of a call that has used these rungs.
pub fn next_of(step: Step, rung: crate::call::Rung) -> Next {
    match step {
        Step::Succeed => Next::Succeeded,
        Step::Wait { delay, rung, trigger } => Next::Scheduled { delay, rung, trigger },
        Step::Again { delay } => Next::Scheduled { delay, rung, trigger: crate::call::Trigger::Ladder },
        Step::Review(reason) => Next::Review(reason),
    }
}

/// Whether the third party may have seen the request that this came of.
pub const fn reach(outcome: &Outcome) -> Reach {
    match outcome {
        Outcome::Failed { kind: ErrorKind::NotSent, .. } => Reach::Unsent,
        Outcome::Failed { kind, .. } if kind.certainly_never_left() => Reach::Never,
        Outcome::Answered(_) | Outcome::Failed { .. } => Reach::Maybe,
    }
}

/// The pause that an answer asks for which came to [`Verdict::Limited`].
pub(super) fn pause_asked_for(outcome: &Outcome, verdict: Verdict, now: Timestamp) -> Option<Duration> {
    match outcome {
        Outcome::Answered(answer) if verdict == Verdict::Limited => {
            retry_after::parse(answer.header("retry-after"), now)
        }
        Outcome::Answered(_) | Outcome::Failed { .. } => None,
    }
}

/// A wish to come back later that says nothing which could be followed is not followed, and a person is told so.
fn pause_passed_over(outcome: &Outcome, verdict: Verdict, retry_after: Option<Duration>) -> Option<String> {
    let Outcome::Answered(answer) = outcome else { return None };
    let written: Vec<&str> = answer.header("retry-after").collect();
    let is_passed_over = verdict == Verdict::Limited && retry_after.is_none() && !written.is_empty();
    is_passed_over.then(|| {
        format!(
            "Retry-After was ignored: {:?}; seconds from 1 on or one date to come can be followed",
            cut(&written.join(", "), RETRY_AFTER_SHOWN_BYTES_MAX)
        )
    })
}
