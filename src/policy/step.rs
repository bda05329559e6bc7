//! From a verdict to the next step of a call.

use std::time::Duration;

use crate::call::{Failure, ReviewReason, Rung, Trigger, Verdict};
use crate::clock::Timestamp;
use crate::endpoint::{Ladder, OnAmbiguous};

/// What a call does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is done.
    Succeed,
    /// It waits for another attempt.
    Wait {
        /// How long, from the moment this is recorded.
        delay: Duration,
        /// The rungs then used.
        rung: Rung,
        /// Why the attempt will be made.
        trigger: Trigger,
    },
    /// A person decides.
    Review(ReviewReason),
}

/// Where a call stands when an attempt of it has been judged.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Rungs used before the attempt.
    pub rung: Rung,
    /// When the call expires.
    pub deadline: Timestamp,
    /// The pause the third party asked for.
    pub retry_after: Option<Duration>,
    /// The attempt was closed because its worker was lost.
    pub worker_lost: bool,
}

/// What follows from a verdict.
///
/// - A refusal goes to review whatever else holds; so does an unknown outcome that must not be repeated.
/// - A call past its deadline is not tried again.
/// - A limited call keeps its rung: a pause the third party asks for is no failure. It waits for the longer of its rung and the pause.
pub fn next_step(
    verdict: Verdict,
    standing: &Standing,
    ladder: &Ladder,
    on_ambiguous: OnAmbiguous,
    now: Timestamp,
) -> Step {
    match (verdict, on_ambiguous) {
        (Verdict::Success, _) => return Step::Succeed,
        (Verdict::Rejected, _) => return Step::Review(ReviewReason::Rejected),
        (Verdict::Ambiguous, OnAmbiguous::Review) => return Step::Review(ReviewReason::Ambiguous),
        (Verdict::Ambiguous, OnAmbiguous::Retry)
        | (Verdict::Transient | Verdict::Limited | Verdict::Pending, _) => {}
    }
    if standing.deadline <= now {
        return Step::Review(ReviewReason::Expired);
    }
    let trigger = if standing.worker_lost { Trigger::Recovery } else { Trigger::Ladder };
    if verdict == Verdict::Limited {
        let delay = ladder.delay_or_last(standing.rung).max(standing.retry_after.unwrap_or_default());
        return Step::Wait { delay, rung: standing.rung, trigger };
    }
    match ladder.delay(standing.rung) {
        Some(delay) => Step::Wait { delay, rung: standing.rung.next(), trigger },
        None => Step::Review(ReviewReason::Exhausted),
    }
}

/// What a new call does first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstStep {
    /// It waits for its first attempt; zero: at once.
    Wait {
        /// From acceptance.
        delay: Duration,
        /// The rungs then used.
        rung: Rung,
    },
    /// A person decides.
    Review(ReviewReason),
}

