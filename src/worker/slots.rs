//! Slots: how many attempts of each endpoint may be in flight in this process, and who gets one when they are short.
//!
//! Each endpoint has slots of its own, so one that hangs uses up nobody else's. First attempts come before repetitions: somebody is
//! waiting for them, and what has failed once can wait a little longer. Of every few slots one goes to a repetition all the same,
//! so that a stream of new calls does not keep the old ones waiting for ever. Within a class it is first come, first served.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::call::{AttemptNumber, EndpointName, Ticket};
use crate::endpoint::Endpoint;
use crate::gate::Errand;
use crate::limits::FIRSTS_TO_ONE_RETRY;

/// The slots of all endpoints. How many an endpoint has is its `concurrency` of the moment at which somebody asks.
#[derive(Debug, Default)]
pub struct Slots(Mutex<BTreeMap<EndpointName, Arc<Pool>>>);

/// The right to have one attempt in flight; free again when it is dropped.
#[derive(Debug)]
pub struct Slot {
    pool: Option<Arc<Pool>>,
    errand: Errand,
}

/// Who waits for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A call that nobody has tried yet.
    First,
    /// A call that failed before.
    Retry,
}

impl Class {
    /// The class of a ticket.
    pub fn of(ticket: Ticket) -> Self {
        if ticket.attempt == AttemptNumber::FIRST { Self::First } else { Self::Retry }
    }
}

/// The slots of one endpoint. A std Mutex: it guards plain memory and is never held across an await.
#[derive(Debug, Default)]
struct Pool(Mutex<Line>);

#[derive(Debug, Default)]
struct Line {
    limit: usize,
    used: usize,
    firsts: VecDeque<oneshot::Sender<Slot>>,
    retries: VecDeque<oneshot::Sender<Slot>>,
    /// Slots that went to first attempts while a retry waited.
    firsts_in_a_row: u32,
}

impl Slots {
    /// A slot, when one is free.
    pub async fn take(&self, endpoint: &Endpoint, class: Class) -> Slot {
        loop {
            let pool = self.pool(endpoint);
            let waiting = {
                let mut line = pool.lock();
                line.limit = endpoint.concurrency;
                if line.is_free() {
                    line.used += 1;
                    return Slot::of(&pool);
                }
                let (sender, waiting) = oneshot::channel();
                line.join(class, sender);
                waiting
            };
            // More slots than before, if the configuration has changed.
            pool.serve();
            // The sender is dropped only with the line itself, which we hold.
            if let Ok(slot) = waiting.await {
                return slot;
            }
        }
    }

    /// A slot, if one is free now and nobody waits for it.
    pub fn try_take(&self, endpoint: &Endpoint) -> Option<Slot> {
        let pool = self.pool(endpoint);
        let mut line = pool.lock();
        line.limit = endpoint.concurrency;
        if !line.is_free() {
            return None;
        }
        line.used += 1;
        drop(line);
        Some(Slot::of(&pool))
    }

    /// How many are free now.
    pub fn free(&self, endpoint: &Endpoint) -> usize {
        endpoint.concurrency.saturating_sub(self.pool(endpoint).lock().used)
    }

    fn pool(&self, endpoint: &Endpoint) -> Arc<Pool> {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&endpoint.name) {
            return Arc::clone(pool);
        }
        Arc::clone(pools.entry(endpoint.name.clone()).or_default())
    }
}

impl Line {
    /// Whether a slot is free for who asks just now.
    fn is_free(&self) -> bool {
        self.used < self.limit && self.firsts.is_empty() && self.retries.is_empty()
    }

    const fn waiters(&mut self, class: Class) -> &mut VecDeque<oneshot::Sender<Slot>> {
        match class {
            Class::First => &mut self.firsts,
            Class::Retry => &mut self.retries,
        }
    }

    /// Stands behind all others. Who has given up waiting leaves the line before it grows, so that it is never longer than twice what
    /// waits in it, also while no slot comes free.
    fn join(&mut self, class: Class, sender: oneshot::Sender<Slot>) {
        let waiters = self.waiters(class);
        if waiters.len() == waiters.capacity() {
            waiters.retain(|waiter| !waiter.is_closed());
        }
        waiters.push_back(sender);
    }

