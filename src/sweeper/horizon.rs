//! How far a lane has been worked off: the line between a ticket that is late and one that is lost.
//!
//! A lane is first in, first out, and tickets come into it in the order in which they are due (give or take the grace period).
//! So a call whose ticket was due before everything that workers now take from the lane, and that no worker holds, has no ticket in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Sweeper;
use crate::call::WorkerName;
use crate::clock::Timestamp;
use crate::endpoint::{Endpoint, Endpoints, LaneName};
use crate::ledger::{LaneReport, LedgerError};

/// A worker that has not reported for this long is gone, and with it what it held: RabbitMQ has given that to another.
const FRESH: Duration = Duration::from_secs(10);

/// What this sweep and the one before it saw of the lanes. Each lane is looked at once in a sweep, whoever shares it.
#[derive(Debug, Default)]
pub struct Horizon {
    /// Whether a lane was empty at the last sweep. What workers took out of it by then stands in their reports by now.
    before: BTreeMap<LaneName, bool>,
    /// Whether it is empty now.
    now: BTreeMap<LaneName, bool>,
    reports: Vec<(WorkerName, LaneReport)>,
}

impl Horizon {
    /// Looks at these lanes, and then how far workers have got: a ticket that was taken in between stands in their reports.
    pub(super) async fn look(
        &mut self,
        lanes: BTreeSet<&LaneName>,
        sweeper: &Sweeper,
    ) -> Result<(), LedgerError> {
        self.before = std::mem::take(&mut self.now);
        for lane in lanes {
            // A lane that cannot be looked at counts as full.
            let empty = matches!(sweeper.delay.backlog(lane).await, Ok(0));
            self.now.insert(lane.clone(), empty);
        }
        self.reports = sweeper.ledger.lane_reports(FRESH).await?;
        if let Some(worker) = &sweeper.worker {
            // What this process knows of itself is newer than what it wrote down.
            self.reports.retain(|(name, _)| name != worker.name());
            self.reports.extend(
                worker.progress().reports().into_iter().map(|report| (worker.name().clone(), report)),
            );
        }
        Ok(())
    }

    /// What was seen of a lane says nothing.
    pub(super) fn unsettle(&mut self, lane: &LaneName) {
        self.now.insert(lane.clone(), false);
    }

    /// The time before which no ticket of this endpoint is on its way any more; `None`: any that is overdue is lost.
    pub(super) fn reached(
        &self,
        endpoint: &Endpoint,
        registry: &Endpoints,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let was_empty = |sweep: &BTreeMap<LaneName, bool>| sweep.get(&endpoint.lane) == Some(&true);
        let drained = was_empty(&self.before) && was_empty(&self.now);
        reached(endpoint, registry, &self.reports, drained, now)
    }
}

fn reached(
    endpoint: &Endpoint,
    registry: &Endpoints,
    reports: &[(WorkerName, LaneReport)],
    drained: bool,
    now: Timestamp,
) -> Option<Timestamp> {
    let held = reports
        .iter()
        .filter(|(_, report)| report.endpoint == endpoint.name)
        .filter_map(|(_, report)| report.oldest_held)
        .min();
    if drained {
        return held;
    }
    let shares_lane =
        |report: &LaneReport| registry.get(&report.endpoint).is_some_and(|other| other.lane == endpoint.lane);
    let taken = reports
        .iter()
        .filter(|(_, report)| shares_lane(report))
        .filter_map(|(_, report)| report.last_taken)
        .max();
    // Nobody has taken anything yet: everything may still be in the lane.
    let taken = taken.unwrap_or(Timestamp::UNIX_EPOCH).min(now);
    Some(held.map_or(taken, |held| held.min(taken)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::EndpointName;
    use crate::endpoint::{BaseUrl, Ladder, Timeouts};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_micros(seconds * 1_000_000)
    }

    fn registry() -> Endpoints {
        let second = Duration::from_secs(1);
        Endpoints::new(["a", "b"].map(|name| Endpoint {
            lane: EndpointName::parse("shared").unwrap(),
            ..Endpoint::plain(
                EndpointName::parse(name).unwrap(),
                BaseUrl::parse("http://127.0.0.1:1").unwrap(),
                Ladder::parse(&["1s"]).unwrap(),
                Timeouts::new(second, second, second, None).unwrap(),
            )
        }))
    }

    fn report(
        worker: &str,
        endpoint: &str,
        held: Option<i64>,
        taken: Option<i64>,
    ) -> (WorkerName, LaneReport) {
        let endpoint = EndpointName::parse(endpoint).unwrap();
        (
            WorkerName::parse(worker).unwrap(),
            LaneReport { endpoint, oldest_held: held.map(at), last_taken: taken.map(at) },
        )
    }

    fn reached_by(drained: bool, reports: &[(WorkerName, LaneReport)]) -> Option<Timestamp> {
        let registry = registry();
        let endpoint = registry.get(&EndpointName::parse("a").unwrap()).unwrap().clone();
        reached(&endpoint, &registry, reports, drained, at(100))
    }

    #[test]
    fn a_shared_lane_is_drained_when_it_was_empty_at_two_sweeps_and_not_at_two_endpoints() {
        let (registry, lane) = (registry(), EndpointName::parse("shared").unwrap());
        let overdue = |horizon: &Horizon| {
            registry.iter().map(|endpoint| horizon.reached(endpoint, &registry, at(100))).collect::<Vec<_>>()
        };
        let (full, drained) = (vec![Some(Timestamp::UNIX_EPOCH); 2], vec![None; 2]);
        let seen = |empty| BTreeMap::from([(lane.clone(), empty)]);
        let mut horizon = Horizon { now: seen(true), ..Horizon::default() };
        assert_eq!(overdue(&horizon), full, "empty once");
        horizon.before = seen(true);
        assert_eq!(overdue(&horizon), drained);
        horizon.unsettle(&lane);
        assert_eq!(overdue(&horizon), full, "one of its endpoints is held");
    }

    #[test]
    fn an_empty_lane_that_nobody_holds_tickets_of_hides_nothing() {
        assert_eq!(reached_by(true, &[]), None);
        assert_eq!(reached_by(true, &[report("w", "a", None, Some(50))]), None);
    }

    #[test]
    fn what_a_worker_holds_is_not_lost() {
        assert_eq!(
            reached_by(true, &[report("w", "a", Some(40), Some(50)), report("v", "a", Some(30), None)]),
            Some(at(30))
        );
        assert_eq!(
            reached_by(true, &[report("w", "b", Some(40), Some(50))]),
            None,
            "another endpoint's tickets are no excuse"
        );
    }

    #[test]
    fn a_full_lane_hides_everything_that_is_due_later_than_what_was_taken_last() {
        assert_eq!(reached_by(false, &[]), Some(Timestamp::UNIX_EPOCH), "no worker yet");
        assert_eq!(
            reached_by(false, &[report("w", "a", None, Some(50)), report("v", "b", None, Some(60))]),
            Some(at(60))
        );
        assert_eq!(reached_by(false, &[report("w", "a", Some(45), Some(60))]), Some(at(45)));
    }
}
