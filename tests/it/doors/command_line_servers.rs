//! Commands that need RabbitMQ and PostgreSQL, and the ones that show it all at work.

use std::collections::BTreeMap;
use std::time::Duration;

use redial::broker::topology::{Argument, base_tiers};
use redial::broker::{Names, Topology};
use serde_json::Value;

use crate::support::amqp_client::AmqpClient;
use crate::support::broker::{amqp_admin, amqp_url, apart, delete, lanes};
use crate::support::database::Place;
use crate::support::program::{Ended, Workplace};
use crate::support::{unique_name, wait_for};

/// Holds a demo's closing summary to its own sums.
fn adds_up(ended: &Ended, calls: u32) {
    let out = &ended.out;
    let line =
        out.lines().find(|line| line.contains(" accepted = ")).unwrap_or_else(|| panic!("no sum in {out}"));
    let (accepted, terms) = line.split_once(" accepted = ").unwrap();
    assert_eq!(accepted.trim(), calls.to_string(), "{line}");
    let terms: BTreeMap<&str, u32> = terms
        .split(" + ")
        .map(|term| {
            let (count, status) = term.trim().split_once(' ').unwrap();
            (status, count.parse().unwrap())
        })
        .collect();
    assert_eq!(terms.values().sum::<u32>(), calls, "{line}");
    assert_eq!(
        terms.keys().copied().collect::<Vec<_>>(),
        ["review", "succeeded"],
        "nothing is left open: {line}"
    );
    // One in twenty is refused, and one in twenty never succeeds; chance may exhaust a few more.
    assert!(terms["review"] >= calls / 10, "{line}");
    assert!(terms["succeeded"] > calls / 2, "{line}");
    assert!(out.contains("in review, rejected: ") && out.contains("in review, exhausted: "), "{out}");
    assert!(out.lines().any(|line| line.starts_with("API ") && line.contains("/v1/calls")), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_ends_with_a_summary_that_adds_up() {
    let ended = Workplace::new().run(&["demo", "--calls", "60"]).await.with(0);
    adds_up(&ended, 60);
}

/// The queues of the demo, deleted at the end.
struct DemoQueues;

impl Drop for DemoQueues {
    fn drop(&mut self) {
        let mut tiers = base_tiers();
        tiers.extend([2, 3, 4].map(Duration::from_secs));
        let lanes = lanes(&[("sms", &["sms"]), ("payment", &["payment"]), ("partner", &["partner"])]);
        let topology = Topology::new(Names::parse("redial-demo").unwrap(), &tiers, &lanes);
        apart(async move { delete(amqp_url(), &topology).await });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_runs_on_real_servers_too() {
    let (database, _queues) = (Place::on_postgres().await, DemoQueues);
    let arguments = ["demo", "--calls", "60", "--broker", amqp_url(), "--database", &database.url()];
    let ended = Workplace::new().run(&arguments).await.with(0);
    adds_up(&ended, 60);
    let names = Names::parse("redial-demo").unwrap();
    let queues = [names.submit(), names.review(), names.tier(Duration::from_secs(2)), names.lane("sms")];
    // Another demo on the same server would have the same queues, for as long as it runs.
    wait_for("the demo's queues are removed", || async {
        let counts = amqp_admin().counts_of(&queues).await.ok()?;
        counts.iter().all(Option::is_none).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_whose_servers_are_not_there_says_so_and_ends() {
    let place = Workplace::new();
    let ended = place.run(&["demo", "--database", "mysql://x"]).await.with(2);
    assert!(ended.err.contains("database.url"), "{}", ended.err);
    let ended = place.run(&["demo", "--broker", "mqtt://x"]).await.with(2);
    assert!(ended.err.contains("broker.url"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bench_reports_nothing_lost_and_nothing_doubled() {
    let arguments =
        ["bench", "--calls", "500", "--json", "--broker", amqp_url(), "--database", &server_url().await];
    let ended = Workplace::new().run_with(&arguments, &[("PATH", "/usr/bin:/bin")]).await.with(0);
    let report: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    for (member, expected) in [("calls", 500), ("requests", 1_000), ("lost", 0), ("doubled", 0), ("early", 0)]
    {
        assert_eq!(report[member], expected, "{member} in {report}");
    }
    for member in ["submitted_per_s", "completed_per_s", "peak_memory_mib"] {
        assert!(report[member].as_f64().is_some_and(|figure| figure > 0.0), "{member} in {report}");
    }
    let lateness = &report["lateness_ms"];
    assert!(lateness["p50"].as_f64() <= lateness["p99"].as_f64(), "{report}");
    assert!(lateness["p99"].as_f64() <= lateness["max"].as_f64(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bench_of_an_outage_tells_how_it_was_borne() {
    let database = server_url().await;
    let arguments = [
        "bench",
        "--calls",
        "300",
        "--concurrency",
        "16",
        "--outage",
        "3s",
        "--json",
        "--broker",
        amqp_url(),
        "--database",
        &database,
    ];
    let ended = Workplace::new().run_with(&arguments, &[("PATH", "/usr/bin:/bin")]).await.with(0);
    let report: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let figure = |name: &str| report["outage"][name].as_f64().unwrap_or_else(|| panic!("{name} in {report}"));
    assert_eq!(
        (&report["lost"], &report["doubled"], figure("rungs_lost")),
        (&0.into(), &0.into(), 0.0),
        "{report}"
    );
    // The breaker wants to see 20 calls fail; those that are under way then, and a probe, may come besides.
    assert!((20.0..=60.0).contains(&figure("requests_while_down")), "{report}");
    assert!(figure("drained_after_s") >= figure("back_after_s"), "{report}");
    assert!(figure("requests_in_first_second") <= figure("requests_in_busiest_second"), "{report}");
}

/// The server that tests' databases are created on.
async fn server_url() -> String {
    let mut url = url::Url::parse(&Place::on_postgres().await.url()).unwrap();
    url.set_path("postgres");
    url.into()
}

/// A configuration on the shared RabbitMQ with queues of its own, deleted at the end.
struct Queues {
    place: Workplace,
    topology: Topology,
}

impl Queues {
    fn new() -> Self {
        let prefix = format!("t-{}", &unique_name()[13..]);
        let topology = Topology::new(
            Names::parse(&prefix).unwrap(),
            &[Duration::from_secs(1)].into(),
            &lanes(&[("sms", &["sms"])]),
        );
        let place = Workplace::with(&format!(
            "[broker]\nurl = {:?}\nprefix = {prefix:?}\ntiers = [\"1s\"]\n[endpoints.sms]\nbase_url = \"http://127.0.0.1:9\"\n\
             ladder = [\"1s\"]\n",
            amqp_url()
        ));
        Self { place, topology }
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        let topology = self.topology.clone();
        apart(async move { delete(amqp_url(), &topology).await });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topology_is_exported_as_the_repository_ships_it() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/redial.toml");
    let ended = Workplace::new().run(&["topology", "export", "--config", shipped]).await.with(0);
    let definitions =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/definitions.json")).unwrap();
    assert_eq!(ended.out, definitions, "run `redial topology export > definitions.json`");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topology_is_applied_and_checked() {
    let queues = Queues::new();
    let check = queues.place.run(&["topology", "check"]).await.with(1);
    assert!(check.out.contains("does not exist"), "{}", check.out);
    for _ in 0..2 {
        let apply = queues.place.run(&["topology", "apply"]).await.with(0);
        let count = queues.topology.exchanges.len() + queues.topology.queues.len();
        assert!(apply.out.contains(&format!("{count} of {count}")), "{}", apply.out);
    }
    let check = queues.place.run(&["topology", "check"]).await.with(0);
    assert!(check.out.contains("as it should be"), "{}", check.out);

    let alone = Topology {
        queues: queues
            .topology
            .queues
            .iter()
            .filter(|queue| queue.name == queues.topology.names.replay())
            .cloned()
            .collect(),
        exchanges: Vec::new(),
        bindings: Vec::new(),
        ..queues.topology.clone()
    };
    delete(amqp_url(), &alone).await;
    let check = queues.place.run(&["topology", "check"]).await.with(1);
    assert!(check.out.contains(&queues.topology.names.replay()), "{}", check.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_finds_a_queue_that_has_drifted() {
    let queues = Queues::new();
    let tier = queues.topology.names.tier(Duration::from_secs(1));
    let mut drifted = queues.topology.clone();
    for queue in drifted.queues.iter_mut().filter(|queue| queue.name == tier) {
        queue.arguments.insert("x-message-ttl", Argument::Number(2_000));
    }
    assert_eq!(amqp_admin().apply(&drifted).await.unwrap(), []);
    let sick = queues.place.run(&["doctor", "--json"]).await.with(1);
    let report: Value = serde_json::from_str(&sick.out).unwrap();
    let faults: Vec<&Value> =
        report["checks"].as_array().unwrap().iter().filter(|check| check["status"] == "fault").collect();
    assert_eq!((faults.len(), &report["faults"]), (1, &Value::from(1)), "{report}");
    let detail = faults[0]["detail"].as_str().unwrap();
    assert!(detail.contains(&tier) && detail.contains("x-message-ttl"), "{detail}");

    delete(amqp_url(), &drifted).await;
    queues.place.run(&["topology", "apply"]).await.with(0);
    let well = queues.place.run(&["doctor"]).await.with(0).out;
    for line in ["topology", "delivery limits", "lanes", "rejected messages"] {
        assert!(well.lines().any(|shown| shown.starts_with(line)), "{line} in\n{well}");
    }
    // Nobody serves here: that is worth a warning, and no fault.
    assert!(well.contains("nobody takes from") && well.contains("faults: 0"), "{well}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_looks_at_ledger_and_schema() {
    let database = Place::on_postgres().await;
    let place = Workplace::with(&format!(
        "[database]\nurl = {:?}\n[endpoints.sms]\nbase_url = \"http://127.0.0.1:9\"\n",
        database.url()
    ));
    let blank = place.run(&["doctor"]).await.with(1).out;
    assert!(blank.contains("to be carried out: 0001 calls, 0002 attempts"), "{blank}");
    place.run(&["migrate"]).await.with(0);
    let well = place.run(&["doctor"]).await.with(0).out;
    for part in [
        "nothing pending",
        "ledger's clock",
        "no attempt has outlived its lease",
        "no call is overdue",
        "faults: 0",
    ] {
        assert!(well.contains(part), "{part} in\n{well}");
    }
    let away = [("REDIAL_DATABASE__URL", "postgres://postgres:canary-pw@127.0.0.1:9/x")];
    let away = place.run_with(&["doctor"], &away).await.with(1).out;
    assert!(away.contains("the ledger is away") && !away.contains("canary-pw"), "{away}");
    let wrong = Workplace::with("[server]\nport = 1\n").run(&["doctor"]).await.with(1).out;
    assert!(wrong.contains("configuration  fault"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_for_rabbitmq_say_so_where_there_is_none() {
    let place = Workplace::with("[endpoints.sms]\nbase_url = \"http://127.0.0.1:9\"\n");
    for arguments in [&["topology", "apply"][..], &["topology", "check"], &["publish"]] {
        let ended = place.run(arguments).await.with(1);
        assert!(ended.err.contains("embedded"), "{arguments:?}: {}", ended.err);
    }
    let away = [("REDIAL_BROKER__URL", "amqp://guest:canary-pw@127.0.0.1:9")];
    for arguments in [&["topology", "apply"][..], &["topology", "check"]] {
        let ended = place.run_with(arguments, &away).await.with(1);
        assert!(
            ended.err.starts_with("error: ") && !ended.err.contains("canary-pw"),
            "{arguments:?}: {}",
            ended.err
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_published_at_a_steady_rate() {
    let queues = Queues::new();
    queues.place.run(&["topology", "apply"]).await.with(0);
    queues.place.run(&["publish", "--rate", "100", "--count", "5", "--paths", "/ok,/fail/1"]).await.with(0);
    let client = AmqpClient::connect(amqp_url()).await;
    let messages = client.take_many(&queues.topology.names.submit(), 5).await;
    let paths: Vec<Value> =
        messages.iter().map(|message| message.json()["request"]["path"].clone()).collect();
    assert_eq!(paths, ["/ok", "/fail/1", "/ok", "/fail/1", "/ok"]);
    assert!(messages.iter().all(|message| message.routing_key == "sms"), "{messages:?}");
}
