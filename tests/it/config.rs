//! Whole configurations: layers, faults with their places, the shipped files, and texts that are none.

use std::time::Duration;

use proptest::prelude::*;
use redial::config::settings::{Engine, LogFormat, Migrate, Role, Transport};
use redial::config::{self, Environment, Loaded, Purpose, Source, Sources};
use redial::endpoint::OnAmbiguous;
use secrecy::ExposeSecret as _;

const SHIPPED: &str = include_str!("../../redial.toml");
const SHA: &str = "5820688038910e331e3cbc72fd87e50aaa57dd5ac60640fe2c1e744eb749acbc";

fn sources(text: &str, variables: &[(&str, &str)]) -> Sources {
    Sources { environment: Environment::new(variables.iter().copied()), ..Sources::of_text(text) }
}

fn load(text: &str, variables: &[(&str, &str)]) -> Loaded {
    config::load(&sources(text, variables)).unwrap_or_else(|faults| panic!("{faults}"))
}

/// Place, key and problem of every fault.
fn faults(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let faults = config::load(&sources(text, variables)).expect_err("this configuration is faulty");
    faults.iter().map(|fault| format!("{}: {}: {}", fault.place, fault.key, fault.problem)).collect()
}

fn endpoint(lines: &str) -> String {
    format!("[endpoints.sms]\nbase_url = \"https://sms.example.com\"\n{lines}")
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn one_file_reports_all_its_faults_in_their_order() {
    let text = r#"
[server]
listen = "0.0.0.0:8080"
max_body = "1 parsec"
[databse]
url = "sqlite:x"
[database]
url = "mysql://u:hunter2@db/redial"
[broker]
prefix = "Redial"
tiers = ["1s", "0s"]
[endpoints.sms]
base_url = "ftp://sms.example.com"
ladder = ["5s", "10 parsecs", "-1s", "50d"]
timeout = { read = "0s", overall = "1h" }
concurrency = 0
colour = "red"
[endpoints.Pay_Pal]
base_url = "https://user:hunter2@pay.example"
lease = "30s"
[endpoints.partner]
lease = "30s"
headers = { Host = "x", authorization = "Bearer ${TOKEN}" }
rules = [{ when = "status == 200 && bdy.code == 0", verdict = "fine" }, { when = "true" }]
"#;
    assert_eq!(
        faults(text, &[("REDIAL_LOG__LEVEL", "loud"), ("REDIAL_SWEEPER__EVRY", "1s")]),
        [
            "redial.toml:3:10: server.listen: 0.0.0.0:8080 can be reached from other machines, and no token is configured",
            "redial.toml:4:12: server.max_body: \"1 parsec\" is no size",
            "redial.toml:5:2: databse: unknown key; did you mean \"database\"?",
            "redial.toml:8:7: database.url: MySQL and MariaDB are not supported: they cannot return the rows they update",
            "redial.toml:10:10: broker.prefix: \"Redial\" is not understood",
            "redial.toml:11:16: broker.tiers[1]: \"0s\" is too short",
            "redial.toml:13:12: endpoints.sms.base_url: must begin with http:// or https://, not ftp://",
            "redial.toml:14:17: endpoints.sms.ladder[1]: \"10 parsecs\" is no rung",
            "redial.toml:14:31: endpoints.sms.ladder[2]: \"-1s\" is no rung",
            "redial.toml:14:38: endpoints.sms.ladder[3]: \"50d\" is no rung",
            "redial.toml:15:20: endpoints.sms.timeout.read: \"0s\" is too short",
            "redial.toml:15:36: endpoints.sms.timeout.overall: \"1h\" is too long",
            "redial.toml:16:15: endpoints.sms.concurrency: is 0",
            "redial.toml:17:1: endpoints.sms.colour: unknown key",
            "redial.toml:18:12: endpoints.Pay_Pal: the name is no endpoint's name",
            "redial.toml:19:12: endpoints.Pay_Pal.base_url: must not contain a user or password; use the endpoint's headers",
            "redial.toml:20:9: endpoints.Pay_Pal.lease: lease must be longer than the overall timeout by at least 1s: a lease that runs out in the middle of an attempt lets a second one begin",
            "redial.toml:21:12: endpoints.partner: has no base_url",
            "redial.toml:22:9: endpoints.partner.lease: lease must be longer than the overall timeout by at least 1s: a lease that runs out in the middle of an attempt lets a second one begin",
            "redial.toml:23:20: endpoints.partner.headers.Host: must not be set: host belongs to the connection",
            "redial.toml:23:41: endpoints.partner.headers.authorization: the environment variable TOKEN is not set",
            "redial.toml:24:19: endpoints.partner.rules[0].when: column 18 of the expression: \"bdy\" is nothing that a rule knows; there are status, headers, body, error, elapsed_ms",
            "redial.toml:24:63: endpoints.partner.rules[0].verdict: \"fine\" is not understood",
            "redial.toml:24:73: endpoints.partner.rules[1].verdict: is missing",
            "environment variable REDIAL_LOG__LEVEL: log.level: \"loud\" is not understood",
            "environment variable REDIAL_SWEEPER__EVRY: sweeper.evry: unknown key; did you mean \"every\"?",
        ]
    );
}

#[test]
fn the_environment_lies_over_the_file_and_the_file_over_the_defaults() {
    let text = format!(
        "[database]\nmax_connections = 3\n[sweeper]\nevery = \"3s\"\n{}",
        endpoint(
            "ladder = [\"1s\"]\ntimeout = { read = \"7s\" }\n[endpoints.pay-pal]\nbase_url = \"http://a\"\n"
        )
    );
    let variables = [
        ("REDIAL_DATABASE__MAX_CONNECTIONS", "4"),
        ("REDIAL_DATABASE__MIGRATE", "false"),
        ("REDIAL_DATABASE__URL", "postgres://redial:pw@db/redial"),
        ("REDIAL_SERVER__LISTEN", "127.0.0.1:0"),
        ("REDIAL_ENDPOINTS__SMS__LADDER", "5s, 10m x2"),
        ("REDIAL_ENDPOINTS__SMS__TIMEOUT__OVERALL", "20s"),
        ("REDIAL_ENDPOINTS__PAY_PAL__BASE_URL", "http://b/api/"),
        ("REDIAL_ENDPOINTS__PAY_PAL__TIMEOUT", "{ connect = '1s' }"),
        ("REDIAL_ENDPOINTS__NEW_ONE__BASE_URL", "http://c"),
        ("REDIAL_BROKER__TIERS", "[\"2s\", \"4s\"]"),
        ("REDIAL_TOKENS__OPS__SHA256", SHA),
        ("REDIAL_TOKENS__OPS__ROLES", "view,operate"),
        ("REDIAL_SERVER", "http://127.0.0.1:8080"),
        ("REDIAL_TOKEN", "secret"),
        ("REDIAL_LOG", "debug"),
        ("REDIAL_TEST_POSTGRES", "x"),
    ];
    let loaded = load(&text, &variables);
    let settings = loaded.settings;
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!((settings.database.engine, settings.database.max_connections), (Engine::Postgres, 4));
    assert_eq!(settings.database.migrate, Migrate::ByHand);
    assert_eq!(settings.database.url.secret().expose_secret(), "postgres://redial:pw@db/redial");
    assert_eq!(settings.database.url.to_string(), "postgres://db/redial");
    assert_eq!((settings.sweeper.every, settings.sweeper.grace), (seconds(3), seconds(5)));
    assert_eq!(settings.server.listen.port(), 0);
    assert_eq!(settings.broker.base_tiers.iter().collect::<Vec<_>>(), [2, 4].map(seconds));
    let roles: Vec<_> = settings.tokens.values().flat_map(|token| token.roles.iter().copied()).collect();
    assert_eq!(roles, [Role::View, Role::Operate]);

    let names: Vec<_> = settings.endpoints.iter().map(|endpoint| endpoint.name.as_str().to_owned()).collect();
    assert_eq!(names, ["new-one", "pay-pal", "sms"]);
    let endpoints: Vec<_> = settings.endpoints.iter().collect();
    assert_eq!(endpoints[1].destination.base_url().unwrap().as_str(), "http://b/api");
    assert_eq!(endpoints[1].timeouts.connect(), seconds(1));
    assert_eq!(endpoints[2].ladder.delays(), [5, 600, 600].map(seconds));
    let timeouts = endpoints[2].timeouts;
    assert_eq!(
        (timeouts.connect(), timeouts.read(), timeouts.overall(), timeouts.lease()),
        (seconds(3), seconds(7), seconds(20), seconds(25))
    );
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let settings = load(&endpoint(""), &[]).settings;
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.server.max_body, 1024 * 1024);
    assert_eq!(settings.database.url.secret().expose_secret(), "sqlite:redial.db");
    assert_eq!((settings.database.engine, settings.database.migrate), (Engine::Sqlite, Migrate::AtStart));
    assert!(matches!(settings.broker.transport, Transport::Embedded));
    assert_eq!(settings.broker.prefix.as_str(), "redial");
    assert_eq!(
        settings.broker.base_tiers.iter().collect::<Vec<_>>(),
        [1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 21_600, 43_200].map(seconds)
    );
    assert_eq!((settings.sweeper.every, settings.sweeper.grace), (seconds(2), seconds(5)));
    assert_eq!(settings.log.format, LogFormat::Text);
    assert!(settings.tokens.is_empty() && settings.worker.name.is_none());
    let sms = settings.endpoints.iter().next().unwrap();
    assert_eq!(sms.ladder.delays(), [10, 30, 120, 600, 1_800, 3_600, 7_200, 21_600, 43_200].map(seconds));
    assert_eq!(
        (sms.concurrency, sms.judging.on_ambiguous, sms.lane.as_str()),
        (64, OnAmbiguous::Retry, "sms")
    );
    assert_eq!((sms.idempotency_header.as_str(), sms.headers.len()), ("idempotency-key", 0));
    let timeouts = sms.timeouts;
    assert_eq!(
        (timeouts.connect(), timeouts.read(), timeouts.overall(), timeouts.lease()),
        (seconds(3), seconds(10), seconds(30), seconds(35))
    );
    // A tier for every base tier and for every rung that is none, here two minutes and two hours.
    assert_eq!(settings.tiers().iter().count(), 13);
}

