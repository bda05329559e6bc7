//! `GET /v1/stream`: server-sent events for the console, so that a page is told and need not ask.
//!
//! One poller looks for all listeners of the process, and only while there are any: at the totals every 2 s, at the calls that pages
//! show every second. A listener that is slow misses what was in between and gets the newest. Nothing is queued.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Api;
use super::auth::Viewer;
use super::problem::{Problem, Result};
use super::render::CallView;
use super::stats;
use crate::call::CallId;
use crate::limits::{STREAM_LISTENERS_MAX, STREAM_MAX};

/// How often a call that somebody watches is looked at.
const CALL_EVERY: Duration = Duration::from_secs(1);
/// How many of those pass from one look at the totals to the next.
const STATS_EVERY_TICKS: u64 = 2;
/// How often a listener hears that the line still stands.
const PING_EVERY: Duration = Duration::from_secs(15);

/// A document as it goes out, shared by all who get it. Empty until there is one.
type Document = Arc<str>;

/// Where listeners subscribe and the poller publishes.
#[derive(Debug)]
pub struct Hub {
    stats: watch::Sender<Document>,
    calls: Mutex<BTreeMap<CallId, watch::Sender<Document>>>,
    places: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Hub {
    /// A hub whose streams end when `stop` is cancelled.
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            stats: watch::Sender::new(Document::from("")),
            calls: Mutex::default(),
            places: Arc::new(Semaphore::new(STREAM_LISTENERS_MAX)),
            stop,
        }
    }

    /// A place among the listeners.
    ///
    /// # Errors
    /// 503 when all are taken.
    fn place(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let detail = format!("{STREAM_LISTENERS_MAX} listeners are connected; ask without a stream");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_streams", detail)
        })
    }

    fn calls(&self) -> MutexGuard<'_, BTreeMap<CallId, watch::Sender<Document>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Documents of one call from now on.
    fn watch_call(&self, id: CallId) -> watch::Receiver<Document> {
        let mut calls = self.calls();
        calls.entry(id).or_insert_with(|| watch::Sender::new(Document::from(""))).subscribe()
    }

    /// The calls that somebody still watches; the others are forgotten.
    fn watched(&self) -> Vec<CallId> {
        let mut calls = self.calls();
        calls.retain(|_, sender| sender.receiver_count() > 0);
        calls.keys().copied().collect()
    }

    fn publish_call(&self, id: CallId, document: &str) {
        if let Some(sender) = self.calls().get(&id) {
            publish(sender, document);
        }
    }
}

/// Wakes listeners only if there is something new.
fn publish(sender: &watch::Sender<Document>, document: &str) {
    sender.send_if_modified(|last| {
        let new = **last != *document;
        if new {
            *last = Document::from(document);
        }
        new
    });
}

/// Looks for all listeners until stopped.
pub async fn run(api: Arc<Api>) {
    let mut every = every(CALL_EVERY);
    let mut tick = 0_u64;
    while api.hub.stop.run_until_cancelled(every.tick()).await.is_some() {
        if tick.is_multiple_of(STATS_EVERY_TICKS) && api.hub.stats.receiver_count() > 0 {
            look_at_totals(&api).await;
        }
        for id in api.hub.watched() {
            look_at_call(&api, id).await;
        }
        tick += 1;
    }
}

/// What cannot be looked at now is looked at again at the next tick; the log says it where it is somebody's request.
async fn look_at_totals(api: &Api) {
    if let Ok(document) = stats::document(api).await {
        publish(&api.hub.stats, &document.to_string());
    }
}

async fn look_at_call(api: &Api, id: CallId) {
    if let Ok(Some(call)) = api.ledger.find(id).await
        && let Ok(document) = serde_json::to_string(&CallView::from(&call))
    {
        api.hub.publish_call(id, &document);
    }
}

fn every(period: Duration) -> Interval {
    let mut every = tokio::time::interval(period);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every
}

/// What a listener asks for.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    call: Option<String>,
}

/// Opens a stream.
///
/// # Errors
/// 400 for what is no id, 503 when too many listen.
pub async fn listen(
    State(api): State<Arc<Api>>,
    _: Viewer,
    wish: std::result::Result<Query<Wish>, axum::extract::rejection::QueryRejection>,
) -> Result<Response> {
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, "invalid_parameter", detail);
    let Query(wish) = wish.map_err(|_| bad("the only parameter of the stream is call=<id>"))?;
    let call = match wish.call.as_deref().map(CallId::parse) {
        Some(None) => return Err(bad("call must be the id of a call")),
        Some(Some(id)) => Some(api.hub.watch_call(id)),
        None => None,
    };
    let place = api.hub.place()?;
    let events = events(&api.hub, call).map(move |event| {
        // The place is free again when the stream is dropped.
        let _ = &place;
        Ok::<_, Infallible>(event)
    });
    // Proxies that gather answers before they pass them on must not gather this one.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    let uncached = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(([unbuffered, uncached], Sse::new(events)).into_response())
}

/// Totals, pings and, where one is watched, a call; until the process stops or the stream is old.
fn events(hub: &Hub, call: Option<watch::Receiver<Document>>) -> impl Stream<Item = Event> + use<> {
    let documents = |name: &'static str, receiver| documents(receiver).map(move |text| event(name, &text));
    let stats = documents("stats", hub.stats.subscribe());
    let call = stream::iter(call).flat_map(move |receiver| documents("call", receiver));
    let pings = stream::unfold(every(PING_EVERY), |mut every| async move {
        every.tick().await;
        Some((Event::default().event("ping").data("{}"), every))
    });
    let end = Instant::now() + STREAM_MAX;
    let stop = hub.stop.clone();
    let over = async move {
        let _ = tokio::time::timeout_at(end, stop.cancelled()).await;
    };
    stream::select(pings, stream::select(stats, call)).take_until(Box::pin(over))
}

/// The newest document, then each that follows; never ends, since the hub outlives its listeners or stops them.
fn documents(mut receiver: watch::Receiver<Document>) -> impl Stream<Item = Document> {
    receiver.mark_changed();
    stream::unfold(receiver, |mut receiver| async move {
        receiver.changed().await.ok()?;
        let document = Document::clone(&receiver.borrow_and_update());
        Some((document, receiver))
    })
    .filter(|document| std::future::ready(!document.is_empty()))
}

fn event(name: &'static str, document: &str) -> Event {
    Event::default().event(name).data(document)
}
