//! The delay transport inside one process: timers, refilled from the ledger at start.
//!
//! Tickets live in memory only. Losing them is harmless, because the ledger knows every call and the sweeper finds what is overdue;
//! so when more wait than [`EMBEDDED_TIMERS_MAX`], or as many are due in one lane, those due last are dropped here and found there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::walk::Tiers;
use super::{Bundle, Delay, DelayError, Departure, Receipt};
use crate::call::{EndpointName, Ticket};
use crate::clock::Timestamp;
use crate::endpoint::ladder::format_duration;
use crate::endpoint::{CATCH_ALL_LANE, LaneName};
use crate::limits::{BUNDLE_TICKETS_MAX, EMBEDDED_TIMERS_MAX};

/// Bundles that wait for a lane's worker; the rest waits in the lane itself.
const LANE_BUFFER: usize = 4;

/// Timers in this process.
#[derive(Debug)]
pub struct EmbeddedDelay {
    timers: Mutex<Timers>,
    /// The earliest timer may have changed.
    changed: Notify,
    routes: ArcSwap<Routes>,
    prefix: String,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Which lane each ticket goes to.
#[derive(Debug)]
struct Routes {
    lanes: BTreeMap<LaneName, Arc<Lane>>,
    lane_of: BTreeMap<EndpointName, LaneName>,
    tiers: Tiers,
}

impl Routes {
    /// Routes to these lanes and to the catch-all lane. A lane that was there before goes on with what stands in it.
    fn new(
        lanes: &BTreeMap<LaneName, BTreeSet<EndpointName>>,
        tiers: Tiers,
        mut before: BTreeMap<LaneName, Arc<Lane>>,
    ) -> Self {
        let lane_of = lanes
            .iter()
            .flat_map(|(lane, endpoints)| endpoints.iter().map(|endpoint| (endpoint.clone(), lane.clone())))
            .collect();
        for lane in lanes.keys().cloned().chain(LaneName::parse(CATCH_ALL_LANE)) {
            before.entry(lane).or_default();
        }
        Self { lanes: before, lane_of, tiers }
    }

    fn lane(&self, name: &LaneName) -> Result<&Arc<Lane>, DelayError> {
        self.lanes.get(name).ok_or_else(|| DelayError::Refused(format!("there is no lane {name}")))
    }
}

#[derive(Debug, Default)]
struct Timers {
    waiting: BTreeMap<(Instant, u64), Timer>,
    next_number: u64,
    /// How many wait by the tier that would carry them through RabbitMQ.
    by_tier: BTreeMap<Duration, u64>,
}

#[derive(Debug)]
struct Timer {
    due: Due,
    tier: Duration,
}

#[derive(Debug)]
struct Due {
    ticket: Ticket,
    endpoint: EndpointName,
    wake_at: Timestamp,
}

#[derive(Debug, Default)]
struct Lane {
    ready: Mutex<VecDeque<Due>>,
    arrived: Notify,
}

impl EmbeddedDelay {
    /// Starts the timers for these lanes and the endpoints whose tickets come through each; tickets of any other endpoint
    /// come through [`CATCH_ALL_LANE`]. `tiers` only name the depths, as they would be in RabbitMQ.
    pub fn start(
        lanes: &BTreeMap<LaneName, BTreeSet<EndpointName>>,
        tiers: Tiers,
        prefix: String,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let delay = Arc::new(Self {
            timers: Mutex::default(),
            changed: Notify::new(),
            routes: ArcSwap::from_pointee(Routes::new(lanes, tiers, BTreeMap::new())),
            prefix,
            tasks: tasks.clone(),
            stop,
        });
        tasks.spawn(Arc::clone(&delay).run());
        delay
    }

    async fn run(self: Arc<Self>) {
        loop {
            let next = self.lock_timers().waiting.keys().next().map(|(at, _)| *at);
            let elapsed = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.changed.notified() => {}
                () = elapsed => self.fire(),
            }
        }
    }

    fn fire(&self) {
        let due = {
            let mut timers = self.lock_timers();
            let later = timers.waiting.split_off(&(Instant::now(), u64::MAX));
            let due = std::mem::replace(&mut timers.waiting, later);
            for timer in due.values() {
                timers.count_down(timer.tier);
            }
            due
        };
        for timer in due.into_values() {
            self.arrive(timer.due);
        }
    }

    fn arrive(&self, due: Due) {
        let routes = self.routes.load();
        let lane = routes.lane_of.get(&due.endpoint).map_or(CATCH_ALL_LANE, LaneName::as_str);
        if let Some((_, lane)) = routes.lanes.iter().find(|(name, _)| name.as_str() == lane) {
            lane.push(due);
        }
    }

