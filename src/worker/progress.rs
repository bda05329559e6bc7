//! How far this process has got in its lanes: what the sweeper tells late tickets from lost ones by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::call::EndpointName;
use crate::clock::Timestamp;
use crate::ledger::LaneReport;

/// The progress of one process, by endpoint.
#[derive(Debug, Default)]
pub struct Progress(Mutex<BTreeMap<EndpointName, Reached>>);

#[derive(Debug, Default)]
struct Reached {
    /// Wake times of bundles some of whose tickets still wait for a slot here, each with how many bundles.
    held: BTreeMap<Timestamp, usize>,
    last_taken: Option<Timestamp>,
}

/// A bundle is held while this lives.
#[derive(Debug)]
pub struct Held {
    progress: Arc<Progress>,
    endpoint: EndpointName,
    wake_at: Timestamp,
}

impl Progress {
    /// Notes that a bundle has come whose earliest ticket was to wake its call at `wake_at`.
    pub fn hold(self: &Arc<Self>, endpoint: &EndpointName, wake_at: Timestamp) -> Held {
        let mut reached = self.lock();
        let entry = reached.entry(endpoint.clone()).or_default();
        *entry.held.entry(wake_at).or_default() += 1;
        entry.last_taken = entry.last_taken.max(Some(wake_at));
        Held { progress: Arc::clone(self), endpoint: endpoint.clone(), wake_at }
    }

    /// What there is to report.
    pub fn reports(&self) -> Vec<LaneReport> {
        let reached = self.lock();
        let report = |(endpoint, reached): (&EndpointName, &Reached)| LaneReport {
            endpoint: endpoint.clone(),
            oldest_held: reached.held.keys().next().copied(),
            last_taken: reached.last_taken,
        };
        reached.iter().map(report).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<EndpointName, Reached>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut reached = self.progress.lock();
        let Some(held) = reached.get_mut(&self.endpoint).map(|reached| &mut reached.held) else { return };
        if let Some(count) = held.get_mut(&self.wake_at) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.wake_at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_oldest_bundle_held_and_the_newest_taken() {
        let progress = Arc::new(Progress::default());
        let endpoint = EndpointName::parse("sms").unwrap();
        let at = Timestamp::from_unix_micros;
        let (first, second) = (progress.hold(&endpoint, at(1)), progress.hold(&endpoint, at(2)));
        let third = progress.hold(&endpoint, at(1));
        drop(first);
        assert_eq!(progress.reports()[0].oldest_held, Some(at(1)));
        drop(third);
        assert_eq!(progress.reports()[0].oldest_held, Some(at(2)));
        drop(second);
        assert_eq!(progress.reports(), [LaneReport { endpoint, oldest_held: None, last_taken: Some(at(2)) }]);
    }
}
