//! The gates of one process: before each endpoint an [`Entrance`], kept in step with the holds in the ledger.
//!
//! What this process finds out (a 429, too many failures) holds here at once and is written down for the others; what others write
//! down is learned within [`HOLDS_LOOK_EVERY`]. Decisions are the entrance's; here is what acts on them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Class, Worker};
use crate::call::attempt::ErrorKind;
use crate::call::{EndpointName, Outcome, Rung, Ticket, Verdict};
use crate::clock::{Timestamp, monotonic};
use crate::endpoint::{Endpoint, LaneName};
use crate::gate::adaptive::Bounds;
use crate::gate::breaker::BreakerState;
use crate::gate::hold::breaker_state;
use crate::gate::{Answer, Entrance, Errand, Finding, Health, Hold, HoldKind};
use crate::ledger::{Claimed, HoldChange, LedgerError, Park, ParkKind};
use crate::limits::{HOLDS_LOOK_EVERY, LEASE_MARGIN_DEFAULT, PARK_MIN, POSTPONE_MAX, RAMP_SECONDS};
use crate::notice::EndpointEvent;

/// How long the ramp after a hold takes.
pub const RAMP: Duration = Duration::from_secs(RAMP_SECONDS);
/// Calls that a probe looks at to find one that can be made.
const PROBE_CANDIDATES: usize = 8;

/// The gates of all endpoints.
#[derive(Debug)]
pub struct Gates {
    /// A std Mutex: it guards plain memory, is held for microseconds and never across an await.
    entrances: Mutex<BTreeMap<EndpointName, Entrance>>,
    /// Counts what was found here and has just been written down: an older look at the ledger must not undo it.
    written: AtomicU64,
    /// Sent whenever one may have shut or opened.
    changed: watch::Sender<()>,
    /// Endpoints whose probe is under way here.
    probing: Mutex<BTreeSet<EndpointName>>,
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            entrances: Mutex::default(),
            written: AtomicU64::new(0),
            changed: watch::Sender::new(()),
            probing: Mutex::default(),
        }
    }
}

impl Gates {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<EndpointName, Entrance>> {
        self.entrances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at<T>(&self, endpoint: &EndpointName, act: impl FnOnce(&mut Entrance, Instant) -> T) -> T {
        let now = monotonic();
        let mut entrances = self.lock();
        if let Some(entrance) = entrances.get_mut(endpoint) {
            return act(entrance, now);
        }
        act(entrances.entry(endpoint.clone()).or_default(), now)
    }

    /// Whether nothing but a probe may go to this endpoint.
    pub fn is_shut(&self, endpoint: &EndpointName) -> bool {
        self.at(endpoint, |entrance, now| entrance.shut(now).is_some())
    }

    /// How long what fails now fails because its endpoint is parked.
    pub fn parked(&self, endpoint: &EndpointName) -> Option<Duration> {
        self.at(endpoint, |entrance, now| entrance.parked(now))
    }

    /// How long a ticket that cannot go is put off.
    fn wait_of_shut(&self, endpoint: &EndpointName) -> Duration {
        let remaining = self.at(endpoint, |entrance, now| entrance.shut(now));
        remaining.flatten().unwrap_or(POSTPONE_MAX).clamp(PARK_MIN, POSTPONE_MAX)
    }

    /// Lets a call through now, or not at all.
    pub fn try_pass(&self, endpoint: &Endpoint) -> bool {
        self.at(&endpoint.name, |entrance, now| entrance.try_pass(&endpoint.protection, now))
    }

    /// How long the next attempt may take.
    pub fn overall(&self, endpoint: &Endpoint) -> Duration {
        match bounds(endpoint) {
            Some(bounds) => self.at(&endpoint.name, |entrance, _| entrance.timeout(bounds)),
            None => endpoint.timeouts.overall(),
        }
    }

