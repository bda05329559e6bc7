//! Compares what is declared with what should be, and changes nothing.
//!
//! The management API, where it answers, tells everything. AMQP alone tells what exists and the first argument that differs;
//! bindings and policies it cannot tell, and then the report says so.

use std::fmt;

use serde_json::{Map, Value};

use super::admin::Stale;
use super::management::{BindingSeen, Lenient, Management, ManagementUrl, QueueSeen, Silent};
use super::session::answered;
use super::topology::{Argument, Arguments, Binding, Exchange, Queue, Topology};
use super::{Address, Admin, BrokerError, declare};

/// What only the management API tells.
const BY_MANAGEMENT: &str = "bindings, policies and lanes of removed endpoints";

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What, such as `queue redial.delay.1m`.
    pub object: String,
    /// How it is.
    pub is: String,
    /// How it should be.
    pub should_be: String,
}

/// A sentence.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.object, self.is, self.should_be)
    }
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What is not as it should be.
    pub findings: Vec<Finding>,
    /// What could not be looked at, and why; each a sentence.
    pub unchecked: Vec<String>,
}

/// Compares the declared topology with this one.
///
/// # Errors
/// RabbitMQ is away, or we may not ask.
pub async fn check(
    admin: &Admin,
    address: &Address,
    management: Option<&ManagementUrl>,
    topology: &Topology,
) -> Result<Report, BrokerError> {
    let mut report = match management {
        None => {
            let why = format!("{BY_MANAGEMENT}: no management URL is configured");
            Report { findings: by_amqp(admin, topology).await?, unchecked: vec![why] }
        }
        Some(url) => match by_management(url, address.vhost(), topology).await {
            Ok(findings) => Report { findings, unchecked: Vec::new() },
            Err(silent) => {
                let why = format!("{BY_MANAGEMENT}: the management API at {url} told nothing: {silent}");
                Report { findings: by_amqp(admin, topology).await?, unchecked: vec![why] }
            }
        },
    };
    report.findings.extend(left_over(admin, topology).await?);
    Ok(report)
}

/// Lanes of another configuration that still hold tickets.
async fn left_over(admin: &Admin, topology: &Topology) -> Result<Vec<Finding>, BrokerError> {
    let stale = admin.stale_lanes(topology, Stale::Look).await?;
    let finding = |(queue, messages): (String, u64)| Finding {
        object: format!("queue {queue}"),
        is: format!("{messages} messages lie in this lane of another configuration"),
        should_be: "should be empty: `redial serve` moves them over".to_owned(),
    };
    Ok(stale.into_iter().filter(|(_, messages)| *messages > 0).map(finding).collect())
}

/// Bindings that lead due tickets into lanes that no configured endpoint has.
///
/// # Errors
/// A sentence: the management API told nothing.
pub async fn deserted(url: &ManagementUrl, vhost: &str, topology: &Topology) -> Result<Vec<Binding>, String> {
    let told = |silent: Silent| silent.to_string();
    let management = Management::new(url, vhost).map_err(told)?;
    deserted_lanes(&management, topology).await.map_err(told)
}

async fn deserted_lanes(management: &Management<'_>, topology: &Topology) -> Result<Vec<Binding>, Silent> {
    let seen = management.bindings_from(&topology.names.due()).await?;
    let binding =
        |seen: BindingSeen| Binding { queue: seen.destination, exchange: seen.source, key: seen.routing_key };
    Ok(seen.into_iter().map(binding).filter(|binding| topology.is_deserted(binding)).collect())
}

fn nobody_reads(Binding { queue, exchange, key }: Binding) -> Finding {
    Finding {
        object: format!("queue {queue}"),
        is: format!("is bound to exchange {exchange} by {key}, and no configured endpoint has this lane"),
        should_be: "should not be: `redial topology apply` unbinds it".to_owned(),
    }
}

async fn by_amqp(admin: &Admin, topology: &Topology) -> Result<Vec<Finding>, BrokerError> {
    let connection = admin.connection().await?;
    let mut channel = answered(connection.create_channel()).await?;
    let mut findings = Vec::new();
    let exchanges = topology.exchanges.iter().map(declare::Step::Exchange);
    for step in exchanges.chain(topology.queues.iter().map(declare::Step::Queue)) {
        match step.compare(&channel).await {
            Ok(()) => {}
            Err(BrokerError::Refused { code, text }) => {
                findings.push(refused(step.object(), code, text));
                // The refusal has closed the channel.
                channel = answered(connection.create_channel()).await?;
            }
            Err(away @ BrokerError::Away(_)) => return Err(away),
        }
    }
    let _ = answered(channel.close(200, "OK".into())).await;
    Ok(findings)
}

