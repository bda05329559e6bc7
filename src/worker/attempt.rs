//! One attempt: invoke under a claim, judge, record, and see the next ticket off.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::choose::{Alternative, Chosen, Failover};
use super::close::{Closed, close, pause_asked_for};
use super::query::{Errand, Heard, close_query, errand};
use super::{Slot, Worker};
use crate::call::attempt::{Answer, ErrorKind};
use crate::call::event::FailoverEvent;
use crate::call::{
    Attempt, Call, CallId, Claim, Event, IdempotencyKey, Outcome, Request, State, Ticket, Trigger,
};
use crate::clock::Timestamp;
use crate::delay::{Bundle, Departure, Receipt};
use crate::endpoint::Endpoint;
use crate::invoker::{Invocation, Invoked};
use crate::ledger::{LedgerError, Record, Recorded, claim_of};
use crate::limits::RECONNECT_PAUSE_MAX;
use crate::policy::{Step, judge_by_default};

/// What an attempt came to, for whoever waits for it.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The attempt as it was recorded.
    pub attempt: Arc<Attempt>,
    /// Where the call stands after it; `None` if the claim was lost or the record could not be written.
    pub state: Option<State>,
}

impl Worker {
    /// Attempts a call that was claimed for this worker when it was accepted, in a task of its own. `taken_at` is a moment before
    /// the claim was sent to the ledger.
    pub fn start(
        self: &Arc<Self>,
        call: Box<Call>,
        endpoint: Arc<Endpoint>,
        slot: Slot,
        taken_at: Instant,
    ) -> tokio::task::JoinHandle<Option<Settled>> {
        let worker = Arc::clone(self);
        self.attempts.spawn(async move { worker.attempt(call, &endpoint, slot, taken_at).await })
    }

