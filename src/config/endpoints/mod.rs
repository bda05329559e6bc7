//! The endpoints: each table read as a draft, laid over the draft of `[defaults]`, and checked as a whole.
//!
//! A draft remembers where each of its values was written, so that a fault between two keys points at the one that is the
//! endpoint's own.

mod confirm;
mod dry_run;
mod judging;
mod protection;
mod reporting;
mod rules;
mod vendors;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::fault::{Complaint, quoted};
use super::reference::Secret;
use super::table::{Desk, Found, Placed, Table};
use super::value;
use super::written::Node;
use crate::call::request::is_secret_header;
use crate::call::{EndpointName, Headers};
use crate::endpoint::ladder::format_duration;
use crate::endpoint::{
    BaseUrl, CATCH_ALL_LANE, Destination, Endpoint, Endpoints, Ladder, LaneName, Registry, Timeouts,
};
use crate::limits::{CONCURRENCY_MAX, LEASE_MARGIN_DEFAULT, LEASE_MAX, RUNGS_MAX, TIMEOUT_OVERALL_MAX};
use dry_run::DryRunDraft;
use judging::JudgingDraft;
use protection::ProtectionDraft;
use vendors::VendorsDraft;

const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const WINDOW_MAX: Duration = Duration::from_hours(10 * 365 * 24);
const NAME: &str = "a name of 1 to 63 lower-case letters, digits and '-': [a-z0-9][a-z0-9-]{0,62}";
const BASE_URL: &str =
    "http:// or https://, a host, perhaps a port and a path, as in \"https://sms.example.com\"";
const HEADER_NAME: &str =
    "an HTTP field name that does not belong to the connection, as in \"Idempotency-Key\"";

/// What is written about one endpoint, or about all of them.
#[derive(Clone)]
struct Draft {
    ladder: Found<Ladder>,
    timeout: TimeoutDraft,
    lease: Found<Duration>,
    concurrency: Found<usize>,
    judging: JudgingDraft,
    protection: ProtectionDraft,
    vendors: VendorsDraft,
    dry_run: DryRunDraft,
    idempotency_header: Found<http::HeaderName>,
    headers: Vec<Placed<(http::HeaderName, SecretString)>>,
    lane: Found<LaneName>,
}

#[derive(Clone)]
struct TimeoutDraft {
    connect: Found<Duration>,
    read: Found<Duration>,
    overall: Found<Overall>,
    floor: Found<Duration>,
    ceiling: Found<Duration>,
}

/// How long a whole attempt may take, as it is written.
#[derive(Clone, Copy)]
enum Overall {
    Fixed(Duration),
    /// Between floor and ceiling.
    Adaptive,
}

/// Reads `[defaults]` and `[endpoints]`.
pub(super) fn read(root: &mut Table<'_>) -> Endpoints {
    let defaults = root.table("defaults", Draft::read);
    let endpoints = root.each("endpoints", |name, table| {
        let parsed = EndpointName::parse(name);
        if parsed.is_err() {
            table.fault(Complaint::new("the name is no endpoint's name", NAME));
        }
        let draft = Draft::read(table);
        draft.over(defaults.clone()?).finish(parsed.ok(), table)
    });
    Endpoints::new(endpoints.into_iter().flatten())
}

impl Draft {
    fn read(table: &mut Table<'_>) -> Self {
        Self {
            ladder: ladder(table),
            timeout: TimeoutDraft::read(table),
            lease: table.optional("lease", value::duration(TIMEOUT_MIN..=LEASE_MAX)),
            concurrency: table.optional("concurrency", value::integer(1..=CONCURRENCY_MAX)),
            judging: JudgingDraft::read(table),
            protection: ProtectionDraft::read(table),
            vendors: VendorsDraft::read(table),
            dry_run: DryRunDraft::read(table),
            idempotency_header: table.optional("idempotency_header", value::parsed(header_name, HEADER_NAME)),
            headers: table.table("headers", headers).unwrap_or_default(),
            lane: table.optional("lane", lane),
        }
    }

