//! One attempt: invoke under a claim, judge, record, and see the next ticket off.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Slot, Worker};
use crate::call::attempt::Answer;
use crate::call::{Attempt, Call, CallId, Claim, Event, Outcome, State, Ticket, Verdict};
use crate::clock::Timestamp;
use crate::delay::Departure;
use crate::endpoint::Endpoint;
use crate::invoker::{Invocation, Invoked};
use crate::ledger::{LedgerError, Next, Record, Recorded, claim_of};
use crate::limits::RECONNECT_PAUSE_MAX;
use crate::policy::{Standing, Step, judge, next_step, retry_after};

/// What an attempt came to, for whoever waits for it.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The attempt as it was recorded.
    pub attempt: Attempt,
    /// Where the call stands after it; `None` if the claim was lost or the record could not be written.
    pub state: Option<State>,
}

impl Worker {
    /// Attempts a call that was claimed for this worker when it was accepted, in a task of its own. `taken_at` is a moment before
    /// the claim was sent to the ledger.
    pub fn start(
        self: &Arc<Self>,
        call: Call,
        endpoint: Arc<Endpoint>,
        slot: Slot,
        taken_at: Instant,
    ) -> tokio::task::JoinHandle<Option<Settled>> {
        let worker = Arc::clone(self);
        self.attempts.spawn(async move { worker.attempt(call, &endpoint, slot, taken_at).await })
    }

    /// Makes one attempt of a claimed call and writes down what came of it. `None` if the call is not claimed.
    pub(super) async fn attempt(
        &self,
        call: Call,
        endpoint: &Endpoint,
        slot: Slot,
        taken_at: Instant,
    ) -> Option<Settled> {
        let claim = claim_of(&call)?.clone();
        let running = self.tools.metrics.begin();
        let invoked = self.invoke(&call, endpoint, taken_at).await?;
        let (attempt, next) = close(&call, &claim, endpoint, invoked);
        self.tools.metrics.attempt(endpoint.name.shared(), attempt.verdict.as_str(), attempt.duration);
        let recorded = self.record(Record { call: call.id, attempt: attempt.clone(), next }).await;
        // The slot covers the record too: what is in flight, unrecorded results included, is bounded.
        drop(slot);
        drop(running);
        let state = match recorded {
            Some(Recorded::Applied { state, wake_at }) => {
                self.follow_up(call, &attempt, &state, wake_at).await;
                Some(state)
            }
            Some(Recorded::ClaimLost { closed }) => {
                self.claim_was_lost(&call, &attempt, closed).await;
                None
            }
            None => None,
        };
        Some(Settled { attempt, state })
    }

    /// `None` when the worker gives up its attempts: the lease runs out and the sweeper closes this one.
    async fn invoke(&self, call: &Call, endpoint: &Endpoint, taken_at: Instant) -> Option<Invoked> {
        let (lease, overall) = (endpoint.timeouts.lease(), endpoint.timeouts.overall());
        let invocation = Invocation {
            request: &call.request,
            call: call.id,
            idempotency_key: call.outgoing_key(),
            trace_parent: call.trace_parent.as_deref(),
            revision: call.revision,
            send_before: taken_at + lease.saturating_sub(overall),
            finish_before: taken_at + lease,
        };
        tokio::select! {
            biased;
            invoked = self.tools.invoker.invoke(endpoint, invocation) => Some(invoked),
            () = self.abandon.cancelled() => None,
        }
    }

    /// Writes a record through any absence of the ledger, until the worker gives up. A refused row is written once more without
    /// what came back: logging never decides the outcome.
    async fn record(&self, mut record: Record) -> Option<Recorded> {
        let mut pause = Duration::from_millis(50);
        let mut bared = false;
        loop {
            match self.tools.ledger.record(record.clone()).await {
                Ok(recorded) => return Some(recorded),
                Err(error @ (LedgerError::Refused(_) | LedgerError::Corrupt(_))) => {
                    if bared {
                        tracing::error!(call.id = %record.call, error = &error as &dyn std::error::Error, "an attempt cannot be recorded");
                        return None;
                    }
                    tracing::error!(call.id = %record.call, error = &error as &dyn std::error::Error, "an attempt is recorded without its answer");
                    bare(&mut record.attempt);
                    bared = true;
                }
                Err(error) => {
                    tracing::debug!(call.id = %record.call, %error, "a record did not reach the ledger; trying again");
                    tokio::select! {
                        biased;
                        () = self.abandon.cancelled() => return None,
                        () = tokio::time::sleep(pause) => pause = (pause * 2).min(RECONNECT_PAUSE_MAX),
                    }
                }
            }
        }
    }

