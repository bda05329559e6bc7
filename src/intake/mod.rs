//! Takes submissions in: reads documents, places calls in the ledger, sends them on their way.
//!
//! Two doors use it, AMQP ([`amqp`]) and HTTP (`api`). A submission is confirmed only when it is durable; an absence of the ledger is
//! no rejection.

pub mod amqp;
pub mod submission;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::call::{Call, CallId, ClaimNumber, Course, Mode, State, Submission};
use crate::clock::{Timestamp, monotonic};
use crate::delay::{Delay, Departure};
use crate::endpoint::Endpoint;
use crate::ledger::batch::SharedLedger;
use crate::ledger::whole::to_its_end;
use crate::ledger::{Accepted, LedgerError, NewCall, Start};
use crate::limits::{PUBLISH_QUEUE, SLOT_PATIENCE};
use crate::notice::Events;
use crate::policy::{FirstStep, first_step};
use crate::tally::Tallies;
use crate::telemetry::Metrics;
use crate::worker::{Settled, Slot, Worker};
use submission::Refused;

/// Places submissions in the ledger. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    ledger: SharedLedger,
    delay: Arc<dyn Delay>,
    worker: Option<Arc<Worker>>,
    events: Events,
    metrics: Metrics,
    tallies: Tallies,
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
    /// Whether its first attempt is due at once but has no slot yet.
    fn wants_slot(&self) -> bool {
        self.slot.is_none() && starts_at_once(&self.call.submission, &self.call.start)
    }

    /// Its first attempt begins with the accept, by this worker.
    fn give(&mut self, slot: Slot, worker: &Worker) {
        let lease = self.endpoint.timeouts.lease();
        self.call.start = Start::Claimed { worker: worker.name().clone(), lease };
        self.slot = Some(slot);
        self.planned_at = monotonic();
    }

    /// A lease that began just now is counted from just before the accept that began it. One that began with an earlier accept, whose
    /// answer was lost, is counted from the plan.
    fn note_sent(&mut self, accepted: &Accepted, sent_at: Instant) {
        if matches!(accepted, Accepted::Stored(_)) {
            self.planned_at = sent_at;
        }
    }
}

/// A submission of which nobody knows whether it was stored.
#[derive(Debug)]
pub struct Unstored {
    /// It may be tried again as it is.
    pub placement: Placement,
    /// Why.
    pub error: LedgerError,
}

