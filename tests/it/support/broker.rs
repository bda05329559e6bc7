//! RabbitMQ for tests: one server that all share, each test with a prefix of its own that it deletes; and private servers.
//!
//! The shared one is, in this order: what `REDIAL_TEST_AMQP_URL` names; a server on 127.0.0.1:5672 that knows `guest`; a
//! container, where there is Docker; a private server started from installed programs.

pub(crate) mod private;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redial::broker::{Address, Admin, Broker, Config, Declare, Names, Topology};
use redial::call::EndpointName;
use redial::endpoint::LaneName;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

pub(crate) use private::{Plugins, PrivateBroker};

/// The URL of the shared server.
pub(crate) fn amqp_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| apart(find()))
}

/// An admin of the shared server.
pub(crate) fn amqp_admin() -> Admin {
    Admin::new(&address(amqp_url()), "redial tests")
}

/// Runs something on a runtime of its own, so that it may be waited for anywhere: in a `Drop`, in a static, in another runtime.
pub(crate) fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work)
    };
    std::thread::spawn(run).join().unwrap()
}

async fn find() -> String {
    if let Ok(url) = std::env::var("REDIAL_TEST_AMQP_URL") {
        assert!(answers(&url).await, "REDIAL_TEST_AMQP_URL names a RabbitMQ that does not answer");
        return url;
    }
    let local = "amqp://guest:guest@127.0.0.1:5672/%2f".to_owned();
    if answers(&local).await {
        return local;
    }
    if let Some(url) = container().await {
        return url;
    }
    // Lives as long as the process: its watchdog stops it when the process ends.
    Box::leak(Box::new(PrivateBroker::start(Plugins::None).await)).url()
}

/// Whether a RabbitMQ answers at this URL.
pub(crate) async fn answers(url: &str) -> bool {
    let admin = Admin::new(&address(url), "redial tests");
    let answered = admin.ready("redial.test.of.answering").await.is_ok();
    admin.close().await;
    answered
}

async fn container() -> Option<String> {
    use testcontainers::core::{IntoContainerPort, WaitFor};
    use testcontainers::runners::AsyncRunner;

    let docker = testcontainers::core::client::docker_client_instance().await.ok()?;
    tokio::time::timeout(Duration::from_secs(5), docker.ping()).await.ok()?.ok()?;
    let image = testcontainers::GenericImage::new("rabbitmq", "4-management")
        .with_exposed_port(5672.tcp())
        .with_wait_for(WaitFor::message_on_stdout("Server startup complete"));
    // An image that cannot be pulled is as good as no Docker.
    let container = image.start().await.ok()?;
    let port = container.get_host_port_ipv4(5672).await.ok()?;
    private::when_this_process_ends(&format!("docker rm -f {}", container.id()));
    std::mem::forget(container);
    Some(format!("amqp://guest:guest@127.0.0.1:{port}/%2f"))
}

/// An address that is known to be right.
pub(crate) fn address(url: &str) -> Address {
    Address::parse(&SecretString::from(url)).unwrap()
}

/// A name of an endpoint or lane that is known to be right.
pub(crate) fn name(text: &str) -> EndpointName {
    EndpointName::parse(text).unwrap()
}

/// Lanes, each with its endpoints.
pub(crate) fn lanes(lanes: &[(&str, &[&str])]) -> BTreeMap<LaneName, BTreeSet<EndpointName>> {
    lanes
        .iter()
        .map(|(lane, endpoints)| (name(lane), endpoints.iter().map(|endpoint| name(endpoint)).collect()))
        .collect()
}

/// A topology with a prefix that no other test uses.
pub(crate) fn topology(tiers_ms: &[u64], of_lanes: &[(&str, &[&str])]) -> Topology {
    let names = Names::parse(&super::unique_name()).unwrap();
    let tiers = tiers_ms.iter().map(|ms| Duration::from_millis(*ms)).collect();
    Topology::new(names, &tiers, &lanes(of_lanes))
}

/// A broker with a topology of its own, which is deleted when the test ends, however it ends.
pub(crate) struct TestBroker {
    /// What is tested.
    pub broker: Arc<Broker>,
    /// Cancelled: consumers end.
    pub stop: CancellationToken,
    url: String,
}

impl TestBroker {
    /// On the shared server.
    pub(crate) async fn start(topology: Topology) -> Self {
        Self::start_at(amqp_url(), topology).await
    }

    /// On this server.
    pub(crate) async fn start_at(url: &str, topology: Topology) -> Self {
        let test = Self::begin_at(url, topology, Declare::Apply);
        tokio::time::timeout(Duration::from_secs(60), test.broker.connected()).await.unwrap();
        test
    }

    /// On this server, which need not be up.
    pub(crate) fn begin_at(url: &str, topology: Topology, declare: Declare) -> Self {
        let stop = CancellationToken::new();
        let config =
            Config { address: address(url), connection_name: topology.names.prefix().to_owned(), declare };
        let broker = Broker::start(config, topology, stop.clone());
        Self { broker, stop, url: url.to_owned() }
    }

    /// The names of its objects.
    pub(crate) fn names(&self) -> Names {
        self.broker.topology().names.clone()
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        // First its supervisor stops declaring what is deleted here.
        self.stop.cancel();
        let (broker, url) = (Arc::clone(&self.broker), self.url.clone());
        apart(async move {
            broker.close().await;
            delete(&url, &broker.topology()).await;
        });
    }
}

/// Deletes a topology; a server that is gone has nothing to delete.
pub(crate) async fn delete(url: &str, topology: &Topology) {
    let admin = Admin::new(&address(url), "redial tests");
    let _ = tokio::time::timeout(Duration::from_secs(20), admin.delete(topology)).await;
    admin.close().await;
}
