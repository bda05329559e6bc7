//! An endpoint: a configured third-party interface, where it is and how calls to it are made and repeated.
//!
//! Values that hold only what is valid; `config` makes them. No I/O.

pub mod ladder;
pub mod registry;

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::call::{EndpointName, Method, named};
use crate::limits::{LEASE_MARGIN_DEFAULT, LEASE_MARGIN_MIN, LEASE_MAX, TIMEOUT_OVERALL_MAX};

pub use ladder::Ladder;
pub use registry::Registry;

/// One third-party interface.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its name.
    pub name: EndpointName,
    /// What a call's path is joined to.
    pub base_url: BaseUrl,
    /// The delays between attempts.
    pub ladder: Ladder,
    /// How long an attempt may take, and how long a claim lasts.
    pub timeouts: Timeouts,
    /// Attempts in flight in one process.
    pub concurrency: usize,
    /// What happens when nobody knows whether an attempt took effect.
    pub on_ambiguous: OnAmbiguous,
    /// The header that carries the idempotency key.
    pub idempotency_header: http::HeaderName,
    /// Headers of the endpoint's own; their values are secrets.
    pub headers: Vec<(http::HeaderName, SecretString)>,
    /// The queue its due tickets come through.
    pub lane: LaneName,
}

/// The queue of due tickets of one endpoint or of several: a name of the same form as an endpoint's.
pub type LaneName = EndpointName;

/// The lane of tickets that no other lane is bound for.
pub const CATCH_ALL_LANE: &str = "default";

named! {
    /// What happens when nobody knows whether an attempt took effect.
    OnAmbiguous {
        /// It is repeated after the next rung; the idempotency key lets the third party tell.
        Retry = "retry",
        /// A person decides.
        Review = "review",
    }
}

/// `http` or `https`, a host, perhaps a path; no user, query or fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Reads a base URL.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("must be an absolute URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("must begin with http:// or https://, not {}://", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not contain a user or password; use the endpoint's headers".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must not contain a query or fragment; a call's path brings its own query".to_owned());
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }

    /// The URL of a call's path.
    pub fn join(&self, path: &crate::call::RequestPath) -> String {
        format!("{}{}", self.0, path.as_str())
    }

    /// The URL without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How long the parts of an attempt may take. The lease outlasts the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    connect: Duration,
    read: Duration,
    overall: Duration,
    lease: Duration,
}

impl Timeouts {
    /// Timeouts of an attempt; without a `lease`, the overall timeout and a margin.
    ///
    /// # Errors
    /// A sentence: a part of 0 or longer than the whole, or a lease that the attempt could outlive.
    pub fn new(
        connect: Duration,
        read: Duration,
        overall: Duration,
        lease: Option<Duration>,
    ) -> Result<Self, String> {
        if connect.is_zero() || read.is_zero() || overall.is_zero() {
            return Err("timeouts must be longer than 0".to_owned());
        }
        if overall > TIMEOUT_OVERALL_MAX {
            return Err(format!("overall must be at most {}s", TIMEOUT_OVERALL_MAX.as_secs()));
        }
        let lease = lease.unwrap_or(overall + LEASE_MARGIN_DEFAULT);
        if lease < overall + LEASE_MARGIN_MIN {
            return Err(format!(
                "lease must be longer than the overall timeout by at least {}s: a lease that runs out in the middle of \
                 an attempt lets a second one begin",
                LEASE_MARGIN_MIN.as_secs()
            ));
        }
        if lease > LEASE_MAX {
            return Err(format!("lease must be at most {}s", LEASE_MAX.as_secs()));
        }
        Ok(Self { connect: connect.min(overall), read: read.min(overall), overall, lease })
    }

    /// Name resolution, TCP and TLS.
    pub const fn connect(&self) -> Duration {
        self.connect
    }

    /// The longest silence of the third party.
    pub const fn read(&self) -> Duration {
        self.read
    }

    /// The whole attempt, to the last byte of the answer.
    pub const fn overall(&self) -> Duration {
        self.overall
    }

    /// How long a claim lasts.
    pub const fn lease(&self) -> Duration {
        self.lease
    }
}

/// Whether a request of this method is expected to have a body, so that none at all is said with `content-length: 0`
/// (RFC 9110, 8.6).
pub const fn sends_body(method: Method) -> bool {
    match method {
        Method::Get | Method::Head => false,
        Method::Post | Method::Put | Method::Patch | Method::Delete => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::RequestPath;

    #[test]
    fn a_path_is_joined_below_the_base() {
        let base = BaseUrl::parse("https://sms.example.com/api/").unwrap();
        assert_eq!(base.join(&RequestPath::parse("/v1?a=b").unwrap()), "https://sms.example.com/api/v1?a=b");
    }

    #[test]
    fn a_base_url_names_an_origin_and_nothing_secret() {
        for text in [
            "",
            "sms.example.com",
            "ftp://a",
            "http://",
            "http://u:p@a",
            "http://u@a",
            "http://a?x=1",
            "http://a#f",
        ] {
            assert!(BaseUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_lease_outlasts_the_attempt() {
        let seconds = Duration::from_secs;
        assert!(Timeouts::new(seconds(3), seconds(10), seconds(30), Some(seconds(30))).is_err());
        let timeouts = Timeouts::new(seconds(3), seconds(10), seconds(30), None).unwrap();
        assert!(timeouts.lease() > timeouts.overall());
    }
}
