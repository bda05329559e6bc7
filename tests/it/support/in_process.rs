//! The program in this process, with a third party, stores and queues of its own, seen from outside: HTTP and AMQP.
//!
//! Whatever a test sets up is gone when it ends, however it ends.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use redial::app::{self, App, Part};
use redial::broker::Topology;
use redial::clock::Timestamp;
use redial::config::{self, Settings, Sources};
use redial::simulator::{SeenRequest, Simulator, SimulatorConfig};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::broker::{amqp_url, apart, delete};
use super::database::Place;
use super::wait_for;

/// The tokens of every service: name, which is also the secret, and roles.
const TOKENS: [(&str, &str); 5] = [
    ("tester", r#""submit", "view", "operate""#),
    ("billing", r#""submit""#),
    ("shop", r#""submit""#),
    ("auditor", r#""view""#),
    ("operator", r#""view", "operate""#),
];
/// The secret in the header that the endpoint `sms` adds to every request.
pub(crate) const ENDPOINT_SECRET: &str = "canary-of-the-endpoint";
/// The endpoints of every service, all played by its third party, and what is theirs alone.
const ENDPOINTS: [(&str, &str); 3] = [
    (
        "sms",
        r#"headers = { authorization = "Bearer canary-of-the-endpoint", x-region = "north-by-northwest" }"#,
    ),
    ("careful", r#"on_ambiguous = "review""#),
    ("patient", "ladder = [\"1s x2\"]\nidempotency_header = \"X-Request-Key\""),
];

/// What is to be started.
pub(crate) struct Setup {
    broker: Option<String>,
    place: Place,
    max_body: &'static str,
    processes: Vec<BTreeSet<Part>>,
    more: String,
}

impl Setup {
    /// Timers in the process, and the database that needs nothing installed.
    pub(crate) fn embedded() -> Self {
        Self::on(None, Place::in_folder())
    }

    /// RabbitMQ and PostgreSQL, the servers that all tests share.
    pub(crate) async fn rabbitmq() -> Self {
        Self::on(Some(amqp_url().to_owned()), Place::on_postgres().await)
    }

    /// This RabbitMQ and PostgreSQL.
    pub(crate) async fn rabbitmq_at(url: String) -> Self {
        Self::on(Some(url), Place::on_postgres().await)
    }

    fn on(broker: Option<String>, place: Place) -> Self {
        Self {
            broker,
            place,
            max_body: "1MiB",
            processes: vec![BTreeSet::from(Part::ALL)],
            more: String::new(),
        }
    }

    /// With bodies up to this size.
    pub(crate) fn max_body(mut self, size: &'static str) -> Self {
        self.max_body = size;
        self
    }

    /// With these lines of configuration besides.
    pub(crate) fn with(mut self, lines: &str) -> Self {
        self.more.push_str(lines);
        self
    }

    /// As several processes would run it, each with some of the parts; the first of them has the API.
    pub(crate) fn split(mut self, processes: &[&[Part]]) -> Self {
        self.processes = processes.iter().map(|parts| parts.iter().copied().collect()).collect();
        self
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn start(self) -> Service {
        let stop = CancellationToken::new();
        let third_party = Simulator::start(
            SimulatorConfig { keep_requests: 2_000, ..SimulatorConfig::default() },
            stop.clone(),
        );
        let third_party = third_party.await.unwrap();
        let settings = self.settings(&third_party.url());
        let topology = self.broker.clone().map(|url| (url, app::topology(&settings).unwrap()));
        let mut apps = Vec::new();
        for parts in &self.processes {
            apps.push(App::start(settings.clone(), parts, &stop).await.unwrap());
        }
        let address = apps[0].address().unwrap();
        let client = redial::cli::http::client(Duration::from_mins(1)).unwrap();
        let service = Service { apps, address, client, third_party, topology, stop, place: self.place };
        wait_for("the service is ready", || async {
            (service.get("/readyz").await.body["status"] == "ok").then_some(())
        })
        .await;
        service
    }

    fn settings(&self, third_party: &str) -> Settings {
        // The random part of the name: prefixes have at most 32 characters.
        let prefix = format!("t-{}", &super::unique_name()[13..]);
        let (database, broker) = (self.place.url(), self.broker.as_deref().unwrap_or("embedded:"));
        let mut text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nmax_body = \"{}\"\n[database]\nurl = {database:?}\nmax_connections = 8\n\
             [broker]\nurl = {broker:?}\nprefix = {prefix:?}\ntiers = [\"200ms\", \"1s\"]\n\
             [defaults]\nladder = [\"200ms x2\"]\n\
             timeout = {{ connect = \"2s\", read = \"20s\", overall = \"20s\" }}\n",
            self.max_body
        );
        for (name, keys) in ENDPOINTS {
            let _ = writeln!(text, "[endpoints.{name}]\nbase_url = {third_party:?}\n{keys}");
        }
        for (name, roles) in TOKENS {
            let _ = writeln!(text, "[tokens.{name}]\nsha256 = \"{}\"\nroles = [{roles}]", sha256(name));
        }
        text.push_str(&self.more.replace("{third_party}", third_party));
        config::load(&Sources::of_text(text)).unwrap_or_else(|faults| panic!("{faults}")).settings
    }
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().fold(String::new(), |mut hash, byte| {
        let _ = write!(hash, "{byte:02x}");
        hash
    })
}

/// A running service.
pub(crate) struct Service {
    apps: Vec<App>,
    /// Where its API listens.
    pub address: SocketAddr,
    client: reqwest::Client,
    /// What its endpoints call.
    pub third_party: Simulator,
    topology: Option<(String, Topology)>,
    stop: CancellationToken,
    /// Where its calls lie.
    pub place: Place,
}

impl Service {
    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request with the token of somebody.
    pub(crate) fn request_as(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(token)
    }

    /// A request without a token.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// What is at a path.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request_as("tester", Method::GET, path)).await
    }

    /// The answer to a document.
    pub(crate) async fn post(&self, path: &str, document: &Value) -> Answer {
        self.post_text(path, document.to_string()).await
    }

    /// The answer to a text that is said to be JSON.
    pub(crate) async fn post_text(&self, path: &str, text: impl Into<reqwest::Body>) -> Answer {
        let request =
            self.request_as("tester", Method::POST, path).header("content-type", "application/json");
        Answer::to(request.body(text)).await
    }

    /// Submits a document and answers the id of the call that was accepted.
    pub(crate) async fn submit(&self, document: &Value) -> String {
        let answer = self.post("/v1/calls", document).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.id()
    }

    /// Submits a call of `sms` to a path of the third party.
    pub(crate) async fn submit_to(&self, path: &str) -> String {
        self.submit(&to(path)).await
    }

    /// One call with its story.
    pub(crate) async fn call(&self, id: &str) -> Value {
        let answer = self.get(&format!("/v1/calls/{id}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// Waits until a call is in a state; answers it.
    pub(crate) async fn call_in(&self, id: &str, status: &str) -> Value {
        let what = format!("call {id} is {status}");
        wait_for(&what, || async { Some(self.call(id).await).filter(|call| call["status"] == status) }).await
    }

    /// How many calls a list with these conditions has; at most a page.
    pub(crate) async fn count(&self, conditions: &str) -> usize {
        let answer = self.get(&format!("/v1/calls?limit=500&{conditions}")).await;
        answer.body["calls"].as_array().unwrap_or_else(|| panic!("{answer:?}")).len()
    }

    /// The requests that the third party got under a key.
    pub(crate) fn seen(&self, key: &str) -> Vec<SeenRequest> {
        self.third_party.requests().into_iter().filter(|request| &*request.key == key).collect()
    }

    /// RabbitMQ's names of this service's objects.
    pub(crate) fn names(&self) -> &redial::broker::Names {
        &self.topology.as_ref().unwrap().1.names
    }

    /// The URL of its RabbitMQ.
    pub(crate) fn broker_url(&self) -> &str {
        &self.topology.as_ref().unwrap().0
    }
}

impl Drop for Service {
    /// On another runtime: the test's may be unwinding, and its other thread goes on with what is being stopped.
    fn drop(&mut self) {
        let (apps, topology) = (std::mem::take(&mut self.apps), self.topology.take());
        apart(async move {
            for app in apps {
                app.stop().await;
            }
            if let Some((url, topology)) = topology {
                delete(&url, &topology).await;
            }
        });
        self.stop.cancel();
    }
}

/// A submission of `sms` to a path of the third party.
pub(crate) fn to(path: &str) -> Value {
    json!({ "endpoint": "sms", "request": { "path": path, "body": { "text": "hello" } } })
}

/// The same with a key of its own.
pub(crate) fn keyed(key: &str, path: &str) -> Value {
    json!({ "endpoint": "sms", "idempotency_key": key, "request": { "path": path, "body": { "text": "hello" } } })
}

/// A submission whose first attempt is an hour away.
pub(crate) fn in_an_hour(key: &str) -> Value {
    let mut document = keyed(key, "/ok");
    document["not_before"] = in_ms(3_600_000).into();
    document
}

/// The time so many milliseconds from now.
pub(crate) fn in_ms(delay_ms: u64) -> String {
    Timestamp::now().plus(Duration::from_millis(delay_ms)).to_string()
}

/// Waits until a document's deadline has passed.
pub(crate) async fn past_deadline(document: &Value) {
    let deadline = Timestamp::parse_rfc3339(document["deadline"].as_str().unwrap()).unwrap();
    wait_for("the deadline has passed", || async { (Timestamp::now() > deadline).then_some(()) }).await;
}
