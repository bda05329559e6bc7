//! How many callbacks go to one host at a time: few, so that one that does not answer leaves room for the others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::CALLBACKS_AT_ONCE_TO_ONE_HOST;

/// How long a callback waits for a place at its host. A host that gives none for so long is not waited for until it answers again:
/// whoever waits takes the room of others.
const PATIENCE: Duration = Duration::from_secs(2);

/// The hosts that are posted to just now. A std Mutex: it guards plain memory and is never held across an await.
#[derive(Debug, Default)]
pub(super) struct Hosts(Mutex<HashMap<(String, u16), Arc<Host>>>);

#[derive(Debug)]
struct Host {
    places: Arc<Semaphore>,
    is_silent: AtomicBool,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(CALLBACKS_AT_ONCE_TO_ONE_HOST)),
            is_silent: AtomicBool::new(false),
        }
    }
}

/// The right to post to a host; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    host: Arc<Host>,
    _permit: OwnedSemaphorePermit,
}

impl Hosts {
    /// A place at the host of this URL; `None` if it gives none for too long.
    pub(super) async fn place_at(&self, url: &url::Url) -> Option<Place> {
        let host = self.host_of(url);
        let places = Arc::clone(&host.places);
        if host.is_silent.load(Ordering::Relaxed) {
            return Some(Place { host, _permit: places.try_acquire_owned().ok()? });
        }
        match tokio::time::timeout(PATIENCE, places.acquire_owned()).await {
            Ok(permit) => Some(Place { host, _permit: permit.ok()? }),
            Err(_elapsed) => {
                host.is_silent.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    fn host_of(&self, url: &url::Url) -> Arc<Host> {
        let name = url.host_str().unwrap_or_default().to_owned();
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody posts to these any more: as many remain as there are callbacks at once.
        hosts.retain(|_, host| Arc::strong_count(host) > 1);
        Arc::clone(hosts.entry((name, url.port_or_known_default().unwrap_or(0))).or_default())
    }
}

impl Place {
    /// The host answers: others may wait for a place again.
    pub(super) fn has_answered(&self) {
        self.host.is_silent.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_host_that_gives_no_place_for_a_while_is_not_waited_for_until_it_answers() {
        let hosts = Hosts::default();
        let url = "http://silent.example/".parse().unwrap();
        let mut places = Vec::new();
        for _ in 0..CALLBACKS_AT_ONCE_TO_ONE_HOST {
            places.push(hosts.place_at(&url).await.unwrap());
        }
        assert!(hosts.place_at(&url).await.is_none(), "the first waits in vain");
        let given_up = hosts.place_at(&url).now_or_never();
        assert!(given_up.is_some_and(|place| place.is_none()), "the next ones do not wait");
        assert!(hosts.place_at(&"http://silent.example:81/".parse().unwrap()).await.is_some());

        places[0].has_answered();
        let waits = hosts.place_at(&url);
        let (place, ()) = tokio::join!(waits, async { drop(places.pop()) });
        assert!(place.is_some());
    }
}
