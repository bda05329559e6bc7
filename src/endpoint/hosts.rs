//! Hosts that a submission may name: what an endpoint without a base URL allows.

use std::fmt;

use url::{Host, Url};

use crate::call::named;

/// The hosts that submissions may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHosts {
    /// At least one.
    pub patterns: Vec<HostPattern>,
    /// Which addresses their names may lead to.
    pub addresses: Addresses,
}

named! {
    /// Which addresses a host may lead to that a submission names.
    Addresses {
        /// Those of the public internet.
        Public = "public",
        /// All, those of private networks and of this machine too.
        Any = "any",
    }
}

/// Hosts on one port, reached in one way: `api.example.com`, `*.example.com:8443`, `http://legacy.example.com`, `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    text: String,
    scheme: &'static str,
    name: NamePattern,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum NamePattern {
    /// This host, as a URL writes it.
    Exactly(String),
    /// Every name that ends so; begins with a dot.
    Below(String),
    /// Every name; no address written as a number.
    Every,
}

/// Why a request does not fit to its endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misdirected {
    /// It names a host, and the endpoint knows its own.
    UrlNotExpected,
    /// It names no host, and the endpoint knows none.
    UrlMissing,
    /// The one provider that it may go to is not there any more.
    NoProvider,
    /// It names a host that it may not name.
    HostNotAllowed {
        /// That one, with its port where it is not the usual one.
        host: String,
        /// What is allowed.
        allowed: String,
    },
}

impl HostPattern {
    /// Reads a pattern. Without a scheme it is `https`; without a port it is the scheme's own.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            None => ("https", text),
            Some(("https", rest)) => ("https", rest),
            Some(("http", rest)) => ("http", rest),
            Some((other, _)) => return Err(format!("{other}:// is neither https:// nor http://")),
        };
        let (is_below, host) = rest.strip_prefix("*.").map_or((false, rest), |host| (true, host));
        let is_every = host == "*" || host.starts_with("*:");
        let host =
            if is_every && !is_below { host.replacen('*', "every.invalid", 1) } else { host.to_owned() };
        let url =
            Url::parse(&format!("{scheme}://{host}")).map_err(|error| format!("is no host: {error}"))?;
        let is_bare =
            url.path() == "/" && !host.ends_with('/') && url.query().is_none() && url.fragment().is_none();
        if !is_bare || host.contains(['*', '@', '\\']) {
            return Err("is no host: write a name or *.name, perhaps with a port".to_owned());
        }
        let name = match url.host() {
            None => return Err("names no host".to_owned()),
            Some(Host::Domain(_)) if is_every && !is_below => NamePattern::Every,
            Some(Host::Domain(name)) if is_below => NamePattern::Below(format!(".{name}")),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) if is_below => {
                return Err("nothing lies below an address".to_owned());
            }
            Some(host @ (Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_))) => {
                NamePattern::Exactly(host.to_string())
            }
        };
        let port = url.port_or_known_default().unwrap_or(443);
        Ok(Self { text: text.to_owned(), scheme, name, port })
    }

    /// The address, where the pattern is one.
    pub fn address(&self) -> Option<std::net::IpAddr> {
        match &self.name {
            NamePattern::Exactly(host) => host.trim_matches(['[', ']']).parse().ok(),
            NamePattern::Below(_) | NamePattern::Every => None,
        }
    }

    /// Whether a URL leads to one of these hosts.
    pub fn holds(&self, url: &Url) -> bool {
        let Some(host) = url.host() else { return false };
        let name_holds = match (&self.name, &host) {
            (NamePattern::Exactly(name), host) => *name == host.to_string(),
            (NamePattern::Below(end), Host::Domain(name)) => name.len() > end.len() && name.ends_with(end),
            (NamePattern::Every, Host::Domain(_)) => true,
            (NamePattern::Below(_) | NamePattern::Every, Host::Ipv4(_) | Host::Ipv6(_)) => false,
        };
        name_holds && url.scheme() == self.scheme && url.port_or_known_default() == Some(self.port)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl AllowedHosts {
    /// Whether a URL leads to one of them.
    pub fn allow(&self, url: &Url) -> bool {
        self.patterns.iter().any(|pattern| pattern.holds(url))
    }

    fn listed(&self) -> String {
        self.patterns.iter().map(|pattern| pattern.text.as_str()).collect::<Vec<_>>().join(", ")
    }
}

impl Misdirected {
    /// A host that may not be named.
    pub fn host(url: &Url, hosts: &AllowedHosts) -> Self {
        let origin = url.origin().ascii_serialization();
        Self::HostNotAllowed { host: origin, allowed: hosts.listed() }
    }

    /// Stable.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UrlNotExpected | Self::NoProvider => "invalid_value",
            Self::UrlMissing => "missing_field",
            Self::HostNotAllowed { .. } => "host_not_allowed",
        }
    }
}

