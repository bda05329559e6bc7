//! Carries bulk jobs out: paced, the canary first, stopped where too much fails.
//!
//! Any number of processes may run this side by side: each job is held by one of them, under a lease. What a process holds and cannot finish
//! another one goes on with. Nothing about a job lives here but its pace; where it stands is in the ledger.

mod decide;
mod pace;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::clock::monotonic;
use crate::delay::{Delay, Departure};
use crate::ledger::bulk::{Bulk, BulkId, BulkMove, BulkStatus, BulkStep};
use crate::ledger::{Ledger, LedgerError};
use crate::limits::{BULK_JOBS_AT_ONCE, BULK_LEASE, BULK_STEP_MAX};
use crate::notice::Events;

use decide::{Decision, decide};
use pace::Pace;

/// The pause between two rounds while there are jobs: short, so that a fast job need not act on many calls at a time.
const ROUND_EVERY: Duration = Duration::from_millis(100);
/// The pause while there are none.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often to look what came of the calls of a job whose canary has succeeded.
const SETTLE_EVERY: Duration = Duration::from_secs(1);
/// How often to look what came of the calls of jobs that have ended.
const SETTLE_ENDED_EVERY: Duration = Duration::from_secs(3);

/// Carries out the bulk jobs of the ledger.
pub struct Runner {
    ledger: Arc<dyn Ledger>,
    delay: Arc<dyn Delay>,
    events: Events,
    /// Who holds the jobs: this process and no other.
    holder: String,
    held: HashMap<BulkId, Held>,
    ended_settled_at: Option<Instant>,
}

/// What this process remembers of a job that it holds.
struct Held {
    pace: Pace,
    settled_at: Option<Instant>,
}

impl Runner {
    /// A runner that sends replayed calls on their way through `delay`.
    pub fn new(ledger: Arc<dyn Ledger>, delay: Arc<dyn Delay>, events: Events) -> Self {
        let holder = BulkId::generate().to_string();
        Self { ledger, delay, events, holder, held: HashMap::new(), ended_settled_at: None }
    }

    /// Works until stopped; what it holds then another process takes over at once.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = match self.round(&stop).await {
                Ok(0) => LOOK_EVERY,
                Ok(_) => ROUND_EVERY,
                Err(error) => {
                    tracing::debug!(%error, "bulk jobs wait for the ledger");
                    LOOK_EVERY
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        if !self.held.is_empty()
            && let Err(error) = self.ledger.release_bulks(&self.holder).await
        {
            tracing::debug!(%error, "bulk jobs could not be let go of; their leases end by themselves");
        }
    }

    /// Advances every job that this process holds or can take; answers how many.
    async fn round(&mut self, stop: &CancellationToken) -> Result<usize, LedgerError> {
        let jobs = self.ledger.take_bulks(&self.holder, BULK_LEASE, BULK_JOBS_AT_ONCE).await?;
        self.held.retain(|id, _| jobs.iter().any(|job| job.id == *id));
        for job in &jobs {
            if stop.is_cancelled() {
                return Ok(jobs.len());
            }
            match self.advance(job).await {
                // One job that is at odds with the ledger must not hold up the others.
                Err(error @ (LedgerError::Refused(_) | LedgerError::Corrupt(_))) => {
                    tracing::debug!(bulk.id = %job.id, %error, "a bulk job does not get on; trying again");
                }
                done => done?,
            }
        }
        self.settle_ended().await?;
        Ok(jobs.len())
    }

    async fn advance(&mut self, job: &Bulk) -> Result<(), LedgerError> {
        let Some(job) = self.settled(job).await? else { return Ok(()) };
        match decide(&job, self.ledger.now().await?) {
            Decision::Act(calls) => self.act(&job, calls).await,
            Decision::Move(to) => self.move_on(&job, &to).await,
            Decision::Wait | Decision::Nothing => Ok(()),
        }
    }