fn refused(object: String, code: u16, text: String) -> Finding {
    if code == 404 {
        missing(object)
    } else {
        Finding { object, is: text, should_be: "should be declared alike".to_owned() }
    }
}

fn missing(object: String) -> Finding {
    Finding { object, is: "does not exist".to_owned(), should_be: "should exist".to_owned() }
}

async fn by_management(
    url: &ManagementUrl,
    vhost: &str,
    topology: &Topology,
) -> Result<Vec<Finding>, Silent> {
    let management = Management::new(url, vhost)?;
    let mut findings = Vec::new();
    for exchange in &topology.exchanges {
        look_at_exchange(&management, exchange, &mut findings).await?;
    }
    for queue in &topology.queues {
        match management.queue(&queue.name).await? {
            None => findings.push(missing(format!("queue {}", queue.name))),
            Some(seen) => {
                findings.extend(compare_queue(queue, &seen));
                look_at_bindings(&management, topology, &queue.name, &mut findings).await?;
            }
        }
    }
    findings.extend(deserted_lanes(&management, topology).await?.into_iter().map(nobody_reads));
    Ok(findings)
}

async fn look_at_exchange(
    management: &Management<'_>,
    exchange: &Exchange,
    findings: &mut Vec<Finding>,
) -> Result<(), Silent> {
    let object = format!("exchange {}", exchange.name);
    let Some(seen) = management.exchange(&exchange.name).await? else {
        findings.push(missing(object));
        return Ok(());
    };
    let kind = exchange.kind.as_str();
    if seen.kind != kind {
        findings.push(differs(&object, "its type", Some(&seen.kind), Some(kind)));
    }
    if !seen.durable {
        findings.push(differs(&object, "it", Some("transient"), Some("durable")));
    }
    findings.extend(compare_arguments(&object, &exchange.arguments, &seen.arguments));
    if let Some(name) = seen.policy.filter(|name| !name.is_empty())
        && let Some(policy) = management.policy(&name).await?
    {
        findings.extend(alternate(&object, exchange, &policy.definition.0));
    }
    Ok(())
}

/// A policy may give an exchange an alternate one; the argument would win, but only where there is one.
fn alternate(object: &str, exchange: &Exchange, policy: &Map<String, Value>) -> Option<Finding> {
    let set = shown(policy.get("alternate-exchange")?);
    let declared = exchange.arguments.get("alternate-exchange").map(ToString::to_string);
    (declared.as_ref() != Some(&set))
        .then(|| overridden(object, "alternate-exchange", &set, declared.as_deref()))
}

async fn look_at_bindings(
    management: &Management<'_>,
    topology: &Topology,
    queue: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), Silent> {
    let seen = management.bindings_of(queue).await?;
    for binding in topology.bindings.iter().filter(|binding| binding.queue == queue) {
        let bound = |seen: &BindingSeen| seen.source == binding.exchange && seen.routing_key == binding.key;
        if !seen.iter().any(bound) {
            findings.push(Finding {
                object: format!("queue {queue}"),
                is: format!("is not bound to exchange {} by {}", binding.exchange, binding.key),
                should_be: "should be".to_owned(),
            });
        }
    }
    Ok(())
}

fn compare_queue(queue: &Queue, seen: &QueueSeen) -> Vec<Finding> {
    let object = format!("queue {}", queue.name);
    let mut findings = compare_arguments(&object, &queue.arguments, &seen.arguments);
    if !seen.durable {
        findings.push(differs(&object, "it", Some("transient"), Some("durable")));
    }
    findings.extend(policy_findings(&object, queue, &seen.effective_policy_definition.0));
    findings
}

fn compare_arguments(object: &str, expected: &Arguments, seen: &Lenient) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, value) in expected {
        let (is, should_be) = (seen.0.get(*name).map(shown), value.to_string());
        if is.as_ref() != Some(&should_be) {
            findings.push(differs(object, &format!("its argument {name}"), is.as_deref(), Some(&should_be)));
        }
    }
    for (name, value) in seen.0.iter().filter(|(name, _)| !expected.contains_key(name.as_str())) {
        findings.push(differs(object, &format!("its argument {name}"), Some(&shown(value)), None));
    }
    findings
}

/// What a policy key does beside an argument of the same meaning, in RabbitMQ's quorum queues.
enum Precedence {
    /// The policy is what counts.
    Policy,
    /// The smaller of the two counts.
    Smaller,
    /// The argument counts, and the policy where there is none.
    Argument,
}

