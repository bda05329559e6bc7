//! The live view: a bar that ends, calls by status, tiers' depths, attempts per second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::call::{Call, Status};
use crate::clock::monotonic;

/// Where no terminal is, a line this often says the same.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// What is drawn while calls are open.
pub(super) struct Board {
    bars: MultiProgress,
    progress: ProgressBar,
    statuses: ProgressBar,
    tiers: ProgressBar,
    last: Option<(Instant, i64)>,
    rate: f64,
    last_line: Instant,
}

impl Board {
    /// A board for this many calls.
    pub(super) fn new(calls: u32) -> Self {
        let bars = MultiProgress::new();
        let text = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressStyle::with_template("[{bar:40}] {pos}/{len} done or in review")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let progress = bars.add(ProgressBar::new(u64::from(calls)).with_style(bar));
        let statuses = bars.add(ProgressBar::new_spinner().with_style(text.clone()));
        let tiers = bars.add(ProgressBar::new_spinner().with_style(text));
        Self { bars, progress, statuses, tiers, last: None, rate: 0.0, last_line: monotonic() }
    }

    /// Draws; answers how many calls are still open.
    pub(super) fn draw(&mut self, calls: &[Call], depths: &BTreeMap<String, u64>) -> usize {
        let open = calls.iter().filter(|call| is_open(call)).count();
        self.note_attempts(calls.iter().map(|call| i64::from(call.attempts_made.get())).sum());
        let statuses = format!("{}   {:.0} attempts/s", by_status(calls), self.rate);
        let tiers = waiting(depths);
        self.progress.set_position((calls.len() - open) as u64);
        self.statuses.set_message(statuses.clone());
        self.tiers.set_message(tiers.clone());
        if self.bars.is_hidden() && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = monotonic();
            println!("{statuses}   {tiers}");
        }
        open
    }

    /// Clears the board away.
    pub(super) fn finish(self) {
        self.progress.finish();
        self.statuses.finish_and_clear();
        self.tiers.finish_and_clear();
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn note_attempts(&mut self, attempts: i64) {
        let now = monotonic();
        match self.last {
            Some((at, before)) if now.duration_since(at) >= Duration::from_secs(1) => {
                self.rate = (attempts - before) as f64 / now.duration_since(at).as_secs_f64();
                self.last = Some((now, attempts));
            }
            Some(_) => {}
            None => self.last = Some((now, attempts)),
        }
    }
}

fn is_open(call: &Call) -> bool {
    match call.state.status() {
        Status::Scheduled | Status::Running => true,
        Status::Review | Status::Succeeded | Status::Resolved | Status::Cancelled | Status::Superseded => {
            false
        }
    }
}

/// How many calls stand in each state that any stands in.
pub(super) fn by_status(calls: &[Call]) -> String {
    let count = |status: &Status| calls.iter().filter(|call| call.state.status() == *status).count();
    let counts = Status::ALL.iter().map(|status| (status, count(status))).filter(|(_, count)| *count > 0);
    counts.map(|(status, count)| format!("{status} {count}")).collect::<Vec<_>>().join("  ")
}

fn waiting(depths: &BTreeMap<String, u64>) -> String {
    let filled: Vec<String> = depths
        .iter()
        .filter(|(_, depth)| **depth > 0)
        .map(|(queue, depth)| format!("{} {depth}", queue.trim_start_matches("redial-demo.")))
        .collect();
    if filled.is_empty() { "nothing waits".to_owned() } else { format!("waiting: {}", filled.join("  ")) }
}
