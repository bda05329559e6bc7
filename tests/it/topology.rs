//! The topology on real servers: declaring, exporting, and finding what differs.

use std::sync::Arc;
use std::time::Duration;

use redial::broker::check::{check, deserted};
use redial::broker::definitions::{VHOST, definitions_json, export};
use redial::broker::topology::{Argument, base_tiers};
use redial::broker::{Admin, Declare, ManagementUrl, Message, Names, Published, Topology};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::broker::{
    Plugins, PrivateBroker, TestBroker, address, amqp_url, delete, lanes, topology,
};

const TIERS_MS: [u64; 2] = [100, 60_000];
const LANES: [(&str, &[&str]); 2] = [("sms", &["sms", "mms"]), ("payment", &["payment"])];

/// An admin of the shared server with a topology that is deleted with it.
struct Declared {
    admin: Admin,
    url: String,
    topology: Topology,
}

impl Declared {
    async fn on(url: &str) -> Self {
        let declared = Self {
            admin: Admin::new(&address(url), "redial tests"),
            url: url.to_owned(),
            topology: topology(&TIERS_MS, &LANES),
        };
        assert_eq!(declared.admin.apply(&declared.topology).await.unwrap(), []);
        declared
    }

    /// The sentences of a check.
    async fn check(&self, management: Option<&ManagementUrl>) -> Vec<String> {
        let report = check(&self.admin, &address(&self.url), management, &self.topology).await.unwrap();
        assert_eq!(report.unchecked.is_empty(), management.is_some(), "{:?}", report.unchecked);
        let prefix = format!("{}.", self.topology.names.prefix());
        report.findings.iter().map(|finding| finding.to_string().replace(&prefix, "")).collect()
    }
}

impl Drop for Declared {
    fn drop(&mut self) {
        let (url, topology) = (self.url.clone(), self.topology.clone());
        crate::support::broker::apart(async move { delete(&url, &topology).await });
    }
}

/// The same topology with one queue changed.
fn with_queue(
    topology: &Topology,
    name: &str,
    change: impl FnOnce(&mut redial::broker::topology::Queue),
) -> Topology {
    let mut changed = topology.clone();
    change(changed.queues.iter_mut().find(|queue| queue.name == name).unwrap());
    changed
}

#[tokio::test]
async fn declaring_again_changes_nothing_and_is_refused_nothing() {
    let declared = Declared::on(amqp_url()).await;
    assert_eq!(declared.admin.apply(&declared.topology).await.unwrap(), []);
    assert_eq!(declared.check(None).await, Vec::<String>::new());
}

