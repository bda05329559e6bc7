//! Tickets: from a bundle in a lane to claims.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::gates::Passage;
use super::{Class, Slot, Worker};
use crate::call::{Call, EndpointName, ReviewReason, Ticket};
use crate::clock::{Timestamp, monotonic};
use crate::delay::{Bundle, Departure, Receipt};
use crate::endpoint::Endpoint;
use crate::ledger::{ClaimWish, Claimed, SetAside, claim_of};
use crate::limits::RECONNECT_PAUSE_MAX;

/// A receipt that is acknowledged when the last of its tickets is settled.
struct Countdown {
    /// When the earliest of its tickets was to wake its call.
    wake_at: Option<Timestamp>,
    open: AtomicUsize,
    receipt: Mutex<Option<Receipt>>,
}

impl Countdown {
    fn new(tickets: usize, wake_at: Option<Timestamp>, receipt: Receipt) -> Arc<Self> {
        Arc::new(Self { wake_at, open: AtomicUsize::new(tickets), receipt: Mutex::new(Some(receipt)) })
    }

    /// One ticket is claimed or known to be stale.
    async fn settled(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let receipt = self.receipt.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(receipt) = receipt {
            receipt.acknowledge().await;
        }
    }
}

impl Worker {
    /// Claims and attempts the calls of a bundle as slots become free.
    pub async fn take_bundle(self: Arc<Self>, bundle: Bundle) {
        let Bundle { endpoint, tickets, wake_at, receipt } = bundle;
        let Some(endpoint) = endpoint.filter(|_| !tickets.is_empty()) else {
            self.tools.metrics.claim("stale");
            return receipt.acknowledge().await;
        };
        let Some(endpoint) = self.tools.registry.get(&endpoint) else {
            self.set_aside_unroutable(tickets).await;
            return receipt.acknowledge().await;
        };
        let held = wake_at.map(|wake_at| self.progress.hold(&endpoint.name, wake_at));
        let countdown = Countdown::new(tickets.len(), wake_at, receipt);
        for (position, ticket) in tickets.iter().copied().enumerate() {
            let slot = match self.slot_unless_shut(&endpoint, Class::of(ticket)).await {
                Ok(slot) => slot,
                Err(Passage::Shut) => {
                    self.put_off(&endpoint, &tickets[position..], &countdown).await;
                    break;
                }
                // The worker is stopping: the bundle comes again elsewhere.
                Err(Passage::Stopping | Passage::Open) => return,
            };
            let (worker, endpoint, countdown) =
                (Arc::clone(&self), Arc::clone(&endpoint), Arc::clone(&countdown));
            self.attempts.spawn(async move { worker.take_ticket(ticket, &endpoint, slot, &countdown).await });
        }
        drop(held);
    }

    /// Tickets of a held endpoint travel on, after any absence of the ledger: given back unsettled they would come again at once, and
    /// again, for as long as it is away. Not settled when the worker stops before it answers.
    async fn put_off(&self, endpoint: &Endpoint, tickets: &[Ticket], countdown: &Countdown) {
        let mut pause = Duration::from_millis(100);
        while let Err(error) = self.postpone(&endpoint.name, tickets).await {
            tracing::debug!(endpoint = %endpoint.name, %error, "tickets could not be put off; trying again");
            tokio::select! {
                biased;
                () = self.claiming.cancelled() => return,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(RECONNECT_PAUSE_MAX),
            }
        }
        for _ in tickets {
            countdown.settled().await;
        }
    }

