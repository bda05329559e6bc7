//! All endpoints by name. The set can be replaced while the program runs; who needs it as a whole takes one snapshot and works
//! with that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::{CATCH_ALL_LANE, Endpoint, LaneName};
use crate::call::EndpointName;

/// The configured endpoints, as they stand now.
#[derive(Debug, Default)]
pub struct Registry(ArcSwap<Endpoints>);

/// One consistent set of endpoints.
#[derive(Clone, Debug, Default)]
pub struct Endpoints(BTreeMap<EndpointName, Arc<Endpoint>>);

impl Registry {
    /// A registry of these endpoints; a later one of the same name takes the earlier one's place.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        Self(ArcSwap::from_pointee(Endpoints::new(endpoints)))
    }

    /// The endpoint of this name.
    pub fn get(&self, name: &EndpointName) -> Option<Arc<Endpoint>> {
        self.0.load().get(name).cloned()
    }

    /// The set as it stands now.
    pub fn snapshot(&self) -> Arc<Endpoints> {
        self.0.load_full()
    }

    /// Puts another set in the place of the present one, all at once.
    pub fn replace(&self, endpoints: Endpoints) {
        self.0.store(Arc::new(endpoints));
    }

    /// Whether a lane's name is that of the catch-all lane, which no endpoint may take.
    pub fn is_catch_all(lane: &LaneName) -> bool {
        lane.as_str() == CATCH_ALL_LANE
    }
}

impl From<Endpoints> for Registry {
    fn from(endpoints: Endpoints) -> Self {
        Self(ArcSwap::from_pointee(endpoints))
    }
}

impl Endpoints {
    /// These endpoints; a later one of the same name takes the earlier one's place.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        Self(endpoints.into_iter().map(|endpoint| (endpoint.name.clone(), Arc::new(endpoint))).collect())
    }

    /// The endpoint of this name.
    pub fn get(&self, name: &EndpointName) -> Option<&Arc<Endpoint>> {
        self.0.get(name)
    }

    /// All endpoints, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.0.values()
    }

    /// Every rung of every ladder, once, shortest first.
    pub fn rungs(&self) -> BTreeSet<Duration> {
        self.iter().flat_map(|endpoint| endpoint.ladder.delays().iter().copied()).collect()
    }

    /// The lanes that only one process at a time may consume, because the rate of one of their endpoints is limited over all of them.
    pub fn single_lanes(&self) -> BTreeSet<LaneName> {
        let limited = self.iter().filter(|endpoint| endpoint.protection.rate_limit.is_some());
        limited.map(|endpoint| endpoint.lane.clone()).collect()
    }

    /// Every lane with the endpoints whose tickets come through it.
    pub fn lanes(&self) -> BTreeMap<LaneName, BTreeSet<EndpointName>> {
        let mut lanes = BTreeMap::<LaneName, BTreeSet<EndpointName>>::new();
        for endpoint in self.iter() {
            lanes.entry(endpoint.lane.clone()).or_default().insert(endpoint.name.clone());
        }
        lanes
    }
}
