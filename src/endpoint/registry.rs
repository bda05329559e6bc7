//! All endpoints by name. Who needs the set as a whole takes one snapshot and works with that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{CATCH_ALL_LANE, Endpoint, LaneName};
use crate::call::EndpointName;

/// The configured endpoints.
#[derive(Clone, Debug, Default)]
pub struct Registry(BTreeMap<EndpointName, Arc<Endpoint>>);

impl Registry {
    /// A registry of these endpoints; a later one of the same name takes the earlier one's place.
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

    /// Every lane with the endpoints whose tickets come through it.
    pub fn lanes(&self) -> BTreeMap<LaneName, BTreeSet<EndpointName>> {
        let mut lanes = BTreeMap::<LaneName, BTreeSet<EndpointName>>::new();
        for endpoint in self.iter() {
            lanes.entry(endpoint.lane.clone()).or_default().insert(endpoint.name.clone());
        }
        lanes
    }

    /// Whether a lane's name is that of the catch-all lane, which no endpoint may take.
    pub fn is_catch_all(lane: &LaneName) -> bool {
        lane.as_str() == CATCH_ALL_LANE
    }
}
