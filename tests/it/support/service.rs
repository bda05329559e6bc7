//! The program as it is shipped: a child process that tests start, kill, stop and continue.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use super::client::Client;
use super::wait_for;

/// How many lines of its log a service of a failed test shows.
const LINES_SHOWN: usize = 120;

/// How a process of the program is started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// What the test calls it; it is the worker's name too.
    pub name: String,
    /// Its configuration file.
    pub config: PathBuf,
    /// What it runs, as `--roles` takes it.
    pub roles: &'static str,
}

/// A running process of the program. Killed when dropped; its log is shown if the test fails.
pub(crate) struct Service {
    name: String,
    child: Child,
    watchdog: Option<Child>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Service {
    /// Starts a process without waiting until it is ready.
    pub(crate) fn spawn(program: &Program) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_redial"))
            .args(["serve", "--roles", program.roles, "--config"])
            .arg(&program.config)
            // The machine's own settings must not reach it.
            .env_clear()
            .envs(std::env::var("REDIAL_LOG").map(|filter| ("REDIAL_LOG", filter)))
            .env("REDIAL_WORKER__NAME", &program.name)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::default();
        keep_log(child.stderr.take().unwrap(), Arc::clone(&log));
        let watchdog = Some(watch(child.id()));
        Self { name: program.name.clone(), child, watchdog, log }
    }

    /// Starts a process and waits until it is ready.
    pub(crate) async fn start(program: &Program) -> Self {
        let mut service = Self::spawn(program);
        service.ready().await;
        service
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&mut self) {
        let log = Arc::clone(&self.log);
        wait_for("the service is ready", || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} ended at its start: {ended:?}: {}", self.name, self.said());
            let ready = log.lock().unwrap().iter().any(|line| line.contains("redial serves"));
            async move { ready.then_some(()) }
        })
        .await;
    }

    /// A client of its API.
    pub(crate) fn client(&self) -> Client {
        let log = self.log.lock().unwrap();
        let url = log.iter().find_map(|line| line.split_once("redial serves ")).map(|(_, rest)| rest);
        Client::new(url.and_then(|rest| rest.split_whitespace().next()).unwrap())
    }

    /// What it has logged.
    pub(crate) fn said(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it without warning.
    pub(crate) fn kill(&mut self) {
        self.signal("KILL");
        self.child.wait().unwrap();
        self.dismiss_watchdog();
    }

    /// Asks it to stop, as an orchestrator would.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let child = &mut self.child;
        let status = wait_for(&what, || std::future::ready(child.try_wait().unwrap())).await;
        self.dismiss_watchdog();
        status
    }

    /// Asks it to stop and waits for its end.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.ended().await
    }

    /// Halts it where it stands, as a paused virtual machine would.
    pub(crate) fn halt(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after [`Self::halt`].
    pub(crate) fn go_on(&self) {
        self.signal("CONT");
    }

    /// Asks it to read its configuration again.
    pub(crate) fn hang_up(&self) {
        self.signal("HUP");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        assert!(sent.success(), "{} could not be sent {signal}", self.name);
    }

    /// A process id may be given to another process when ours has ended: the watchdog must not outlive it.
    fn dismiss_watchdog(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            let _ = watchdog.stdin.take().map(|mut pipe| pipe.write_all(b"dismissed\n"));
            let _ = watchdog.wait();
        }
    }
}

impl Drop for Service {
    #[expect(clippy::print_stderr, reason = "a failed test shows what its processes said")]
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        self.dismiss_watchdog();
        if std::thread::panicking() {
            let log = self.log.lock().unwrap();
            let shown = log[log.len().saturating_sub(LINES_SHOWN)..].join("\n");
            eprintln!("--- the log of {} ends so:\n{shown}\n---", self.name);
        }
    }
}

fn keep_log(output: ChildStderr, log: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            log.lock().unwrap().push(line);
        }
    });
}

/// Kills the process if this one ends first, however it ends: a shell reads from a pipe that only we hold.
fn watch(id: u32) -> Child {
    Command::new("sh")
        .args(["-c", &format!("read _ || kill -9 {id}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
