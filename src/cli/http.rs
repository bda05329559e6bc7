//! The HTTP client of commands that talk to a running server.

use std::time::Duration;

/// A client whose requests take at most this long.
///
/// # Errors
/// No TLS could be set up.
pub fn client(timeout: Duration) -> reqwest::Result<reqwest::Client> {
    crate::invoker::tls::install_provider();
    reqwest::Client::builder().timeout(timeout).no_proxy().build()
}
