//! A RabbitMQ of a test's own, started from installed programs, which it may stop, kill and start again.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// Where Debian puts the scripts that run as whoever calls them; `PATH` holds wrappers that change the user.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";

/// What a private server is started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plugins {
    /// Nothing beside AMQP.
    None,
    /// The management API.
    Management,
    /// The same, and what moves messages.
    Shovel,
}

/// A server on free ports of 127.0.0.1, with a node name, a port mapper and a data directory of its own.
pub(crate) struct PrivateBroker {
    directory: TempDir,
    amqp: u16,
    management: u16,
    distribution: u16,
    mapper: u16,
    user: String,
    vhost: String,
    server: Option<Child>,
    mapping: Child,
}

impl PrivateBroker {
    /// Starts a server and waits until it answers.
    pub(crate) async fn start(plugins: Plugins) -> Self {
        Self::start_with(plugins, "disk_free_limit.absolute = 1MB", "guest:guest", "%2f").await
    }

    /// The same with more lines of `rabbitmq.conf`, and with the user and virtual host that those bring about.
    pub(crate) async fn start_with(plugins: Plugins, conf: &str, user: &str, vhost: &str) -> Self {
        assert!(
            Path::new(SCRIPTS).join("rabbitmq-server").exists(),
            "this test needs a RabbitMQ that it may stop and kill: install rabbitmq-server (Debian: apt-get install \
             rabbitmq-server), or run the test script, which does"
        );
        let directory = tempfile::Builder::new().prefix("redial-rabbitmq").tempdir().unwrap();
        let [amqp, management, distribution, mapper] = free_ports();
        let plugins = match plugins {
            Plugins::None => "[].",
            Plugins::Management => "[rabbitmq_management].",
            Plugins::Shovel => "[rabbitmq_management,rabbitmq_shovel,rabbitmq_shovel_management].",
        };
        std::fs::write(directory.path().join("enabled_plugins"), plugins).unwrap();
        let conf = format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {management}\n\
             {conf}"
        );
        std::fs::write(directory.path().join("rabbitmq.conf"), conf).unwrap();
        let mapping = Command::new("epmd")
            .args(["-port", &mapper.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        when_this_process_ends(&format!("kill -9 {}", mapping.id()));
        let (user, vhost) = (user.to_owned(), vhost.to_owned());
        let mut broker =
            Self { directory, amqp, management, distribution, mapper, user, vhost, server: None, mapping };
        broker.start_again().await;
        broker
    }

    /// Its AMQP URL.
    pub(crate) fn url(&self) -> String {
        format!("amqp://{}@127.0.0.1:{}/{}", self.user, self.amqp, self.vhost)
    }

    /// An admin of it.
    pub(crate) fn admin(&self) -> redial::broker::Admin {
        redial::broker::Admin::new(&super::address(&self.url()), "redial tests")
    }

    /// The URL of its management API.
    pub(crate) fn management_url(&self) -> String {
        format!("http://{}@127.0.0.1:{}", self.user, self.management)
    }

    /// Starts it again after [`Self::stop`] or [`Self::kill`], and waits until it answers.
    pub(crate) async fn start_again(&mut self) {
        use std::os::unix::process::CommandExt;

        let log = std::fs::File::create(self.directory.path().join("out.log")).unwrap();
        let server = self
            .command("rabbitmq-server")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        when_this_process_ends(&format!("kill -9 -{}", server.id()));
        self.server = Some(server);
        let url = self.url();
        let up = super::super::wait_for("a private RabbitMQ answers", || async {
            super::answers(&url).await.then_some(())
        });
        up.await;
        // The queues of a node that has just answered are still being recovered.
        self.ctl(&["await_startup"]).await;
    }

    /// Stops it as an operator would.
    pub(crate) async fn stop(&mut self) {
        self.ctl(&["stop"]).await;
        self.reap();
    }

    /// Kills it without warning.
    pub(crate) fn kill(&mut self) {
        if let Some(server) = &self.server {
            let group = format!("-{}", server.id());
            let _ = Command::new("kill").args(["-9", "--", &group]).status();
        }
        self.reap();
    }

    /// Runs `rabbitmqctl` against it; panics if that fails.
    pub(crate) async fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = tokio::process::Command::from(self.command("rabbitmqctl"));
        let done = tokio::time::timeout(Duration::from_secs(60), command.args(arguments).output());
        let output = done.await.unwrap().unwrap();
        assert!(output.status.success(), "rabbitmqctl {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn command(&self, script: &str) -> Command {
        let path = |name: &str| -> PathBuf { self.directory.path().join(name) };
        let mut command = Command::new(Path::new(SCRIPTS).join(script));
        command
            .env("HOME", self.directory.path())
            .env("RABBITMQ_NODENAME", format!("redial{}@localhost", self.amqp))
            .env("RABBITMQ_MNESIA_BASE", path("data"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_PID_FILE", path("pid"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins"))
            .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
            .env(
                "RABBITMQ_ADVANCED_CONFIG_FILE",
                concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/rabbitmq/advanced.config"),
            )
            .env("RABBITMQ_CONF_ENV_FILE", path("none.conf"))
            .env("RABBITMQ_DIST_PORT", self.distribution.to_string())
            .env("ERL_EPMD_PORT", self.mapper.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command
    }

    fn reap(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.wait();
        }
    }
}

impl Drop for PrivateBroker {
    fn drop(&mut self) {
        self.kill();
        let _ = self.mapping.kill();
        let _ = self.mapping.wait();
    }
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All are held at once, so that no two are the same.
    let held: Vec<TcpListener> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    std::array::from_fn(|position| held[position].local_addr().unwrap().port())
}

/// Runs a command when this process is gone, however it went: a shell waits for the end of a pipe that only we hold.
pub(crate) fn when_this_process_ends(command: &str) {
    let watchdog = Command::new("sh")
        .args(["-c", &format!("read _; {command}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Its end of the pipe stays open as long as this process lives.
    std::mem::forget(watchdog);
}
