//! From a verdict to the next step of a call.
//!
//! What is decided here, in this order: whether the call is done or refused; whether it may go on at all; whether somebody has to be asked
//! before it may be repeated; who makes the next attempt; when.

use std::time::Duration;

use crate::call::course::{Arrival, Doubt, Effect, Question};
use crate::call::{Course, Failure, ProviderName, ReviewReason, Rung, Trigger, Verdict};
use crate::clock::Timestamp;
use crate::endpoint::protection::IMMEDIATE_RETRY_FIRST;
use crate::endpoint::{Confirm, Duplicates, Endpoint, Finding, OnAmbiguous};

/// So often a request that this process was too late to send is tried again shortly, before that counts as a failure.
const UNSENT_RETRIES: u16 = 3;
/// How long after its deadline a call is due that only waits for word from outside.
const AFTER_DEADLINE: Duration = Duration::from_secs(1);

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
    /// The same process makes another attempt shortly; no rung is used.
    Again {
        /// How long, from the moment this is recorded.
        delay: Duration,
    },
    /// A person decides.
    Review(ReviewReason),
}

/// What comes next, and what policy will want to remember then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What the call does.
    pub step: Step,
    /// What is remembered.
    pub course: Course,
}

/// Whether the third party may have seen the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Certainly not, and it is not the third party's fault: this process was too late to send the request.
    Unsent,
    /// Certainly not.
    Never,
    /// It may have.
    Maybe,
}

/// Where a call stands when an attempt of it has been judged.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Now.
    pub now: Timestamp,
    /// Rungs used before the attempt.
    pub rung: Rung,
    /// When the call expires.
    pub deadline: Timestamp,
    /// What was remembered before the attempt.
    pub course: &'a Course,
    /// When the attempt began.
    pub started_at: Timestamp,
    /// Whether the third party may have seen it.
    pub reach: Reach,
    /// The pause the third party asked for.
    pub retry_after: Option<Duration>,
    /// The endpoint is parked for this long because the third party is down or asked for it: what fails meanwhile fails with it.
    pub parked: Option<Duration>,
    /// The attempt was closed because its worker was lost.
    pub worker_lost: bool,
    /// Where the attempt went, if the endpoint has several providers.
    pub provider: Option<&'a ProviderName>,
    /// Another provider that has not been tried since the last rung could take the call now.
    pub has_alternative: bool,
    /// A random number from 0 to below 1.
    pub draw: f64,
}

/// What follows from the verdict on an invocation.
///
/// - A refusal goes to review whatever else holds; so does an unknown outcome that must not be repeated.
/// - A call past its deadline is not tried again.
/// - A limited call keeps its rung: a pause the third party asks for is no failure. It waits for the longer of its rung and the pause.
/// - So does one that fails while its endpoint is parked: a long outage must not walk a backlog down to the end of its ladder.
/// - What this process was too late to send comes again shortly, at the same provider: nobody has been tried.
/// - What was certainly not carried out goes to another provider at once, if there is one.
/// - Once the third party has forgotten the idempotency key, a call that may have been carried out is not repeated blindly.
pub fn next_step(verdict: Verdict, standing: &Standing<'_>, endpoint: &Endpoint) -> Decision {
    let course = remembered(verdict, standing, endpoint);
    let review = |reason| Decision { step: Step::Review(reason), course: course.clone() };
    match (verdict, endpoint.judging.on_ambiguous) {
        (Verdict::Success, _) => return Decision { step: Step::Succeed, course: Course::default() },
        (Verdict::Rejected, _) => return review(ReviewReason::Rejected),
        (Verdict::Ambiguous, OnAmbiguous::Review) => return review(ReviewReason::Ambiguous),
        (Verdict::Ambiguous, OnAmbiguous::Retry | OnAmbiguous::Confirm)
        | (Verdict::Transient | Verdict::Limited | Verdict::Pending, _) => {}
    }
    if standing.deadline <= standing.now {
        return review(ReviewReason::Expired);
    }
    match (verdict, endpoint.judging.on_ambiguous, &endpoint.judging.confirm) {
        (Verdict::Pending, _, Some(confirm)) => ask(Doubt::Pending, confirm, course, standing, endpoint),
        (Verdict::Pending, _, None) if endpoint.judging.reporting.is_some() => await_report(course, standing),
        (Verdict::Ambiguous, OnAmbiguous::Confirm, Some(confirm)) => {
            ask(Doubt::Ambiguous, confirm, course, standing, endpoint)
        }
        _ => repeat(verdict, course, standing, endpoint),
    }
}

