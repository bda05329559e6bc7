//! The program as a process of its own: its command line, its outputs, its exit code.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::wait_for;

/// Longer than any command should take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// A folder to run commands in. Nothing of the tests' own environment or configuration is seen there.
pub(crate) struct Workplace(TempDir);

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ended {
    fn of(output: &std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Holds it to this exit code.
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

impl Workplace {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One with this configuration as its `redial.toml`.
    pub(crate) fn with(configuration: &str) -> Self {
        let place = Self::new();
        place.write("redial.toml", configuration);
        place
    }

    /// Its folder.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Puts a file into it.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_redial"));
        command.args(arguments).env_clear().envs(variables.iter().copied()).current_dir(self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, &[]).await
    }

    /// Runs a command to its end, with these environment variables.
    pub(crate) async fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
        let ended = tokio::time::timeout(PATIENCE, self.command(arguments, variables).output()).await;
        Ended::of(&ended.unwrap_or_else(|_| panic!("{arguments:?} does not end")).unwrap())
    }

    /// Runs a command to its end in front of a person who types this; what it shows them is its output.
    pub(crate) async fn run_at_terminal(
        &self,
        arguments: &[&str],
        variables: &[(&str, &str)],
        typed: &str,
    ) -> Ended {
        let words = arguments.iter().map(|word| format!("'{word}'"));
        let line = std::iter::once(env!("CARGO_BIN_EXE_redial").to_owned()).chain(words).collect::<Vec<_>>();
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]);
        command.env_clear().envs(variables.iter().copied()).env("TERM", "dumb").current_dir(self.0.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        // It waits in the terminal until it is read.
        child.stdin.as_mut().unwrap().write_all(typed.as_bytes()).await.unwrap();
        let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        Ended::of(&ended.unwrap_or_else(|_| panic!("{arguments:?} does not end")).unwrap())
    }

    /// Starts a command that goes on until it is told to stop.
    pub(crate) fn start(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
        let mut child = self.command(arguments, variables).spawn().unwrap();
        let (out, err) = (Said::by(child.stdout.take()), Said::by(child.stderr.take()));
        Running { child, out, err }
    }
}

/// What a process has said so far.
struct Said {
    lines: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
}

impl Said {
    fn by(output: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let lines = Arc::new(Mutex::new(String::new()));
        let (heard, mut said) = (Arc::clone(&lines), BufReader::new(output.unwrap()).lines());
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = said.next_line().await {
                let mut heard = heard.lock().unwrap();
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        Self { lines, reading }
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().clone()
    }
}

/// A command that is running; killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    out: Said,
    err: Said,
}

impl Running {
    /// The first URL that it names, when it does.
    pub(crate) async fn url(&self) -> String {
        wait_for("the process says where it listens", || async {
            let said = self.out.text() + &self.err.text();
            // A line that is not whole yet might cut the URL.
            let line = said.lines().find(|line| line.contains("http://"))?.to_owned();
            let url = line[line.find("http://")?..].split_whitespace().next()?.to_owned();
            Some(url)
        })
        .await
    }

    /// Waits until it has said this.
    pub(crate) async fn says(&self, what: &str) {
        wait_for(&format!("the process says {what:?}"), || async {
            (self.out.text() + &self.err.text()).contains(what).then_some(())
        })
        .await;
    }

    /// Asks it to stop, and waits for its end.
    pub(crate) async fn stop(self) -> Ended {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        self.ended().await
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Ended {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        let (out, err) = (self.out, self.err);
        out.reading.await.unwrap();
        err.reading.await.unwrap();
        let (out, err) = (out.lines.lock().unwrap().clone(), err.lines.lock().unwrap().clone());
        Ended { code: status.code().unwrap_or(-1), out, err }
    }
}
