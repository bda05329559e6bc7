//! What arrived, what was answered, what took effect. Small per arrival: a bench writes hundreds of thousands.
//!
//! Bounded: beyond [`ARRIVALS_MAX`] arrivals only the totals go on counting, and further keys count as one; beyond
//! [`PATHS_MAX`] paths they share one name.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::Timestamp;

/// Most arrivals that are kept one by one (about 150 MB with a key each).
pub const ARRIVALS_MAX: usize = 1_000_000;
/// Most paths that are counted one by one.
pub const PATHS_MAX: usize = 1_000;
/// The name of all further paths and keys.
const OTHERS: &str = "(others)";

/// One request as it arrived and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When, by the wall clock at the start and the monotonic clock since.
    pub at: Timestamp,
    /// When, counted from the start.
    pub since_start: Duration,
    /// When the answer was handed to the connection, counted from the start; `None` if there was none.
    pub answered: Option<Duration>,
    /// The status of that answer.
    pub status: Option<u16>,
    /// Whether it took effect.
    pub effect: bool,
    /// The path, without its query.
    pub path: Arc<str>,
}

/// Totals since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Requests that arrived.
    pub requests: u64,
    /// Keys that they had.
    pub keys: u64,
    /// How often a request took effect.
    pub effects: u64,
    /// How often one took effect whose key had done so before.
    pub duplicates: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Connections that were accepted.
    pub connections: u64,
    /// Requests that arrived after the journal was full.
    pub beyond_journal: u64,
    /// Requests and effects by path.
    pub by_path: BTreeMap<Arc<str>, PathTotals>,
    /// Answers by status.
    pub by_status: BTreeMap<u16, u64>,
}

/// Totals of one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathTotals {
    /// Requests that arrived.
    pub requests: u64,
    /// How often one took effect.
    pub effects: u64,
}

/// The journal of one run.
#[derive(Debug)]
pub(super) struct Journal {
    started: Instant,
    started_at: Timestamp,
    /// Counts restarts: an answer to a request from before one is not written down.
    run: u64,
    entries: Vec<Entry>,
    keys: Vec<KeyState>,
    key_numbers: HashMap<Arc<str>, u32>,
    paths: Vec<(Arc<str>, PathTotals)>,
    path_numbers: HashMap<Arc<str>, u32>,
    totals: Totals,
    by_status: BTreeMap<u16, u64>,
}

#[derive(Debug, Default)]
struct Totals {
    requests: u64,
    effects: u64,
    duplicates: u64,
    answered: u64,
    connections: u64,
    beyond: u64,
}

/// One arrival, packed: times in microseconds since the start.
#[derive(Debug)]
struct Entry {
    arrived_us: u64,
    /// How long after its arrival it was answered.
    answered_after_us: Option<u32>,
    key: u32,
    path: u32,
    /// The arrival of the same key before this one.
    previous: Option<u32>,
    status: Option<u16>,
    effect: bool,
}

#[derive(Debug)]
struct KeyState {
    name: Arc<str>,
    arrivals: u32,
    effects: u32,
    latest: Option<u32>,
}

/// Where an arrival is written down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    run: u64,
    /// `None`: the journal is full.
    entry: Option<u32>,
    key: u32,
    path: u32,
}

/// What the choice of a reaction needs to know about a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) place: Place,
    pub(super) ordinal: u32,
    pub(super) effects: u32,
    pub(super) elapsed: Duration,
}

impl Journal {
    /// An empty journal that begins now.
    pub(super) fn new(now: Instant, wall: Timestamp) -> Self {
        Self {
            started: now,
            started_at: wall,
            run: 0,
            entries: Vec::new(),
            keys: Vec::new(),
            key_numbers: HashMap::new(),
            paths: Vec::new(),
            path_numbers: HashMap::new(),
            totals: Totals::default(),
            by_status: BTreeMap::new(),
        }
    }

    /// Forgets everything and begins anew.
    pub(super) fn restart(&mut self, now: Instant, wall: Timestamp) {
        *self = Self { run: self.run + 1, ..Self::new(now, wall) };
    }

    /// Time since the start.
    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// Writes an arrival down.
    pub(super) fn arrive(&mut self, key: &str, path: &str, now: Instant) -> Standing {
        let elapsed = self.elapsed(now);
        let key = self.key_number(key);
        let path = self.path_number(path);
        self.totals.requests += 1;
        self.paths[path as usize].1.requests += 1;
        let entry = self.write(key, path, elapsed);
        let state = &mut self.keys[key as usize];
        state.arrivals = state.arrivals.saturating_add(1);
        let place = Place { run: self.run, entry, key, path };
        Standing { place, ordinal: state.arrivals, effects: state.effects, elapsed }
    }

    fn write(&mut self, key: u32, path: u32, elapsed: Duration) -> Option<u32> {
        if self.entries.len() >= ARRIVALS_MAX {
            self.totals.beyond += 1;
            return None;
        }
        let number = u32::try_from(self.entries.len()).ok();
        let previous = std::mem::replace(&mut self.keys[key as usize].latest, number);
        let arrived_us = micros(elapsed);
        self.entries.push(Entry {
            arrived_us,
            answered_after_us: None,
            key,
            path,
            previous,
            status: None,
            effect: false,
        });
        number
    }

