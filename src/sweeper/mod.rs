//! Finds calls whose ticket was lost or whose worker died, and sets them going again.
//!
//! Constant work, idempotent, any number side by side: what two sweepers find, only one of them carries out, because the ledger
//! guards each step. It never doubles a backlog that is merely waiting in its lane: [`horizon`] says how far a lane has been worked off.

pub mod held;
pub mod horizon;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::call::{
    Attempt, Call, Claim, Course, EndpointName, ErrorKind, Outcome, ReviewReason, Ruling, State, Ticket,
    Trigger, Verdict,
};
use crate::clock::Timestamp;
use crate::delay::{Bundle, Delay, Departure, Receipt};
use crate::endpoint::{Endpoint, Registry};
use crate::gate::Hold;
use crate::ledger::{Ledger, LedgerError, Next, Record, Recorded, SetAside, Waiting, claim_of};
use crate::limits::SWEEP_BATCH;
use crate::notice::Events;
use crate::policy::{Decision, Finding, Reach, Standing, next_after_query, next_step};
use crate::telemetry::Metrics;
use crate::worker::{Worker, close::next_of};
use held::Held;
use horizon::Horizon;

/// How often to look whether the broker is away, and for due calls while it is.
const HANDOVER_EVERY: Duration = Duration::from_millis(250);

/// When the sweeper sweeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The pause between two sweeps.
    pub every: Duration,
    /// How long a call may be overdue before its ticket counts as lost.
    pub grace: Duration,
}

/// The sweeper of one process.
pub struct Sweeper {
    /// Where calls are found.
    pub ledger: Arc<dyn Ledger>,
    /// The endpoints.
    pub registry: Arc<Registry>,
    /// Where new tickets go.
    pub delay: Arc<dyn Delay>,
    /// Who takes due calls while the broker is away, if this process has a worker.
    pub worker: Option<Arc<Worker>>,
    /// Who is told about outcomes.
    pub events: Events,
    /// What counts.
    pub metrics: Metrics,
    /// When to sweep.
    pub config: Config,
}