    async fn follow_up(&self, mut call: Call, attempt: &Attempt, state: &State, wake_at: Option<Timestamp>) {
        let ticket = Ticket { call: call.id, attempt: attempt.number.next() };
        call.state = state.clone();
        if let Some(wake_at) = wake_at {
            self.see_off(ticket, &call, wake_at).await;
        } else {
            call.last = Some(last_outcome(attempt));
            call.updated_at = Timestamp::now();
            self.tools.events.tell(Event::of(&call));
        }
    }

    /// Publishes the next ticket. The ledger already has the due time: a ticket that cannot be published is late, not lost.
    async fn see_off(&self, ticket: Ticket, call: &Call, wake_at: Timestamp) {
        let State::Scheduled { due_at, .. } = &call.state else { return };
        // Ledger and worker may disagree about the time by a little; a ticket that comes early just goes on waiting.
        let wait = wake_at.min(*due_at).since(Timestamp::now());
        let departure = Departure { ticket, endpoint: call.endpoint.clone(), wait, wake_at };
        if let Err(error) = self.tools.delay.depart(vec![departure]).await {
            tracing::debug!(call.id = %ticket.call, %error, "a ticket could not be published; the sweeper will find the call");
        }
    }

    async fn claim_was_lost(&self, call: &Call, attempt: &Attempt, closed: bool) {
        tracing::warn!(call.id = %call.id, attempt = attempt.number.get(), verdict = %attempt.verdict, "a result came after its claim was lost");
        if closed {
            self.tell_of(call.id).await;
        }
    }

    async fn tell_of(&self, id: CallId) {
        match self.tools.ledger.ledger().find(id).await {
            Ok(Some(call)) => self.tools.events.tell(Event::of(&call)),
            Ok(None) => {}
            Err(error) => tracing::debug!(call.id = %id, %error, "an event could not be told"),
        }
    }
}

/// The attempt as it goes into the log, and what comes next.
fn close(call: &Call, claim: &Claim, endpoint: &Endpoint, invoked: Invoked) -> (Attempt, Next) {
    let Invoked { sent, outcome, duration } = invoked;
    let verdict = judge(&outcome);
    let now = Timestamp::now();
    let standing = Standing {
        rung: call.rung,
        deadline: call.deadline,
        retry_after: pause_asked_for(&outcome, verdict, now),
        worker_lost: false,
    };
    let step = next_step(verdict, &standing, &endpoint.ladder, endpoint.on_ambiguous, now);
    let attempt = Attempt {
        number: claim.attempt,
        claim: claim.number,
        trigger: claim.trigger,
        provider: None,
        worker: claim.worker.clone(),
        started_at: claim.started_at,
        duration,
        verdict,
        request: Some(sent),
        outcome,
        late: None,
    };
    (attempt, next_of(step))
}

/// The ledger's word for a step.
pub fn next_of(step: Step) -> Next {
    match step {
        Step::Succeed => Next::Succeeded,
        Step::Wait { delay, rung, trigger } => Next::Scheduled { delay, rung, trigger },
        Step::Review(reason) => Next::Review(reason),
    }
}

fn pause_asked_for(outcome: &Outcome, verdict: Verdict, now: Timestamp) -> Option<Duration> {
    match outcome {
        Outcome::Answered(answer) if verdict == Verdict::Limited => {
            retry_after::parse(answer.header("retry-after"), now)
        }
        Outcome::Answered(_) | Outcome::Failed { .. } => None,
    }
}

fn last_outcome(attempt: &Attempt) -> crate::call::LastOutcome {
    crate::call::LastOutcome {
        verdict: attempt.verdict,
        http_status: attempt.http_status(),
        error: attempt.error(),
    }
}

fn bare(attempt: &mut Attempt) {
    attempt.request = None;
    attempt.outcome = match &attempt.outcome {
        Outcome::Answered(answer) => Outcome::Answered(Answer {
            status: answer.status,
            headers: Vec::new(),
            body: bytes::Bytes::new(),
            body_bytes: answer.body_bytes,
        }),
        Outcome::Failed { kind, .. } => Outcome::Failed { kind: *kind, detail: String::new() },
    };
}
