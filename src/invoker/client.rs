//! One HTTP client per endpoint and provider, made when it is first needed and kept until its endpoint's configuration changes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::call::{EndpointName, ErrorKind, ProviderName};
use crate::endpoint::{Addresses, Destination, Endpoint};
use crate::limits::POOL_IDLE;

use super::failure::Failure;
use super::guard::{self, GuardedResolver, Reach};
use super::{connect_timeout, tls};

/// The clients of all endpoints.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// A std lock: it is held for a look-up or an insertion, never across an await.
    by_endpoint: RwLock<HashMap<Key, Arc<Client>>>,
}

/// An endpoint, its provider if it has several, and whether its connections are encrypted: what is in clear text works on a machine that
/// has no certificates.
type Key = (EndpointName, Option<ProviderName>, Transport);

/// A client and what it was made from.
#[derive(Debug)]
pub(super) struct Client {
    /// Sends requests and pools connections.
    pub(super) http: reqwest::Client,
    /// How long connecting may take.
    pub(super) connect: Duration,
    guard: Option<Reach>,
}

/// Whether connections are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Transport {
    Plain,
    Tls,
}

impl Transport {
    fn of(url: &url::Url) -> Self {
        if url.scheme() == "https" { Self::Tls } else { Self::Plain }
    }
}

/// Where an endpoint's connections may lead: `None`, a configured host, may be anywhere.
fn guarded_reach(endpoint: &Endpoint) -> Option<Reach> {
    match &endpoint.destination {
        // Nothing is sent to an endpoint as a whole that has providers: only to its faces.
        Destination::Base(_) | Destination::Providers(_) => None,
        Destination::Named(hosts) => Some(match hosts.addresses {
            Addresses::Public => Reach::Public,
            Addresses::Any => Reach::Anywhere,
        }),
    }
}

impl Client {
    /// Whether a URL holds an address that must not be connected to. Names are looked at when they are resolved.
    pub(super) fn refuses(&self, url: &url::Url) -> bool {
        self.guard.is_some_and(|reach| guard::is_refused_literal(url, reach))
    }
}

impl Clients {
    /// The endpoint's client for this URL; made if there is none, or if the one there was made from another configuration.
    pub(super) fn of(&self, endpoint: &Endpoint, url: &url::Url) -> Result<Arc<Client>, Failure> {
        let (connect, guard) = (connect_timeout(&endpoint.timeouts), guarded_reach(endpoint));
        let transport = Transport::of(url);
        let key = (endpoint.name.clone(), endpoint.provider.clone(), transport);
        let known = {
            let clients = self.by_endpoint.read().unwrap_or_else(PoisonError::into_inner);
            clients.get(&key).map(Arc::clone)
        };
        if let Some(client) = known.filter(|client| client.connect == connect && client.guard == guard) {
            return Ok(client);
        }
        // Two tasks may make one at the same time; the later one stays, the other ends with its requests.
        let client = Arc::new(Client { http: build(connect, transport, guard)?, connect, guard });
        let mut clients = self.by_endpoint.write().unwrap_or_else(PoisonError::into_inner);
        clients.insert(key, Arc::clone(&client));
        Ok(client)
    }
}

fn build(connect: Duration, transport: Transport, guard: Option<Reach>) -> Result<reqwest::Client, Failure> {
    tls::install_provider();
    let builder = reqwest::Client::builder()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        // And nothing else: a brotli stream may demand a window of 16 MiB per answer. What comes unasked is kept as it is.
        .gzip(true)
        .no_proxy()
        .connect_timeout(connect)
        .pool_idle_timeout(POOL_IDLE)
        .tcp_nodelay(true);
    let builder = match guard {
        Some(reach) => builder.dns_resolver(Arc::new(GuardedResolver(reach))),
        None => builder,
    };
    let builder = match transport {
        // Without roots nothing is loaded: an endpoint without TLS works on a machine that has no certificates.
        Transport::Plain => builder.tls_certs_only([]),
        // The platform's roots; they are read now, once per client.
        Transport::Tls => builder.https_only(true),
    };
    builder.build().map_err(|error| {
        let kind = match transport {
            Transport::Plain => ErrorKind::Unsendable,
            Transport::Tls => ErrorKind::Tls,
        };
        Failure::caused(kind, "no HTTP client could be made", &error)
    })
}