    async fn take_ticket(
        self: &Arc<Self>,
        ticket: Ticket,
        endpoint: &Endpoint,
        slot: Slot,
        countdown: &Countdown,
    ) {
        match self.pass(endpoint).await {
            Passage::Open => {}
            Passage::Shut => return self.put_off(endpoint, &[ticket], countdown).await,
            Passage::Stopping => return,
        }
        // Not settled when the worker stops before the ledger answers: the ticket then comes again elsewhere.
        let Some((claimed, taken_at)) = self.claim(ticket, endpoint).await else { return };
        match claimed {
            Claimed::Won(call) => {
                self.tools.metrics.claim("won");
                self.note_lateness(&call, countdown);
                countdown.settled().await;
                self.attempt(call, endpoint, slot, taken_at).await;
                return;
            }
            Claimed::Early(remaining) => {
                self.tools.metrics.claim("early");
                self.wait_on(ticket, &endpoint.name, remaining).await;
            }
            Claimed::Expired => {
                self.tools.metrics.claim("expired");
                self.set_aside(vec![ticket], ReviewReason::Expired).await;
            }
            Claimed::Stale => self.tools.metrics.claim("stale"),
        }
        countdown.settled().await;
    }

    fn note_lateness(&self, call: &Call, countdown: &Countdown) {
        if let (Some(wake_at), Some(claim)) = (countdown.wake_at, claim_of(call)) {
            self.tools.metrics.late(claim.started_at.since(wake_at));
        }
    }

    /// Claims, through any absence of the ledger, until the worker drains; also answers a moment before the lease began.
    pub(super) async fn claim(&self, ticket: Ticket, endpoint: &Endpoint) -> Option<(Claimed, Instant)> {
        let mut pause = Duration::from_millis(100);
        loop {
            let taken_at = monotonic();
            let wish = ClaimWish {
                ticket,
                endpoint: endpoint.name.clone(),
                worker: self.name.clone(),
                lease: endpoint.timeouts.lease(),
            };
            let error = match self.tools.ledger.claim(wish).await {
                Ok(claimed) => return Some((claimed, taken_at)),
                Err(error) => error,
            };
            tracing::debug!(call.id = %ticket.call, %error, "a claim did not reach the ledger; trying again");
            tokio::select! {
                biased;
                () = self.claiming.cancelled() => return None,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(RECONNECT_PAUSE_MAX),
            }
        }
    }

    /// An early ticket goes on waiting. If the broker does not take it, the sweeper finds the call when it is overdue.
    async fn wait_on(&self, ticket: Ticket, endpoint: &EndpointName, remaining: Duration) {
        let wake_at = Timestamp::now().plus(remaining);
        let departure = Departure { ticket, endpoint: endpoint.clone(), wait: remaining, wake_at };
        if let Err(error) = self.tools.delay.depart(vec![departure]).await {
            tracing::debug!(call.id = %ticket.call, %error, "an early ticket could not go on waiting");
        }
    }

    /// Sends calls to review whose endpoint is gone. A routing key is no proof of that: anybody may publish a ticket under the name
    /// of an endpoint that never was, and a call that only waits for its turn must not be set aside for it.
    async fn set_aside_unroutable(&self, tickets: Vec<Ticket>) {
        let mut orphans = Vec::new();
        for ticket in tickets {
            match self.tools.ledger.ledger().find(ticket.call).await {
                Ok(Some(call)) if self.tools.registry.get(&call.endpoint).is_none() => orphans.push(ticket),
                Ok(Some(_) | None) => self.tools.metrics.claim("stale"),
                // The sweeper meets it again.
                Err(error) => {
                    tracing::debug!(call.id = %ticket.call, %error, "a call could not be looked up");
                }
            }
        }
        self.set_aside(orphans, ReviewReason::Unroutable).await;
    }

    /// Sends calls to review that no attempt is to be made for.
    async fn set_aside(&self, tickets: Vec<Ticket>, reason: ReviewReason) {
        let orders: Vec<SetAside> = tickets.into_iter().map(|ticket| SetAside { ticket, reason }).collect();
        match self.tools.ledger.ledger().set_aside(&orders).await {
            Ok(calls) => {
                for call in calls.into_iter().flatten() {
                    self.tools.events.tell(&call);
                }
            }
            // The sweeper meets them again.
            Err(error) => tracing::debug!(%error, "calls could not be sent to review; the sweeper will"),
        }
    }
}
