//! Where calls go: `base_url`, `providers` or `allowed_hosts`; and how a provider is chosen: `strategy`, `duplicates`.

use std::sync::Arc;

use secrecy::SecretString;

use super::super::fault::{Complaint, quoted};
use super::super::table::{Found, Placed, Table};
use super::super::value;
use super::super::written::Node;
use super::judging::VERDICTS;
use super::rules::{Kind, rules};
use super::{BASE_URL, HEADER_NAME, TimeoutDraft, base_url, header_name, headers};
use crate::call::{Cost, Method, ProviderName, Verdict};
use crate::endpoint::{
    Addresses, AllowedHosts, BaseUrl, Destination, Duplicates, Endpoint, HostPattern, Judging, OnAmbiguous,
    PathTemplate, Provider, RequestTemplate, Rules, Strategy, Template, TemplateFault, Vendors,
};
use crate::invoker::guard::is_public;

/// Highest weight; shares finer than a thousandth are nobody's.
const WEIGHT_MAX: u32 = 1_000;
/// Highest price of one request.
const COST_MAX: f64 = 1_000_000.0;
/// Most providers of an endpoint.
const PROVIDERS_MAX: usize = 32;
const PROVIDER_NAME: &str =
    "a name of 1 to 63 lower-case letters, digits and '-', each once: [a-z0-9][a-z0-9-]{0,62}";
const TEMPLATE: &str = "text with {{ … }} over body, path, method, headers, tags, idempotency_key, call, endpoint, provider, attempt";
const HOST: &str =
    "hosts such as \"api.example.com\", \"*.example.com:8443\", \"http://legacy.example.com\" or \"*\"";

/// The rules that decide about the verdicts on one provider's answers.
const PROVIDER_VERDICTS: Kind<Verdict> = Kind { label: "provider rules", ..VERDICTS };

/// What is written about vendors.
#[derive(Clone)]
pub(super) struct VendorsDraft {
    base_url: Found<BaseUrl>,
    providers: Found<Vec<ProviderDraft>>,
    allowed_hosts: Found<Vec<HostPattern>>,
    addresses: Found<Addresses>,
    strategy: Found<Strategy>,
    duplicates: Found<Duplicates>,
}

/// What is written about one provider. Its table's key and place are kept for faults.
#[derive(Clone)]
struct ProviderDraft {
    whole: Placed<()>,
    name: Found<ProviderName>,
    base_url: Found<BaseUrl>,
    weight: Found<u32>,
    cost: Found<Cost>,
    timeout: TimeoutDraft,
    headers: Vec<Placed<(http::HeaderName, SecretString)>>,
    request: RequestDraft,
    rules: Found<Rules<Verdict>>,
    on_ambiguous: Found<OnAmbiguous>,
}

/// What is written about a provider's requests.
#[derive(Clone, Default)]
struct RequestDraft {
    method: Found<Method>,
    path: Found<PathTemplate>,
    headers: Vec<Found<(http::HeaderName, Template)>>,
    body: Found<Template>,
}

/// The ways to say where calls go, one of which is needed.
enum Where {
    Base(Placed<BaseUrl>),
    Providers(Placed<Vec<ProviderDraft>>),
    Named(Placed<Vec<HostPattern>>),
}

impl VendorsDraft {
    pub(super) fn read(table: &mut Table<'_>) -> Self {
        Self {
            base_url: base_url(table),
            providers: table.rows("providers", ProviderDraft::read),
            allowed_hosts: table.list("allowed_hosts", host),
            addresses: table.optional("addresses", value::parsed(Addresses::parse, Addresses::allowed())),
            strategy: table.optional("strategy", value::parsed(Strategy::parse, Strategy::allowed())),
            duplicates: table.optional("duplicates", value::parsed(Duplicates::parse, Duplicates::allowed())),
        }
    }

    /// This draft where it says something, otherwise the other one. Where calls go is said as a whole.
    pub(super) fn over(self, below: Self) -> Self {
        let says_where =
            !self.base_url.is_nothing() || !self.providers.is_nothing() || !self.allowed_hosts.is_nothing();
        let where_below =
            if says_where { None } else { Some((below.base_url, below.providers, below.allowed_hosts)) };
        let (base_url, providers, allowed_hosts) =
            where_below.unwrap_or((self.base_url, self.providers, self.allowed_hosts));
        Self {
            base_url,
            providers,
            allowed_hosts,
            addresses: self.addresses.or(below.addresses),
            strategy: self.strategy.or(below.strategy),
            duplicates: self.duplicates.or(below.duplicates),
        }
    }

    /// How a provider is chosen; `None` has been reported.
    pub(super) fn vendors(&self) -> Option<Vendors> {
        if self.duplicates.is_faulty() || self.strategy.is_faulty() {
            return None;
        }
        Some(Vendors {
            strategy: self.strategy.get().copied().unwrap_or_default(),
            duplicates: self.duplicates.get().copied().unwrap_or_default(),
        })
    }

