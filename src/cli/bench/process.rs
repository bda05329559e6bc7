//! The processes under test: what they say, and what the kernel says of them.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

/// Clock ticks of `/proc/<pid>/stat` in a second: `USER_HZ`, 100 on every Linux.
const TICKS_PER_SECOND: u64 = 100;
/// How long a process may take to say where it listens.
const START_PATIENCE: Duration = Duration::from_mins(1);

/// A child of this program that listens somewhere.
#[derive(Debug)]
pub(super) struct Listening {
    child: Child,
    /// Its base URL.
    pub(super) url: String,
}

/// Which of its outputs says where it listens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Speaks {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Listening {
    /// Starts this program with these arguments and waits until a line of its output holds a URL.
    pub(super) async fn start(arguments: &[&str], speaks: Speaks) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own file cannot be found")?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().stdin(Stdio::null()).kill_on_drop(true);
        let command = match speaks {
            Speaks::Out => command.stdout(Stdio::piped()).stderr(Stdio::inherit()),
            Speaks::Err => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let mut child = command.spawn().with_context(|| format!("{arguments:?} cannot be started"))?;
        let url = match speaks {
            Speaks::Out => url_of(child.stdout.take()).await,
            Speaks::Err => url_of(child.stderr.take()).await,
        };
        let url = url.with_context(|| format!("{arguments:?} did not start"))?;
        Ok(Self { child, url })
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Ends it as an operator would, and waits.
    pub(super) async fn terminate(mut self) {
        let asked = Command::new("kill").args(["-TERM", &self.id().to_string()]).status().await;
        if asked.is_ok() {
            let _ = tokio::time::timeout(Duration::from_secs(35), self.child.wait()).await;
        }
    }
}

async fn url_of<R: AsyncRead + Unpin + Send + 'static>(output: Option<R>) -> anyhow::Result<String> {
    let mut lines = BufReader::new(output.context("its output is not there")?).lines();
    let mut said = Vec::new();
    let found = tokio::time::timeout(START_PATIENCE, async {
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(position) = line.find("http://") {
                let url = &line[position..];
                return Some(url.split_whitespace().next().unwrap_or(url).to_owned());
            }
            said.push(line);
        }
        None
    });
    let Ok(Some(url)) = found.await else { bail!("it said: {}", said.join("; ")) };
    // Whatever it says from now on must not fill the pipe; warnings are worth showing.
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains("WARN") || line.contains("ERROR") {
                eprintln!("{line}");
            }
        }
    });
    Ok(url)
}

/// CPU and memory of one process or several.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// CPU milliseconds, user and system.
    pub(super) cpu_ms: u64,
    /// Most memory that was resident at once, in KiB.
    pub(super) peak_kib: u64,
}

impl Usage {
    /// What the kernel says of a process; nothing of one that is gone.
    pub(super) fn of(process: u32) -> Self {
        Self { cpu_ms: cpu_ms(process).unwrap_or(0), peak_kib: peak_kib(process).unwrap_or(0) }
    }

    /// CPU of all processes of these names together, as far as they may be looked at.
    pub(super) fn of_named(names: &[&str]) -> Self {
        let Ok(processes) = std::fs::read_dir("/proc") else { return Self::default() };
        let ids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let wanted = ids.filter(|id| {
            let command = std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
            names.contains(&command.trim())
        });
        Self { cpu_ms: wanted.filter_map(cpu_ms).sum(), peak_kib: 0 }
    }

    /// What was used since an earlier look.
    #[must_use]
    pub(super) fn since(self, before: Self) -> Self {
        Self { cpu_ms: self.cpu_ms.saturating_sub(before.cpu_ms), peak_kib: self.peak_kib }
    }
}

fn cpu_ms(process: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold spaces; fields are counted from behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks * 1_000 / TICKS_PER_SECOND)
}

fn peak_kib(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
