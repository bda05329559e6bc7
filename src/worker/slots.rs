//! Slots: how many attempts of each endpoint may be in flight in this process.
//!
//! Each endpoint has slots of its own, so one that hangs uses up nobody else's.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::call::EndpointName;
use crate::endpoint::Registry;

/// The slots of all endpoints.
#[derive(Debug)]
pub struct Slots(BTreeMap<EndpointName, Arc<Semaphore>>);

/// The right to have one attempt in flight; free again when it is dropped.
#[derive(Debug)]
pub struct Slot(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Slots {
    /// The slots that the endpoints' `concurrency` allows.
    pub fn new(registry: &Registry) -> Self {
        let slots = registry
            .iter()
            .map(|endpoint| (endpoint.name.clone(), Arc::new(Semaphore::new(endpoint.concurrency))));
        Self(slots.collect())
    }

    /// A slot, when one is free; `None` for an endpoint that is not configured.
    pub async fn take(&self, endpoint: &EndpointName) -> Option<Slot> {
        Arc::clone(self.0.get(endpoint)?).acquire_owned().await.ok().map(Slot)
    }

    /// A slot, if one is free now.
    pub fn try_take(&self, endpoint: &EndpointName) -> Option<Slot> {
        Arc::clone(self.0.get(endpoint)?).try_acquire_owned().ok().map(Slot)
    }

    /// How many are free now.
    pub fn free(&self, endpoint: &EndpointName) -> usize {
        self.0.get(endpoint).map_or(0, |slots| slots.available_permits())
    }
}
