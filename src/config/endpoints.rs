//! The endpoints: each table read as a draft, laid over the draft of `[defaults]`, and checked as a whole.
//!
//! A draft remembers where each of its values was written, so that a fault between two keys points at the one that is the
//! endpoint's own.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::fault::{Complaint, quoted};
use super::reference::Secret;
use super::table::{Desk, Found, Placed, Table};
use super::value;
use super::written::Node;
use crate::call::request::is_secret_header;
use crate::call::{EndpointName, Headers};
use crate::endpoint::ladder::format_duration;
use crate::endpoint::{BaseUrl, CATCH_ALL_LANE, Endpoint, Ladder, LaneName, OnAmbiguous, Registry, Timeouts};
use crate::limits::{CONCURRENCY_MAX, LEASE_MARGIN_DEFAULT, LEASE_MAX, RUNGS_MAX, TIMEOUT_OVERALL_MAX};

const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const WINDOW_MAX: Duration = Duration::from_hours(10 * 365 * 24);
const NAME: &str = "a name of 1 to 63 lower-case letters, digits and '-': [a-z0-9][a-z0-9-]{0,62}";
const BASE_URL: &str =
    "http:// or https://, a host, perhaps a port and a path, as in \"https://sms.example.com\"";
const HEADER_NAME: &str =
    "an HTTP field name that does not belong to the connection, as in \"Idempotency-Key\"";

/// Keys of an endpoint that the design has and this version does not.
const NOT_YET: &[&str] =
    &["breaker", "confirm", "dry_run", "immediate_retries", "providers", "rate_limit", "rules"];

/// What is written about one endpoint, or about all of them.
#[derive(Clone)]
struct Draft {
    base_url: Found<BaseUrl>,
    ladder: Found<Ladder>,
    timeout: TimeoutDraft,
    lease: Found<Duration>,
    concurrency: Found<usize>,
    on_ambiguous: Found<OnAmbiguous>,
    idempotency_header: Found<http::HeaderName>,
    idempotency_window: Found<Duration>,
    headers: Vec<Placed<(http::HeaderName, SecretString)>>,
    lane: Found<LaneName>,
}

#[derive(Clone)]
struct TimeoutDraft {
    connect: Found<Duration>,
    read: Found<Duration>,
    overall: Found<Duration>,
}

/// Reads `[defaults]` and `[endpoints]`.
pub(super) fn read(root: &mut Table<'_>) -> Registry {
    let defaults = root.table("defaults", Draft::read);
    let endpoints = root.each("endpoints", |name, table| {
        let parsed = EndpointName::parse(name);
        if parsed.is_err() {
            table.fault(Complaint::new("the name is no endpoint's name", NAME));
        }
        let draft = Draft::read(table);
        draft.over(defaults.clone()?).finish(parsed.ok(), table)
    });
    Registry::new(endpoints.into_iter().flatten())
}

impl Draft {
    fn read(table: &mut Table<'_>) -> Self {
        let draft = Self {
            base_url: base_url(table),
            ladder: ladder(table),
            timeout: TimeoutDraft::read(table),
            lease: table.optional("lease", value::duration(TIMEOUT_MIN..=LEASE_MAX)),
            concurrency: table.optional("concurrency", value::integer(1..=CONCURRENCY_MAX)),
            on_ambiguous: table.optional("on_ambiguous", on_ambiguous),
            idempotency_header: table.optional("idempotency_header", value::parsed(header_name, HEADER_NAME)),
            idempotency_window: table
                .optional("idempotency_window", value::duration(TIMEOUT_MIN..=WINDOW_MAX)),
            headers: table.table("headers", headers).unwrap_or_default(),
            lane: table.optional("lane", lane),
        };
        for key in NOT_YET {
            table.not_yet(key);
        }
        draft
    }

    /// This draft where it says something, otherwise the other one.
    fn over(self, below: Self) -> Self {
        let own = |(name, _): &(http::HeaderName, SecretString)| {
            self.headers.iter().any(|own| own.value.0 == *name)
        };
        let inherited: Vec<_> = below.headers.iter().filter(|header| !own(&header.value)).cloned().collect();
        Self {
            base_url: self.base_url.or(below.base_url),
            ladder: self.ladder.or(below.ladder),
            timeout: self.timeout.over(below.timeout),
            lease: self.lease.or(below.lease),
            concurrency: self.concurrency.or(below.concurrency),
            on_ambiguous: self.on_ambiguous.or(below.on_ambiguous),
            idempotency_header: self.idempotency_header.or(below.idempotency_header),
            idempotency_window: self.idempotency_window.or(below.idempotency_window),
            headers: inherited.into_iter().chain(self.headers).collect(),
            lane: self.lane.or(below.lane),
        }
    }

