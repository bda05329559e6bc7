//! What has to exist in RabbitMQ, as plain values: exchanges, queues, bindings. Pure; `declare` acts on it.
//!
//! Invariants: one TTL per queue and its value in the queue's name, so that no argument ever changes; tiers dead-letter at least
//! once and keep the routing key; lanes are not bounded, because a full lane stalls every other lane of a tier; every argument
//! means the same from RabbitMQ 3.10 to 4.x, so declaring again is always possible.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::call::EndpointName;
use crate::endpoint::ladder::format_duration;
use crate::endpoint::{CATCH_ALL_LANE, LaneName};
use crate::limits::{DELIVERIES_AMPLE, DELIVERIES_MAX, REVIEW_QUEUE_LENGTH};

/// The tiers that arbitrary delays walk through, unless configured otherwise, in seconds.
const BASE_TIERS_S: [u64; 11] = [1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 21_600, 43_200];

/// The base tiers: 1s, 5s, 10s, 30s, 1m, 5m, 10m, 30m, 1h, 6h, 12h.
pub fn base_tiers() -> BTreeSet<Duration> {
    BASE_TIERS_S.map(Duration::from_secs).into()
}

/// The end of the name of a lane with a single active consumer. Arguments of a queue never change, so that form has a name of its own.
const SINGLE: &str = ".single";

/// The names of all objects, each beginning with a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// Names with this prefix: `[A-Za-z0-9][A-Za-z0-9_.-]{0,63}`.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn parse(prefix: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let fits = (1..=64).contains(&prefix.len())
            && prefix.bytes().all(allowed)
            && prefix.as_bytes()[0].is_ascii_alphanumeric();
        if fits {
            Ok(Self { prefix: prefix.to_owned() })
        } else {
            Err("must match [A-Za-z0-9][A-Za-z0-9_.-]{0,63}".to_owned())
        }
    }

    /// The prefix.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Exchange and queue of submissions.
    pub fn submit(&self) -> String {
        self.named("submit")
    }

    /// Queue of submissions that cannot be accepted.
    pub fn rejected(&self) -> String {
        self.named("rejected")
    }

    /// Exchange before the tiers.
    pub fn delay(&self) -> String {
        self.named("delay")
    }

    /// Queue of one tier.
    pub fn tier(&self, delay: Duration) -> String {
        format!("{}.delay.{}", self.prefix, format_duration(delay))
    }

    /// Exchange of expired tickets.
    pub fn due(&self) -> String {
        self.named("due")
    }

    /// Exchange of expired tickets that no lane is bound for.
    pub fn unrouted(&self) -> String {
        self.named("due.unrouted")
    }

    /// Queue of one lane.
    pub fn lane(&self, lane: &str) -> String {
        format!("{}.due.{lane}", self.prefix)
    }

    /// Queue of one lane that has a single active consumer. No lane's name holds a dot, so no other queue is called so.
    pub fn single_lane(&self, lane: &str) -> String {
        format!("{}.due.{lane}{SINGLE}", self.prefix)
    }

    /// Exchange of outcomes.
    pub fn events(&self) -> String {
        self.named("events")
    }

    /// Queue that shows what waits for review.
    pub fn review(&self) -> String {
        self.named("review")
    }

    /// Queue of replay orders.
    pub fn replay(&self) -> String {
        self.named("replay")
    }

    fn named(&self, what: &str) -> String {
        format!("{}.{what}", self.prefix)
    }
}

/// The routing key of a ticket that waits in a tier: `<tier>.<endpoint>`.
pub fn tier_key(delay: Duration, endpoint: &EndpointName) -> String {
    format!("{}.{endpoint}", format_duration(delay))
}

/// The routing key of a ticket that goes straight into its lane: `now.<endpoint>`.
pub fn now_key(endpoint: &EndpointName) -> String {
    format!("now.{endpoint}")
}

/// Everything that has to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// How the objects are called.
    pub names: Names,
    /// Exchanges, by name.
    pub exchanges: Vec<Exchange>,
    /// Queues, by name.
    pub queues: Vec<Queue>,
    /// Bindings, by queue and key.
    pub bindings: Vec<Binding>,
}

