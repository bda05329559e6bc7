//! What all connections share: the script, the journal, and the step from a request to a reaction.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderName;
use http::request::Parts;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};

use crate::clock::{Timestamp, monotonic};

use super::behaviour::{Act, Behaviour, Circumstances, Reaction, react};
use super::dice::Dice;
use super::draft::unavailable;
use super::journal::{Arrival, Journal, Place, SeenRequest, Summary};
use super::{Script, SimulatorConfig, path};

/// How much of a request's body is kept; the rest is read and forgotten.
const BODY_KEPT_BYTES: usize = 64 * 1024;
/// A key longer than this is known by its hash.
const KEY_BYTES_MAX: usize = 255;

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
}

/// A request that was read to its end.
pub(super) struct Received {
    pub(super) head: Parts,
    /// The beginning of its body.
    pub(super) body: Bytes,
    key: String,
}

impl Stage {
    pub(super) fn new(config: SimulatorConfig) -> Self {
        let journal = Journal::new(monotonic(), Timestamp::now(), config.keep_requests);
        Self {
            seed: config.seed,
            key_header: config.key_header,
            script: RwLock::new(Arc::new(config.script)),
            state: Mutex::new(State { journal, down_until: None, outage: unavailable() }),
        }
    }

    /// Reads a request to its end. `None`: the client broke off.
    pub(super) async fn receive(&self, head: Parts, body: Incoming) -> Option<Received> {
        let announced = head.headers.get(&self.key_header).and_then(|key| key.to_str().ok());
        let known = announced.filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len())).map(str::to_owned);
        let mut hash = known.is_none().then(Sha256::new);
        let body = read_body(body, &mut hash).await?;
        let key = match (known, hash) {
            (Some(key), _) => key,
            (None, Some(hash)) => hashed_key(hash, announced, &head, &body),
            (None, None) => String::new(),
        };
        Some(Received { head, body, key })
    }

    /// Writes an arrival down and chooses what is done with it.
    pub(super) fn react(&self, received: &Received) -> (Reaction, Place) {
        let (method, uri) = (received.head.method.as_str(), &received.head.uri);
        let script = self.script();
        let behaviour: Cow<'_, Behaviour> = match script.rule_for(method, uri.path()) {
            Some(behaviour) => Cow::Borrowed(behaviour),
            None => {
                Cow::Owned(path::parse(uri.path(), uri.query()).unwrap_or_else(|s| Behaviour::refusing(&s)))
            }
        };
        let mut state = self.state();
        let standing = state.journal.arrive(&received.key, uri.path(), monotonic());
        let by_command = state.down_until.is_some_and(|until| standing.elapsed < until);
        let circumstances = Circumstances {
            ordinal: standing.ordinal,
            effects: standing.effects,
            elapsed: standing.elapsed,
            outage: by_command.then_some(&state.outage).or_else(|| script.outage(standing.elapsed)),
            dice: Dice::new(self.seed, &received.key, standing.ordinal),
        };
        let reaction = react(&behaviour, circumstances);
        if reaction.takes_effect {
            state.journal.take_effect(standing.place);
        }
        state.journal.keep(|| received.seen());
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
        self.state().journal.seen()
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

impl Received {
    fn seen(&self) -> SeenRequest {
        SeenRequest {
            key: self.key.as_str().into(),
            method: self.head.method.as_str().to_owned(),
            target: self.head.uri.to_string(),
            headers: self.headers(),
            body: self.body.clone(),
        }
    }

    /// Names and values in the order received.
    pub(super) fn headers(&self) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = self.head.headers.iter();
        headers.map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))).collect()
    }
}

/// Reads a body to its end, keeps its beginning, and feeds all of it to the hash if there is one.
async fn read_body(mut body: Incoming, hash: &mut Option<Sha256>) -> Option<Bytes> {
    let mut kept = Kept::Nothing;
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.ok()?.into_data() else { continue };
        if let Some(hash) = hash {
            hash.update(&chunk);
        }
        kept = kept.with(chunk);
    }
    Some(kept.into_bytes())
}

/// The beginning of a body; one that comes in one piece is not copied.
enum Kept {
    Nothing,
    One(Bytes),
    More(BytesMut),
}

impl Kept {
    fn with(self, chunk: Bytes) -> Self {
        let mut kept = match self {
            Self::Nothing => return Self::One(chunk),
            Self::One(first) => BytesMut::from(&first[..first.len().min(BODY_KEPT_BYTES)]),
            Self::More(kept) => kept,
        };
        let room = BODY_KEPT_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
        Self::More(kept)
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(chunk) => chunk.slice(..chunk.len().min(BODY_KEPT_BYTES)),
            Self::More(kept) => kept.freeze(),
        }
    }
}

/// The key of a request that has none: the hash of its body, of its target if it has no body, of its key if that is too long.
fn hashed_key(hash: Sha256, announced: Option<&str>, head: &Parts, body: &Bytes) -> String {
    let digest = match announced.filter(|key| !key.is_empty()) {
        Some(key) => Sha256::digest(key),
        None if body.is_empty() => Sha256::digest(head.uri.to_string()),
        None => hash.finalize(),
    };
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
