//! Takes submissions in: reads documents, places calls in the ledger, sends them on their way.
//!
//! Two doors use it, AMQP ([`amqp`]) and HTTP (`api`). A submission is confirmed only when it is durable; an absence of the ledger is
//! no rejection.

pub mod amqp;
pub mod submission;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::call::{AttemptNumber, Call, CallId, Event, State, Submission, Ticket};
use crate::clock::{Timestamp, monotonic};
use crate::delay::{Delay, Departure};
use crate::endpoint::Endpoint;
use crate::ledger::batch::SharedLedger;
use crate::ledger::{Accepted, LedgerError, NewCall, Start};
use crate::limits::PUBLISH_QUEUE;
use crate::notice::Events;
use crate::policy::{FirstStep, first_step};
use crate::telemetry::Metrics;
use crate::worker::{Settled, Slot, Worker};

/// Places submissions in the ledger. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    ledger: SharedLedger,
    delay: Arc<dyn Delay>,
    worker: Option<Arc<Worker>>,
    events: Events,
    metrics: Metrics,
    tasks: TaskTracker,
    departing: Arc<Semaphore>,
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Intake")
    }
}

/// A submission on its way into the ledger, with the slot that its first attempt will take if one is free.
#[derive(Debug)]
pub struct Placement {
    call: NewCall,
    endpoint: Arc<Endpoint>,
    slot: Option<Slot>,
    planned_at: Instant,
}

impl Placement {
    /// A lease that began just now is counted from just before the accept that began it. One that began with an earlier accept, whose
    /// answer was lost, is counted from the plan.
    fn note_sent(&mut self, accepted: &Accepted, sent_at: Instant) {
        if matches!(accepted, Accepted::Stored(_)) {
            self.planned_at = sent_at;
        }
    }
}

/// What became of a submission.
#[derive(Debug)]
pub enum Received {
    /// It is a new call; the handle answers when its first attempt is settled, if that is being made here.
    New(Box<Call>, Option<JoinHandle<Option<Settled>>>),
    /// It was handed over before.
    Known(CallId),
    /// Its key was used for a different document.
    KeyReused(CallId),
}

impl Intake {
    /// An intake; with a worker, first attempts that are due at once are made in this process while it has free slots.
    pub fn new(
        ledger: SharedLedger,
        delay: Arc<dyn Delay>,
        worker: Option<Arc<Worker>>,
        events: Events,
        metrics: Metrics,
        tasks: TaskTracker,
    ) -> Self {
        let departing = Arc::new(Semaphore::new(PUBLISH_QUEUE));
        Self { ledger, delay, worker, events, metrics, tasks, departing }
    }

    /// Decides where a submission starts.
    pub fn plan(&self, submission: Submission, endpoint: Arc<Endpoint>) -> Placement {
        let slot = self.slot_for(&submission, &endpoint);
        self.place(submission, endpoint, slot)
    }

    /// Like [`Self::plan`], but waits up to `patience` for a slot: somebody waits for the first attempt.
    pub async fn plan_patiently(
        &self,
        submission: Submission,
        endpoint: Arc<Endpoint>,
        patience: Duration,
    ) -> Placement {
        let slot = match &self.worker {
            Some(worker) if starts_at_once(&submission, &endpoint) => {
                tokio::time::timeout(patience, worker.slot(&endpoint.name)).await.ok().flatten()
            }
            Some(_) | None => None,
        };
        self.place(submission, endpoint, slot)
    }

    fn slot_for(&self, submission: &Submission, endpoint: &Endpoint) -> Option<Slot> {
        let worker = self.worker.as_ref()?;
        if starts_at_once(submission, endpoint) { worker.try_slot(&endpoint.name) } else { None }
    }

    fn place(&self, submission: Submission, endpoint: Arc<Endpoint>, slot: Option<Slot>) -> Placement {
        let start = match (
            first_step(submission.failure.as_ref(), &endpoint.ladder, endpoint.on_ambiguous),
            &self.worker,
        ) {
            (FirstStep::Review(reason), _) => Start::Review(reason),
            (FirstStep::Wait { .. }, Some(worker)) if slot.is_some() => {
                Start::Claimed { worker: worker.name().clone(), lease: endpoint.timeouts.lease() }
            }
            (FirstStep::Wait { delay, rung }, _) => Start::Waiting { delay, rung },
        };
        Placement {
            call: NewCall { id: CallId::generate(), submission, start },
            endpoint,
            slot,
            planned_at: monotonic(),
        }
    }