/// A durable exchange.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// How it routes.
    pub kind: ExchangeKind,
    /// Its arguments.
    pub arguments: Arguments,
}

/// How an exchange routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExchangeKind {
    /// By patterns over the words of the routing key.
    Topic,
    /// To all that are bound.
    Fanout,
}

impl ExchangeKind {
    /// RabbitMQ's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Fanout => "fanout",
        }
    }
}

/// A durable quorum queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Its arguments, `x-queue-type` among them.
    pub arguments: Arguments,
}

/// A binding of a queue to an exchange.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// The queue.
    pub queue: String,
    /// The exchange.
    pub exchange: String,
    /// The pattern.
    pub key: String,
}

/// Arguments of an exchange or queue, by name.
pub type Arguments = BTreeMap<&'static str, Argument>;

/// The value of an argument.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Argument {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
}

impl From<&str> for Argument {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Argument {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Argument {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// Shown as in RabbitMQ's own lists.
impl std::fmt::Display for Argument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
        }
    }
}

impl Topology {
    /// The topology for these tiers and lanes; the catch-all lane is always there.
    pub fn new(
        names: Names,
        tiers: &BTreeSet<Duration>,
        lanes: &BTreeMap<LaneName, BTreeSet<EndpointName>>,
    ) -> Self {
        let mut queues = vec![submit(&names), rejected(&names), review(&names), replay(&names)];
        let mut bindings = vec![
            binding(names.submit(), names.submit(), "#"),
            binding(names.review(), names.events(), "call.review.*"),
            binding(names.lane(CATCH_ALL_LANE), names.unrouted(), "#"),
        ];
        for delay in tiers {
            queues.push(tier(&names, *delay));
            bindings.push(binding(
                names.tier(*delay),
                names.delay(),
                format!("{}.*", format_duration(*delay)),
            ));
        }
        queues.push(lane(&names, CATCH_ALL_LANE));
        for (name, endpoints) in lanes {
            queues.push(lane(&names, name.as_str()));
            let keys = endpoints.iter().map(|endpoint| format!("*.{endpoint}"));
            bindings.extend(keys.map(|key| binding(names.lane(name.as_str()), names.due(), key)));
        }
        let mut topology = Self { exchanges: exchanges(&names), names, queues, bindings };
        topology.exchanges.sort();
        topology.queues.sort();
        topology.queues.dedup();
        topology.bindings.sort();
        topology
    }

    /// The same with a single active consumer for these lanes: what one process at a time consumes, it can count.
    #[must_use]
    pub fn with_single(mut self, lanes: &BTreeSet<LaneName>) -> Self {
        for lane in lanes {
            let (shared, single) = (self.names.lane(lane.as_str()), self.names.single_lane(lane.as_str()));
            for queue in self.queues.iter_mut().filter(|queue| queue.name == shared) {
                queue.name.clone_from(&single);
                queue.arguments.insert("x-single-active-consumer", Argument::Flag(true));
            }
            for binding in self.bindings.iter_mut().filter(|binding| binding.queue == shared) {
                binding.queue.clone_from(&single);
            }
        }
        self.queues.sort();
        self.bindings.sort();
        self
    }

    /// The other form of every lane: queues that may be left from another configuration, with the bindings that made them a lane.
    /// What still lies in one has to go to the lane that took its place.
    pub fn stale_lanes(&self) -> BTreeMap<String, Vec<Binding>> {
        let due = self.names.due();
        let mut stale = BTreeMap::<String, Vec<Binding>>::new();
        for binding in self.bindings.iter().filter(|binding| binding.exchange == due) {
            let other = match binding.queue.strip_suffix(SINGLE) {
                Some(shared) => shared.to_owned(),
                None => format!("{}{SINGLE}", binding.queue),
            };
            stale.entry(other.clone()).or_default().push(Binding { queue: other, ..binding.clone() });
        }
        stale
    }

    /// How tickets of an endpoint that is not configured would reach a lane of its own that an earlier configuration declared.
    pub fn lanes_before(&self, endpoint: &EndpointName) -> Vec<Binding> {
        let forms = [self.names.lane(endpoint.as_str()), self.names.single_lane(endpoint.as_str())];
        let key = format!("*.{endpoint}");
        let foreign = forms.into_iter().filter(|queue| !self.has_queue(queue));
        foreign.map(|queue| binding(queue, self.names.due(), key.clone())).collect()
    }

