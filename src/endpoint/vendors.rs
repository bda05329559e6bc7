//! Where an endpoint's calls go: below one URL, to one of several interchangeable vendors, or to a host that the submission names.

use std::sync::Arc;

use super::hosts::{AllowedHosts, Misdirected};
use super::{BaseUrl, Endpoint, RequestTemplate};
use crate::call::{Cost, ProviderName, RequestPath, named};

/// Where an endpoint's calls go.
#[derive(Clone, Debug)]
pub enum Destination {
    /// Below this URL.
    Base(BaseUrl),
    /// To one of these providers; at least one, each name once.
    Providers(Vec<Provider>),
    /// To the host that the submission names, if it is one of these.
    Named(AllowedHosts),
}

/// One of several interchangeable vendors.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name.
    pub name: ProviderName,
    /// Its share of the calls, in proportion to the other weights; 1 or more.
    pub weight: u32,
    /// What a request costs that it carries out.
    pub cost: Option<Cost>,
    /// What is the provider's own in a request.
    pub request: RequestTemplate,
    /// The endpoint as it is towards this provider: its base URL, headers and timeouts; it has no providers of its own.
    pub face: Arc<Endpoint>,
}

/// How one of several providers is chosen, and what may happen twice.
#[derive(Clone, Debug, Default)]
pub struct Vendors {
    /// How a provider is chosen.
    pub strategy: Strategy,
    /// Whether a call may go to a second provider while nobody knows what the first one did.
    pub duplicates: Duplicates,
}

named! {
    /// How a provider is chosen.
    Strategy {
        /// In proportion to the weights, corrected by how well each has done lately.
        Weighted = "weighted",
        /// The one that costs least.
        Cheapest = "cheapest",
        /// The first in the order in which they are written.
        Ordered = "ordered",
    }
}

#[expect(clippy::derivable_impls, reason = "the macro declares the variants; this says which one is usual")]
impl Default for Strategy {
    fn default() -> Self {
        Self::Weighted
    }
}

named! {
    /// Whether doing a thing twice, at two providers, is acceptable.
    Duplicates {
        /// It is not: an unknown outcome is settled with the provider it belongs to.
        Refused = "refused",
        /// It is: better two messages than none.
        Tolerated = "tolerated",
    }
}

#[expect(clippy::derivable_impls, reason = "the macro declares the variants; this says which one is safe")]
impl Default for Duplicates {
    fn default() -> Self {
        Self::Refused
    }
}

impl Destination {
    /// The URL that paths are joined to, if there is just one.
    pub const fn base_url(&self) -> Option<&BaseUrl> {
        match self {
            Self::Base(base_url) => Some(base_url),
            Self::Providers(_) | Self::Named(_) => None,
        }
    }

    /// The providers, if there are several vendors.
    pub fn providers(&self) -> &[Provider] {
        match self {
            Self::Providers(providers) => providers,
            Self::Base(_) | Self::Named(_) => &[],
        }
    }

    /// The URL of a request.
    ///
    /// # Errors
    /// The request names a host and may not name that one, or names none where one is needed.
    pub fn url(&self, path: &RequestPath) -> Result<String, Misdirected> {
        self.check(path)?;
        Ok(match self {
            Self::Base(base_url) => base_url.join(path),
            Self::Named(_) => path.as_str().to_owned(),
            Self::Providers(_) => return Err(Misdirected::NoProvider),
        })
    }

    /// The URL of a request as people may see it: one that is misdirected as it was written.
    pub fn shown_url(&self, path: &RequestPath) -> String {
        match self {
            Self::Base(base_url) if path.url().is_none() => base_url.shown_with(path),
            Self::Base(_) | Self::Named(_) | Self::Providers(_) => path.as_str().to_owned(),
        }
    }

    /// Whether a request fits: a path where the endpoint knows the host, an allowed URL where the submission names it.
    ///
    /// # Errors
    /// It does not.
    pub fn check(&self, path: &RequestPath) -> Result<(), Misdirected> {
        match (self, path.url()) {
            (Self::Base(_) | Self::Providers(_), None) => Ok(()),
            (Self::Base(_) | Self::Providers(_), Some(_)) => Err(Misdirected::UrlNotExpected),
            (Self::Named(_), None) => Err(Misdirected::UrlMissing),
            (Self::Named(hosts), Some(url)) if hosts.allow(&url) => Ok(()),
            (Self::Named(hosts), Some(url)) => Err(Misdirected::host(&url, hosts)),
        }
    }
}