impl fmt::Display for Misdirected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UrlNotExpected => {
                f.write_str("must not be given: this endpoint knows its host; give the path below it")
            }
            Self::UrlMissing => f.write_str(
                "is required: this endpoint has no host of its own (allowed_hosts); a path does not do",
            ),
            Self::NoProvider => {
                f.write_str("leads nowhere: the provider that may have carried the request out is not configured any more")
            }
            Self::HostNotAllowed { host, allowed } => {
                write!(f, "{host} is none of the hosts that this endpoint may call: {allowed}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(pattern: &str, url: &str) -> bool {
        HostPattern::parse(pattern).unwrap().holds(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_pattern_holds_for_its_host_its_port_and_its_scheme_only() {
        for (pattern, url, expected) in [
            ("api.x.com", "https://api.x.com/v1?a=b", true),
            ("api.x.com", "https://API.X.COM:443/", true),
            ("API.x.com", "https://api.x.com/", true),
            ("api.x.com", "http://api.x.com/", false),
            ("api.x.com", "https://api.x.com:8443/", false),
            ("api.x.com", "https://x.com/", false),
            ("api.x.com", "https://evil-api.x.com/", false),
            ("api.x.com", "https://api.x.com.evil.test/", false),
            ("api.x.com", "https://api.x.com./", false),
            ("api.x.com:8443", "https://api.x.com:8443/", true),
            ("api.x.com:8443", "https://api.x.com/", false),
            ("http://api.x.com", "http://api.x.com/", true),
            ("http://api.x.com", "https://api.x.com/", false),
            ("*.partner.example", "https://a.partner.example/", true),
            ("*.partner.example", "https://a.b.partner.example/", true),
            ("*.partner.example", "https://partner.example/", false),
            ("*.partner.example", "https://evilpartner.example/", false),
            ("*", "https://anything.example/", true),
            ("*", "https://anything.example:8443/", false),
            ("*:8443", "https://anything.example:8443/", true),
            ("*", "https://1.1.1.1/", false),
            ("*", "https://[2606:4700::1111]/", false),
            ("1.1.1.1", "https://0x01010101/", true),
            ("http://127.0.0.1:8080", "http://2130706433:8080/", true),
            ("[2606:4700::1111]", "https://[2606:4700:0::1111]/", true),
            ("bücher.example", "https://xn--bcher-kva.example/", true),
        ] {
            assert_eq!(holds(pattern, url), expected, "{pattern} {url}");
        }
    }

    #[test]
    fn what_is_no_host_is_no_pattern() {
        for text in [
            "",
            "*.",
            "**.x.com",
            "a.*.com",
            "x.com/path",
            "x.com/",
            "x.com?a",
            "x.com#a",
            "user@x.com",
            "ftp://x.com",
            "x.com:99999",
            "*.1.2.3.4",
            "a b",
            "https://",
            "*.*",
        ] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }
}