    /// The job, after a look what came of its calls where it is time for that. Calls of a canary are looked at each time.
    async fn settled(&mut self, job: &Bulk) -> Result<Option<Bulk>, LedgerError> {
        let now = monotonic();
        let held = self.held.entry(job.id).or_insert_with(|| Held { pace: Pace::new(now), settled_at: None });
        let fresh = held.settled_at.is_some_and(|at| now.saturating_duration_since(at) < SETTLE_EVERY);
        let last_look = job.waiting() == 0;
        if fresh && job.status != BulkStatus::Canary && !last_look {
            return Ok(Some(job.clone()));
        }
        held.settled_at = Some(now);
        self.ledger.settle_bulk(job.id).await
    }

    async fn act(&mut self, job: &Bulk, calls: u64) -> Result<(), LedgerError> {
        let Some(held) = self.held.get_mut(&job.id) else { return Ok(()) };
        let mut left = held.pace.allowance(job.plan.rate, monotonic()).min(calls);
        while left > 0 {
            let limit = usize::try_from(left).unwrap_or(BULK_STEP_MAX).min(BULK_STEP_MAX);
            let taken = self.step(job, limit).await?;
            let Some(taken) = taken else { return Ok(()) };
            if let Some(held) = self.held.get_mut(&job.id) {
                held.pace.spend(taken);
            }
            left = left.saturating_sub(taken);
            if taken < limit as u64 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One transaction; answers how many calls had their turn, `None` if the job is no longer this process's. A row that the ledger refuses
    /// takes its neighbours with it, so then they go one by one, and the one that is refused alone is passed over.
    async fn step(&self, job: &Bulk, limit: usize) -> Result<Option<u64>, LedgerError> {
        let limit_then = match self.ledger.step_bulk(job.id, &self.holder, limit).await {
            Ok(step) => return Ok(self.follow_up(job.id, step).await),
            Err(LedgerError::Refused(error)) if limit == 1 => {
                tracing::error!(bulk.id = %job.id, %error, "a call of a bulk job is passed over: the ledger refuses the action");
                self.ledger.skip_bulk(job.id, &self.holder, "the ledger refused the action").await?;
                return Ok(Some(1));
            }
            Err(LedgerError::Refused(_)) => 1,
            Err(error) => return Err(error),
        };
        Box::pin(self.step(job, limit_then)).await
    }

    async fn follow_up(&self, id: BulkId, step: BulkStep) -> Option<u64> {
        let mut departures = Vec::new();
        for call in &step.acted {
            match Departure::of(call) {
                Some(departure) => departures.push(departure),
                None => self.events.tell(call),
            }
        }
        if !departures.is_empty()
            && let Err(error) = self.delay.depart(departures).await
        {
            tracing::debug!(bulk.id = %id, %error, "tickets of replayed calls could not be published; the sweeper will find the calls");
        }
        step.job.map(|_| step.acted.len() as u64 + step.skipped)
    }

    async fn move_on(&self, job: &Bulk, to: &BulkMove) -> Result<(), LedgerError> {
        let Some(moved) = self.ledger.move_bulk(job.id, &self.holder, to).await? else { return Ok(()) };
        let (acted, skipped, failed) = (moved.acted, moved.skipped, moved.failed);
        match moved.reason {
            Some(reason) => {
                tracing::warn!(bulk.id = %moved.id, acted, skipped, failed, reason, "a bulk job stopped itself");
            }
            None => {
                tracing::info!(bulk.id = %moved.id, acted, skipped, failed, status = %moved.status, "a bulk job went on");
            }
        }
        Ok(())
    }

    async fn settle_ended(&mut self) -> Result<(), LedgerError> {
        let now = monotonic();
        if self.ended_settled_at.is_some_and(|at| now.saturating_duration_since(at) < SETTLE_ENDED_EVERY) {
            return Ok(());
        }
        self.ended_settled_at = Some(now);
        for id in self.ledger.unsettled_bulks(BULK_JOBS_AT_ONCE).await? {
            drop(self.ledger.settle_bulk(id).await?);
        }
        Ok(())
    }
}
