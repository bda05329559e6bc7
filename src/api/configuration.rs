//! What became of the configuration file while the program runs, for operators to see, and the tiers that are there because of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::delay::walk::Tiers;

/// The last two things that happened to the configuration. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Configuration(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    adopted_at: Timestamp,
    tiers: Tiers,
    /// A later version of the file that could not be taken over: when, and why not.
    refused: Option<(Timestamp, String)>,
}

impl Configuration {
    /// A configuration that the program started with, and all the tiers that it asks for.
    pub fn started(at: Timestamp, tiers: Tiers) -> Self {
        Self(Arc::new(Mutex::new(State { adopted_at: at, tiers, refused: None })))
    }

    /// The file was taken over; these are all the tiers from now on.
    pub fn adopted(&self, at: Timestamp, tiers: Tiers) {
        *self.lock() = State { adopted_at: at, tiers, refused: None };
    }

    /// The file was not taken over; what was in force stays so.
    pub fn refused(&self, at: Timestamp, why: String) {
        self.lock().refused = Some((at, why));
    }

    /// All tiers.
    pub fn tiers(&self) -> Tiers {
        self.lock().tiers.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the API shows it.
    pub fn view(&self) -> Value {
        let state = self.lock();
        let refused = state.refused.as_ref().map(|(at, why)| json!({ "at": at.to_string(), "faults": why }));
        json!({ "adopted_at": state.adopted_at.to_string(), "refused": refused })
    }
}