/// What a new call does first: at once, or after the first rung if its publisher has tried already.
pub fn first_step(failure: Option<&Failure>, ladder: &Ladder, on_ambiguous: OnAmbiguous) -> FirstStep {
    match failure {
        None => FirstStep::Wait { delay: Duration::ZERO, rung: Rung::GROUND },
        Some(failure) if failure.ambiguous && on_ambiguous == OnAmbiguous::Review => {
            FirstStep::Review(ReviewReason::Ambiguous)
        }
        Some(_) => FirstStep::Wait { delay: ladder.delay_or_last(Rung::GROUND), rung: Rung::GROUND.next() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_micros(1_000_000_000);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn wait(delay: u64, rung: u16, trigger: Trigger) -> Step {
        Step::Wait { delay: seconds(delay), rung: Rung::new(rung), trigger }
    }

    fn step(verdict: Verdict, rung: u16, on_ambiguous: OnAmbiguous) -> Step {
        let ladder = Ladder::parse(&["1s", "10s"]).unwrap();
        let standing = Standing {
            rung: Rung::new(rung),
            deadline: NOW.plus(seconds(60)),
            retry_after: Some(seconds(5)),
            worker_lost: false,
        };
        next_step(verdict, &standing, &ladder, on_ambiguous, NOW)
    }

    #[test]
    fn a_verdict_leads_to_one_step() {
        let (retry, review) = (OnAmbiguous::Retry, OnAmbiguous::Review);
        for (verdict, rung, on_ambiguous, expected) in [
            (Verdict::Success, 0, retry, Step::Succeed),
            (Verdict::Success, 2, retry, Step::Succeed),
            (Verdict::Transient, 0, retry, wait(1, 1, Trigger::Ladder)),
            (Verdict::Transient, 1, review, wait(10, 2, Trigger::Ladder)),
            (Verdict::Transient, 2, retry, Step::Review(ReviewReason::Exhausted)),
            (Verdict::Pending, 0, retry, wait(1, 1, Trigger::Ladder)),
            (Verdict::Limited, 0, retry, wait(5, 0, Trigger::Ladder)),
            (Verdict::Limited, 1, retry, wait(10, 1, Trigger::Ladder)),
            (Verdict::Limited, 2, retry, wait(10, 2, Trigger::Ladder)),
            (Verdict::Ambiguous, 0, retry, wait(1, 1, Trigger::Ladder)),
            (Verdict::Ambiguous, 2, retry, Step::Review(ReviewReason::Exhausted)),
            (Verdict::Ambiguous, 0, review, Step::Review(ReviewReason::Ambiguous)),
            (Verdict::Rejected, 0, retry, Step::Review(ReviewReason::Rejected)),
        ] {
            assert_eq!(
                step(verdict, rung, on_ambiguous),
                expected,
                "{verdict} on rung {rung}, {on_ambiguous}"
            );
        }
    }

    #[test]
    fn past_its_deadline_only_a_success_or_a_refusal_counts() {
        let ladder = Ladder::parse(&["1s"]).unwrap();
        let standing = Standing { rung: Rung::GROUND, deadline: NOW, retry_after: None, worker_lost: false };
        for (verdict, expected) in [
            (Verdict::Success, Step::Succeed),
            (Verdict::Rejected, Step::Review(ReviewReason::Rejected)),
            (Verdict::Transient, Step::Review(ReviewReason::Expired)),
            (Verdict::Limited, Step::Review(ReviewReason::Expired)),
            (Verdict::Ambiguous, Step::Review(ReviewReason::Expired)),
        ] {
            assert_eq!(
                next_step(verdict, &standing, &ladder, OnAmbiguous::Retry, NOW),
                expected,
                "{verdict}"
            );
        }
    }

    #[test]
    fn a_lost_worker_is_recovered_from_after_the_next_rung() {
        let ladder = Ladder::parse(&["1s"]).unwrap();
        let standing = Standing {
            rung: Rung::GROUND,
            deadline: NOW.plus(seconds(9)),
            retry_after: None,
            worker_lost: true,
        };
        let expected = wait(1, 1, Trigger::Recovery);
        assert_eq!(next_step(Verdict::Ambiguous, &standing, &ladder, OnAmbiguous::Retry, NOW), expected);
    }

    #[test]
    fn a_taken_over_call_waits_for_the_first_rung() {
        let ladder = Ladder::parse(&["1s", "10s"]).unwrap();
        let failed = Failure::default();
        let unknown = Failure { ambiguous: true, ..Failure::default() };
        for (failure, on_ambiguous, expected) in [
            (None, OnAmbiguous::Retry, FirstStep::Wait { delay: seconds(0), rung: Rung::GROUND }),
            (Some(&failed), OnAmbiguous::Review, FirstStep::Wait { delay: seconds(1), rung: Rung::new(1) }),
            (Some(&unknown), OnAmbiguous::Retry, FirstStep::Wait { delay: seconds(1), rung: Rung::new(1) }),
            (Some(&unknown), OnAmbiguous::Review, FirstStep::Review(ReviewReason::Ambiguous)),
        ] {
            assert_eq!(first_step(failure, &ladder, on_ambiguous), expected);
        }
    }
}