impl Sweeper {
    /// Sweeps until stopped.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (mut horizon, mut held) = (Horizon::default(), Held::default());
        loop {
            if let Err(error) = self.sweep(&mut horizon, &mut held).await {
                tracing::debug!(%error, "a sweep ended early; the next one goes on");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.config.every) => {}
            }
        }
    }

    /// Hands due calls to this process's worker for as long as the broker is away, until stopped.
    pub async fn run_handover(self: Arc<Self>, stop: CancellationToken) {
        let Some(worker) = self.worker.clone() else { return };
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(HANDOVER_EVERY) => {}
            }
            if self.delay.is_away()
                && let Err(error) = self.hand_over(&worker).await
            {
                tracing::debug!(%error, "due calls could not be handed over; trying again");
            }
        }
    }

    async fn sweep(&self, horizon: &mut Horizon, held: &mut Held) -> Result<(), LedgerError> {
        go_on_unless_away(self.close_lost_attempts().await, "attempts of lost workers could not be closed")?;
        held.look(&*self.ledger, self.config.grace).await?;
        let now = self.ledger.now().await?;
        let registry = self.registry.snapshot();
        let waiting = self.ledger.waiting_endpoints().await?;
        let is_away = self.delay.is_away();
        let known = || waiting.iter().filter_map(|endpoint| registry.get(endpoint));
        let lanes = if is_away { BTreeSet::new() } else { known().map(|endpoint| &endpoint.lane).collect() };
        horizon.look(lanes, self).await?;
        known()
            .filter(|endpoint| held.is_held(&endpoint.name))
            .for_each(|endpoint| horizon.unsettle(&endpoint.lane));
        for endpoint in &waiting {
            let swept = match registry.get(endpoint) {
                None => self.set_aside_unroutable(endpoint, now.minus(self.config.grace)).await,
                Some(known) if held.is_held(&known.name) => self.watch_deadlines(&known.name, held).await,
                Some(_) if is_away => Ok(()),
                Some(known) => {
                    self.rescue(endpoint, self.lost_before(horizon.reached(known, &registry, now), now)).await
                }
            };
            go_on_unless_away(swept, &format!("calls of {endpoint} could not be swept"))?;
        }
        Ok(())
    }

    /// What was to wake before this and still waits has lost its ticket.
    fn lost_before(&self, reached: Option<Timestamp>, now: Timestamp) -> Timestamp {
        let earliest = reached.map_or(now, |reached| reached.min(now));
        earliest.minus(self.config.grace)
    }

    async fn watch_deadlines(&self, endpoint: &EndpointName, held: &mut Held) -> Result<(), LedgerError> {
        if held.is_time_for_deadlines(endpoint) { self.set_expired_aside(endpoint).await } else { Ok(()) }
    }

    /// Deadlines hold while an endpoint is held. A page at a time: the next look takes the next.
    async fn set_expired_aside(&self, endpoint: &EndpointName) -> Result<(), LedgerError> {
        let expired = self.ledger.expired(endpoint, SWEEP_BATCH).await?;
        self.set_aside(&expired, ReviewReason::Expired, "expired").await
    }

    /// Closes attempts whose lease ran out: nobody knows what became of them.
    async fn close_lost_attempts(&self) -> Result<(), LedgerError> {
        loop {
            let calls = self.ledger.expired_leases(SWEEP_BATCH).await?;
            if calls.is_empty() {
                return Ok(());
            }
            let (now, holds) = self.ledger.holds().await?;
            let records: Vec<Record> =
                calls.iter().filter_map(|call| self.lost_attempt(call, now, &holds)).collect();
            let closed = self.record_lost(&calls, &records).await?;
            if calls.len() < SWEEP_BATCH || closed == 0 {
                return Ok(());
            }
        }
    }

    /// Writes down what became of these calls; answers of how many. Where one is refused, all of them are, so each then goes alone.
    async fn record_lost(&self, calls: &[Call], records: &[Record]) -> Result<usize, LedgerError> {
        match self.ledger.record(records).await {
            Ok(recorded) => {
                self.follow_up(calls, recorded).await;
                return Ok(records.len());
            }
            Err(error) => go_on_unless_away(Err(error), "attempts of lost workers are closed one by one")?,
        }
        let mut closed = 0;
        for (call, record) in calls.iter().zip(records) {
            match self.ledger.record(std::slice::from_ref(record)).await {
                Ok(recorded) => {
                    self.follow_up(std::slice::from_ref(call), recorded).await;
                    closed += 1;
                }
                Err(error) => {
                    go_on_unless_away(
                        Err(error),
                        &format!("the lost attempt of {} cannot be closed", call.id),
                    )?;
                }
            }
        }
        Ok(closed)
    }

    fn lost_attempt(&self, call: &Call, now: Timestamp, holds: &[Hold]) -> Option<Record> {
        let claim = claim_of(call)?;
        let (next, course) = match self.registry.get(&call.endpoint) {
            Some(endpoint) => {
                let hold = holds.iter().find(|hold| hold.endpoint == call.endpoint);
                let parked = hold.and_then(|hold| hold.parked(now));
                after_lost_worker(call, claim, &endpoint, now, parked)
            }
            None => (Next::Review(ReviewReason::Unroutable), call.course.clone()),
        };
        let detail = format!("worker {} did not come back before its lease ended", claim.worker);
        let attempt = Attempt {
            number: claim.attempt,
            claim: claim.number,
            trigger: claim.trigger,
            choice: None,
            ruling: Ruling::default(),
            worker: claim.worker.clone(),
            started_at: claim.started_at,
            duration: now.since(claim.started_at),
            verdict: verdict_of_lost(claim.trigger),
            request: None,
            outcome: Outcome::Failed { kind: ErrorKind::WorkerLost, detail },
            late: None,
        };
        Some(Record { call: call.id, attempt: Arc::new(attempt), next, course })
    }

    async fn follow_up(&self, calls: &[Call], recorded: Vec<Recorded>) {
        let mut departures = Vec::new();
        let mut closed = 0;
        for (call, recorded) in calls.iter().zip(recorded) {
            let Recorded::Applied { state, wake_at } = recorded else { continue };
            closed += 1;
            tracing::warn!(call.id = %call.id, endpoint = %call.endpoint, status = %state.status(), "an attempt was closed because its worker was lost");
            match (wake_at, &state) {
                (Some(wake_at), State::Scheduled { due_at, .. }) => {
                    let ticket = Ticket { call: call.id, attempt: call.attempts_made.next() };
                    let wait = wake_at.min(*due_at).since(Timestamp::now());
                    departures.push(Departure { ticket, endpoint: call.endpoint.clone(), wait, wake_at });
                }
                _ => self.events.tell(&Call { state, ..call.clone() }),
            }
        }
        self.metrics.rescued("worker_lost", closed);
        self.see_off(departures).await;
    }

    /// Sends new tickets out for calls of this endpoint that were to wake before `lost_before`.
    async fn rescue(&self, endpoint: &EndpointName, lost_before: Timestamp) -> Result<(), LedgerError> {
        loop {
            let overdue = self.ledger.waiting(endpoint, None, lost_before, SWEEP_BATCH).await?;
            let (expired, lost): (Vec<Waiting>, Vec<Waiting>) =
                overdue.into_iter().partition(|waiting| waiting.expired);
            let found = expired.len() + lost.len();
            self.set_aside(&expired, ReviewReason::Expired, "expired").await?;
            let tickets: Vec<Ticket> = lost.iter().map(|waiting| waiting.ticket).collect();
            let ours = self.ledger.mark_rescued(&tickets, self.config.grace).await?;
            self.metrics.rescued("overdue", ours.len());
            if !ours.is_empty() {
                tracing::warn!(endpoint = %endpoint, calls = ours.len(), "tickets were lost; new ones go out");
            }
            let departures = ours.into_iter().map(|ticket| due_now(ticket, endpoint)).collect();
            self.see_off(departures).await;
            if found < SWEEP_BATCH {
                return Ok(());
            }
        }
    }

    async fn set_aside_unroutable(
        &self,
        endpoint: &EndpointName,
        before: Timestamp,
    ) -> Result<(), LedgerError> {
        self.delay.unroute(endpoint);
        let found = self.ledger.waiting(endpoint, None, before, SWEEP_BATCH).await?;
        // One that was to wake for its deadline is not due, so it is not unroutable yet.
        let (expired, due): (Vec<Waiting>, Vec<Waiting>) = found.into_iter().partition(|call| call.expired);
        self.set_aside(&expired, ReviewReason::Expired, "expired").await?;
        self.set_aside(&due, ReviewReason::Unroutable, "unroutable").await
    }

    async fn set_aside(
        &self,
        calls: &[Waiting],
        reason: ReviewReason,
        counted: &'static str,
    ) -> Result<(), LedgerError> {
        if calls.is_empty() {
            return Ok(());
        }
        let orders: Vec<SetAside> =
            calls.iter().map(|waiting| SetAside { ticket: waiting.ticket, reason }).collect();
        let moved: Vec<Call> = self.ledger.set_aside(&orders).await?.into_iter().flatten().collect();
        self.metrics.rescued(counted, moved.len());
        for call in &moved {
            self.events.tell(call);
        }
        Ok(())
    }

    async fn hand_over(&self, worker: &Arc<Worker>) -> Result<(), LedgerError> {
        let now = self.ledger.now().await?;
        for endpoint in self.registry.snapshot().iter() {
            let free = worker.slots().free(endpoint).min(SWEEP_BATCH);
            if free == 0 || worker.gates().is_shut(&endpoint.name) {
                continue;
            }
            let due = self.ledger.waiting(&endpoint.name, None, now, free).await?;
            let tickets: Vec<Ticket> = due.into_iter().map(|waiting| waiting.ticket).collect();
            if tickets.is_empty() {
                continue;
            }
            self.metrics.rescued("handed", tickets.len());
            let bundle = Bundle {
                endpoint: Some(endpoint.name.clone()),
                tickets,
                wake_at: None,
                receipt: Receipt::none(),
            };
            // One endpoint whose slots were taken meanwhile must not keep the others waiting.
            worker.take_up(bundle);
        }
        Ok(())
    }

    /// A ticket that does not get out is found again when its grace is over.
    async fn see_off(&self, departures: Vec<Departure>) {
        if departures.is_empty() {
            return;
        }
        if let Err(error) = self.delay.depart(departures).await {
            tracing::debug!(%error, "new tickets could not be published; the next sweep finds them again");
        }
    }
}