    /// Whether this binding leads due tickets into a lane that no configured endpoint has, so that nobody takes them.
    pub fn is_deserted(&self, binding: &Binding) -> bool {
        let lanes = format!("{}.", self.names.due());
        binding.exchange == self.names.due()
            && binding.queue.starts_with(&lanes)
            && !self.has_queue(&binding.queue)
            && !self.stale_lanes().contains_key(&binding.queue)
    }

    /// Whether this queue is part of it.
    pub fn has_queue(&self, name: &str) -> bool {
        self.queues.binary_search_by(|queue| queue.name.as_str().cmp(name)).is_ok()
    }
}

fn exchanges(names: &Names) -> Vec<Exchange> {
    let topic = |name| Exchange { name, kind: ExchangeKind::Topic, arguments: Arguments::new() };
    vec![
        topic(names.submit()),
        topic(names.delay()),
        topic(names.events()),
        Exchange {
            // 32 expired messages that no queue takes stall their tier for three minutes. So there is always one that does.
            arguments: Arguments::from([("alternate-exchange", names.unrouted().into())]),
            ..topic(names.due())
        },
        Exchange { kind: ExchangeKind::Fanout, ..topic(names.unrouted()) },
    ]
}

fn submit(names: &Names) -> Queue {
    quorum(names.submit(), DELIVERIES_MAX, at_least_once("", Some(names.rejected())))
}

fn replay(names: &Names) -> Queue {
    quorum(names.replay(), DELIVERIES_MAX, at_least_once("", Some(names.rejected())))
}

fn rejected(names: &Names) -> Queue {
    quorum(names.rejected(), DELIVERIES_AMPLE, Arguments::new())
}

fn review(names: &Names) -> Queue {
    let newest = [("x-max-length", REVIEW_QUEUE_LENGTH.into()), ("x-overflow", "drop-head".into())];
    quorum(names.review(), DELIVERIES_AMPLE, Arguments::from(newest))
}

fn tier(names: &Names, delay: Duration) -> Queue {
    let mut arguments = at_least_once(&names.due(), None);
    let ttl_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
    arguments.insert("x-message-ttl", ttl_ms.into());
    quorum(names.tier(delay), DELIVERIES_AMPLE, arguments)
}

/// A bundle that came back too often is kept with the rejected messages as evidence; the sweeper sets its calls going again.
fn lane(names: &Names, name: &str) -> Queue {
    quorum(names.lane(name), DELIVERIES_AMPLE, at_least_once("", Some(names.rejected())))
}

/// At least once needs `reject-publish`: without it RabbitMQ falls back to at most once and says so only in its log.
fn at_least_once(exchange: &str, key: Option<String>) -> Arguments {
    let mut arguments = Arguments::from([
        ("x-dead-letter-exchange", exchange.into()),
        ("x-dead-letter-strategy", "at-least-once".into()),
        ("x-overflow", "reject-publish".into()),
    ]);
    if let Some(key) = key {
        arguments.insert("x-dead-letter-routing-key", key.into());
    }
    arguments
}

fn quorum(name: String, deliveries_max: i64, mut arguments: Arguments) -> Queue {
    arguments.insert("x-queue-type", "quorum".into());
    arguments.insert("x-delivery-limit", deliveries_max.into());
    Queue { name, arguments }
}