    /// Takes note of how long an attempt took.
    pub fn note_time(&self, endpoint: &Endpoint, outcome: &Outcome, took: Duration) {
        let Some(bounds) = bounds(endpoint) else { return };
        self.at(&endpoint.name, |entrance, _| match outcome {
            Outcome::Answered(_) => entrance.note_answer(took),
            Outcome::Failed { kind: ErrorKind::Timeout, .. } => entrance.note_timeout(bounds),
            Outcome::Failed { .. } => {}
        });
    }

    /// Takes note of what an attempt came to.
    fn note(
        &self,
        endpoint: &Endpoint,
        verdict: Verdict,
        retry_after: Option<Duration>,
        errand: Errand,
    ) -> Option<Finding> {
        let finding = self.at(&endpoint.name, |entrance, now| {
            entrance.note(verdict, retry_after, errand, &endpoint.protection, now)
        });
        if finding.is_some() {
            self.tell();
        }
        finding
    }

    fn tell(&self) {
        self.changed.send_replace(());
    }

    /// Changes from now on.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Takes over what the ledger says of all endpoints.
    fn learn(&self, holds: &[Hold], ledger_now: Timestamp) {
        let now = monotonic();
        let mut entrances = self.lock();
        for hold in holds {
            entrances.entry(hold.endpoint.clone()).or_default();
        }
        for (endpoint, entrance) in entrances.iter_mut() {
            entrance.learn(holds.iter().find(|hold| hold.endpoint == *endpoint), ledger_now, now);
        }
        drop(entrances);
        self.tell();
    }
}

fn bounds(endpoint: &Endpoint) -> Option<Bounds> {
    let floor = endpoint.timeouts.adaptive_floor()?;
    Some(Bounds { floor, ceiling: endpoint.timeouts.overall() })
}

/// What came of waiting at a gate.
pub(super) enum Passage {
    /// The call may go.
    Open,
    /// The endpoint is held.
    Shut,
    /// The worker is stopping.
    Stopping,
}

impl Worker {
    /// Waits for a call's turn: ramp, then rate.
    pub(super) async fn pass(&self, endpoint: &Endpoint) -> Passage {
        let mut changes = self.gates.changes();
        let mut turn_taken = false;
        loop {
            let wait = match self.gates.at(&endpoint.name, Entrance::ask) {
                Answer::Shut(_) => return Passage::Shut,
                Answer::Wait(wait) => wait,
                Answer::Pass if turn_taken => return Passage::Open,
                Answer::Pass => {
                    turn_taken = true;
                    let wait = self
                        .gates
                        .at(&endpoint.name, |entrance, now| entrance.turn(&endpoint.protection, now));
                    if wait.is_zero() {
                        return Passage::Open;
                    }
                    wait
                }
            };
            if let Some(passage) = self.wait_at_gate(endpoint, wait, &mut changes).await {
                return passage;
            }
        }
    }

    /// Waits, unless the worker stops or the endpoint is shut meanwhile.
    async fn wait_at_gate(
        &self,
        endpoint: &Endpoint,
        wait: Duration,
        changes: &mut watch::Receiver<()>,
    ) -> Option<Passage> {
        let over = tokio::time::sleep(wait);
        tokio::pin!(over);
        loop {
            tokio::select! {
                biased;
                () = self.claiming.cancelled() => return Some(Passage::Stopping),
                () = &mut over => return None,
                _ = changes.changed() => if self.gates.is_shut(&endpoint.name) { return Some(Passage::Shut) },
            }
        }
    }

    /// Whether any ticket of this lane could lead to an attempt.
    pub(super) fn lane_flows(&self, lane: &LaneName) -> bool {
        let endpoints = self.tools.registry.snapshot();
        let mut of_lane = endpoints.iter().filter(|endpoint| endpoint.lane == *lane).peekable();
        of_lane.peek().is_none() || of_lane.any(|endpoint| !self.gates.is_shut(&endpoint.name))
    }

