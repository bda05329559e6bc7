//! Which addresses a URL that came with a submission may lead to: public ones. A publisher must not reach what only Redial can.
//!
//! Ranges of the IANA special-purpose registries (RFC 6890 and its updates). An IPv6 address that carries an IPv4 one (mapped, NAT64,
//! 6to4) is judged by that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Where a request may go whose host came with a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To public addresses only.
    Public,
    /// Anywhere, private networks and this machine included.
    Anywhere,
}

impl Reach {
    /// Whether this address may be connected to.
    pub fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Public => is_public(address),
        }
    }
}

/// Whether an address belongs to the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        // Azure's host, with its metadata: a public address by number only.
        || address == Ipv4Addr::new(168, 63, 129, 16)
        // Shared address space of carriers (RFC 6598).
        || (a == 100 && (64..128).contains(&b))
        // Protocol assignments and benchmarks (RFC 6890, RFC 2544).
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = carried_v4(address) {
        return is_public_v4(inner);
    }
    let [first, second, ..] = address.segments();
    // Global unicast is 2000::/3; everything else is special. Inside it: Teredo and other protocol assignments (2001::/23),
    // documentation (2001:db8::/32, 3fff::/20).
    let global_unicast = first & 0xe000 == 0x2000;
    let assignments = first == 0x2001 && second < 0x0200;
    let documentation = (first == 0x2001 && second == 0x0db8) || (first == 0x3fff && second < 0x1000);
    global_unicast && !assignments && !documentation
}

/// The IPv4 address inside a mapped (`::ffff:0:0/96`), NAT64 (`64:ff9b::/96`) or 6to4 (`2002::/16`) address.
fn carried_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| {
        let ([first, second], [third, fourth]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(first, second, third, fourth)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// A name leads to no address that may be connected to.
#[derive(Debug, thiserror::Error)]
#[error("{host} leads to no address on the public internet")]
pub struct Refused {
    host: String,
    /// Not in the message: attempts show that to publishers, who must not learn what names mean in the network of this machine.
    found: Vec<IpAddr>,
}

impl Refused {
    /// The message, and where the name leads.
    pub fn with_addresses(&self) -> String {
        let found: Vec<String> = self.found.iter().map(IpAddr::to_string).collect();
        if found.is_empty() { self.to_string() } else { format!("{self}: {}", found.join(", ")) }
    }
}

/// Resolves names and keeps the addresses that are allowed; the connection is made to one of those, so a second answer of the name
/// server cannot lead elsewhere.
#[derive(Debug)]
pub struct GuardedResolver(pub Reach);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(allowed(name.as_str(), found, reach)?.into_iter()) as Addrs)
        })
    }
}

/// Those of a name's addresses that may be connected to, in the order of the name server.
///
/// # Errors
/// There is none.
fn allowed(
    host: &str,
    found: impl Iterator<Item = SocketAddr>,
    reach: Reach,
) -> Result<Vec<SocketAddr>, Refused> {
    let (allowed, refused): (Vec<_>, Vec<_>) = found.partition(|address| reach.allows(address.ip()));
    if !allowed.is_empty() {
        return Ok(allowed);
    }
    Err(Refused { host: host.to_owned(), found: refused.iter().map(SocketAddr::ip).collect() })
}

/// Whether a URL's host is an address that must not be called; resolvers are never asked for literal addresses.
pub fn is_refused_literal(url: &url::Url, reach: Reach) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => !reach.allows(address.into()),
        Some(url::Host::Ipv6(address)) => !reach.allows(address.into()),
        Some(url::Host::Domain(_)) => false,
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for address in [
            "1.1.1.1",
            "93.184.216.34",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "203.0.113.1",
            "168.63.129.16",
            "100.100.100.200",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "::ffff:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn of_a_name_with_public_and_private_addresses_only_the_public_ones_are_connected_to() {
        let kept = |found: &[&str], reach| {
            let found = found.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 0));
            let kept = allowed("partner.example", found, reach).map_err(|refused| refused.to_string())?;
            Ok::<_, String>(kept.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>())
        };
        let mix =
            ["10.0.0.1", "93.184.216.34", "::1", "169.254.169.254", "2606:4700::1111", "::ffff:127.0.0.1"];
        assert_eq!(kept(&mix, Reach::Public).unwrap(), ["93.184.216.34", "2606:4700::1111"]);
        assert_eq!(kept(&mix, Reach::Anywhere).unwrap(), mix);
        let refused = "partner.example leads to no address on the public internet";
        for nothing in [&["10.0.0.1", "::1"][..], &[]] {
            assert_eq!(kept(nothing, Reach::Public).unwrap_err(), refused, "{nothing:?}");
        }
    }

    #[test]
    fn literal_addresses_are_looked_at_in_every_spelling() {
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://127.1/",
            "http://[::ffff:127.0.0.1]/",
            "http://%31%32%37.0.0.1/",
        ] {
            assert!(is_refused_literal(&url.parse().unwrap(), Reach::Public), "{url}");
            assert!(!is_refused_literal(&url.parse().unwrap(), Reach::Anywhere), "{url}");
        }
        assert!(!is_refused_literal(&"http://publisher.example/".parse().unwrap(), Reach::Public));
    }
}
