//! `GET /v1/configuration`: the endpoints as they are in force, in the words of the configuration file, and what is declared for them.
//!
//! `redial check --against` renders a local configuration by the same functions and compares. No secret is in here: of headers and
//! proofs the names are shown, of templates of headers that usually hold secrets that they are there.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::Api;
use super::auth::Viewer;
use super::endpoints::{allowed_hosts, rules};
use crate::call::request::{REDACTED, is_secret_header};
use crate::call::{Cost, Method, Mode};
use crate::endpoint::ladder::format_duration;
use crate::endpoint::reporting::{Handle, Proof};
use crate::endpoint::{
    BaseUrl, BreakerSettings, Confirm, Destination, Endpoint, Endpoints, PathTemplate, Provider, Reporting,
    RequestTemplate, Template, Timeouts,
};
use crate::script::Script;

/// The configuration that is in force.
///
/// # Errors
/// 401, 403.
pub async fn show(State(api): State<Arc<Api>>, _: Viewer) -> Json<Value> {
    let mut document = in_force(&api.registry.snapshot(), api.configuration.tiers().iter());
    document["configuration"] = api.configuration.view();
    Json(document)
}

/// These endpoints, with the tiers and lanes that are declared for them.
pub fn in_force(endpoints: &Endpoints, tiers: impl Iterator<Item = Duration>) -> Value {
    let views: Map<String, Value> =
        endpoints.iter().map(|endpoint| (endpoint.name.to_string(), view(endpoint))).collect();
    let lanes: Map<String, Value> =
        endpoints.lanes().into_iter().map(|(lane, names)| (lane.to_string(), list(names))).collect();
    json!({
        "endpoints": views,
        "tiers": list(tiers.map(format_duration)),
        "lanes": lanes,
        "single_lanes": list(endpoints.single_lanes()),
    })
}

/// An endpoint in the words of the configuration file, everything that was left out filled in. What has no value is null.
fn view(endpoint: &Endpoint) -> Value {
    let Endpoint { judging, protection, vendors, .. } = endpoint;
    json!({
        "base_url": base_url(endpoint),
        "allowed_hosts": allowed_hosts(endpoint),
        "addresses": addresses(endpoint),
        "providers": endpoint.destination.providers().iter().map(provider).collect::<Vec<_>>(),
        "strategy": vendors.strategy.as_str(),
        "duplicates": vendors.duplicates.as_str(),
        "dry_run": endpoint.dry_run.mode == Mode::DryRun,
        "dry_run_script": fingerprint(&endpoint.dry_run.script),
        "ladder": list(endpoint.ladder.delays().iter().copied().map(format_duration)),
        "timeout": timeout(&endpoint.timeouts),
        "lease": format_duration(endpoint.timeouts.lease()),
        "concurrency": endpoint.concurrency,
        "rate_limit": protection.rate_limit.map(|rate| rate.to_string()),
        "immediate_retries": protection.immediate_retries,
        "jitter": protection.jitter,
        "breaker": protection.breaker.map_or_else(|| json!("off"), breaker),
        "on_ambiguous": judging.on_ambiguous.as_str(),
        "idempotency_header": endpoint.idempotency_header.as_str(),
        "idempotency_window": judging.idempotency_window.map(format_duration),
        "headers": header_names(endpoint),
        "rules": rules(&judging.rules, "verdict"),
        "confirm": judging.confirm.as_ref().map(confirm),
        "callback": judging.reporting.as_ref().map(callback),
        "lane": endpoint.lane.as_str(),
    })
}

fn provider(provider: &Provider) -> Value {
    let face = &provider.face;
    json!({
        "name": provider.name.as_str(),
        "base_url": base_url(face),
        "weight": provider.weight,
        "cost": provider.cost.map(Cost::units),
        "timeout": timeout(&face.timeouts),
        "headers": header_names(face),
        "request": request(&provider.request),
        "rules": rules(&face.judging.rules, "verdict"),
        "on_ambiguous": face.judging.on_ambiguous.as_str(),
    })
}

fn request(request: &RequestTemplate) -> Value {
    json!({
        "method": request.method.map(Method::as_str),
        "path": request.path.as_ref().map(PathTemplate::text),
        "headers": header_templates(&request.headers),
        "body": request.body.as_ref().map(Template::text),
    })
}

fn confirm(confirm: &Confirm) -> Value {
    json!({
        "method": confirm.method.as_str(),
        "path": confirm.path.text(),
        "after": format_duration(confirm.after),
        "times": confirm.times,
        "headers": header_templates(&confirm.headers),
        "body": confirm.body.as_ref().map(Template::text),
        "rules": rules(&confirm.rules, "answer"),
    })
}

fn callback(reporting: &Reporting) -> Value {
    let (token, signature) = match &reporting.proof {
        Proof::Token { header, .. } => (Some(json!({ "header": header.as_str() })), None),
        Proof::Signature { header, encoding, prefix, .. } => {
            let signature =
                json!({ "header": header.as_str(), "encoding": encoding.as_str(), "prefix": prefix });
            (None, Some(signature))
        }
    };
    json!({
        "token": token,
        "signature": signature,
        "call": reporting.call.text(),
        "by": handle(&reporting.by),
        "rules": rules(&reporting.rules, "answer"),
    })
}

fn handle(handle: &Handle) -> String {
    match handle {
        Handle::IdempotencyKey => "idempotency_key".to_owned(),
        Handle::Call => "call".to_owned(),
        Handle::Tag(key) => format!("tag:{key}"),
    }
}

fn timeout(timeouts: &Timeouts) -> Value {
    let (overall, floor) = (format_duration(timeouts.overall()), timeouts.adaptive_floor());
    let whole = if floor.is_some() { "adaptive".to_owned() } else { overall.clone() };
    json!({
        "connect": format_duration(timeouts.connect()),
        "read": format_duration(timeouts.read()),
        "overall": whole,
        "floor": floor.map(format_duration),
        "ceiling": floor.map(|_| overall),
    })
}

fn breaker(settings: BreakerSettings) -> Value {
    json!({
        "failure_rate": settings.failure_rate,
        "window": format_duration(settings.window),
        "min_calls": settings.min_calls,
        "open_for": format_duration(settings.open_for),
    })
}

fn base_url(endpoint: &Endpoint) -> Option<&str> {
    endpoint.destination.base_url().map(BaseUrl::shown)
}

fn addresses(endpoint: &Endpoint) -> Option<&'static str> {
    match &endpoint.destination {
        Destination::Named(hosts) => Some(hosts.addresses.as_str()),
        Destination::Base(_) | Destination::Providers(_) => None,
    }
}

fn header_names(endpoint: &Endpoint) -> Value {
    let mut names: Vec<&str> = endpoint.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    list(names)
}

/// Templates hold no references to secrets, but a header may hold one that is written out.
fn header_templates(headers: &[(http::HeaderName, Template)]) -> Map<String, Value> {
    let shown = |name: &str, template: &Template| {
        if is_secret_header(name) { REDACTED.to_owned() } else { template.text().to_owned() }
    };
    headers.iter().map(|(name, template)| (name.to_string(), shown(name.as_str(), template).into())).collect()
}

/// What tells one script from another; null where there is none.
fn fingerprint(script: &Script) -> Option<String> {
    if *script == Script::default() {
        return None;
    }
    let digest = Sha256::digest(format!("{script:?}"));
    let beginning = digest.first_chunk().copied().map_or(0, u64::from_be_bytes);
    Some(format!("sha256:{beginning:016x}"))
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> Value {
    items.into_iter().map(|item| item.to_string()).collect()
}