    /// Makes one attempt of a claimed call and writes down what came of it. `None` if the call is not claimed.
    pub(super) async fn attempt(
        self: &Arc<Self>,
        call: Box<Call>,
        endpoint: &Endpoint,
        slot: Slot,
        taken_at: Instant,
    ) -> Option<Settled> {
        let claim = claim_of(&call)?.clone();
        let running = self.tools.metrics.begin();
        let chosen = self.vendors.choose(&call, claim.trigger, endpoint, rand::random());
        let face = chosen.as_ref().map_or(endpoint, |chosen| &chosen.face);
        let closed = self.run_errand(&call, &claim, endpoint, chosen.as_ref(), &slot, taken_at).await?;
        let Closed { mut attempt, step, next, course, retry_after } = closed;
        attempt.outcome = attempt.outcome.kept();
        attempt.choice = chosen.as_ref().map(|chosen| chosen.choice(&attempt));
        if call.mode.counts() {
            self.tools.metrics.attempt(endpoint.name.shared(), attempt.verdict.as_str(), attempt.duration);
            if attempt.trigger != Trigger::Confirm && has_left(&attempt.outcome) {
                self.vendors.note(face, attempt.verdict, retry_after);
            }
            self.tools.tallies.attempt(&endpoint.name, &attempt, Timestamp::now());
        }
        let attempt = Arc::new(attempt);
        let record = Record { call: call.id, attempt: Arc::clone(&attempt), next, course };
        let recorded = self.record(record).await;
        // The slot covers the record too: what is in flight, unrecorded results included, is bounded.
        drop(slot);
        drop(running);
        let state = match recorded {
            Some(Recorded::Applied { state, wake_at }) => {
                if matches!(step, Step::Wait { rung, .. } if rung != call.rung) {
                    let ticket = Ticket { call: call.id, attempt: attempt.number.next() };
                    self.remember_failure(endpoint, attempt.verdict, ticket, call.rung);
                }
                self.follow_up(call, &attempt, step, &state, wake_at).await;
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
    async fn run_errand(
        self: &Arc<Self>,
        call: &Call,
        claim: &Claim,
        endpoint: &Endpoint,
        chosen: Option<&Chosen>,
        slot: &Slot,
        taken_at: Instant,
    ) -> Option<Closed> {
        let face = chosen.map_or(endpoint, |chosen| &chosen.face);
        let closed = match errand(call, claim, face) {
            Errand::Invoke => {
                if let Some(failover) = chosen.and_then(|chosen| chosen.failover.as_ref()) {
                    self.tell_of_failover(call, face, failover);
                }
                let invoked = self.invoke(call, face, chosen, taken_at).await?;
                return Some(self.close_invocation(call, claim, endpoint, face, slot, invoked));
            }
            Errand::Ask(confirm) => {
                let evidence = self.ask(call, claim, face, confirm, taken_at).await?;
                let heard = self.weigh_query(call, endpoint, face, slot, &evidence.outcome);
                return Some(close_query(call, claim, face, confirm, evidence, &heard));
            }
            Errand::Withhold(closed) => *closed,
        };
        // Silence says nothing of the endpoint.
        self.weigh(endpoint, None, None, slot.errand());
        Some(closed)
    }

    /// What a query tells of the endpoint: one that is down or asks for a pause does so whatever it was asked. The rules of the query say
    /// what became of the call, not how the endpoint does, so the defaults decide.
    fn weigh_query(
        self: &Arc<Self>,
        call: &Call,
        endpoint: &Endpoint,
        face: &Endpoint,
        slot: &Slot,
        outcome: &Outcome,
    ) -> Heard {
        let verdict = judge_by_default(outcome);
        let retry_after = pause_asked_for(outcome, verdict, Timestamp::now());
        let alternative = self.vendors.alternative(call, endpoint, face);
        let tells = call.mode.counts() && tells_of_endpoint(outcome, face, alternative);
        let parked = self.weigh(endpoint, tells.then_some(verdict), retry_after, slot.errand());
        Heard { retry_after, parked }
    }

    /// Judges what came of an invocation, and what it tells of the endpoint.
    fn close_invocation(
        self: &Arc<Self>,
        call: &Call,
        claim: &Claim,
        endpoint: &Endpoint,
        face: &Endpoint,
        slot: &Slot,
        invoked: Invoked,
    ) -> Closed {
        let alternative = self.vendors.alternative(call, endpoint, face);
        if call.mode.counts() {
            self.gates.note_time(face, &invoked.outcome, invoked.duration);
        }
        let tells = call.mode.counts() && tells_of_endpoint(&invoked.outcome, face, alternative);
        close(call, claim, face, invoked, alternative, |verdict, retry_after| {
            self.weigh(endpoint, tells.then_some(verdict), retry_after, slot.errand())
        })
    }

    /// Sends the call's request in the words of its provider.
    async fn invoke(
        &self,
        call: &Call,
        endpoint: &Endpoint,
        chosen: Option<&Chosen>,
        taken_at: Instant,
    ) -> Option<Invoked> {
        match chosen.map_or(Ok(Cow::Borrowed(&call.request)), |chosen| chosen.request(call)) {
            Ok(request) => self.send(call, &request, Some(call.outgoing_key()), endpoint, taken_at).await,
            Err(sentence) => Some(Invoked::unsendable(&call.request, call.revision, sentence)),
        }
    }

    /// Sends one request for a call within the lease of its claim. `None` when the worker gives up its attempts.
    pub(super) async fn send(
        &self,
        call: &Call,
        request: &Request,
        idempotency_key: Option<&IdempotencyKey>,
        endpoint: &Endpoint,
        taken_at: Instant,
    ) -> Option<Invoked> {
        let (lease, overall) = (endpoint.timeouts.lease(), endpoint.timeouts.overall());
        let invocation = Invocation {
            request,
            call: call.id,
            idempotency_key,
            trace_parent: call.trace_parent.as_deref(),
            revision: call.revision,
            overall: self.gates.overall(endpoint),
            mode: call.mode,
            attempt: call.attempts_made,
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
                    bare(Arc::make_mut(&mut record.attempt));
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

    async fn follow_up(
        self: &Arc<Self>,
        mut call: Box<Call>,
        attempt: &Attempt,
        step: Step,
        state: &State,
        wake_at: Option<Timestamp>,
    ) {
        let ticket = Ticket { call: call.id, attempt: attempt.number.next() };
        call.state = state.clone();
        if let Some(wake_at) = wake_at {
            match step {
                Step::Again { delay } => self.come_again(ticket, call, delay, wake_at),
                Step::Succeed | Step::Wait { .. } | Step::Review(_) => {
                    self.see_off(ticket, &call, wake_at).await;
                }
            }
        } else {
            call.last = Some(last_outcome(attempt));
            call.updated_at = Timestamp::now();
            self.tools.events.tell(&call);
        }
    }

    /// Takes the call up again in this process after a wait that is too short for the tiers. If the worker stops before, the ticket goes
    /// the usual way.
    fn come_again(self: &Arc<Self>, ticket: Ticket, call: Box<Call>, delay: Duration, wake_at: Timestamp) {
        let worker = Arc::clone(self);
        self.taking.spawn(async move {
            tokio::select! {
                biased;
                () = worker.claiming.cancelled() => worker.see_off(ticket, &call, wake_at).await,
                () = tokio::time::sleep(delay) => {
                    let endpoint = Some(call.endpoint);
                    let bundle = Bundle { endpoint, tickets: vec![ticket], wake_at: Some(wake_at), receipt: Receipt::none() };
                    worker.take_bundle(bundle).await;
                }
            }
        });
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

    /// A failover is told of even when the call succeeds in the end.
    fn tell_of_failover(&self, call: &Call, face: &Endpoint, failover: &Failover) {
        let Some(to) = &face.provider else { return };
        tracing::warn!(call.id = %call.id, endpoint = %call.endpoint, from = %failover.from, %to, reason = failover.reason, "a call goes to another provider");
        self.tools.events.tell_failover(FailoverEvent {
            event: Event::of(call),
            from: failover.from.clone(),
            to: to.clone(),
            reason: failover.reason.clone(),
        });
    }

    async fn tell_of(&self, id: CallId) {
        match self.tools.ledger.ledger().find(id).await {
            Ok(Some(call)) => self.tools.events.tell(&call),
            Ok(None) => {}
            Err(error) => tracing::debug!(call.id = %id, %error, "an event could not be told"),
        }
    }
}

/// Whether an outcome says anything of the endpoint as a whole. A request that this process did not send says nothing, nor does one
/// provider while there is another: each has a breaker of its own.
fn tells_of_endpoint(outcome: &Outcome, face: &Endpoint, alternative: Alternative) -> bool {
    has_left(outcome) && (face.provider.is_none() || alternative != Alternative::Present)
}

/// Whether this process tried to send the request.
pub(super) const fn has_left(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Failed { kind: ErrorKind::NotSent | ErrorKind::Unsendable, .. })
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
