//! An endpoint: a configured third-party interface, where it is and how calls to it are made and repeated.
//!
//! Values that hold only what is valid; `config` makes them. No I/O.

pub mod condition;
pub mod dress;
pub mod hosts;
pub mod judging;
pub mod ladder;
pub mod protection;
pub mod registry;
pub mod reporting;
pub mod rule;
pub mod template;
pub mod vendors;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::call::request::REDACTED;
use crate::call::{EndpointName, Method, Mode, ProviderName, named};
use crate::limits::{LEASE_MARGIN_DEFAULT, LEASE_MARGIN_MIN, LEASE_MAX, TIMEOUT_OVERALL_MAX};
use crate::script::Script;

pub use dress::RequestTemplate;
pub use hosts::{Addresses, AllowedHosts, HostPattern, Misdirected};
pub use judging::{Confirm, Finding, Judging};
pub use ladder::Ladder;
pub use protection::{BreakerSettings, Protection, RateLimit};
pub use registry::{Endpoints, Registry};
pub use reporting::Reporting;
pub use rule::{Rule, Rules};
pub use template::{PathTemplate, Template, TemplateFault, Variables};
pub use vendors::{Destination, Duplicates, Provider, Strategy, Vendors};

/// One third-party interface.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its name.
    pub name: EndpointName,
    /// Which of its providers this is the endpoint's face towards; `None`: it is the endpoint itself.
    pub provider: Option<ProviderName>,
    /// Where its calls go.
    pub destination: Destination,
    /// The delays between attempts.
    pub ladder: Ladder,
    /// How long an attempt may take, and how long a claim lasts.
    pub timeouts: Timeouts,
    /// Attempts in flight in one process.
    pub concurrency: usize,
    /// How its answers are judged.
    pub judging: Judging,
    /// How the third party is protected.
    pub protection: Protection,
    /// How one of its providers is chosen.
    pub vendors: Vendors,
    /// Whether its calls leave the machine, and what answers those that do not.
    pub dry_run: DryRun,
    /// The header that carries the idempotency key.
    pub idempotency_header: http::HeaderName,
    /// Headers of the endpoint's own; their values are secrets.
    pub headers: Vec<(http::HeaderName, SecretString)>,
    /// The queue its due tickets come through.
    pub lane: LaneName,
}

/// Calls that do not leave the machine.
#[derive(Clone, Debug)]
pub struct DryRun {
    /// `DryRun`: no call of the endpoint leaves. A single call may be a dry run at any endpoint.
    pub mode: Mode,
    /// What answers in the third party's place.
    pub script: Arc<Script>,
}

impl Default for DryRun {
    /// Calls leave; those that are not to are answered as their path says.
    fn default() -> Self {
        Self { mode: Mode::Live, script: Arc::default() }
    }
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
        /// The third party is asked before anything is repeated.
        Confirm = "confirm",
        /// A person decides.
        Review = "review",
    }
}

impl Endpoint {
    /// An endpoint with nothing but what every endpoint needs: no rules, no protection but its slots, one vendor, its own lane.
    pub fn plain(name: EndpointName, base_url: BaseUrl, ladder: Ladder, timeouts: Timeouts) -> Self {
        Self {
            lane: name.clone(),
            name,
            provider: None,
            destination: Destination::Base(base_url),
            ladder,
            timeouts,
            concurrency: 1,
            judging: Judging::plain(OnAmbiguous::Retry),
            protection: Protection::default(),
            vendors: Vendors::default(),
            dry_run: DryRun::default(),
            idempotency_header: http::HeaderName::from_static("idempotency-key"),
            headers: Vec::new(),
        }
    }
}