    /// Puts off calls whose endpoint is held: their tickets travel on. Neither rung nor attempt is used.
    ///
    /// # Errors
    /// The ledger is away: nothing is known to be put off.
    pub(super) async fn postpone(
        &self,
        endpoint: &EndpointName,
        tickets: &[Ticket],
    ) -> Result<(), LedgerError> {
        let by = self.gates.wait_of_shut(endpoint);
        let put_off = self.tools.ledger.ledger().postpone(tickets, by).await?;
        let now = Timestamp::now();
        let departures = put_off.into_iter().map(|(ticket, wait)| crate::delay::Departure {
            ticket,
            endpoint: endpoint.clone(),
            wait,
            wake_at: now.plus(wait),
        });
        let departures: Vec<_> = departures.collect();
        for _ in &departures {
            self.tools.metrics.claim("postponed");
        }
        if let Err(error) = self.tools.delay.depart(departures).await {
            tracing::debug!(endpoint = %endpoint, %error, "tickets that were put off could not be published; the sweeper finds their calls");
        }
        Ok(())
    }

    /// Takes note of what an attempt came to, and parks its endpoint if need be. Answers for how long it is parked, if it is.
    /// An attempt that says nothing of the endpoint has no verdict here.
    pub(super) fn weigh(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        verdict: Option<Verdict>,
        retry_after: Option<Duration>,
        errand: Errand,
    ) -> Option<Duration> {
        let Some(verdict) = verdict else {
            if errand == Errand::Probe {
                let unused = HoldChange::ProbeUnused { worker: self.name.clone() };
                self.change_hold(endpoint.name.clone(), unused);
            }
            return self.gates.parked(&endpoint.name);
        };
        if let Some(finding) = self.gates.note(endpoint, verdict, retry_after, errand) {
            let park = Park {
                kind: if finding.kind == HoldKind::Limited { ParkKind::Limited } else { ParkKind::Breaker },
                pause: finding.pause,
                parks: finding.parks,
                note: format!("an attempt came to {verdict}"),
            };
            self.change_hold(endpoint.name.clone(), HoldChange::Park(park));
            self.give_back_rungs(&endpoint.name);
        } else if errand == Errand::Probe && Health::of(verdict) == Some(Health::Healthy) {
            let change = HoldChange::ProbeSucceeded { worker: self.name.clone(), ramp: RAMP };
            self.change_hold(endpoint.name.clone(), change);
        }
        self.gates.parked(&endpoint.name)
    }

    /// Remembers that a failure cost a call a rung, until it is known whether it was the beginning of an outage.
    pub(super) fn remember_failure(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        verdict: Verdict,
        ticket: Ticket,
        rung_before: Rung,
    ) {
        if Health::of(verdict) != Some(Health::Failing) {
            return;
        }
        self.gates.at(&endpoint.name, |entrance, now| {
            entrance.remember(ticket, rung_before, &endpoint.protection, now);
        });
        // It may have been parked while this was being recorded.
        self.give_back_rungs(&endpoint.name);
    }

    /// Gives back the rungs of failures that turn out to have been the outage's.
    fn give_back_rungs(self: &Arc<Self>, endpoint: &EndpointName) {
        let failures = self.gates.at(endpoint, Entrance::outage);
        if failures.is_empty() {
            return;
        }
        let ledger = Arc::clone(self.tools.ledger.ledger());
        self.attempts.spawn(async move {
            match ledger.give_back_rungs(&failures).await {
                Ok(calls) => tracing::debug!(calls, "rungs were given back: the failures were an outage's"),
                Err(error) => tracing::debug!(%error, "rungs could not be given back"),
            }
        });
    }

