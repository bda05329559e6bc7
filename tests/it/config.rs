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
rules = []
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
            "redial.toml:21:12: endpoints.partner: has no base_url",
            "redial.toml:22:9: endpoints.partner.lease: lease must be longer than the overall timeout by at least 1s: a lease that runs out in the middle of an attempt lets a second one begin",
            "redial.toml:23:20: endpoints.partner.headers.Host: must not be set: host belongs to the connection",
            "redial.toml:23:41: endpoints.partner.headers.authorization: the environment variable TOKEN is not set",
            "redial.toml:24:1: endpoints.partner.rules: is not available in this version",
            "environment variable REDIAL_LOG__LEVEL: log.level: \"loud\" is not understood",
            "environment variable REDIAL_SWEEPER__EVRY: sweeper.evry: unknown key; did you mean \"every\"?",
        ]
    );
}