    /// The endpoint with a destination; `None` has been reported. A provider's face is the endpoint but for what is the provider's own;
    /// where the endpoint as a whole is faulty, the providers' faults are found all the same.
    pub(super) fn finish(
        self,
        endpoint: Option<Endpoint>,
        timeout: &TimeoutDraft,
        table: &Table<'_>,
    ) -> Option<Endpoint> {
        let addresses = match &self.addresses {
            Found::Faulty => None,
            Found::Nothing => Some(Addresses::Public),
            Found::Value(addresses) => Some(addresses.value),
        };
        let destination = match self.place(table)? {
            Where::Base(base_url) => Destination::Base(base_url.value),
            Where::Providers(drafts) => {
                return with_providers(endpoint, drafts.value, timeout, table);
            }
            Where::Named(patterns) => {
                let addresses = addresses?;
                refuse_private(&patterns, addresses, table)?;
                Destination::Named(AllowedHosts { patterns: patterns.value, addresses })
            }
        };
        Some(Endpoint { destination, ..endpoint? })
    }

    /// The one way that is written; anything else is reported.
    fn place(self, table: &Table<'_>) -> Option<Where> {
        if self.base_url.is_faulty() || self.providers.is_faulty() || self.allowed_hosts.is_faulty() {
            return None;
        }
        let written = [
            self.base_url.value().map(Where::Base),
            self.providers.value().map(Where::Providers),
            self.allowed_hosts.value().map(Where::Named),
        ];
        let mut written = written.into_iter().flatten();
        let Some(first) = written.next() else {
            table.fault(Complaint::new(
                "has no base_url",
                format!("{BASE_URL}; or [[providers]]; or allowed_hosts"),
            ));
            return None;
        };
        let beside: Vec<Where> = written.collect();
        for other in &beside {
            let complaint = Complaint::new(
                "stands beside another destination",
                "one of base_url, providers and allowed_hosts",
            );
            match other {
                Where::Base(placed) => table.desk.fault_at(placed, complaint),
                Where::Providers(placed) => table.desk.fault_at(placed, complaint),
                Where::Named(placed) => table.desk.fault_at(placed, complaint),
            }
        }
        beside.is_empty().then_some(first)
    }
}

impl ProviderDraft {
    fn read(table: &mut Table<'_>) -> Self {
        let weight = table.optional("weight", value::integer(1..=WEIGHT_MAX));
        let draft = Self {
            whole: table.whole(),
            name: table.optional("name", value::parsed(|text| ProviderName::parse(text).ok(), PROVIDER_NAME)),
            base_url: base_url(table),
            weight,
            cost: table.optional("cost", cost),
            timeout: TimeoutDraft::read(table),
            headers: table.table("headers", headers).unwrap_or_default(),
            request: table.table("request", RequestDraft::read).unwrap_or_default(),
            rules: rules(table, &PROVIDER_VERDICTS),
            on_ambiguous: table
                .optional("on_ambiguous", value::parsed(OnAmbiguous::parse, OnAmbiguous::allowed())),
        };
        if draft.name.is_nothing() {
            table.fault(Complaint::new("has no name", PROVIDER_NAME));
        }
        if draft.base_url.is_nothing() {
            table.fault(Complaint::new("has no base_url", BASE_URL));
        }
        draft
    }

    /// The provider; `None` has been reported.
    fn finish(
        self,
        endpoint: Option<&Endpoint>,
        timeout: &TimeoutDraft,
        table: &Table<'_>,
    ) -> Option<Provider> {
        let lease = endpoint.map(|endpoint| endpoint.timeouts.lease());
        let timeouts = self.timeout.for_provider(timeout, lease, &self.whole, table);
        let request = self.request.finish();
        let (endpoint, name) = (endpoint?, self.name.value()?.value);
        if self.weight.is_faulty() || self.cost.is_faulty() {
            return None;
        }
        let judging = judging(endpoint, self.rules, self.on_ambiguous, table)?;
        let own: Vec<_> = self.headers.into_iter().map(|header| header.value).collect();
        let inherited =
            endpoint.headers.iter().filter(|(name, _)| own.iter().all(|(other, _)| other != name));
        let face = Endpoint {
            provider: Some(name.clone()),
            destination: Destination::Base(self.base_url.value()?.value),
            timeouts: timeouts?,
            judging,
            headers: inherited.cloned().chain(own.iter().cloned()).collect(),
            ..endpoint.clone()
        };
        Some(Provider {
            name,
            weight: self.weight.value().map_or(1, |weight| weight.value),
            cost: self.cost.value().map(|cost| cost.value),
            request: request?,
            face: Arc::new(face),
        })
    }
}