    /// Writes a change down, through any absence of the ledger, until the worker drains. It holds here already.
    fn change_hold(self: &Arc<Self>, endpoint: EndpointName, change: HoldChange) {
        let worker = Arc::clone(self);
        self.attempts.spawn(async move {
            loop {
                match worker.tools.ledger.ledger().change_hold(&endpoint, &change).await {
                    Ok(hold) => {
                        worker.gates.written.fetch_add(1, Ordering::AcqRel);
                        worker.gates.at(&endpoint, |entrance, _| entrance.confirm());
                        if let Some(hold) = hold {
                            worker.tell_of_hold(&hold);
                        }
                        return worker.look_at_holds().await;
                    }
                    Err(error) => {
                        tracing::debug!(endpoint = %endpoint, %error, "a hold could not be written down; trying again");
                    }
                }
                tokio::select! {
                    biased;
                    () = worker.claiming.cancelled() => return,
                    () = tokio::time::sleep(HOLDS_LOOK_EVERY) => {}
                }
            }
        });
    }

    fn tell_of_hold(&self, hold: &Hold) {
        let event = EndpointEvent::of(hold);
        event.log();
        self.tools.events.tell_endpoint(event);
    }

    /// Looks which endpoints are held, once.
    ///
    /// # Errors
    /// The ledger is away.
    pub async fn learn_holds(&self) -> Result<(Timestamp, Vec<Hold>), LedgerError> {
        let (now, holds) = loop {
            let written = self.gates.written.load(Ordering::Acquire);
            let (now, holds) = self.tools.ledger.ledger().holds().await?;
            if self.gates.written.load(Ordering::Acquire) == written {
                break (now, holds);
            }
        };
        self.gates.learn(&holds, now);
        self.tools.metrics.holds(
            holds
                .iter()
                .filter(|hold| hold.is_shut())
                .map(|hold| (hold.endpoint.shared(), hold.kind.as_str())),
        );
        self.show_breakers(&holds, now);
        Ok((now, holds))
    }

    fn show_breakers(&self, holds: &[Hold], now: Timestamp) {
        let endpoints = self.tools.registry.snapshot();
        let with_breaker = endpoints.iter().filter(|endpoint| endpoint.protection.breaker.is_some());
        self.tools.metrics.breakers(with_breaker.flat_map(|endpoint| {
            let hold = holds.iter().find(|hold| hold.endpoint == endpoint.name);
            let present = breaker_state(hold, now);
            BreakerState::ALL
                .iter()
                .map(move |state| (endpoint.name.shared(), state.as_str(), *state == present))
        }));
    }

    async fn look_at_holds(&self) {
        if let Err(error) = self.learn_holds().await {
            tracing::debug!(%error, "the holds could not be looked at; trying again");
        }
    }