/// What an invocation adds to what is remembered.
fn remembered(verdict: Verdict, standing: &Standing<'_>, endpoint: &Endpoint) -> Course {
    let mut course = Course { question: None, ..standing.course.clone() };
    if standing.reach == Reach::Maybe {
        let before = course.arrival.filter(|arrival| {
            // A request that was sent after the key had been forgotten begins a new memory.
            endpoint
                .judging
                .idempotency_window
                .is_none_or(|window| standing.started_at <= arrival.first_at.plus(window))
        });
        let unknown = verdict == Verdict::Ambiguous || course.is_doubtful();
        course.arrival = Some(Arrival {
            first_at: before.map_or(standing.started_at, |arrival| arrival.first_at),
            effect: if unknown { Effect::Unknown } else { Effect::Refused },
        });
        course.bound_to =
            standing.provider.cloned().or(course.bound_to).filter(|_| unknown || verdict == Verdict::Pending);
    }
    course
}

/// Another invocation: elsewhere, shortly, or on the next rung.
fn repeat(verdict: Verdict, mut course: Course, standing: &Standing<'_>, endpoint: &Endpoint) -> Decision {
    if may_go_elsewhere(verdict, &course, standing, endpoint) {
        course.tried.extend(standing.provider.cloned());
        course.immediate_retries = 0;
        return Decision { step: Step::Again { delay: Duration::ZERO }, course };
    }
    let shortly = verdict == Verdict::Transient && !standing.worker_lost && standing.parked.is_none();
    let retries = match standing.reach {
        Reach::Unsent => endpoint.protection.immediate_retries.max(UNSENT_RETRIES),
        Reach::Never | Reach::Maybe => endpoint.protection.immediate_retries,
    };
    let (step, after) = if shortly && course.immediate_retries < retries {
        let delay = immediate_pause(course.immediate_retries, standing.draw);
        (Step::Again { delay }, delay)
    } else {
        match climb(verdict, standing, endpoint) {
            Step::Wait { delay, rung, trigger } => (Step::Wait { delay, rung, trigger }, delay),
            step @ (Step::Succeed | Step::Again { .. } | Step::Review(_)) => {
                return Decision { step, course };
            }
        }
    };
    if !is_repeatable(&course, standing.now.plus(after), endpoint) {
        return doubt(course, standing, endpoint);
    }
    if matches!(step, Step::Again { .. }) {
        course.immediate_retries = course.immediate_retries.saturating_add(1);
    } else {
        course.immediate_retries = 0;
        course.tried.clear();
    }
    Decision { step, course }
}

fn may_go_elsewhere(verdict: Verdict, course: &Course, standing: &Standing<'_>, endpoint: &Endpoint) -> bool {
    let not_done = matches!(verdict, Verdict::Transient | Verdict::Limited) && !course.is_doubtful();
    let tolerated = endpoint.vendors.duplicates == Duplicates::Tolerated;
    let fails = matches!(verdict, Verdict::Transient | Verdict::Limited | Verdict::Ambiguous);
    let was_tried = standing.reach != Reach::Unsent;
    standing.has_alternative && was_tried && fails && (not_done || tolerated)
}

/// Twice as long each time, and anything from nothing to that ("full jitter"), so that calls that failed together do not come back
/// together.
fn immediate_pause(made: u16, draw: f64) -> Duration {
    (IMMEDIATE_RETRY_FIRST * 2_u32.saturating_pow(u32::from(made).min(10))).mul_f64(draw.clamp(0.0, 1.0))
}

fn climb(verdict: Verdict, standing: &Standing<'_>, endpoint: &Endpoint) -> Step {
    let trigger = if standing.worker_lost { Trigger::Recovery } else { Trigger::Ladder };
    let stretch = |delay: Duration| delay.mul_f64(1.0 + endpoint.protection.jitter * standing.draw);
    if verdict == Verdict::Limited || standing.parked.is_some() {
        let rung = stretch(endpoint.ladder.delay_or_last(standing.rung));
        let delay = rung.max(standing.retry_after.or(standing.parked).unwrap_or_default());
        return Step::Wait { delay, rung: standing.rung, trigger };
    }
    match endpoint.ladder.delay(standing.rung) {
        Some(delay) => Step::Wait { delay: stretch(delay), rung: standing.rung.next(), trigger },
        None => Step::Review(ReviewReason::Exhausted),
    }
}

