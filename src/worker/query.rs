//! What a claimed call is about: its request, the question what became of it, or nothing, because it must not be repeated.
//!
//! A query is an attempt like any other (it has a number, a claim and its place in the log) but for what is sent and how it is judged.

use std::time::{Duration, Instant};

use super::Worker;
use super::close::{Closed, next_of};
use crate::call::{
    Attempt, Body, Call, Choice, Claim, ErrorKind, Outcome, Request, Ruling, Trigger, Verdict,
};
use crate::clock::Timestamp;
use crate::endpoint::ladder::format_duration;
use crate::endpoint::template::render_headers;
use crate::endpoint::{Confirm, Endpoint, Finding, Variables};
use crate::invoker::Invoked;
use crate::policy::{Decision, Reach, Standing, doubt, find, is_repeatable, next_after_query};

/// What is to be done under a claim.
pub(super) enum Errand<'a> {
    /// The call's request is made.
    Invoke,
    /// The third party is asked what became of it; `None`: the endpoint does not say how any more.
    Ask(Option<&'a Confirm>),
    /// Nothing is sent, and this is why.
    Withhold(Box<Closed>),
}

/// What is to be done under this claim, now. A call may have waited in its lane for longer than the third party remembers its key, so
/// whether it may be repeated is asked again.
pub(super) fn errand<'a>(call: &Call, claim: &Claim, endpoint: &'a Endpoint) -> Errand<'a> {
    match claim.trigger {
        Trigger::Confirm => Errand::Ask(endpoint.judging.confirm.as_ref()),
        Trigger::First | Trigger::Ladder | Trigger::Replay | Trigger::Recovery => {
            let now = Timestamp::now();
            if is_repeatable(&call.course, now, endpoint) {
                Errand::Invoke
            } else {
                Errand::Withhold(Box::new(withhold(call, claim, endpoint, now)))
            }
        }
    }
}

fn withhold(call: &Call, claim: &Claim, endpoint: &Endpoint, now: Timestamp) -> Closed {
    let window = endpoint.judging.idempotency_window.map(format_duration).unwrap_or_default();
    let detail = format!(
        "an earlier attempt may have been carried out, and the third party has forgotten the idempotency key by now \
         (idempotency_window = {window}): it was not sent again"
    );
    let decision = doubt(call.course.clone(), &standing(call, claim, Reach::Never, now), endpoint);
    let outcome = Outcome::Failed { kind: ErrorKind::NotSent, detail };
    closed(call, claim, Verdict::Transient, Evidence { outcome, ..Evidence::default() }, decision)
}

impl Worker {
    /// Asks the third party what became of the call. `None` when the worker gives up its attempts.
    pub(super) async fn ask(
        &self,
        call: &Call,
        claim: &Claim,
        endpoint: &Endpoint,
        confirm: Option<&Confirm>,
        taken_at: Instant,
    ) -> Option<Evidence> {
        match confirm.ok_or_else(no_longer).and_then(|confirm| query(call, claim, confirm)) {
            Ok(request) => Some(self.send(call, &request, None, endpoint, taken_at).await?.into()),
            Err(sentence) => Some(Evidence::unsendable(sentence)),
        }
    }
}

fn no_longer() -> String {
    "the endpoint does not say any more how it is asked (confirm)".to_owned()
}

/// The query about a call.
///
/// # Errors
/// A sentence: one of its templates cannot be filled in.
fn query(call: &Call, claim: &Claim, confirm: &Confirm) -> Result<Request, String> {
    let provider = call.course.question.as_ref().and_then(|question| question.provider.as_ref());
    let variables = Variables::of_call(call, claim.attempt, provider);
    let body = confirm.body.as_ref().map(|body| body.render(&variables)).transpose();
    let headers = render_headers(&confirm.headers, &variables)?;
    let body = body.map_err(|sentence| format!("the body of the query: {sentence}"))?;
    Ok(Request {
        method: confirm.method,
        path: confirm
            .path
            .render(&variables)
            .map_err(|sentence| format!("the path of the query: {sentence}"))?,
        body: match body {
            None => Body::Empty,
            Some(body) if headers.get("content-type").is_some() => Body::Bytes(body.into()),
            Some(body) => Body::Json(body.into()),
        },
        headers,
    })
}

