//! `redial bulk watch`: a job's progress to its end. The job runs on the server; losing the server from sight for a while changes nothing.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::connection::{Answer, Query};
use super::documents::Job;
use super::trouble::{Result, Trouble};
use super::{DONE, Session, bulk};
use crate::clock::monotonic;
use crate::endpoint::ladder::parse_duration;

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Where no terminal is, a line this often says how far the job is.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How long a server may be out of sight.
#[derive(Clone, Copy, Debug, Args)]
pub struct PatienceArgs {
    /// Give up when the server has not answered for this long; the job goes on
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    patience: Duration,
}

impl Default for PatienceArgs {
    fn default() -> Self {
        Self { patience: Duration::from_mins(10) }
    }
}

/// Shows a job's progress until it has ended.
///
/// # Errors
/// There is no such job, or the server did not answer for too long.
pub async fn to_the_end(session: &Session, id: &str, patience: PatienceArgs) -> Result<ExitCode> {
    let mut progress = Progress::new();
    let mut seen = monotonic();
    loop {
        match session.server.get(&["v1", "bulk", id], &Query::new()).await {
            Ok(answer) => {
                seen = monotonic();
                let job: Job = answer.document()?;
                progress.draw(session, &job);
                if job.has_ended() {
                    progress.bar.finish_and_clear();
                    return ended(session, &answer, &job);
                }
            }
            Err(trouble) if trouble.may_pass() && seen.elapsed() < patience.patience => {
                progress.lost(session, &trouble);
            }
            Err(trouble) => return Err(trouble),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn ended(session: &Session, answer: &Answer, job: &Job) -> Result<ExitCode> {
    session.show(answer, bulk::one)?;
    Ok(if job.status == "done" { DONE } else { ExitCode::FAILURE })
}

impl Job {
    fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "done" | "aborted" | "stopped")
    }

    /// Calls of which it is known what became of them.
    const fn settled(&self) -> u64 {
        self.succeeded + self.failed + self.skipped
    }

    fn in_words(&self) -> String {
        let Self { status, total, acted, succeeded, failed, .. } = self;
        format!("{status}: {acted} of {total} acted on, {succeeded} succeeded, {failed} failed")
    }
}

/// A bar on a terminal; elsewhere a line now and then, and one when the server goes out of sight or comes back.
struct Progress {
    bar: ProgressBar,
    last_line: Option<(Sight, Instant)>,
}

/// Whether the server answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
    Seen,
    Lost,
}

impl Progress {
    fn new() -> Self {
        let style = ProgressStyle::with_template("[{bar:40}] {pos}/{len} settled  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: ProgressBar::new(0).with_style(style.progress_chars("=> ")), last_line: None }
    }

    fn draw(&mut self, session: &Session, job: &Job) {
        self.bar.set_length(job.total);
        self.bar.set_position(job.settled());
        self.bar.set_message(job.in_words());
        if self.bar.is_hidden() && self.is_time_for_a_line(Sight::Seen) {
            session.remark(&job.in_words());
        }
    }

    fn lost(&mut self, session: &Session, trouble: &Trouble) {
        self.bar.set_message(format!("the server does not answer; the job goes on there ({trouble})"));
        if self.bar.is_hidden() && self.is_time_for_a_line(Sight::Lost) {
            session.remark(&format!("{trouble}; the job goes on there, trying again"));
        }
    }

    fn is_time_for_a_line(&mut self, sight: Sight) -> bool {
        let now = monotonic();
        let said = |(before, at): (Sight, Instant)| before == sight && now.duration_since(at) < LINE_EVERY;
        let due = !self.last_line.is_some_and(said);
        if due {
            self.last_line = Some((sight, now));
        }
        due
    }
}