    /// Keeps in step with the holds in the ledger, probes, and forgets holds that are over, until stopped.
    pub async fn run_gates(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.claiming.cancelled() => return,
                () = tokio::time::sleep(HOLDS_LOOK_EVERY) => {}
            }
            match self.learn_holds().await {
                Ok((now, holds)) => self.move_on(now, &holds).await,
                Err(error) => tracing::debug!(%error, "the holds could not be looked at; trying again"),
            }
        }
    }

    async fn move_on(self: &Arc<Self>, now: Timestamp, holds: &[Hold]) {
        for hold in holds {
            self.give_back_rungs(&hold.endpoint);
            if hold.is_over(now) {
                // Of many workers one forgets it; all learn.
                let _ = self.tools.ledger.ledger().change_hold(&hold.endpoint, &HoldChange::Forget).await;
            }
            if hold.wants_probe(now) {
                self.start_probe(&hold.endpoint);
            }
        }
    }

    fn start_probe(self: &Arc<Self>, name: &EndpointName) {
        let Some(endpoint) = self.tools.registry.get(name) else { return };
        let Some(probing) = Gates::begin_probe(&self.gates, name) else { return };
        let worker = Arc::clone(self);
        self.attempts.spawn(async move {
            if let Err(error) = worker.probe(endpoint).await {
                tracing::debug!(endpoint = %probing.endpoint, %error, "a probe could not be made; trying again");
            }
        });
    }

    /// Makes one attempt of one call that is due, if this worker is the one that may. Without a call that is due there is nothing to
    /// probe with, and the endpoint stays parked until there is.
    async fn probe(self: &Arc<Self>, endpoint: Arc<Endpoint>) -> Result<(), LedgerError> {
        let ledger = self.tools.ledger.ledger();
        let now = ledger.now().await?;
        let due = ledger.waiting(&endpoint.name, None, now, PROBE_CANDIDATES).await?;
        if due.iter().all(|waiting| waiting.expired) {
            return Ok(());
        }
        let Some(slot) = self.slots.try_take(&endpoint) else { return Ok(()) };
        let take = HoldChange::TakeProbe {
            worker: self.name.clone(),
            lease: endpoint.timeouts.lease() + LEASE_MARGIN_DEFAULT,
        };
        if ledger.change_hold(&endpoint.name, &take).await?.is_none() {
            return Ok(());
        }
        let mut slot = Some(slot.for_probe());
        for waiting in due.into_iter().filter(|waiting| !waiting.expired) {
            let Some((claimed, taken_at)) = self.claim(waiting.ticket, &endpoint).await else { break };
            if let (Claimed::Won(call), Some(slot)) = (claimed, slot.take_if(|_| true)) {
                tracing::info!(endpoint = %endpoint.name, call.id = %call.id, "one call goes out to a held endpoint, as a probe");
                self.attempt(call, &endpoint, slot, taken_at).await;
                return Ok(());
            }
        }
        let unused = HoldChange::ProbeUnused { worker: self.name.clone() };
        ledger.change_hold(&endpoint.name, &unused).await.map(drop)
    }

    /// A slot, when one is free; an answer of another kind when the worker stops or the endpoint is held.
    pub(super) async fn slot_unless_shut(
        &self,
        endpoint: &Endpoint,
        class: Class,
    ) -> Result<super::Slot, Passage> {
        let mut changes = self.gates.changes();
        let slot = self.slots.take(endpoint, class);
        tokio::pin!(slot);
        loop {
            if self.gates.is_shut(&endpoint.name) {
                return Err(Passage::Shut);
            }
            tokio::select! {
                biased;
                () = self.claiming.cancelled() => return Err(Passage::Stopping),
                slot = &mut slot => return Ok(slot),
                _ = changes.changed() => {}
            }
        }
    }
}

/// A probe that is under way here. However it ends, also by a panic, the next one may begin when this is dropped.
#[derive(Debug)]
struct Probing {
    gates: Arc<Gates>,
    endpoint: EndpointName,
}

impl Drop for Probing {
    fn drop(&mut self) {
        self.gates.probing().remove(&self.endpoint);
    }
}

impl Gates {
    /// `None`: a probe of this endpoint is under way here.
    fn begin_probe(gates: &Arc<Self>, endpoint: &EndpointName) -> Option<Probing> {
        let begun = gates.probing().insert(endpoint.clone());
        begun.then(|| Probing { gates: Arc::clone(gates), endpoint: endpoint.clone() })
    }

    fn probing(&self) -> MutexGuard<'_, BTreeSet<EndpointName>> {
        self.probing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_probe_that_panics_or_is_given_up_makes_room_for_the_next() {
        let (gates, endpoint) = (Arc::<Gates>::default(), EndpointName::parse("sms").unwrap());
        let begun = Gates::begin_probe(&gates, &endpoint).unwrap();
        assert!(Gates::begin_probe(&gates, &endpoint).is_none(), "one at a time");
        let panics = tokio::spawn(async move {
            let _begun = begun;
            panic!("as a probe never should");
        });
        assert!(panics.await.is_err());

        let begun = Gates::begin_probe(&gates, &endpoint).unwrap();
        let given_up = tokio::spawn(async move {
            let _begun = begun;
            std::future::pending::<()>().await;
        });
        given_up.abort();
        assert!(given_up.await.is_err());
        assert!(Gates::begin_probe(&gates, &endpoint).is_some());
    }
}