#[test]
fn the_sample_of_the_manual_means_what_it_says() {
    let text = format!(
        r#"
[server]
listen = "127.0.0.1:8080"
max_body = "1MiB"
[database]
url = "sqlite:redial.db"
[broker]
url = "amqps://redial:${{RABBIT}}@rabbit.example/redial"
prefix = "redial"
[tokens.billing]
sha256 = "{SHA}"
roles = ["submit"]
[defaults]
ladder = ["10s", "30s", "2m", "10m", "30m", "1h", "2h", "6h", "12h"]
headers = {{ x-from = "redial", x-tenant = "all" }}
[endpoints.sms]
base_url = "https://sms.example.com"
ladder = ["5s", "1m", "10m x3"]
timeout = {{ connect = "3s", read = "10s", overall = "30s" }}
concurrency = 64
on_ambiguous = "review"
idempotency_header = "Idempotency-Key"
idempotency_window = "24h"
headers = {{ authorization = "Bearer ${{SMS_TOKEN}}", X-Tenant = "7" }}
lane = "messages"
"#
    );
    let loaded = load(&text, &[("SMS_TOKEN", "t0ken"), ("RABBIT", "r@bbit")]);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let Transport::RabbitMq(broker) = &loaded.settings.broker.transport else { panic!("this is RabbitMQ") };
    assert_eq!(broker.url.secret().expose_secret(), "amqps://redial:r@bbit@rabbit.example/redial");
    assert_eq!(broker.url.to_string(), "amqps://rabbit.example/redial");
    let sms = loaded.settings.endpoints.iter().next().unwrap();
    let headers: Vec<_> =
        sms.headers.iter().map(|(name, value)| format!("{name}: {}", value.expose_secret())).collect();
    assert_eq!(headers, ["x-from: redial", "x-tenant: 7", "authorization: Bearer t0ken"]);
    assert_eq!((sms.lane.as_str(), sms.ladder.delays().len()), ("messages", 5));
}