    /// The endpoint that is meant; `None` has been reported, as has a missing name.
    fn finish(self, name: Option<EndpointName>, table: &Table<'_>) -> Option<Endpoint> {
        let desk = table.desk;
        self.warn_of_forgotten_keys(desk);
        self.refuse_doubled_key_header(desk);
        let timeouts = self.timeout.finish(self.lease, table);
        if matches!(self.base_url, Found::Nothing) {
            table.fault(Complaint::new("has no base_url", BASE_URL));
        }
        let lane = own_lane(name.as_ref(), self.lane, table);
        Some(Endpoint {
            name: name?,
            base_url: self.base_url.value()?.value,
            ladder: self.ladder.value()?.value,
            timeouts: timeouts?,
            concurrency: self.concurrency.value()?.value,
            on_ambiguous: self.on_ambiguous.value()?.value,
            idempotency_header: self.idempotency_header.value()?.value,
            headers: self.headers.into_iter().map(|header| header.value).collect(),
            lane: lane?,
        })
    }

    /// A third party that forgot a key takes the next attempt for a new request.
    fn warn_of_forgotten_keys(&self, desk: &Desk<'_>) {
        let (Found::Value(window), Found::Value(ladder)) = (&self.idempotency_window, &self.ladder) else {
            return;
        };
        let mut since_first = Duration::ZERO;
        for (position, delay) in ladder.value.delays().iter().enumerate() {
            since_first += *delay;
            if since_first > window.value {
                let sentence = format!(
                    "rung {} ends {} after the first attempt, when the third party has forgotten the idempotency key: \
                     shorten the ladder, or set on_ambiguous = \"review\"",
                    position + 1,
                    format_duration(since_first)
                );
                return desk.warn(&window.place, &window.key, sentence);
            }
        }
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
        };
        let nothing = Self { connect: Found::Nothing, read: Found::Nothing, overall: Found::Nothing };
        table.table("timeout", read).unwrap_or(nothing)
    }

    fn over(self, below: Self) -> Self {
        Self {
            connect: self.connect.or(below.connect),
            read: self.read.or(below.read),
            overall: self.overall.or(below.overall),
        }
    }

    /// The timeouts as a whole. A lease that an attempt could outlive is the fault of whichever key is the endpoint's own.
    fn finish(self, lease: Found<Duration>, table: &Table<'_>) -> Option<Timeouts> {
        if lease.is_faulty() {
            return None;
        }
        let (connect, read, overall) = (self.connect.value()?, self.read.value()?, self.overall.value()?);
        let lease = lease.value();
        let made =
            Timeouts::new(connect.value, read.value, overall.value, lease.as_ref().map(|lease| lease.value));
        made.map_err(|sentence| {
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
        })
        .ok()
    }
}

/// A base URL may hold references, as hosts differ between installations. What they stand for is not shown.
fn base_url(table: &mut Table<'_>) -> Found<BaseUrl> {
    let found = table.secret("base_url");
    let complain = |found: &Placed<Secret>, sentence: String| {
        let filled_in = "is no base URL once its references are filled in".to_owned();
        let problem = if found.value.is_literal() { sentence } else { filled_in };
        table.desk.fault_at(found, Complaint::new(problem, BASE_URL));
    };
    found.and_then(|found| {
        let parsed = BaseUrl::parse(found.value.value.expose_secret());
        parsed.map_err(|sentence| complain(found, sentence)).ok()
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

fn overall(node: &Node) -> Result<Duration, Complaint> {
    if node.text().is_ok_and(|text| text == "adaptive") {
        return Err(Complaint::new(
            "\"adaptive\" is not available in this version",
            "a duration, as in \"30s\"",
        ));
    }
    value::duration(TIMEOUT_MIN..=TIMEOUT_OVERALL_MAX)(node)
}

fn on_ambiguous(node: &Node) -> Result<OnAmbiguous, Complaint> {
    if node.text().is_ok_and(|text| text == "confirm") {
        return Err(Complaint::new("\"confirm\" is not available in this version", OnAmbiguous::allowed()));
    }
    value::parsed(OnAmbiguous::parse, OnAmbiguous::allowed())(node)
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