fn binding(queue: String, exchange: String, key: impl Into<String>) -> Binding {
    Binding { queue, exchange, key: key.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        let name = |text| EndpointName::parse(text).unwrap();
        let lanes = BTreeMap::from([
            (name("sms"), BTreeSet::from([name("sms"), name("mms")])),
            (name("payment"), BTreeSet::from([name("payment")])),
        ]);
        Topology::new(Names::parse("redial").unwrap(), &base_tiers(), &lanes)
    }

    #[test]
    fn every_tier_has_a_queue_named_by_its_delay_and_keeps_the_routing_key() {
        let topology = topology();
        for name in ["1s", "5s", "10s", "30s", "1m", "5m", "10m", "30m", "1h", "6h", "12h"] {
            let queue = format!("redial.delay.{name}");
            let tier = topology.queues.iter().find(|tier| tier.name == queue).unwrap();
            assert_eq!(tier.arguments["x-overflow"], "reject-publish".into());
            assert_eq!(tier.arguments["x-dead-letter-exchange"], "redial.due".into());
            assert!(!tier.arguments.contains_key("x-dead-letter-routing-key"));
            let key = format!("{name}.*");
            assert!(topology.bindings.iter().any(|binding| binding.queue == queue && binding.key == key));
        }
    }

    #[test]
    fn equal_delays_written_differently_are_one_tier() {
        let names = Names::parse("redial").unwrap();
        assert_eq!(names.tier(Duration::from_mins(1)), "redial.delay.1m");
        assert_eq!(names.tier(Duration::from_millis(200)), "redial.delay.200ms");
    }

    #[test]
    fn every_endpoint_is_bound_to_its_lane_and_the_catch_all_takes_the_rest() {
        let topology = topology();
        let bound = |queue: &str, exchange: &str, key: &str| {
            topology.bindings.contains(&binding(queue.to_owned(), exchange.to_owned(), key))
        };
        assert!(bound("redial.due.sms", "redial.due", "*.sms"));
        assert!(bound("redial.due.sms", "redial.due", "*.mms"));
        assert!(bound("redial.due.payment", "redial.due", "*.payment"));
        assert!(bound("redial.due.default", "redial.due.unrouted", "#"));
    }

    #[test]
    fn a_lane_with_a_single_consumer_has_a_queue_of_its_own_and_the_other_form_is_stale() {
        let sms = EndpointName::parse("sms").unwrap();
        let before = topology();
        let after = before.clone().with_single(&BTreeSet::from([sms]));
        let queue = after.queues.iter().find(|queue| queue.name == "redial.due.sms.single").unwrap();
        assert_eq!(queue.arguments["x-single-active-consumer"], Argument::Flag(true));
        assert!(after.has_queue("redial.due.payment") && !after.has_queue("redial.due.sms"));
        let stale = |topology: &Topology| topology.stale_lanes().into_keys().collect::<Vec<_>>();
        assert_eq!(stale(&after), ["redial.due.payment.single", "redial.due.sms"]);
        assert_eq!(stale(&before), ["redial.due.payment.single", "redial.due.sms.single"]);
        let keys: Vec<_> = after.stale_lanes()["redial.due.sms"].iter().map(|one| one.key.clone()).collect();
        assert_eq!(keys, ["*.mms", "*.sms"]);
    }

    #[test]
    fn a_lane_of_an_endpoint_that_is_gone_is_told_from_those_that_are_read() {
        let topology = topology();
        let gone = EndpointName::parse("fax").unwrap();
        let queues: Vec<_> = topology.lanes_before(&gone).into_iter().map(|one| one.queue).collect();
        assert_eq!(queues, ["redial.due.fax", "redial.due.fax.single"]);
        assert!(topology.lanes_before(&gone).iter().all(|one| topology.is_deserted(one)));
        let read = ["redial.due.sms", "redial.due.sms.single", "redial.due.default", "tap"];
        for queue in read {
            let binding = binding(queue.to_owned(), "redial.due".to_owned(), "*.fax");
            assert!(!topology.is_deserted(&binding), "{queue}");
        }
        // Its tickets lie in a lane that is read.
        let default = EndpointName::parse(CATCH_ALL_LANE).unwrap();
        assert_eq!(topology.lanes_before(&default).len(), 1);
    }

    #[test]
    fn no_queue_inherits_a_redelivery_limit() {
        for queue in topology().queues {
            assert!(queue.arguments.contains_key("x-delivery-limit"), "{}", queue.name);
        }
    }

    #[test]
    fn a_prefix_fits_into_names_and_patterns() {
        for prefix in ["redial", "a", "shop.eu-1_b"] {
            assert!(Names::parse(prefix).is_ok(), "{prefix}");
        }
        for prefix in ["", ".a", "a b", "a*", "a#", "ä", &"a".repeat(65)] {
            assert!(Names::parse(prefix).is_err(), "{prefix}");
        }
    }
}