    /// Stores one submission and sends it on its way; durable when it returns.
    ///
    /// # Errors
    /// [`LedgerError`]: whether it was stored is unknown.
    pub async fn submit(&self, placement: Placement) -> Result<Received, LedgerError> {
        let (mut placement, sent_at) = (placement, monotonic());
        let accepted = self.ledger.accept(placement.call.clone()).await?;
        placement.note_sent(&accepted, sent_at);
        Ok(self.settle(placement, accepted).await)
    }

    /// Stores many submissions in one commit and sends them on their way. Gives back the error of each that could not be stored, with its
    /// placement, which may be tried again: a call that was stored after all is recognised by its id.
    pub async fn submit_all(
        &self,
        placements: Vec<Placement>,
    ) -> Vec<Result<Received, (Placement, LedgerError)>> {
        let (calls, sent_at) =
            (placements.iter().map(|placement| placement.call.clone()).collect(), monotonic());
        let answers = self.ledger.accept_all(calls).await;
        let mut received = Vec::with_capacity(placements.len());
        for (mut placement, answer) in placements.into_iter().zip(answers) {
            received.push(match answer {
                Err(error) => Err((placement, error)),
                Ok(accepted) => {
                    placement.note_sent(&accepted, sent_at);
                    Ok(self.settle(placement, accepted).await)
                }
            });
        }
        received
    }

    async fn settle(&self, placement: Placement, accepted: Accepted) -> Received {
        let Placement { call: NewCall { id, .. }, endpoint, slot, planned_at } = placement;
        match accepted {
            Accepted::Stored(call) => {
                self.metrics.submission("stored");
                let attempt = self.send_on(&call, endpoint, slot, planned_at);
                Received::New(call, attempt)
            }
            // Our own call: the answer to an earlier try was lost. It is sent on its way as if it were new.
            Accepted::Known(known) if known == id => match self.ledger.ledger().find(id).await {
                Ok(Some(call)) => {
                    let attempt = self.send_on(&call, endpoint, slot, planned_at);
                    Received::New(Box::new(call), attempt)
                }
                // It is stored; the sweeper finds it.
                Ok(None) | Err(_) => Received::Known(id),
            },
            Accepted::Known(known) => {
                self.metrics.submission("known");
                Received::Known(known)
            }
            Accepted::KeyReused(known) => {
                self.metrics.submission("key_reused");
                Received::KeyReused(known)
            }
        }
    }

    fn send_on(
        &self,
        call: &Call,
        endpoint: Arc<Endpoint>,
        slot: Option<Slot>,
        planned_at: Instant,
    ) -> Option<JoinHandle<Option<Settled>>> {
        match (&call.state, &self.worker, slot) {
            (State::Running(claim), Some(worker), Some(slot)) if claim.worker == *worker.name() => {
                return Some(worker.start(call.clone(), endpoint, slot, planned_at));
            }
            (State::Scheduled { due_at, .. }, _, _) => self.see_off(call, (*due_at).min(call.deadline)),
            (State::Review { .. } | State::Superseded { .. }, _, _) => self.events.tell(Event::of(call)),
            (
                State::Running(_)
                | State::Succeeded { .. }
                | State::Resolved { .. }
                | State::Cancelled { .. },
                _,
                _,
            ) => {}
        }
        None
    }

    /// Publishes a call's first ticket without making its submitter wait. When too many are on their way, this one is left to the
    /// sweeper: the call is durable already.
    fn see_off(&self, call: &Call, wake_at: Timestamp) {
        let Ok(permit) = Arc::clone(&self.departing).try_acquire_owned() else { return };
        let wait = wake_at.since(call.updated_at);
        let ticket = Ticket { call: call.id, attempt: AttemptNumber::FIRST };
        let departure = Departure { ticket, endpoint: call.endpoint.clone(), wait, wake_at };
        let delay = Arc::clone(&self.delay);
        self.tasks.spawn(async move {
            if let Err(error) = delay.depart(vec![departure]).await {
                tracing::debug!(call.id = %ticket.call, %error, "a first ticket could not be published; the sweeper will find the call");
            }
            drop(permit);
        });
    }

    /// What counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// Whether the first attempt is due at once and may be claimed in the same commit. A call with an entity may turn out to be
/// superseded in that commit, so it takes the long way.
fn starts_at_once(submission: &Submission, endpoint: &Endpoint) -> bool {
    let first = first_step(submission.failure.as_ref(), &endpoint.ladder, endpoint.on_ambiguous);
    let at_once = matches!(first, FirstStep::Wait { delay, .. } if delay.is_zero());
    at_once
        && submission.entity.is_none()
        && submission.not_before.is_none_or(|time| time <= Timestamp::now())
}