#[test]
fn the_shipped_file_loads_without_any_variable() {
    let loaded = load(SHIPPED, &[]);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let endpoints: Vec<_> = loaded.settings.endpoints.iter().map(|it| it.name.to_string()).collect();
    assert_eq!(endpoints, ["partner", "payment", "sms"]);
    assert!(matches!(loaded.settings.broker.transport, Transport::Embedded));
}

#[test]
fn the_shipped_file_serves_containers_with_variables_over_it() {
    let loaded = load(
        SHIPPED,
        &[
            ("REDIAL_SERVER__LISTEN", "0.0.0.0:8080"),
            ("REDIAL_DATABASE__URL", "postgres://redial:pw@postgres/redial"),
            ("REDIAL_BROKER__URL", "amqp://redial:pw@rabbitmq:5672/redial"),
            ("REDIAL_BROKER__MANAGEMENT_URL", "http://rabbitmq:15672"),
            ("REDIAL_ENDPOINTS__SMS__BASE_URL", "http://simulator:9090"),
            ("REDIAL_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ],
    );
    assert!(matches!(loaded.settings.broker.transport, Transport::RabbitMq(_)));
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert!(loaded.warnings[0].to_string().contains("the documentation shows to everybody"));
}

#[test]
fn no_secret_is_ever_shown() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "canary-file\n").unwrap();
    let text = format!(
        "[database]\nurl = \"postgres://redial:canary-typed@db/redial?password=canary-query\"\n\
         [broker]\nurl = \"amqp://${{USER}}:${{PW}}@rabbit\"\nmanagement_url = \"http://a:${{PW}}@rabbit:15672\"\n{}",
        endpoint(&format!(
            "headers = {{ authorization = \"Bearer canary-typed\", x-a = \"${{PW}}\", x-b = \"file:{}\" }}\n",
            file.display()
        ))
    );
    let variables = [("USER", "canary-user"), ("PW", "canary-variable")];
    let loaded = load(&text, &variables);
    let shown = format!("{loaded:?} {:?}", loaded.warnings);
    assert!(!shown.contains("canary"), "{shown}");
    let from: Vec<_> = loaded.secrets.iter().map(|used| (used.key.as_str(), used.origins.len())).collect();
    assert!(
        from.contains(&("broker.url", 2)) && from.contains(&("endpoints.sms.headers.x-b", 1)),
        "{from:?}"
    );
    // The password and the header that were written out.
    assert_eq!(loaded.warnings.iter().filter(|warning| warning.sentence.starts_with("holds a")).count(), 2);

    let faulty = [
        "[database]\nurl = \"canary://${PW}\"\n",
        "[database]\nurl = \"${PW}\"\n",
        "[broker]\nurl = \"amqp:canary\"\n",
        "[broker]\nmanagement_url = \"canary-variable\"\n",
        "[endpoints.a]\nbase_url = \"${PW}:x\"\n",
        "[endpoints.a]\nbase_url = \"http://a\"\nheaders = { a = \"canary\u{7f}\", b = \"${PW}${NONE}\" }\n",
        "[endpoints.a]\nheaders = { a = \"canary }\n",
    ];
    for text in faulty {
        let sentences = faults(text, &variables).join("\n");
        assert!(!sentences.contains("canary"), "{sentences}");
    }
}