    /// This draft where it says something, otherwise the other one.
    fn over(self, below: Self) -> Self {
        let own = |(name, _): &(http::HeaderName, SecretString)| {
            self.headers.iter().any(|own| own.value.0 == *name)
        };
        let inherited: Vec<_> = below.headers.iter().filter(|header| !own(&header.value)).cloned().collect();
        Self {
            ladder: self.ladder.or(below.ladder),
            timeout: self.timeout.over(below.timeout),
            lease: self.lease.or(below.lease),
            concurrency: self.concurrency.or(below.concurrency),
            judging: self.judging.over(below.judging),
            protection: self.protection.over(below.protection),
            vendors: self.vendors.over(below.vendors),
            dry_run: self.dry_run.over(below.dry_run),
            idempotency_header: self.idempotency_header.or(below.idempotency_header),
            headers: inherited.into_iter().chain(self.headers).collect(),
            lane: self.lane.or(below.lane),
        }
    }

    /// The endpoint that is meant; `None` has been reported, as has a missing name.
    fn finish(self, name: Option<EndpointName>, table: &Table<'_>) -> Option<Endpoint> {
        let desk = table.desk;
        self.refuse_doubled_key_header(desk);
        let judging = self.judging.finish(&self.ladder, table);
        let (protection, vendors) = (self.protection.finish(), self.vendors.vendors());
        let timeouts = self.timeout.clone().finish(self.lease, table);
        let dry_run = self.dry_run.finish();
        let lane = own_lane(name.as_ref(), self.lane, table);
        let headers = self.headers.into_iter().map(|header| header.value).collect();
        let endpoint = || {
            Some(Endpoint {
                name: name?,
                provider: None,
                // Nowhere, until it is known where its calls go.
                destination: Destination::Providers(Vec::new()),
                ladder: self.ladder.value()?.value,
                timeouts: timeouts?,
                concurrency: self.concurrency.value()?.value,
                judging: judging?,
                protection: protection?,
                vendors: vendors?,
                dry_run: dry_run?,
                idempotency_header: self.idempotency_header.value()?.value,
                headers,
                lane: lane?,
            })
        };
        let endpoint = endpoint();
        self.vendors.finish(endpoint, &self.timeout, table)
    }

    fn refuse_doubled_key_header(&self, desk: &Desk<'_>) {
        let Found::Value(key_header) = &self.idempotency_header else { return };
        for header in self.headers.iter().filter(|header| header.value.0 == key_header.value) {
            let complaint = Complaint::new(
                "is the header that carries the idempotency key",
                "any other header, or another idempotency_header",
            );
            desk.fault_at(header, complaint);
        }
    }
}