/// Whether a request may leave again at this time: either nothing can have been carried out yet, or the third party still knows the key.
/// One of several providers knows only the keys that it was sent: where nobody knows which one that was, none may be asked.
pub fn is_repeatable(course: &Course, at: Timestamp, endpoint: &Endpoint) -> bool {
    if course.is_doubtful() && course.bound_to.is_none() && keeps_providers_apart(endpoint) {
        return false;
    }
    match (course.arrival, endpoint.judging.idempotency_window) {
        (Some(Arrival { first_at, effect: Effect::Unknown }), Some(window)) => at <= first_at.plus(window),
        (Some(_) | None, _) => true,
    }
}

/// Whether what one provider says proves nothing about the others, and it matters.
fn keeps_providers_apart(endpoint: &Endpoint) -> bool {
    endpoint.destination.providers().len() > 1 && endpoint.vendors.duplicates == Duplicates::Refused
}

/// A call that may have been carried out and must not be repeated blindly: ask, or let a person decide.
pub fn doubt(course: Course, standing: &Standing<'_>, endpoint: &Endpoint) -> Decision {
    match &endpoint.judging.confirm {
        Some(confirm) => ask(Doubt::Ambiguous, confirm, course, standing, endpoint),
        None => Decision { step: Step::Review(ReviewReason::Ambiguous), course },
    }
}

/// The question goes to the provider that may have carried the request out, wherever the last attempt went or would have gone. Where
/// nobody knows which one that is, a person decides: that another one knows nothing of the request proves nothing.
fn ask(
    doubt: Doubt,
    confirm: &Confirm,
    course: Course,
    standing: &Standing<'_>,
    endpoint: &Endpoint,
) -> Decision {
    let provider = course.bound_to.as_ref().or(standing.provider).cloned();
    if provider.is_none() && keeps_providers_apart(endpoint) {
        return Decision { step: Step::Review(ReviewReason::Ambiguous), course };
    }
    let question = Question { doubt, since: standing.now, provider, unanswered: 0, absent: 0 };
    Decision {
        step: Step::Wait { delay: confirm.after, rung: standing.rung, trigger: Trigger::Confirm },
        course: Course { question: Some(question), ..course },
    }
}

/// The third party says by itself what came of it; until the deadline nothing is done. Due after it, so that the call expires and is
/// not taken up a moment before.
fn await_report(course: Course, standing: &Standing<'_>) -> Decision {
    let delay = standing.deadline.since(standing.now) + AFTER_DEADLINE;
    Decision { step: Step::Wait { delay, rung: standing.rung, trigger: Trigger::Confirm }, course }
}

/// What follows from a confirm query. It uses no rung; how often it is repeated without an answer is bounded by the rungs left.
pub fn next_after_query(finding: Finding, standing: &Standing<'_>, endpoint: &Endpoint) -> Decision {
    let course = standing.course.clone();
    if finding == Finding::Done {
        return Decision { step: Step::Succeed, course: Course::default() };
    }
    if standing.deadline <= standing.now {
        return Decision { step: Step::Review(ReviewReason::Expired), course };
    }
    let (Some(confirm), Some(question)) = (&endpoint.judging.confirm, course.question.clone()) else {
        // The endpoint asks no longer: what is in doubt is not repeated without a person.
        return Decision { step: Step::Review(ReviewReason::Ambiguous), course };
    };
    if finding == Finding::Unknown {
        return ask_later(question, confirm, course, standing, endpoint);
    }
    let question = Question { absent: question.absent.saturating_add(1), ..question };
    let old_enough = question.since.plus(confirm.after) <= standing.started_at;
    if question.absent < confirm.times || !old_enough {
        let step = Step::Wait { delay: confirm.after, rung: standing.rung, trigger: Trigger::Confirm };
        return Decision { step, course: Course { question: Some(question), ..course } };
    }
    invoke_after_all(&question, &course, standing, endpoint)
}

