//! What all connections share: the script, the journal, and the step from a request to a reaction.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use http::HeaderName;
use http::request::Parts;
use hyper::body::Incoming;

use crate::clock::{Timestamp, monotonic};

use super::journal::{Arrival, Journal, Place, Summary};
use super::received::{Received, SeenRequest};
use super::{Script, SimulatorConfig};
use crate::script::behaviour::{Act, Circumstances, Reaction, react};
use crate::script::dice::Dice;
use crate::script::draft::unavailable;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Stage {
    seed: u64,
    key_header: HeaderName,
    script: RwLock<Arc<Script>>,
    /// One lock for the journal and the outage, held for a few memory accesses.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    journal: Journal,
    /// Until when it is down by command, counted from the journal's start.
    down_until: Option<Duration>,
    /// What happens while it is.
    outage: Act,
    /// The newest requests, oldest first.
    seen: VecDeque<Arc<Received>>,
    seen_max: usize,
}

impl Stage {
    pub(super) fn new(config: SimulatorConfig) -> Self {
        let state = State {
            journal: Journal::new(monotonic(), Timestamp::now()),
            down_until: None,
            outage: unavailable(),
            seen: VecDeque::new(),
            seen_max: config.keep_requests,
        };
        Self {
            seed: config.seed,
            key_header: config.key_header,
            script: RwLock::new(Arc::new(config.script)),
            state: Mutex::new(state),
        }
    }

    /// Reads a request to its end. `None`: the client broke off.
    pub(super) async fn receive(&self, head: Parts, body: Incoming) -> Option<Arc<Received>> {
        Received::read(head, body, &self.key_header).await.map(Arc::new)
    }

    /// Writes an arrival down and chooses what is done with it.
    pub(super) fn react(&self, received: &Arc<Received>) -> (Reaction, Place) {
        let (method, uri) = (received.method(), received.uri());
        let script = self.script();
        let behaviour = script.behaviour(method, uri.path(), uri.query());
        let mut state = self.state();
        let standing = state.journal.arrive(received.key(), uri.path(), monotonic());
        let by_command = state.down_until.is_some_and(|until| standing.elapsed < until);
        let circumstances = Circumstances {
            ordinal: standing.ordinal,
            effects: standing.effects,
            elapsed: standing.elapsed,
            outage: by_command.then_some(&state.outage).or_else(|| script.outage(standing.elapsed)),
            dice: Dice::new(self.seed, received.key(), standing.ordinal),
        };
        let reaction = react(&behaviour, circumstances);
        if reaction.takes_effect {
            state.journal.take_effect(standing.place);
        }
        state.keep(received);
        (reaction, standing.place)
    }

    pub(super) fn answered(&self, place: Place, status: u16) {
        let now = monotonic();
        self.state().journal.answer(place, status, now);
    }

    pub(super) fn connected(&self) {
        self.state().journal.connect();
    }

    pub(super) fn arrivals(&self, key: &str) -> Vec<Arrival> {
        self.state().journal.arrivals(key)
    }

    pub(super) fn summary(&self) -> Summary {
        self.state().journal.summary()
    }

    pub(super) fn requests(&self) -> Vec<SeenRequest> {
        self.state().seen.iter().map(|received| received.seen()).collect()
    }

    /// When the run began, and how long ago that is.
    pub(super) fn run(&self) -> (Timestamp, Duration) {
        let state = self.state();
        (state.journal.started_at(), state.journal.elapsed(monotonic()))
    }

    /// As [`Journal::write_lines`].
    pub(super) fn write_lines(&self, from: usize, count: usize, lines: &mut String) -> Option<usize> {
        self.state().journal.write_lines(from, count, lines)
    }

    pub(super) fn play(&self, script: Script) {
        *self.script.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
        self.reset();
    }

    pub(super) fn reset(&self) {
        let mut state = self.state();
        state.down_until = None;
        state.seen.clear();
        state.journal.restart(monotonic(), Timestamp::now());
    }

    pub(super) fn go_down(&self, lasting: Option<Duration>) {
        let mut state = self.state();
        let elapsed = state.journal.elapsed(monotonic());
        state.down_until = Some(lasting.map_or(Duration::MAX, |lasting| elapsed.saturating_add(lasting)));
    }

    pub(super) fn go_up(&self) {
        self.state().down_until = None;
    }

    fn script(&self) -> Arc<Script> {
        Arc::clone(&self.script.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps a request, in the place of the oldest.
    fn keep(&mut self, received: &Arc<Received>) {
        if self.seen.len() >= self.seen_max {
            self.seen.pop_front();
        }
        if self.seen.len() < self.seen_max {
            self.seen.push_back(Arc::clone(received));
        }
    }
}