impl TimeoutDraft {
    fn read(table: &mut Table<'_>) -> Self {
        let read = |table: &mut Table<'_>| Self {
            connect: table.optional("connect", value::duration(TIMEOUT_MIN..=TIMEOUT_OVERALL_MAX)),
            read: table.optional("read", value::duration(TIMEOUT_MIN..=TIMEOUT_OVERALL_MAX)),
            overall: table.optional("overall", overall),
            floor: table.optional("floor", value::duration(TIMEOUT_MIN..=TIMEOUT_OVERALL_MAX)),
            ceiling: table.optional("ceiling", value::duration(TIMEOUT_MIN..=TIMEOUT_OVERALL_MAX)),
        };
        let nothing = Self {
            connect: Found::Nothing,
            read: Found::Nothing,
            overall: Found::Nothing,
            floor: Found::Nothing,
            ceiling: Found::Nothing,
        };
        table.table("timeout", read).unwrap_or(nothing)
    }

    fn over(self, below: Self) -> Self {
        Self {
            connect: self.connect.or(below.connect),
            read: self.read.or(below.read),
            overall: self.overall.or(below.overall),
            floor: self.floor.or(below.floor),
            ceiling: self.ceiling.or(below.ceiling),
        }
    }

    /// The timeouts of a provider, which must fit into the endpoint's lease; `None` has been reported.
    fn for_provider(
        self,
        endpoint: &Self,
        lease: Option<Duration>,
        whole: &Placed<()>,
        table: &Table<'_>,
    ) -> Option<Timeouts> {
        let own = self.overall.value_or(whole);
        let timeouts = self.over(endpoint.clone());
        let (overall, floor) = Self::whole(timeouts.overall, timeouts.floor, timeouts.ceiling, table)?;
        let (connect, read) = (timeouts.connect.value()?.value, timeouts.read.value()?.value);
        let made = Timeouts::new(connect, read, overall.value, Some(lease?));
        let made = made.map(|fixed| floor.map_or(fixed, |floor| fixed.adaptive(floor)));
        made.map_err(|sentence| {
            let allowed = "timeouts that the endpoint's lease outlasts by a second";
            table.desk.fault(&own.0, &own.1, Complaint::new(sentence, allowed));
        })
        .ok()
    }

    /// How long a whole attempt may take at most, and at least where that is learned; `None` has been reported.
    fn whole(
        overall: Found<Overall>,
        floor: Found<Duration>,
        ceiling: Found<Duration>,
        table: &Table<'_>,
    ) -> Option<(Placed<Duration>, Option<Duration>)> {
        let Placed { value, place, key } = overall.value()?;
        let (floor, ceiling) = (floor.value()?, ceiling.value()?);
        match value {
            Overall::Fixed(overall) => Some((Placed { value: overall, place, key }, None)),
            Overall::Adaptive if floor.value > ceiling.value => {
                let allowed = format!("at most the ceiling, {}", format_duration(ceiling.value));
                table.desk.fault_at(&floor, Complaint::new("is longer than the ceiling", allowed));
                None
            }
            Overall::Adaptive => Some((ceiling, Some(floor.value))),
        }
    }

    /// The timeouts as a whole. A lease that an attempt could outlive is the fault of whichever key is the endpoint's own.
    fn finish(self, lease: Found<Duration>, table: &Table<'_>) -> Option<Timeouts> {
        if lease.is_faulty() {
            return None;
        }
        let (connect, read) = (self.connect.value(), self.read.value());
        let (overall, floor) = Self::whole(self.overall, self.floor, self.ceiling, table)?;
        let lease = lease.value();
        // A part that is faulty hides nothing that the lease and the whole do wrong between them.
        let part = |part: &Option<Placed<Duration>>| part.as_ref().map_or(overall.value, |part| part.value);
        let made = Timeouts::new(
            part(&connect),
            part(&read),
            overall.value,
            lease.as_ref().map(|lease| lease.value),
        );
        let made = made.map(|fixed| floor.map_or(fixed, |floor| fixed.adaptive(floor)));
        let made = made.map_err(|sentence| {
            let own = |placed: &&Placed<Duration>| placed.key.starts_with(table.key());
            let culprit = lease
                .as_ref()
                .filter(own)
                .or(Some(&overall).filter(own))
                .or(lease.as_ref())
                .unwrap_or(&overall);
            let allowed = format!(
                "a lease of overall and some seconds; without one it is overall + {}",
                format_duration(LEASE_MARGIN_DEFAULT)
            );
            table.desk.fault_at(culprit, Complaint::new(sentence, allowed));
        });
        made.ok().filter(|_| connect.is_some() && read.is_some())
    }
}

/// A base URL may hold references: hosts differ between installations, and some third parties want a token in the path. What they stand
/// for there is not shown.
fn base_url(table: &mut Table<'_>) -> Found<BaseUrl> {
    let found = table.secret("base_url");
    let complain = |found: &Placed<Secret>, sentence: String| {
        let filled_in = "is no base URL once its references are filled in".to_owned();
        let problem = if found.value.is_literal() { sentence } else { filled_in };
        table.desk.fault_at(found, Complaint::new(problem, BASE_URL));
    };
    found.and_then(|found| {
        let parsed = BaseUrl::parse(found.value.value.expose_secret());
        let parts = found.value.filled_in.iter().map(ExposeSecret::expose_secret);
        parsed.map(|url| url.hiding(parts)).map_err(|sentence| complain(found, sentence)).ok()
    })
}

