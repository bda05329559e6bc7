//! One HTTP client per endpoint, made when it is first needed and kept until its endpoint's configuration changes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::call::{EndpointName, ErrorKind};
use crate::endpoint::Endpoint;
use crate::limits::POOL_IDLE;

use super::failure::Failure;
use super::{connect_timeout, tls};

/// The clients of all endpoints.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// A std lock: it is held for a look-up or an insertion, never across an await.
    by_endpoint: RwLock<HashMap<EndpointName, Arc<Client>>>,
}

/// A client and what it was made from.
#[derive(Debug)]
pub(super) struct Client {
    /// Sends requests and pools connections.
    pub(super) http: reqwest::Client,
    /// How long connecting may take.
    pub(super) connect: Duration,
    security: Security,
}

/// Whether an endpoint's connections are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    Plain,
    Tls,
}

impl Security {
    fn of(endpoint: &Endpoint) -> Self {
        if endpoint.base_url.as_str().starts_with("https:") { Self::Tls } else { Self::Plain }
    }
}

impl Clients {
    /// The endpoint's client; made if there is none, or if the one there was made from another configuration.
    pub(super) fn of(&self, endpoint: &Endpoint) -> Result<Arc<Client>, Failure> {
        let (connect, security) = (connect_timeout(&endpoint.timeouts), Security::of(endpoint));
        let known = {
            let clients = self.by_endpoint.read().unwrap_or_else(PoisonError::into_inner);
            clients.get(&endpoint.name).map(Arc::clone)
        };
        if let Some(client) = known.filter(|client| client.connect == connect && client.security == security)
        {
            return Ok(client);
        }
        // Two tasks may make one at the same time; the later one stays, the other ends with its requests.
        let client = Arc::new(Client { http: build(connect, security)?, connect, security });
        let mut clients = self.by_endpoint.write().unwrap_or_else(PoisonError::into_inner);
        clients.insert(endpoint.name.clone(), Arc::clone(&client));
        Ok(client)
    }
}

fn build(connect: Duration, security: Security) -> Result<reqwest::Client, Failure> {
    tls::install_provider();
    let builder = reqwest::Client::builder()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .connect_timeout(connect)
        .pool_idle_timeout(POOL_IDLE)
        .tcp_nodelay(true);
    let builder = match security {
        // Without roots nothing is loaded: an endpoint without TLS works on a machine that has no certificates.
        Security::Plain => builder.tls_certs_only([]),
        // The platform's roots; they are read now, once per client.
        Security::Tls => builder.https_only(true),
    };
    builder.build().map_err(|error| {
        let kind = match security {
            Security::Plain => ErrorKind::Unsendable,
            Security::Tls => ErrorKind::Tls,
        };
        Failure::caused(kind, "no HTTP client could be made", &error)
    })
}