/// How a provider's answers are judged: its rules in place of the endpoint's, the rest as there. `None` has been reported.
fn judging(
    endpoint: &Endpoint,
    rules: Found<Rules<Verdict>>,
    on_ambiguous: Found<OnAmbiguous>,
    table: &Table<'_>,
) -> Option<Judging> {
    let mut judging = endpoint.judging.clone();
    match rules {
        Found::Faulty => return None,
        Found::Nothing => {}
        Found::Value(own) => judging.rules = own.value,
    }
    match on_ambiguous {
        Found::Faulty => return None,
        Found::Value(own) if own.value == OnAmbiguous::Confirm && judging.confirm.is_none() => {
            let allowed = "the endpoint's table [confirm] that says how to ask; or retry, review";
            table.desk.fault_at(&own, Complaint::new("\"confirm\" has nothing to ask", allowed));
            return None;
        }
        Found::Nothing => {}
        Found::Value(own) => judging.on_ambiguous = own.value,
    }
    Some(judging)
}

impl RequestDraft {
    fn read(table: &mut Table<'_>) -> Self {
        Self {
            method: table.optional("method", value::parsed(Method::parse, Method::allowed())),
            path: table.optional("path", |node| template(node, PathTemplate::parse)),
            headers: table.table("headers", header_templates).unwrap_or_default(),
            body: table.optional("body", |node| template(node, Template::parse)),
        }
    }

    /// What is meant; `None` has been reported.
    fn finish(self) -> Option<RequestTemplate> {
        if self.method.is_faulty() || self.path.is_faulty() || self.body.is_faulty() {
            return None;
        }
        let headers = self.headers.into_iter().map(|header| header.value().map(|header| header.value));
        Some(RequestTemplate {
            method: self.method.value().map(|method| method.value),
            path: self.path.value().map(|path| path.value),
            headers: headers.collect::<Option<_>>()?,
            body: self.body.value().map(|body| body.value),
        })
    }
}

fn header_templates(table: &mut Table<'_>) -> Vec<Found<(http::HeaderName, Template)>> {
    let names = table.names();
    let read = |name: &String| {
        table.optional(name, |node| {
            let parsed = header_name(name).ok_or_else(|| Complaint::new("is no header", HEADER_NAME))?;
            Ok((parsed, template(node, Template::parse)?))
        })
    };
    names.iter().map(read).collect()
}

/// A template. The line that a fault names is one of the template's own.
fn template<T>(node: &Node, parse: impl FnOnce(&str) -> Result<T, TemplateFault>) -> Result<T, Complaint> {
    parse(node.text()?).map_err(|fault| Complaint::new(fault.to_string(), TEMPLATE))
}

fn with_providers(
    endpoint: Option<Endpoint>,
    drafts: Vec<ProviderDraft>,
    timeout: &TimeoutDraft,
    table: &Table<'_>,
) -> Option<Endpoint> {
    if drafts.is_empty() || drafts.len() > PROVIDERS_MAX {
        let allowed = format!("1 to {PROVIDERS_MAX} [[providers]]");
        table.fault(Complaint::new(format!("has {} providers", drafts.len()), allowed));
        return None;
    }
    let count = drafts.len();
    let mut seen = Vec::<ProviderName>::new();
    let mut providers = Vec::with_capacity(count);
    for draft in drafts {
        if let Found::Value(name) = &draft.name {
            if seen.contains(&name.value) {
                table.desk.fault_at(
                    name,
                    Complaint::new(
                        format!("{} is there already", quoted(name.value.as_str())),
                        PROVIDER_NAME,
                    ),
                );
                continue;
            }
            seen.push(name.value.clone());
        }
        providers.extend(draft.finish(endpoint.as_ref(), timeout, table));
    }
    let destination = Destination::Providers(providers);
    let endpoint = endpoint.filter(|_| destination.providers().len() == count)?;
    Some(Endpoint { destination, ..endpoint })
}

fn host(node: &Node) -> Result<HostPattern, Complaint> {
    let text = node.text()?;
    HostPattern::parse(text).map_err(|sentence| Complaint::new(format!("{} {sentence}", quoted(text)), HOST))
}

/// An address that is allowed and would be refused each time it is called.
fn refuse_private(
    patterns: &Placed<Vec<HostPattern>>,
    addresses: Addresses,
    table: &Table<'_>,
) -> Option<()> {
    if patterns.value.is_empty() {
        table.desk.fault_at(patterns, Complaint::new("names no host", HOST));
        return None;
    }
    let mut sound = Some(());
    for pattern in &patterns.value {
        let is_private = pattern.address().is_some_and(|address| !is_public(address));
        if addresses == Addresses::Public && is_private {
            let problem = format!("{} is no address of the public internet", quoted(&pattern.to_string()));
            let allowed = "addresses of the public internet; or addresses = \"any\" beside it";
            table.desk.fault_at(patterns, Complaint::new(problem, allowed));
            sound = None;
        }
    }
    sound
}

fn cost(node: &Node) -> Result<Cost, Complaint> {
    let units = value::decimal(0.0..=COST_MAX, "the price of one request,")(node)?;
    #[expect(clippy::cast_possible_truncation, reason = "at most 10^12")]
    Ok(Cost::from_millionths((units * 1_000_000.0).round() as i64))
}