#[test]
fn secrets_that_lead_nowhere_stop_the_start() {
    let text = endpoint(
        "headers = { a = \"${UNSET}\", b = \"${EMPTY}\", c = \"file:/no/such/secret\", d = \"${\", e = \"$${X}\" }\n",
    );
    assert_eq!(
        faults(&text, &[("EMPTY", "")]),
        [
            "redial.toml:3:17: endpoints.sms.headers.a: the environment variable UNSET is not set",
            "redial.toml:3:33: endpoints.sms.headers.b: the environment variable EMPTY is empty",
            "redial.toml:3:49: endpoints.sms.headers.c: the file \"/no/such/secret\" cannot be opened: entity not found",
            "redial.toml:3:77: endpoints.sms.headers.d: holds a \"${\" that begins no reference",
        ]
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_kind_of_bad_value_has_its_sentence() {
    for (lines, expected) in [
        ("[tokens.a]\nsha256 = 'xyz'\nroles = ['submit']\n", "tokens.a.sha256: \"xyz\" is not understood"),
        ("[tokens.a]\nroles = ['submit']\n", "tokens.a: tokens.a.sha256: is missing"),
        ("[broker]\nurl = 'http://a'\n", "broker.url: names no broker that Redial knows"),
        ("[broker]\nurl = 'embedded:x'\n", "broker.url: names no broker that Redial knows"),
        ("[broker]\nurl = 'amqp:'\n", "broker.url: names no host"),
        ("[broker]\nurl = 5672\n", "broker.url: is a number"),
        ("[broker]\ntiers = []\n", "broker.tiers: holds no tier"),
        ("[broker]\nmanagement_url = 'rabbit'\n", "broker.management_url: is no address of a management API"),
        ("[database]\nurl = ''\n", "database.url: names no database that Redial knows"),
        ("[database]\nmigrate = 'yes'\n", "database.migrate: is text"),
        ("[database]\nmax_connections = 0\n", "database.max_connections: is 0"),
        ("[server]\nlisten = 'localhost:8080'\n", "server.listen: \"localhost:8080\" is not understood"),
        ("[server]\nmax_body = 0\n", "server.max_body: 0 is out of bounds"),
        ("[sweeper]\nevery = '0s'\n", "sweeper.every: \"0s\" is too short"),
        ("[sweeper]\ngrace = '999ms'\n", "sweeper.grace: \"999ms\" is too short"),
        ("[log]\nformat = 'xml'\n", "log.format: \"xml\" is not understood"),
        ("[worker]\nname = ''\n", "worker.name: \"\" is not understood"),
        ("[defaults]\nladder = []\n", "defaults.ladder: a ladder has at least one rung"),
        ("[defaults]\nladder = ['1s x150', '1s x150']\n", "defaults.ladder: a ladder has at most 200 rungs"),
        ("[defaults]\nladder = '1s'\n", "defaults.ladder: is text"),
        ("[defaults]\nlane = 'default'\n", "defaults.lane: the lane \"default\" is kept"),
        ("[defaults]\nlane = 'A'\n", "defaults.lane: \"A\" is not understood"),
        (
            "[defaults]\nlease = '31s'\n[defaults.timeout]\noverall = '1m'\n",
            "defaults.lease: lease must be longer",
        ),
        (
            "[defaults]\ntimeout = { overall = 'adaptive', floor = '6s' }\n",
            "defaults.timeout.floor: is longer than the ceiling",
        ),
        ("[defaults]\ntimeout = { overall = 'fast' }\n", "defaults.timeout.overall: \"fast\" is no duration"),
        ("[defaults]\nbreaker = 'on'\n", "defaults.breaker: is neither a breaker nor \"off\""),
        ("[defaults]\nbreaker = 7\n", "defaults.breaker: is a number"),
        ("[defaults]\nbreaker = { failure_rate = 0 }\n", "defaults.breaker.failure_rate: is 0"),
        ("[defaults]\nbreaker = { open_for = '1ms' }\n", "defaults.breaker.open_for: \"1ms\" is too short"),
        ("[defaults]\nrate_limit = '100'\n", "defaults.rate_limit: \"100\" is not understood"),
        ("[defaults]\nrate_limit = '0/s'\n", "defaults.rate_limit: \"0/s\" is not understood"),
        ("[defaults]\non_ambiguous = 'confirm'\n", "defaults.on_ambiguous: \"confirm\" has nothing to ask"),
        (
            "[defaults]\nrules = [{ when = 'status ==', verdict = 'success' }]\n",
            "defaults.rules[0].when: column 10 of the expression",
        ),
        (
            "[defaults]\nrules = [{ when = '''\nstatus == 200 &&\n  body.x.foo()''', verdict = 'success' }]\n",
            "defaults.rules[0].when: line 2, column 13 of the expression: there is no function \"foo\"",
        ),
        (
            "[defaults]\nrules = [{ when = 'true', verdict = 'success', answer = 'x' }]\n",
            "defaults.rules[0].answer: unknown key",
        ),
        (
            "[defaults.confirm]\nrules = [{ when = 'true', answer = 'done' }]\n",
            "defaults.confirm.path: is missing",
        ),
        ("[defaults.confirm]\npath = '/x'\n", "defaults.confirm: has no rules"),
        (
            "[defaults.confirm]\npath = '/{{ nothing }}'\nrules = [{ when = 'true', answer = 'done' }]\n",
            "defaults.confirm.path: line 1 of the template: \"nothing\" is nothing that a template knows",
        ),
        (
            "[defaults.confirm]\npath = '/x'\nrules = [{ when = 'true', answer = 'no' }]\n",
            "defaults.confirm.rules[0].answer: \"no\" is not understood",
        ),
        (
            "[defaults.confirm]\npath = '/x'\ntimes = 0\nrules = [{ when = 'true', answer = 'done' }]\n",
            "defaults.confirm.times: is 0",
        ),
        (
            "[defaults.confirm]\npath = '/x'\nheaders = { Host = 'x' }\nrules = [{ when = 'true', answer = 'done' }]\n",
            "defaults.confirm.headers.Host: is no header",
        ),
        (
            "[defaults.callback]\ncall = '{{ body.id }}'\nrules = [{ when = 'true', answer = 'done' }]\n",
            "defaults.callback: has neither token nor signature",
        ),
        (
            "[defaults.callback]\ntoken = { secret = 'sixteen bytes and more' }\ncall = '{{ tags.id }}'\nrules = [{ when = 'true', answer = 'done' }]\n",
            "defaults.callback.call: line 1 of the template: \"tags\" is nothing",
        ),
        (
            "[defaults.callback]\ntoken = { secret = 'short' }\ncall = '{{ body.id }}'\nrules = [{ when = 'true', answer = 'done' }]\n",
            "defaults.callback.token.secret: is too short",
        ),
        (
            "[defaults.callback]\ntoken = { secret = '${NONE}' }\ncall = '{{ body.id }}'\nrules = [{ when = 'true', answer = 'done' }]\n",
            "the environment variable NONE is not set",
        ),
        (
            "[defaults.callback]\nsignature = { header = 'x', secret = 'sixteen bytes and more', algorithm = 'md5' }\ncall = '{{ body.id }}'\nrules = [{ when = 'true', answer = 'done' }]\n",
            "defaults.callback.signature.algorithm: \"md5\" is not understood",
        ),
        (
            "[defaults.callback]\nby = 'order'\ntoken = { secret = 'sixteen bytes and more' }\ncall = '{{ body.id }}'\nrules = [{ when = 'true', answer = 'done' }]\n",
            "defaults.callback.by: \"order\" is not understood",
        ),
        (
            "[defaults.callback]\ntoken = { secret = 'sixteen bytes and more' }\ncall = '{{ body.id }}'\nrules = [{ when = 'status == 200', answer = 'done' }]\n",
            "\"status\" is nothing that a rule knows; there are headers, body",
        ),
        ("[defaults]\non_ambiguous = 'ask'\n", "defaults.on_ambiguous: \"ask\" is not understood"),
        (
            "[defaults]\nidempotency_header = 'Host'\n",
            "defaults.idempotency_header: \"Host\" is not understood",
        ),
        ("[defaults]\nconcurrency = 2.5\n", "defaults.concurrency: is a decimal number"),
        (
            "[defaults]\nheaders = { Idempotency-KEY = 'x' }\n",
            "is the header that carries the idempotency key",
        ),
        ("[defaults]\nheaders = { a = 'x', A = 'y' }\n", "headers.a: is given twice"),
        ("[endpoints.default]\nbase_url = 'http://a'\n", "endpoints.default: the lane \"default\" is kept"),
        ("[endpoints.a]\nbase_url = 'http://a#b'\n", "must not contain a query or fragment"),
        ("endpoints.a = 1\n", "endpoints.a: is a number"),
        ("endpoints = []\n", "endpoints: is a list"),
        ("[endpoints]\n", "no endpoint is configured"),
        ("", "no endpoint is configured"),
        ("defaults = 1\n", "defaults: is a number"),
    ] {
        let text = if lines.contains("endpoints") || lines.is_empty() {
            lines.to_owned()
        } else {
            lines.to_owned() + &endpoint("")
        };
        let found = faults(&text, &[]);
        assert_eq!(found.len(), 1, "{lines}: {found:#?}");
        let expected = expected.strip_prefix("tokens.a: ").unwrap_or(expected);
        assert!(found[0].contains(expected), "{lines}: {found:#?}");
    }
}

#[test]
fn an_api_that_asks_nobody_listens_on_loopback_only() {
    let listen = |address: &str| format!("[server]\nlisten = \"{address}\"\n{}", endpoint(""));
    for loopback in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        load(&listen(loopback), &[]);
    }
    let token = format!("[tokens.a]\nsha256 = \"{}\"\nroles = [\"view\"]\n", "ab".repeat(32));
    for public in ["0.0.0.0:1", "[::]:1", "192.168.0.1:1", "[::ffff:10.0.0.1]:1"] {
        assert_eq!(faults(&listen(public), &[]).len(), 1, "{public}");
        load(&(listen(public) + &token), &[]);
    }
}

#[test]
fn two_names_for_one_token_are_refused() {
    let text = format!(
        "[tokens.a]\nsha256 = \"{SHA}\"\nroles = [\"view\"]\n[tokens.b]\nsha256 = \"{SHA}\"\nroles = [\"submit\"]\n{}",
        endpoint("")
    );
    assert_eq!(faults(&text, &[]), ["redial.toml:5:10: tokens.b.sha256: is the token of a"]);
}

#[test]
fn a_ladder_beyond_the_third_partys_memory_is_warned_of() {
    let loaded = load(&endpoint("idempotency_window = \"1h\"\nladder = [\"30m\", \"31m\", \"1s\"]\n"), &[]);
    assert_eq!(loaded.warnings.len(), 1);
    let warning = loaded.warnings[0].to_string();
    assert!(
        warning.starts_with("redial.toml:3:22: endpoints.sms.idempotency_window: rung 2 ends 61m after"),
        "{warning}"
    );
    let quiet = load(&endpoint("idempotency_window = \"1h\"\nladder = [\"30m\", \"30m\"]\n"), &[]);
    assert!(quiet.warnings.is_empty());
}

#[test]
fn a_fault_of_the_defaults_is_reported_once_and_at_its_place() {
    let text =
        format!("[defaults]\nlease = \"10s\"\n{}[endpoints.b]\nbase_url = \"http://b\"\n", endpoint(""));
    assert_eq!(faults(&text, &[]).len(), 1);
    let own =
        faults(&format!("[defaults]\nlease = \"40s\"\n{}", endpoint("timeout.overall = \"1m\"\n")), &[]);
    assert!(own[0].starts_with("redial.toml:5:19: endpoints.sms.timeout.overall: lease"), "{own:?}");
}

#[test]
fn a_faulty_part_of_the_timeouts_hides_no_lease_that_is_too_short() {
    let found = faults(
        &endpoint("lease = \"10s\"\ntimeout = { overall = \"30s\", connect = \"0s\", read = \"1y\" }\n"),
        &[],
    );
    for key in ["timeout.connect", "timeout.read", "lease: lease must be longer"] {
        let named = found.iter().filter(|fault| fault.contains(&format!("endpoints.sms.{key}"))).count();
        assert_eq!(named, 1, "{key} in {found:?}");
    }
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn broken_or_doubled_toml_is_one_fault_with_its_position() {
    for (text, place) in [
        ("[endpoints.sms]\n[endpoints.sms]\n", "redial.toml:2:"),
        ("[server]\nlisten = \"a\"\nlisten = \"b\"\n", "redial.toml:3:1"),
        ("[server\n", "redial.toml:1:8"),
        ("a = 'b\nc = 1\n", "redial.toml:1:7"),
        ("\u{0}", "redial.toml:1:2"),
    ] {
        let found = faults(text, &[("REDIAL_NO__KEY", "1")]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(place) && found[0].contains("no valid TOML"), "{text}: {found:?}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let of_file = |path| Sources { file: Source::File(path), ..Sources::of_text("") };
    for (path, problem) in [
        (directory.path().join("none.toml"), "cannot be opened: entity not found"),
        (directory.path().to_owned(), "cannot be read: is a directory"),
        (write("bytes.toml", b"a = 1\nb = \xff"), "is not UTF-8 in line 2"),
        (write("long.toml", &vec![b'#'; 1024 * 1024 + 1]), "is longer than 1 MiB"),
    ] {
        let faults = config::load(&of_file(path.clone())).expect_err("unreadable");
        assert!(faults.to_string().starts_with(&format!("{}: {problem};", path.display())), "{faults}");
    }
    let loaded = config::load(&of_file(write("good.toml", endpoint("").as_bytes()))).unwrap();
    assert!(loaded.file.is_some_and(|name| name.ends_with("good.toml")));
}

#[test]
fn without_a_file_the_environment_can_say_everything() {
    let directory = tempfile::tempdir().unwrap();
    let sources = |purpose, variables: &[(&str, &str)]| Sources {
        file: Source::FileIfAny(directory.path().join("redial.toml")),
        environment: Environment::new(variables.iter().copied()),
        purpose,
    };
    let set = [("REDIAL_ENDPOINTS__SMS__BASE_URL", "http://a")];
    let loaded = config::load(&sources(Purpose::Serve, &set)).unwrap();
    assert_eq!((loaded.file, loaded.settings.endpoints.iter().count()), (None, 1));
    assert!(config::load(&sources(Purpose::Serve, &[])).is_err());
    assert!(config::load(&sources(Purpose::Administer, &[])).is_ok());
}

proptest! {
    #[test]
    fn no_text_brings_the_reader_down(text in "\\PC*", name in "REDIAL_[A-Za-z_]{0,20}", value in any::<String>()) {
        let _ = config::load(&sources(&text, &[(&name, &value)]));
    }

    #[test]
    fn no_value_of_any_key_brings_the_reader_down(
        key in prop::sample::select(vec![
            "server.listen", "server.max_body", "database.url", "broker.url", "broker.tiers", "tokens.a",
            "tokens.a.sha256", "tokens.a.roles", "endpoints", "endpoints.a", "endpoints.a.base_url", "endpoints.a.ladder",
            "endpoints.a.timeout", "endpoints.a.headers", "endpoints.a.lane", "defaults", "sweeper.every",
        ]),
        value in prop_oneof![
            any::<String>().prop_map(|text| format!("{text:?}")),
            "[\\[\\]{}='\"a0-9,$.:/@#x ]{0,30}",
            any::<i64>().prop_map(|number| number.to_string()),
        ],
    ) {
        let _ = config::load(&sources(&format!("{key} = {value}\n"), &[]));
        let variable = format!("REDIAL_{}", key.to_uppercase().replace('.', "__"));
        let _ = config::load(&sources("", &[(&variable, &value)]));
    }
}

#[test]
fn a_pending_call_that_nobody_asks_about_is_warned_of() {
    let rules = "rules = [{ when = \"status == 202\", verdict = \"pending\" }]\n";
    let loaded = load(&endpoint(rules), &[]);
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    let warning = loaded.warnings[0].to_string();
    assert!(warning.contains("endpoints.sms.rules: a rule means \"pending\""), "{warning}");
    let asked = "confirm = { path = \"/x\", after = \"1s\", rules = [{ when = \"status == 200\", answer = \"done\" }] }\n";
    let told = "callback = { token = { secret = \"sixteen-bytes-at-least\" }, call = \"{{ body.id }}\", \
                rules = [{ when = \"body.ok\", answer = \"done\" }] }\n";
    for somebody in [asked, told] {
        let quiet = load(&endpoint(&format!("{rules}{somebody}")), &[]);
        assert!(
            quiet.warnings.iter().all(|warning| !warning.to_string().contains("pending")),
            "{:?}",
            quiet.warnings
        );
    }
}