    /// Whose turn it is.
    fn next(&mut self) -> Option<oneshot::Sender<Slot>> {
        if self.retries.is_empty() {
            return self.firsts.pop_front();
        }
        if self.firsts.is_empty() || self.firsts_in_a_row + 1 >= FIRSTS_TO_ONE_RETRY {
            self.firsts_in_a_row = 0;
            return self.retries.pop_front();
        }
        self.firsts_in_a_row += 1;
        self.firsts.pop_front()
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives out what is free to those who wait.
    fn serve(self: &Arc<Self>) {
        loop {
            let next = {
                let mut line = self.lock();
                if line.used >= line.limit {
                    return;
                }
                let Some(next) = line.next() else { return };
                line.used += 1;
                next
            };
            // Who has given up waiting gets none: the slot is taken back here and not by its drop, which would come here again.
            if let Err(mut slot) = next.send(Slot::of(self)) {
                slot.pool = None;
                self.lock().used -= 1;
            }
        }
    }
}

impl Slot {
    fn of(pool: &Arc<Pool>) -> Self {
        Self { pool: Some(Arc::clone(pool)), errand: Errand::Call }
    }

    /// The same slot, for a probe.
    #[must_use]
    pub fn for_probe(mut self) -> Self {
        self.errand = Errand::Probe;
        self
    }

    /// What the attempt is made for.
    pub const fn errand(&self) -> Errand {
        self.errand
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.lock().used -= 1;
            pool.serve();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::endpoint::{BaseUrl, Ladder, Timeouts};

    fn endpoint(concurrency: usize) -> Endpoint {
        let second = Duration::from_secs(1);
        let plain = Endpoint::plain(
            EndpointName::parse("sms").unwrap(),
            BaseUrl::parse("http://127.0.0.1:1").unwrap(),
            Ladder::parse(&["1s"]).unwrap(),
            Timeouts::new(second, second, second, None).unwrap(),
        );
        Endpoint { concurrency, ..plain }
    }

    #[tokio::test]
    async fn first_attempts_come_first_but_every_eighth_slot_goes_to_a_retry() {
        let (slots, endpoint) = (Slots::default(), endpoint(1));
        let taken = slots.take(&endpoint, Class::Retry).await;
        let mut waiting = Vec::new();
        for class in [[Class::Retry; 4].as_slice(), [Class::First; 20].as_slice()].concat() {
            let mut slot = Box::pin(slots.take(&endpoint, class));
            assert!((&mut slot).now_or_never().is_none());
            waiting.push((class, slot));
        }
        drop(taken);
        let mut order = String::new();
        while !waiting.is_empty() {
            let (at, slot) = waiting
                .iter_mut()
                .enumerate()
                .find_map(|(at, (_, slot))| Some((at, slot.now_or_never()?)))
                .unwrap();
            let (class, _) = waiting.remove(at);
            order.push(if class == Class::First { 'f' } else { 'r' });
            drop(slot);
        }
        assert_eq!(order, "fffffffrfffffffrffffffrr");
    }

    #[tokio::test]
    async fn who_gives_up_waiting_keeps_nobody_from_a_slot() {
        let (slots, endpoint) = (Slots::default(), endpoint(1));
        let taken = slots.try_take(&endpoint).unwrap();
        assert!(slots.try_take(&endpoint).is_none());
        let mut gives_up = Box::pin(slots.take(&endpoint, Class::First));
        let mut granted_too_late = Box::pin(slots.take(&endpoint, Class::First));
        let mut stays = Box::pin(slots.take(&endpoint, Class::Retry));
        for waiting in [&mut gives_up, &mut granted_too_late, &mut stays] {
            assert!(waiting.now_or_never().is_none());
        }
        drop(gives_up);
        drop(taken);
        // It has the slot by now, and has not looked.
        drop(granted_too_late);
        drop(stays.now_or_never().unwrap());
        assert_eq!(slots.free(&endpoint), 1);
    }

    #[tokio::test]
    async fn a_line_does_not_grow_by_those_who_give_up() {
        let (slots, endpoint) = (Slots::default(), endpoint(1));
        let _taken = slots.try_take(&endpoint).unwrap();
        let mut stays = Box::pin(slots.take(&endpoint, Class::Retry));
        assert!((&mut stays).now_or_never().is_none());
        for _ in 0..1_000 {
            assert!(slots.take(&endpoint, Class::Retry).now_or_never().is_none());
        }
        let waiting = slots.pool(&endpoint).lock().retries.len();
        assert!(waiting < 10, "{waiting}");
    }

    #[tokio::test]
    async fn the_number_of_slots_follows_the_configuration() {
        let (slots, few, many) = (Slots::default(), endpoint(1), endpoint(3));
        let first = slots.take(&few, Class::First).await;
        let mut second = Box::pin(slots.take(&few, Class::First));
        assert!((&mut second).now_or_never().is_none());
        // Who asks under the new number finds the line served.
        let third = slots.take(&many, Class::First).await;
        let second = second.now_or_never().unwrap();
        assert!(slots.try_take(&many).is_none());
        drop((first, second, third));
        assert_eq!((slots.free(&few), slots.free(&many)), (1, 3));
    }
}