/// The policy keys that would change what the topology relies on.
const POLICY_KEYS: [(&str, Precedence); 8] = [
    ("overflow", Precedence::Policy),
    ("dead-letter-strategy", Precedence::Policy),
    ("message-ttl", Precedence::Smaller),
    ("max-length", Precedence::Smaller),
    ("max-length-bytes", Precedence::Smaller),
    ("expires", Precedence::Smaller),
    ("delivery-limit", Precedence::Smaller),
    ("dead-letter-exchange", Precedence::Argument),
];

fn policy_findings(object: &str, queue: &Queue, policy: &Map<String, Value>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, precedence) in POLICY_KEYS.iter().chain(&[("dead-letter-routing-key", Precedence::Argument)]) {
        let Some(set) = policy.get(*key) else { continue };
        let declared = queue.arguments.get(format!("x-{key}").as_str());
        if overrides(precedence, set, declared) {
            findings.push(overridden(object, key, &shown(set), declared.map(ToString::to_string).as_deref()));
        }
    }
    findings
}

fn overrides(precedence: &Precedence, set: &Value, declared: Option<&Argument>) -> bool {
    match (precedence, declared) {
        (_, None) | (Precedence::Smaller, Some(Argument::Text(_) | Argument::Flag(_))) => true,
        (Precedence::Policy, Some(declared)) => shown(set) != declared.to_string(),
        (Precedence::Smaller, Some(Argument::Number(declared))) => {
            set.as_i64().is_none_or(|set| set < *declared)
        }
        (Precedence::Argument, Some(_)) => false,
    }
}

fn overridden(object: &str, key: &str, set: &str, declared: Option<&str>) -> Finding {
    Finding {
        object: object.to_owned(),
        is: format!("a policy sets {key} to {set}"),
        should_be: match declared {
            Some(declared) => format!("should stay {declared}, without a policy"),
            None => "no policy should set it".to_owned(),
        },
    }
}

fn differs(object: &str, what: &str, is: Option<&str>, should_be: Option<&str>) -> Finding {
    Finding {
        object: object.to_owned(),
        is: is.map_or_else(|| format!("{what} is not set"), |is| format!("{what} is {is}")),
        should_be: should_be
            .map_or_else(|| "should not be set".to_owned(), |value| format!("should be {value}")),
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tier() -> Queue {
        let arguments = Arguments::from([
            ("x-message-ttl", 60_000.into()),
            ("x-overflow", "reject-publish".into()),
            ("x-dead-letter-exchange", "redial.due".into()),
        ]);
        Queue { name: "redial.delay.1m".to_owned(), arguments }
    }

    fn under(policy: &Value) -> Vec<String> {
        policy_findings("queue redial.delay.1m", &tier(), policy.as_object().unwrap())
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_policy_is_a_finding_only_where_it_changes_what_counts() {
        for harmless in [
            json!({}),
            json!({ "overflow": "reject-publish" }),
            json!({ "message-ttl": 60_000 }),
            json!({ "message-ttl": 90_000 }),
            json!({ "dead-letter-exchange": "elsewhere" }),
            json!({ "queue-leader-locator": "balanced" }),
        ] {
            assert_eq!(under(&harmless), Vec::<String>::new(), "{harmless}");
        }
        for harmful in [
            json!({ "overflow": "drop-head" }),
            json!({ "message-ttl": 59_999 }),
            json!({ "dead-letter-routing-key": "x" }),
            json!({ "dead-letter-strategy": "at-most-once" }),
            json!({ "max-length": 5 }),
            json!({ "expires": 5 }),
        ] {
            assert_eq!(under(&harmful).len(), 1, "{harmful}");
        }
    }

    #[test]
    fn a_finding_is_a_sentence() {
        assert_eq!(
            under(&json!({ "overflow": "drop-head" })),
            [
                "queue redial.delay.1m: a policy sets overflow to drop-head; should stay reject-publish, without a policy"
            ]
        );
    }

    #[test]
    fn arguments_differ_by_value_by_absence_and_by_presence() {
        let seen = Lenient(
            json!({ "x-message-ttl": 6_000, "x-overflow": "reject-publish", "x-expires": 5 })
                .as_object()
                .unwrap()
                .clone(),
        );
        let sentences: Vec<_> =
            compare_arguments("q", &tier().arguments, &seen).iter().map(ToString::to_string).collect();
        assert_eq!(
            sentences,
            [
                "q: its argument x-dead-letter-exchange is not set; should be redial.due",
                "q: its argument x-message-ttl is 6000; should be 60000",
                "q: its argument x-expires is 5; should not be set",
            ]
        );
    }
}