#[tokio::test]
async fn amqp_alone_finds_missing_queues_and_other_arguments() {
    let mut declared = Declared::on(amqp_url()).await;
    let names = declared.topology.names.clone();
    let right = declared.topology.clone();
    let other = |queue: &mut redial::broker::topology::Queue| {
        queue.arguments.insert("x-message-ttl", Argument::Number(70_000));
    };
    declared.topology = with_queue(&right, &names.tier(Duration::from_mins(1)), other);
    let findings = declared.check(None).await;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].contains("x-message-ttl") && findings[0].contains("60000"), "{findings:?}");

    declared.topology = right;
    declared.admin.delete(&Topology { exchanges: Vec::new(), ..declared.topology.clone() }).await.unwrap();
    let findings = declared.check(None).await;
    assert_eq!(findings.len(), declared.topology.queues.len(), "{findings:?}");
    assert!(findings.contains(&"queue due.sms: does not exist; should exist".to_owned()), "{findings:?}");
    // A check creates nothing.
    assert_eq!(declared.check(None).await.len(), findings.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_management_api_finds_every_kind_of_drift() {
    let server = PrivateBroker::start(Plugins::Management).await;
    let management = ManagementUrl::parse(&SecretString::from(server.management_url())).unwrap();
    let mut declared = Declared::on(&server.url()).await;
    let names = declared.topology.names.clone();
    assert_eq!(declared.check(Some(&management)).await, Vec::<String>::new());

    // A wrong TTL.
    let right = declared.topology.clone();
    let tier = names.tier(Duration::from_mins(1));
    declared.topology = with_queue(&right, &tier, |queue| {
        queue.arguments.insert("x-message-ttl", Argument::Number(70_000));
    });
    assert_eq!(
        declared.check(Some(&management)).await,
        ["queue delay.1m: its argument x-message-ttl is 60000; should be 70000"]
    );
    declared.topology = right;

    // A policy that makes dead-lettering fall back to at most once.
    let pattern = format!("^{}\\.delay\\..*", names.prefix());
    server
        .ctl(&["set_policy", "careless", &pattern, r#"{"overflow":"drop-head"}"#, "--apply-to", "queues"])
        .await;
    let sentence = "a policy sets overflow to drop-head; should stay reject-publish, without a policy";
    let expected = [format!("queue delay.100ms: {sentence}"), format!("queue delay.1m: {sentence}")];
    crate::support::wait_for("the policy in effect", || async {
        (declared.check(Some(&management)).await == expected).then_some(())
    })
    .await;
    server.ctl(&["clear_policy", "careless"]).await;

    // The API tells of policies with a delay of some seconds.
    crate::support::wait_for("the policy out of effect", || async {
        declared.check(Some(&management)).await.is_empty().then_some(())
    })
    .await;

    // A missing queue, then missing bindings.
    let lane = names.lane("sms");
    let mut only = declared.topology.clone();
    only.queues.retain(|queue| queue.name == lane);
    only.exchanges.clear();
    only.bindings.clear();
    declared.admin.delete(&only).await.unwrap();
    assert_eq!(declared.check(Some(&management)).await, ["queue due.sms: does not exist; should exist"]);
    assert_eq!(declared.admin.apply(&only).await.unwrap(), []);
    assert_eq!(
        declared.check(Some(&management)).await,
        [
            "queue due.sms: is not bound to exchange due by *.mms; should be",
            "queue due.sms: is not bound to exchange due by *.sms; should be",
        ]
    );
    a_lane_of_a_removed_endpoint_is_told_and_unbound(&declared, &management).await;
}

async fn a_lane_of_a_removed_endpoint_is_told_and_unbound(before: &Declared, management: &ManagementUrl) {
    assert_eq!(before.admin.apply(&before.topology).await.unwrap(), []);
    let names = before.topology.names.clone();
    let tiers = TIERS_MS.map(Duration::from_millis).into();
    let now = Topology::new(names.clone(), &tiers, &lanes(&LANES[..1]));
    let address = address(&before.url);
    let found = || async { check(&before.admin, &address, Some(management), &now).await.unwrap().findings };
    let [finding] = found().await.try_into().unwrap();
    assert_eq!(finding.object, format!("queue {}", names.lane("payment")));
    assert!(finding.is.contains("by *.payment, and no configured endpoint has this lane"), "{finding}");

    let deserted = deserted(management, address.vhost(), &now).await.unwrap();
    before.admin.unbind(deserted.iter()).await.unwrap();
    assert_eq!(found().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blank_broker_with_the_shipped_files_has_what_is_declared_and_least_permissions() {
    let shipped = shipped();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), definitions_json(&shipped)).unwrap();
    let conf = include_str!("../../deploy/rabbitmq/rabbitmq.conf")
        .replace("/etc/rabbitmq/definitions.json", file.path().to_str().unwrap());
    // A node that imports definitions makes no `guest`; the users of the file are all there is.
    let server = PrivateBroker::start_with(Plugins::Shovel, &conf, "redial:redial-dev", VHOST).await;
    let declared = Declared { admin: server.admin(), url: server.url(), topology: shipped.clone() };
    assert_eq!(declared.admin.apply(&shipped).await.unwrap(), []);

    let operator = server.management_url().replace("redial:redial-dev", "operator:operator-dev");
    let management = ManagementUrl::parse(&SecretString::from(operator)).unwrap();
    assert_eq!(declared.check(Some(&management)).await, Vec::<String>::new());

    server.ctl(&["set_user_tags", "redial", "administrator"]).await;
    let url = format!("{}/api/definitions/{VHOST}", server.management_url());
    let loaded: Value = reqwest::get(url).await.unwrap().error_for_status().unwrap().json().await.unwrap();
    let exported = export(&shipped);
    for kind in ["exchanges", "queues", "bindings"] {
        assert_eq!(in_order(&loaded[kind]), in_order(&exported[kind]), "{kind}");
    }
    a_publisher_reaches_the_entry_only(&server).await;
    an_operator_moves_messages_and_unbinds_nothing(&server).await;
}

/// The entries of one kind, without the virtual host, which a virtual host's own definitions leave out.
fn in_order(entries: &Value) -> Vec<String> {
    let without_defaults = |entry: &Value| {
        let mut entry = entry.clone();
        let fields = entry.as_object_mut().unwrap();
        for field in ["vhost", "internal", "type"] {
            fields.remove(field);
        }
        entry.to_string()
    };
    let mut entries: Vec<_> = entries.as_array().unwrap().iter().map(without_defaults).collect();
    entries.sort();
    entries
}

/// Orders go through the default exchange, by hand as well as by the shovel of *Move messages*.
async fn an_operator_moves_messages_and_unbinds_nothing(server: &PrivateBroker) {
    let url = server.url().replace("redial:redial-dev", "operator:operator-dev");
    let operator = TestBroker::begin_at(&url, shipped(), Declare::Never);
    tokio::time::timeout(Duration::from_secs(30), operator.broker.connected()).await.unwrap();
    let names = operator.names();
    let order = || Message::json("", names.rejected(), b"{}".to_vec());
    assert_eq!(operator.broker.publish(vec![order()]).await, [Published::Confirmed]);
    let refused = operator.broker.admin().unbind(operator.broker.topology().bindings.iter()).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("403")), "an operator unbinds a queue");

    // What the management UI asks for; it moves what is there, and ends.
    let uri = format!("amqp:///{VHOST}");
    let order = json!({ "value": {
        "src-protocol": "amqp091", "src-uri": uri, "src-queue": names.rejected(), "src-delete-after": "queue-length",
        "dest-protocol": "amqp091", "dest-uri": uri, "dest-queue": names.review(), "ack-mode": "on-confirm",
    } });
    let management = server.management_url().replace("redial:redial-dev", "operator:operator-dev");
    let shovel = format!("{management}/api/parameters/shovel/{VHOST}/move");
    reqwest::Client::new().put(shovel).json(&order).send().await.unwrap().error_for_status().unwrap();
    crate::support::wait_for("the message is moved", || async {
        let moved = server.admin().ready_in(&[names.rejected(), names.review()]).await.unwrap();
        (moved == [Some(0), Some(1)]).then_some(())
    })
    .await;
}

async fn a_publisher_reaches_the_entry_only(server: &PrivateBroker) {
    let url = server.url().replace("redial:redial-dev", "publisher:publisher-dev");
    let publisher = TestBroker::begin_at(&url, shipped(), Declare::Never);
    tokio::time::timeout(Duration::from_secs(30), publisher.broker.connected()).await.unwrap();
    let publish = |exchange: String, key: &'static str| {
        let broker = Arc::clone(&publisher.broker);
        async move { broker.publish(vec![Message::json(exchange, key, b"{}".to_vec())]).await }
    };
    assert_eq!(publish("redial.submit".to_owned(), "sms").await, [Published::Confirmed]);
    for exchange in ["redial.delay", "redial.due", ""] {
        assert_eq!(publish(exchange.to_owned(), "redial.replay").await, [Published::Unknown], "{exchange}");
    }
    // It may neither declare nor bind anything.
    let topology = shipped();
    let refusals = publisher.broker.admin().apply(&topology).await.unwrap();
    let all = topology.exchanges.len() + topology.queues.len() + topology.bindings.len();
    assert_eq!(refusals.iter().filter(|refusal| refusal.code == 403).count(), all, "{refusals:?}");
}

/// The topology of the configuration that the repository ships.
fn shipped() -> Topology {
    let mut tiers = base_tiers();
    tiers.insert(Duration::from_mins(2));
    tiers.insert(Duration::from_hours(2));
    let of_lanes: [(&str, &[&str]); 3] =
        [("sms", &["sms"]), ("payment", &["payment"]), ("partner", &["partner"])];
    Topology::new(Names::parse("redial").unwrap(), &tiers, &lanes(&of_lanes))
}

#[test]
fn the_definitions_in_the_repository_are_those_of_the_shipped_configuration() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/definitions.json");
    let expected = definitions_json(&shipped());
    if std::env::var_os("REDIAL_WRITE_DEFINITIONS").is_some() {
        std::fs::write(file, &expected).unwrap();
    }
    let stored = std::fs::read_to_string(file).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&stored).unwrap(),
        serde_json::from_str::<Value>(&expected).unwrap(),
        "run `redial topology export > definitions.json`"
    );
    assert_eq!(stored, expected, "run `redial topology export > definitions.json`");
    assert_eq!(export(&shipped())["vhosts"], json!([{ "name": VHOST }]));
}