    // A std Mutex: it guards plain memory, is held for microseconds and never across an await.
    fn lock_timers(&self) -> MutexGuard<'_, Timers> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timers {
    fn add(&mut self, at: Instant, timer: Timer) {
        *self.by_tier.entry(timer.tier).or_default() += 1;
        self.next_number += 1;
        self.waiting.insert((at, self.next_number), timer);
        if self.waiting.len() > EMBEDDED_TIMERS_MAX
            && let Some((_, last)) = self.waiting.pop_last()
        {
            self.count_down(last.tier);
        }
    }

    fn count_down(&mut self, tier: Duration) {
        if let Some(count) = self.by_tier.get_mut(&tier) {
            *count -= 1;
        }
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Due>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Beyond so many the sweeper finds the call, once the lane has come that far.
    fn push(&self, due: Due) {
        let mut ready = self.lock();
        if ready.len() < EMBEDDED_TIMERS_MAX {
            ready.push_back(due);
        }
        drop(ready);
        self.arrived.notify_one();
    }

    /// The next tickets of one endpoint.
    fn take(&self) -> Option<Bundle> {
        let mut ready = self.lock();
        let first = ready.pop_front()?;
        let mut tickets = vec![first.ticket];
        let mut wake_at = first.wake_at;
        while tickets.len() < BUNDLE_TICKETS_MAX
            && let Some(next) = ready.pop_front_if(|next| next.endpoint == first.endpoint)
        {
            tickets.push(next.ticket);
            wake_at = wake_at.min(next.wake_at);
        }
        Some(Bundle {
            endpoint: Some(first.endpoint),
            tickets,
            wake_at: Some(wake_at),
            receipt: Receipt::none(),
        })
    }

    async fn pump(self: Arc<Self>, sender: mpsc::Sender<Bundle>, stop: CancellationToken) {
        loop {
            // Room comes before the ticket, so that a ticket is never taken out for a receiver that is gone.
            let room = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                room = sender.reserve() => room,
            };
            let Ok(room) = room else { return };
            let bundle = loop {
                if let Some(bundle) = self.take() {
                    break bundle;
                }
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = sender.closed() => return,
                    () = self.arrived.notified() => {}
                }
            };
            room.send(bundle);
        }
    }
}

#[async_trait]
impl Delay for EmbeddedDelay {
    async fn depart(&self, departures: Vec<Departure>) -> Result<(), DelayError> {
        let (now, routes) = (Instant::now(), self.routes.load_full());
        let mut earliest_changed = false;
        for departure in departures {
            let Departure { ticket, endpoint, wait, wake_at } = departure;
            let due = Due { ticket, endpoint, wake_at };
            let Some(tier) = routes.tiers.pick(wait) else {
                self.arrive(due);
                continue;
            };
            let mut timers = self.lock_timers();
            let at = now + wait;
            earliest_changed |= timers.waiting.keys().next().is_none_or(|(first, _)| at < *first);
            timers.add(at, Timer { due, tier });
        }
        if earliest_changed {
            self.changed.notify_one();
        }
        Ok(())
    }

    async fn open(&self, lane: &LaneName) -> Result<mpsc::Receiver<Bundle>, DelayError> {
        let lane = Arc::clone(self.routes.load().lane(lane)?);
        let (sender, receiver) = mpsc::channel(LANE_BUFFER);
        self.tasks.spawn(lane.pump(sender, self.stop.clone()));
        Ok(receiver)
    }

    fn adopt(&self, lanes: &BTreeMap<LaneName, BTreeSet<EndpointName>>, tiers: Tiers) {
        self.routes.rcu(|before| Routes::new(lanes, tiers.clone(), before.lanes.clone()));
    }

    /// Nothing outlives the process here: a lane that is not configured is not there.
    fn unroute(&self, _: &EndpointName) {}

    fn is_away(&self) -> bool {
        false
    }

    async fn backlog(&self, lane: &LaneName) -> Result<u64, DelayError> {
        Ok(self.routes.load().lane(lane)?.lock().len() as u64)
    }

    async fn depths(&self) -> Result<BTreeMap<String, u64>, DelayError> {
        let (mut depths, routes) = (BTreeMap::new(), self.routes.load());
        for tier in routes.tiers.iter() {
            let count = self.lock_timers().by_tier.get(&tier).copied().unwrap_or(0);
            depths.insert(format!("{}.delay.{}", self.prefix, format_duration(tier)), count);
        }
        for (name, lane) in &routes.lanes {
            depths.insert(format!("{}.due.{name}", self.prefix), lane.lock().len() as u64);
        }
        Ok(depths)
    }
}