/// What became of the submission at this position of its batch.
type Placed = (usize, Result<Received, Box<Unstored>>);

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
        tallies: Tallies,
        tasks: TaskTracker,
    ) -> Self {
        let departing = Arc::new(Semaphore::new(PUBLISH_QUEUE));
        Self { ledger, delay, worker, events, metrics, tallies, tasks, departing }
    }

    /// Decides where a submission starts. One that is due at once takes a slot if one is free.
    pub fn plan(&self, submission: Submission, endpoint: Arc<Endpoint>) -> Placement {
        let mut placement = place(submission, endpoint);
        if let Some(worker) = self.worker.as_ref().filter(|_| placement.wants_slot())
            && let Some(slot) = worker.try_slot(&placement.endpoint)
        {
            placement.give(slot, worker);
        }
        placement
    }

    /// Like [`Self::plan`], but waits up to `patience` for a slot: somebody waits for the first attempt.
    pub async fn plan_patiently(
        &self,
        submission: Submission,
        endpoint: Arc<Endpoint>,
        patience: Duration,
    ) -> Placement {
        let mut placement = place(submission, endpoint);
        if let Some(worker) = self.worker.as_ref().filter(|_| placement.wants_slot())
            && let Ok(Some(slot)) = tokio::time::timeout(patience, worker.slot(&placement.endpoint)).await
        {
            placement.give(slot, worker);
        }
        placement
    }

    /// Stores one submission and sends it on its way; durable when it returns.
    ///
    /// # Errors
    /// [`LedgerError`]: whether it was stored is unknown.
    pub async fn submit(&self, placement: Placement) -> Result<Received, LedgerError> {
        let intake = self.clone();
        // A call may be stored as claimed for this process: if nobody made the attempt it would be taken for one of unknown outcome.
        let stored = to_its_end(&self.tasks, async move { intake.store(placement).await }).await;
        stored.map_err(|unstored| unstored.error)
    }

    /// Stores submissions that came together and sends them on their way; answers in order. What was not stored may be tried again: a call
    /// that was stored after all is recognised by its id.
    ///
    /// A call that is due at once waits for a slot as long as one comes free every [`SLOT_PATIENCE`]: begun with its accept it spares
    /// the ledger a claim and RabbitMQ a ticket. Where slots are held for longer, its ticket waits in the lane.
    pub async fn submit_all(&self, placements: Vec<Placement>) -> Vec<Result<Received, Box<Unstored>>> {
        let intake = self.clone();
        to_its_end(&self.tasks, async move { intake.store_all(placements).await }).await
    }

    /// Which of these documents became calls before, in order: `None` for one that did not, and stays refused. Only those are looked up
    /// that go by a key.
    ///
    /// # Errors
    /// [`LedgerError`]: nobody knows.
    pub async fn recall(&self, refused: &[Refused]) -> Result<Vec<Option<Received>>, LedgerError> {
        let mut recalled: Vec<_> = refused.iter().map(|_| None).collect();
        let keyed = refused.iter().enumerate();
        let (places, uses): (Vec<_>, Vec<_>) =
            keyed.filter_map(|(place, refused)| Some((place, refused.key_use.clone()?))).unzip();
        if !uses.is_empty() {
            for (place, known) in places.into_iter().zip(self.ledger.ledger().known(&uses).await?) {
                recalled[place] = match known {
                    Some(Accepted::Known(id)) => Some(self.known(id)),
                    Some(Accepted::KeyReused(id)) => Some(self.key_reused(id)),
                    Some(Accepted::Stored(_)) | None => None,
                };
            }
        }
        Ok(recalled)
    }

    fn known(&self, id: CallId) -> Received {
        self.metrics.submission("known");
        Received::Known(id)
    }

    fn key_reused(&self, id: CallId) -> Received {
        self.metrics.submission("key_reused");
        Received::KeyReused(id)
    }

    async fn store_all(&self, placements: Vec<Placement>) -> Vec<Result<Received, Box<Unstored>>> {
        let lacks_slot = |placement: &Placement| self.worker.is_some() && placement.wants_slot();
        let (waiting, ready): (Vec<_>, Vec<_>) =
            placements.into_iter().enumerate().partition(|(_, placement)| lacks_slot(placement));
        let (at_once, by_and_by) =
            tokio::join!(self.store_together(ready), self.store_as_slots_come(waiting));
        let mut answers: Vec<_> = at_once.into_iter().chain(by_and_by).collect();
        answers.sort_unstable_by_key(|(position, _)| *position);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// Stores many in one commit.
    async fn store_together(&self, placements: Vec<(usize, Placement)>) -> Vec<Placed> {
        let (calls, sent_at) =
            (placements.iter().map(|(_, placement)| placement.call.clone()).collect(), monotonic());
        let answers = self.ledger.accept_all(calls).await;
        let mut placed = Vec::with_capacity(placements.len());
        for ((position, placement), answer) in placements.into_iter().zip(answers) {
            placed.push((position, self.note(placement, answer, sent_at).await));
        }
        placed
    }

    /// Stores each when it has a slot, and all that are left when none comes free any more.
    async fn store_as_slots_come(&self, placements: Vec<(usize, Placement)>) -> Vec<Placed> {
        let Some(worker) = &self.worker else { return Vec::new() };
        let mut placed = Vec::with_capacity(placements.len());
        let mut storing = FuturesUnordered::new();
        let store = |position, placement| async move { (position, self.store(placement).await) };
        let mut open: Vec<_> = placements.into_iter().map(Some).collect();
        let mut slots: FuturesUnordered<_> = open
            .iter()
            .flatten()
            .map(|(_, placement)| Arc::clone(&placement.endpoint))
            .enumerate()
            .map(|(place, endpoint)| async move { (place, worker.slot_soon(&endpoint).await) })
            .collect();
        loop {
            tokio::select! {
                biased;
                Some(answer) = storing.next() => placed.push(answer),
                next = tokio::time::timeout(SLOT_PATIENCE, slots.next()), if !slots.is_empty() => {
                    if let Ok(Some((place, slot))) = next {
                        let Some((position, mut placement)) = open[place].take() else { continue };
                        if let Some(slot) = slot {
                            placement.give(slot, worker);
                        }
                        storing.push(store(position, placement));
                    } else {
                        slots.clear();
                        storing.extend(open.drain(..).flatten().map(|(position, placement)| store(position, placement)));
                    }
                }
                else => return placed,
            }
        }
    }

    async fn store(&self, placement: Placement) -> Result<Received, Box<Unstored>> {
        let sent_at = monotonic();
        let answer = self.ledger.accept(placement.call.clone()).await;
        self.note(placement, answer, sent_at).await
    }

    async fn note(
        &self,
        mut placement: Placement,
        answer: Result<Accepted, LedgerError>,
        sent_at: Instant,
    ) -> Result<Received, Box<Unstored>> {
        match answer {
            Ok(accepted) => {
                placement.note_sent(&accepted, sent_at);
                Ok(self.settle(placement, accepted).await)
            }
            Err(error) => Err(Box::new(Unstored { placement, error })),
        }
    }

    async fn settle(&self, placement: Placement, accepted: Accepted) -> Received {
        let Placement { call: NewCall { id, .. }, endpoint, slot, planned_at } = placement;
        match accepted {
            Accepted::Stored(call) => {
                self.metrics.submission("stored");
                if call.mode == Mode::Live {
                    self.tallies.accepted(&call.endpoint, Timestamp::now());
                }
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
            Accepted::Known(known) => self.known(known),
            Accepted::KeyReused(known) => self.key_reused(known),
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
            // An accept that is run again may find that its claim has long been closed, and another one is under way here.
            (State::Running(claim), Some(worker), Some(slot))
                if claim.worker == *worker.name() && claim.number == ClaimNumber::FIRST =>
            {
                return Some(worker.start(Box::new(call.clone()), endpoint, slot, planned_at));
            }
            (State::Scheduled { .. }, _, _) => self.see_off(call),
            (State::Review { .. } | State::Superseded { .. }, _, _) => self.events.tell(call),
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
    fn see_off(&self, call: &Call) {
        let Some(departure) = Departure::of(call) else { return };
        let Ok(permit) = Arc::clone(&self.departing).try_acquire_owned() else { return };
        let (delay, id) = (Arc::clone(&self.delay), call.id);
        self.tasks.spawn(async move {
            if let Err(error) = delay.depart(vec![departure]).await {
                tracing::debug!(call.id = %id, %error, "a first ticket could not be published; the sweeper will find the call");
            }
            drop(permit);
        });
    }

    /// The worker of this process, if it has one.
    pub const fn worker(&self) -> Option<&Arc<Worker>> {
        self.worker.as_ref()
    }

    /// What counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// A submission on its way into the ledger, without a slot.
fn place(submission: Submission, endpoint: Arc<Endpoint>) -> Placement {
    let (start, course) = match first_step(submission.failure.as_ref(), &endpoint, Timestamp::now()) {
        FirstStep::Review(reason) => (Start::Review(reason), Course::default()),
        FirstStep::Wait { delay, rung, trigger, course } => (Start::Waiting { delay, rung, trigger }, course),
    };
    let call = NewCall { id: CallId::generate(), submission, start, course };
    Placement { call, endpoint, slot: None, planned_at: monotonic() }
}

/// Whether the first attempt is due at once and may be claimed in the same commit. A call with an entity may turn out to be
/// superseded in that commit, so it takes the long way.
fn starts_at_once(submission: &Submission, start: &Start) -> bool {
    matches!(start, Start::Waiting { delay, .. } if delay.is_zero())
        && submission.entity.is_none()
        && submission.not_before.is_none_or(|time| time <= Timestamp::now())
}