/// What a query says of the endpoint rather than of the call.
#[derive(Debug)]
pub(super) struct Heard {
    /// The pause the third party asked for.
    pub(super) retry_after: Option<Duration>,
    /// For how long the endpoint is parked, if it is.
    pub(super) parked: Option<Duration>,
}

/// Judges what the query found out and decides what comes next.
pub(super) fn close_query(
    call: &Call,
    claim: &Claim,
    endpoint: &Endpoint,
    confirm: Option<&Confirm>,
    evidence: Evidence,
    heard: &Heard,
) -> Closed {
    let (finding, ruling) = match confirm {
        Some(confirm) => find(&evidence.outcome, evidence.duration, &confirm.rules),
        None => (Finding::Unknown, Ruling::default()),
    };
    let verdict = match finding {
        Finding::Done => Verdict::Success,
        Finding::Absent => Verdict::Transient,
        Finding::Unknown => Verdict::Pending,
    };
    let standing = Standing {
        retry_after: heard.retry_after,
        parked: heard.parked,
        ..standing(call, claim, Reach::Never, Timestamp::now())
    };
    let decision = next_after_query(finding, &standing, endpoint);
    closed(
        call,
        claim,
        verdict,
        Evidence { ruling: ruling.with_note(evidence.ruling.notes.clone()), ..evidence },
        decision,
    )
}

/// What the log keeps of a query.
pub(super) struct Evidence {
    sent: Option<crate::call::attempt::SentRequest>,
    pub(super) outcome: Outcome,
    duration: Duration,
    ruling: Ruling,
}

impl Default for Evidence {
    fn default() -> Self {
        let outcome = Outcome::Failed { kind: ErrorKind::NotSent, detail: String::new() };
        Self { sent: None, outcome, duration: Duration::ZERO, ruling: Ruling::default() }
    }
}

impl Evidence {
    fn unsendable(detail: String) -> Self {
        Self { outcome: Outcome::Failed { kind: ErrorKind::Unsendable, detail }, ..Self::default() }
    }
}

impl From<Invoked> for Evidence {
    fn from(invoked: Invoked) -> Self {
        let Invoked { sent, outcome, note, duration } = invoked;
        Self { sent: Some(sent), outcome, duration, ruling: Ruling::default().with_note(note) }
    }
}

/// Where the call stands. A query, like a request that is withheld, adds nothing to what may have arrived.
fn standing<'a>(call: &'a Call, claim: &Claim, reach: Reach, now: Timestamp) -> Standing<'a> {
    Standing {
        now,
        rung: call.rung,
        deadline: call.deadline,
        course: &call.course,
        started_at: claim.started_at,
        reach,
        retry_after: None,
        parked: None,
        worker_lost: false,
        provider: None,
        has_alternative: false,
        draw: rand::random(),
    }
}

fn closed(call: &Call, claim: &Claim, verdict: Verdict, evidence: Evidence, decision: Decision) -> Closed {
    let Decision { step, course } = decision;
    let asked = call.course.question.as_ref().and_then(|question| question.provider.clone());
    let choice = asked.filter(|_| claim.trigger == Trigger::Confirm).map(|provider| Choice {
        provider,
        reason: "the attempt in question went there".to_owned(),
        cost: None,
    });
    let attempt = Attempt {
        number: claim.attempt,
        claim: claim.number,
        trigger: claim.trigger,
        choice,
        ruling: evidence.ruling,
        worker: claim.worker.clone(),
        started_at: claim.started_at,
        duration: evidence.duration,
        verdict,
        request: evidence.sent,
        outcome: evidence.outcome,
        late: None,
    };
    Closed { attempt, step, next: next_of(step, call.rung), course, retry_after: None }
}