/// `http` or `https`, a host, perhaps a path; no user, query or fragment. What came of references into its path is a secret: some third
/// parties want their token there.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    url: String,
    shown: String,
    secrets: Vec<String>,
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BaseUrl").field(&self.shown).finish()
    }
}

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
        let url = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { shown: url.clone(), url, secrets: Vec::new() })
    }

    /// The same, whose path does not show these parts. Scheme, host and port are shown whatever they came of: whoever has to find out why
    /// a third party does not answer needs them.
    #[must_use]
    pub fn hiding<'a>(self, parts: impl Iterator<Item = &'a str>) -> Self {
        let (origin, path) = split_origin(&self.url);
        let secrets: Vec<String> = parts.filter_map(|part| secret_of(part, origin, path)).collect();
        // By way of a character that no URL has: a short secret may stand in the word for those before it.
        let shown = secrets.iter().fold(path.to_owned(), |path, secret| path.replace(secret, "\0"));
        Self { shown: format!("{origin}{}", shown.replace('\0', REDACTED)), secrets, ..self }
    }

    /// The URL of a call's path.
    pub fn join(&self, path: &crate::call::RequestPath) -> String {
        format!("{}{}", self.url, path.as_str())
    }

    /// The URL of a call's path as people may see it.
    pub fn shown_with(&self, path: &crate::call::RequestPath) -> String {
        format!("{}{}", self.shown, path.as_str())
    }

    /// The URL without a slash at its end, secrets and all.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// The URL as people may see it, without a slash at its end.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// What of its path nobody may see.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().map(String::as_str)
    }
}

/// A URL's scheme, host and port, and its path.
fn split_origin(url: &str) -> (&str, &str) {
    let host_at = url.find("://").map_or(0, |at| at + "://".len());
    let path_at = url[host_at..].find('/').map_or(url.len(), |at| host_at + at);
    url.split_at(path_at)
}

/// What of a path is secret because it came of this part.
fn secret_of(part: &str, origin: &str, path: &str) -> Option<String> {
    // A reference may stand for the whole URL.
    let of_path = if part.contains("://") { split_origin(part).1 } else { part };
    let secret = match of_path.trim_matches('/') {
        part if path.contains(part) => part,
        part if origin.contains(part) => return None,
        // The URL writes it in another way.
        _ => path.trim_matches('/'),
    };
    (!secret.is_empty()).then(|| secret.to_owned())
}

/// How long the parts of an attempt may take. The lease outlasts the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    connect: Duration,
    read: Duration,
    overall: Duration,
    /// The overall timeout is learned, and never shorter than this.
    adaptive_floor: Option<Duration>,
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
        let (connect, read) = (connect.min(overall), read.min(overall));
        Ok(Self { connect, read, overall, adaptive_floor: None, lease })
    }

    /// The same, with an overall timeout that is learned from the last answers: never shorter than `floor`, never longer than
    /// `overall`.
    #[must_use]
    pub fn adaptive(self, floor: Duration) -> Self {
        Self { adaptive_floor: Some(floor.min(self.overall)), ..self }
    }

    /// Name resolution, TCP and TLS.
    pub const fn connect(&self) -> Duration {
        self.connect
    }

    /// The longest silence of the third party.
    pub const fn read(&self) -> Duration {
        self.read
    }

    /// The shortest overall timeout, if it is learned.
    pub const fn adaptive_floor(&self) -> Option<Duration> {
        self.adaptive_floor
    }

    /// The whole attempt, to the last byte of the answer; of one that is learned, the longest.
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
    fn what_came_of_references_into_the_path_is_not_shown() {
        for (url, parts, shown) in [
            ("https://api.example/bot123:abc/", &["123:abc"][..], "https://api.example/bot[redacted]"),
            ("https://api.example/a/b/c", &["a/b", "c"], "https://api.example/[redacted]/[redacted]"),
            ("https://api.example/v1", &["api.example"], "https://api.example/v1"),
            ("https://api.example/v1", &["https://api.example/v1"], "https://api.example/[redacted]"),
            ("https://api.example", &["https://api.example"], "https://api.example"),
            ("https://api.example/t%C3%A4", &["t\u{e4}"], "https://api.example/[redacted]"),
        ] {
            let base = BaseUrl::parse(url).unwrap().hiding(parts.iter().copied());
            assert_eq!(base.shown(), shown);
            assert!(!format!("{base:?}").contains("123:abc"));
            let path = RequestPath::parse("/send?a=b").unwrap();
            assert_eq!(base.join(&path), format!("{}/send?a=b", url.trim_end_matches('/')));
            assert_eq!(base.shown_with(&path), format!("{shown}/send?a=b"));
        }
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