/// Nothing was found out. Queries to an endpoint that is parked were in vain with it, and do not use up the ladder.
fn ask_later(
    question: Question,
    confirm: &Confirm,
    course: Course,
    standing: &Standing<'_>,
    endpoint: &Endpoint,
) -> Decision {
    let reached = Rung::new(standing.rung.used().saturating_add(question.unanswered));
    let pause = standing.retry_after.or(standing.parked);
    let (rung, unanswered) = match pause {
        Some(pause) => (Some(endpoint.ladder.delay_or_last(reached).max(pause)), question.unanswered),
        None => (endpoint.ladder.delay(reached), question.unanswered.saturating_add(1)),
    };
    let Some(rung) = rung else {
        return Decision { step: Step::Review(ReviewReason::Ambiguous), course };
    };
    let question = Question { unanswered, absent: 0, ..question };
    Decision {
        step: Step::Wait { delay: rung.max(confirm.after), rung: standing.rung, trigger: Trigger::Confirm },
        course: Course { question: Some(question), ..course },
    }
}

/// The request was not carried out: the next rung, less the time that asking took.
fn invoke_after_all(
    question: &Question,
    course: &Course,
    standing: &Standing<'_>,
    endpoint: &Endpoint,
) -> Decision {
    let arrival = course.arrival.map(|arrival| Arrival { effect: Effect::Refused, ..arrival });
    let course = Course { arrival, ..Course::default() };
    let asked_for = standing.now.since(question.since);
    let step = match endpoint.ladder.delay(standing.rung) {
        Some(delay) => Step::Wait {
            delay: delay.saturating_sub(asked_for),
            rung: standing.rung.next(),
            trigger: Trigger::Ladder,
        },
        None => Step::Review(ReviewReason::Exhausted),
    };
    Decision { step, course }
}

/// What a new call does first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstStep {
    /// It waits for its first attempt; zero: at once.
    Wait {
        /// From acceptance.
        delay: Duration,
        /// The rungs then used.
        rung: Rung,
        /// Why the first attempt will be made.
        trigger: Trigger,
        /// What is remembered of the publisher's own attempts.
        course: Course,
    },
    /// A person decides.
    Review(ReviewReason),
}

/// What a new call does first: at once, or after the first rung if its publisher has tried already; if the publisher does not know
/// what came of that, what the endpoint does about unknown outcomes.
pub fn first_step(failure: Option<&Failure>, endpoint: &Endpoint, now: Timestamp) -> FirstStep {
    let Some(failure) = failure else {
        let (trigger, course) = (Trigger::First, Course::default());
        return FirstStep::Wait { delay: Duration::ZERO, rung: Rung::GROUND, trigger, course };
    };
    let delay = endpoint.ladder.delay_or_last(Rung::GROUND);
    if !failure.ambiguous {
        let (trigger, course) = (Trigger::First, Course::default());
        return FirstStep::Wait { delay, rung: Rung::GROUND.next(), trigger, course };
    }
    let first_at = failure.occurred_at.unwrap_or(now);
    let course = Course { arrival: Some(Arrival { first_at, effect: Effect::Unknown }), ..Course::default() };
    let may_repeat = endpoint.judging.on_ambiguous == OnAmbiguous::Retry
        && is_repeatable(&course, now.plus(delay), endpoint);
    match (endpoint.judging.on_ambiguous, &endpoint.judging.confirm) {
        _ if may_repeat => {
            FirstStep::Wait { delay, rung: Rung::GROUND.next(), trigger: Trigger::First, course }
        }
        // The publisher does not say which of several providers it tried.
        (OnAmbiguous::Retry | OnAmbiguous::Confirm, Some(confirm)) if !keeps_providers_apart(endpoint) => {
            let question =
                Question { doubt: Doubt::Ambiguous, since: now, provider: None, unanswered: 0, absent: 0 };
            FirstStep::Wait {
                delay: confirm.after,
                rung: Rung::GROUND,
                trigger: Trigger::Confirm,
                course: Course { question: Some(question), ..course },
            }
        }
        (OnAmbiguous::Retry | OnAmbiguous::Confirm | OnAmbiguous::Review, _) => {
            FirstStep::Review(ReviewReason::Ambiguous)
        }
    }
}

#[cfg(test)]
mod tests;