fn ladder(table: &mut Table<'_>) -> Found<Ladder> {
    let allowed = || {
        format!(
            "1 to {RUNGS_MAX} rungs, each from \"1ms\" to \"49d\", as in \"10s\" or \"10m x3\" (three times)"
        )
    };
    // Each rung by itself first, so that all bad ones are named, each at its place.
    let rungs = table.list("ladder", |node| {
        let text = node.text()?;
        let no_rung = |_| Complaint::new(format!("{} is no rung", quoted(text)), allowed());
        Ladder::parse(&[text]).map_err(no_rung).map(|_| text.to_owned())
    });
    let desk = table.desk;
    rungs.and_then(|rungs| {
        let complain = |(_, sentence)| desk.fault_at(rungs, Complaint::new(sentence, allowed()));
        Ladder::parse(&rungs.value).map_err(complain).ok()
    })
}

fn overall(node: &Node) -> Result<Overall, Complaint> {
    if node.text().is_ok_and(|text| text == "adaptive") {
        return Ok(Overall::Adaptive);
    }
    let or_adaptive = |complaint: Complaint| {
        Complaint::new(complaint.problem, format!("\"adaptive\", or {}", complaint.allowed))
    };
    value::duration(TIMEOUT_MIN..=TIMEOUT_OVERALL_MAX)(node).map(Overall::Fixed).map_err(or_adaptive)
}

fn lane(node: &Node) -> Result<LaneName, Complaint> {
    let text = node.text()?;
    if text == CATCH_ALL_LANE {
        return Err(reserved_lane());
    }
    value::parsed(|text| LaneName::parse(text).ok(), NAME)(node)
}

fn reserved_lane() -> Complaint {
    Complaint::new(
        format!("the lane {CATCH_ALL_LANE:?} is kept for tickets that no other lane is bound for"),
        "a lane of another name (lane = \"…\")",
    )
}

/// The lane that is named, or the endpoint's own; `None` has been reported.
fn own_lane(name: Option<&EndpointName>, lane: Found<LaneName>, table: &Table<'_>) -> Option<LaneName> {
    match lane {
        Found::Value(lane) => Some(lane.value),
        Found::Faulty => None,
        Found::Nothing if name.is_some_and(Registry::is_catch_all) => {
            table.fault(reserved_lane());
            None
        }
        Found::Nothing => name.cloned(),
    }
}

fn header_name(text: &str) -> Option<http::HeaderName> {
    Headers::default().insert(text, "value").ok()?;
    http::HeaderName::from_bytes(text.as_bytes()).ok()
}

fn headers(table: &mut Table<'_>) -> Vec<Placed<(http::HeaderName, SecretString)>> {
    // The rules are those of a submission's headers.
    let mut checked = Headers::default();
    let mut headers = Vec::new();
    for name in table.names() {
        let Found::Value(found) = table.secret(&name) else { continue };
        let inserted = checked.insert(&name, found.value.value.expose_secret());
        match (inserted, header_name(&name)) {
            (Ok(()), Some(parsed)) => {
                warn_of_literal_secret(table, &parsed, &found);
                headers.push(Placed {
                    value: (parsed, found.value.value),
                    place: found.place,
                    key: found.key,
                });
            }
            (Err(error), _) => {
                table.desk.fault_at(
                    &found,
                    Complaint::new(error.to_string(), "a header on one line of visible ASCII, each once"),
                );
            }
            (Ok(()), None) => table.desk.fault_at(&found, Complaint::new("is no header", HEADER_NAME)),
        }
    }
    headers
}

fn warn_of_literal_secret(table: &Table<'_>, name: &http::HeaderName, found: &Placed<Secret>) {
    let in_file = matches!(found.place, super::fault::Place::Position { .. });
    if in_file && found.value.is_literal() && is_secret_header(name.as_str()) {
        let sentence = "holds a secret; a reference keeps it out of the file: \"Bearer ${TOKEN}\"".to_owned();
        table.desk.warn(&found.place, &found.key, sentence);
    }
}
