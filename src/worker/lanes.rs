//! Lanes: each is consumed by a task of its own, which lets go of the lane while all its endpoints are held.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::delay::Bundle;
use crate::endpoint::LaneName;
use crate::limits::RECONNECT_PAUSE_MAX;

/// The lanes that this worker consumes, each with what ends it.
#[derive(Debug, Default)]
pub(super) struct Lanes(Mutex<BTreeMap<LaneName, (Form, CancellationToken)>>);

/// How a lane is consumed; each form has a queue of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// By all processes at once.
    Shared,
    /// By one process at a time, which keeps the rate.
    Single,
}

impl Worker {
    /// Takes tickets from this lane until the worker drains or [`Worker::forsake`] is called. Asked for another form it goes over to
    /// that; asked again it does nothing.
    pub fn consume(self: &Arc<Self>, lane: LaneName, form: Form) {
        let mut lanes = self.lanes.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.get(&lane).is_some_and(|(known, _)| *known == form) {
            return;
        }
        let forsaken = CancellationToken::new();
        let before = lanes.insert(lane.clone(), (form, forsaken.clone()));
        drop(lanes);
        if let Some((_, before)) = before {
            before.cancel();
        }
        self.taking.spawn(run(Arc::clone(self), lane, forsaken));
    }

    /// Takes nothing more from this lane; what was taken is attempted.
    pub fn forsake(&self, lane: &LaneName) {
        let forsaken = self.lanes.0.lock().unwrap_or_else(PoisonError::into_inner).remove(lane);
        if let Some((_, forsaken)) = forsaken {
            forsaken.cancel();
        }
    }

    /// The lanes that are consumed.
    pub fn lanes(&self) -> Vec<LaneName> {
        self.lanes.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

/// How a stretch of consuming came to its end.
enum End {
    /// The worker is stopping.
    Stopping,
    /// The lane is not to be consumed any more.
    Forsaken,
    /// All its endpoints are held.
    Held,
    /// The transport ended it.
    Lost,
}

async fn run(worker: Arc<Worker>, lane: LaneName, forsaken: CancellationToken) {
    let mut pause = Duration::from_millis(100);
    while worker.lane_opens(&lane, &forsaken).await {
        match worker.tools.delay.open(&lane).await {
            Ok(bundles) => match take_all(&worker, &lane, bundles, &forsaken).await {
                End::Stopping | End::Forsaken => return,
                End::Held => {
                    pause = Duration::from_millis(100);
                    continue;
                }
                End::Lost => {}
            },
            Err(error) => tracing::warn!(lane = %lane, %error, "a lane cannot be consumed; trying again"),
        }
        tokio::select! {
            biased;
            () = worker.claiming.cancelled() => return,
            () = forsaken.cancelled() => return,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(RECONNECT_PAUSE_MAX),
        }
    }
}

/// Takes bundles from an open lane. They are handled side by side: one that waits for slots of its endpoint does not hold up those
/// behind it, as far as the prefetch reaches.
async fn take_all(
    worker: &Arc<Worker>,
    lane: &LaneName,
    mut bundles: mpsc::Receiver<Bundle>,
    forsaken: &CancellationToken,
) -> End {
    let mut changes = worker.gates.changes();
    let end = loop {
        let bundle = tokio::select! {
            biased;
            () = worker.claiming.cancelled() => return End::Stopping,
            () = forsaken.cancelled() => break End::Forsaken,
            _ = changes.changed() => {
                if worker.lane_flows(lane) { continue }
                break End::Held;
            }
            bundle = bundles.recv() => bundle,
        };
        let Some(bundle) = bundle else { return End::Lost };
        worker.taking.spawn(Arc::clone(worker).take_bundle(bundle));
    };
    // What has been handed over is dealt with: in memory alone it would be lost.
    bundles.close();
    while let Some(bundle) = bundles.recv().await {
        worker.taking.spawn(Arc::clone(worker).take_bundle(bundle));
    }
    end
}

impl Worker {
    /// Waits until any ticket of the lane could lead to an attempt; false when the lane is not to be consumed any more.
    async fn lane_opens(&self, lane: &LaneName, forsaken: &CancellationToken) -> bool {
        let mut changes = self.gates.changes();
        while !self.lane_flows(lane) {
            tokio::select! {
                biased;
                () = self.claiming.cancelled() => return false,
                () = forsaken.cancelled() => return false,
                // The sender lives as long as `self`.
                _ = changes.changed() => {}
            }
        }
        !self.claiming.is_cancelled() && !forsaken.is_cancelled()
    }
}