    /// Writes down that the request took effect.
    pub(super) fn take_effect(&mut self, place: Place) {
        let key = &mut self.keys[place.key as usize];
        self.totals.duplicates += u64::from(key.effects > 0);
        self.totals.effects += 1;
        key.effects = key.effects.saturating_add(1);
        self.paths[place.path as usize].1.effects += 1;
        if let Some(entry) = place.entry {
            self.entries[entry as usize].effect = true;
        }
    }

    /// Writes down that the request was answered.
    pub(super) fn answer(&mut self, place: Place, status: u16, now: Instant) {
        if place.run != self.run {
            return;
        }
        let elapsed = micros(self.elapsed(now));
        self.totals.answered += 1;
        *self.by_status.entry(status).or_default() += 1;
        if let Some(entry) = place.entry.and_then(|entry| self.entries.get_mut(entry as usize)) {
            let after = u32::try_from(elapsed.saturating_sub(entry.arrived_us)).unwrap_or(u32::MAX);
            entry.answered_after_us = Some(after);
            entry.status = Some(status);
        }
    }

    /// Counts a connection.
    pub(super) fn connect(&mut self) {
        self.totals.connections += 1;
    }

    /// The arrivals of a key, in order.
    pub(super) fn arrivals(&self, key: &str) -> Vec<Arrival> {
        let latest = self.key_numbers.get(key).and_then(|number| self.keys[*number as usize].latest);
        let newest_first = std::iter::successors(latest, |number| self.entries[*number as usize].previous);
        let mut arrivals: Vec<_> =
            newest_first.map(|number| self.arrival(&self.entries[number as usize])).collect();
        arrivals.reverse();
        arrivals
    }

    fn arrival(&self, entry: &Entry) -> Arrival {
        let since_start = Duration::from_micros(entry.arrived_us);
        Arrival {
            at: self.started_at.plus(since_start),
            since_start,
            answered: entry.answered_after_us.map(|after| since_start + Duration::from_micros(after.into())),
            status: entry.status,
            effect: entry.effect,
            path: Arc::clone(&self.paths[entry.path as usize].0),
        }
    }

    /// When the run began, by the wall clock.
    pub(super) fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Totals since the start.
    pub(super) fn summary(&self) -> Summary {
        Summary {
            requests: self.totals.requests,
            keys: self.keys.len() as u64,
            effects: self.totals.effects,
            duplicates: self.totals.duplicates,
            answered: self.totals.answered,
            connections: self.totals.connections,
            beyond_journal: self.totals.beyond,
            by_path: self.paths.iter().map(|(path, totals)| (Arc::clone(path), *totals)).collect(),
            by_status: self.by_status.clone(),
        }
    }

    /// Writes the arrivals from a number on as lines of JSON, at most this many: `["key",arrived_us,answered_us,status,effect]`.
    /// Returns the number after the last; `None` when there are no more.
    pub(super) fn write_lines(&self, from: usize, count: usize, lines: &mut String) -> Option<usize> {
        let to = (from + count).min(self.entries.len());
        for entry in self.entries.get(from..to).unwrap_or_default() {
            write_line(&self.keys[entry.key as usize].name, entry, lines);
        }
        (from < to).then_some(to)
    }

    fn key_number(&mut self, key: &str) -> u32 {
        if let Some(number) = self.key_numbers.get(key) {
            return *number;
        }
        if self.keys.len() == ARRIVALS_MAX && key != OTHERS {
            return self.key_number(OTHERS);
        }
        let name: Arc<str> = key.into();
        let number = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        self.keys.push(KeyState { name: Arc::clone(&name), arrivals: 0, effects: 0, latest: None });
        self.key_numbers.insert(name, number);
        number
    }

    fn path_number(&mut self, path: &str) -> u32 {
        if let Some(number) = self.path_numbers.get(path) {
            return *number;
        }
        if self.paths.len() == PATHS_MAX && path != OTHERS {
            return self.path_number(OTHERS);
        }
        let name: Arc<str> = path.into();
        let number = u32::try_from(self.paths.len()).unwrap_or(u32::MAX);
        self.paths.push((Arc::clone(&name), PathTotals::default()));
        self.path_numbers.insert(name, number);
        number
    }
}

fn write_line(key: &str, entry: &Entry, lines: &mut String) {
    let answered = entry.answered_after_us.map(|after| entry.arrived_us + u64::from(after));
    // Writing into a String cannot fail.
    let _infallible = writeln!(
        lines,
        "[{},{},{},{},{}]",
        serde_json::Value::from(key),
        entry.arrived_us,
        answered.map_or_else(|| "null".to_owned(), |at| at.to_string()),
        entry.status.map_or_else(|| "null".to_owned(), |status| status.to_string()),
        entry.effect,
    );
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