/// What the ledger refuses stands in nobody's way but its own; while the ledger is away there is no way at all.
fn go_on_unless_away(done: Result<(), LedgerError>, what: &str) -> Result<(), LedgerError> {
    match done {
        Err(error @ (LedgerError::Refused(_) | LedgerError::Corrupt(_))) => {
            tracing::error!(error = &error as &dyn std::error::Error, "{what}");
            Ok(())
        }
        done => done,
    }
}

/// What follows when nobody knows what became of an attempt: whether its request left, or what its query found.
fn after_lost_worker(
    call: &Call,
    claim: &Claim,
    endpoint: &Endpoint,
    now: Timestamp,
    parked: Option<Duration>,
) -> (Next, Course) {
    let standing = Standing {
        now,
        rung: call.rung,
        deadline: call.deadline,
        course: &call.course,
        started_at: claim.started_at,
        reach: Reach::Maybe,
        retry_after: None,
        parked,
        worker_lost: true,
        provider: None,
        has_alternative: false,
        draw: rand::random(),
    };
    let Decision { step, course } = match claim.trigger {
        Trigger::Confirm => next_after_query(Finding::Unknown, &standing, endpoint),
        Trigger::First | Trigger::Ladder | Trigger::Replay | Trigger::Recovery => {
            next_step(verdict_of_lost(claim.trigger), &standing, endpoint)
        }
    };
    (next_of(step, call.rung), course)
}

/// What an attempt comes to whose worker was lost. A query changes nothing at the third party, so there is nothing to doubt: it found
/// nothing out, as any query without an answer.
const fn verdict_of_lost(trigger: Trigger) -> Verdict {
    match trigger {
        Trigger::Confirm => Verdict::Pending,
        Trigger::First | Trigger::Ladder | Trigger::Replay | Trigger::Recovery => Verdict::Ambiguous,
    }
}

fn due_now(ticket: Ticket, endpoint: &EndpointName) -> Departure {
    Departure { ticket, endpoint: endpoint.clone(), wait: Duration::ZERO, wake_at: Timestamp::now() }
}
