//! `redial bulk`: jobs on the server that act on many calls. Nothing is started that was not counted and agreed to.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::connection::{Query, ServerArgs};
use super::documents::{Job, JobCall, Preview, cell, counts, moment, moment_of, percent};
use super::filter::FilterArgs;
use super::pages::{self, PageArgs};
use super::paper::{Paper, say};
use super::sheet::{Sheet, pairs};
use super::trouble::{EXIT_CODES, Result, Trouble};
use super::{DONE, Session, calls, input, watch};

/// Arguments of `redial bulk`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct BulkArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(subcommand)]
    pub(super) command: BulkCommand,
}

/// What to do with bulk jobs.
#[derive(Debug, Subcommand)]
pub enum BulkCommand {
    /// Count the calls, ask, and start a job that acts on them
    #[command(after_help = EXIT_CODES)]
    Start(Box<StartArgs>),
    /// List jobs, newest first
    List(PageArgs),
    /// Show a job, and with --calls what became of each of its calls
    Show(ShowArgs),
    /// Follow a job to its end; exit code 1 if it was stopped or aborted
    Watch(WatchArgs),
    /// Stop a job; what it has done stays done
    Abort(AbortArgs),
}

/// What a job does.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Action {
    /// Set going again, from the first rung
    Replay,
    /// Give up
    Cancel,
    /// Declare done by hand
    Resolve,
}

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Cancel => "cancel",
            Self::Resolve => "resolve",
        }
    }
}

/// Arguments of `redial bulk start`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct StartArgs {
    /// What to do with the calls
    #[arg(value_enum)]
    action: Action,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only these calls; may be given several times
    #[arg(long = "id", value_name = "ID", help_heading = "Conditions")]
    ids: Vec<String>,
    /// Only count, and show some of the calls
    #[arg(long, help_heading = "Options")]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short, help_heading = "Options")]
    yes: bool,
    /// The pace, as in 50/s
    #[arg(long, value_name = "RATE", help_heading = "Options")]
    rate: Option<String>,
    /// Begin with this many calls; the others follow only if all of them succeed
    #[arg(long, value_name = "N", help_heading = "Options")]
    canary: Option<u32>,
    /// Stop when more than this share of the calls fails, as in 0.5
    #[arg(long, value_name = "SHARE", help_heading = "Options")]
    stop_at_failure_rate: Option<f64>,
    /// Replay with new idempotency keys, so that the third party takes the calls for new ones
    #[arg(long, help_heading = "Options")]
    new_keys: bool,
    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT", default_value = "", help_heading = "Options")]
    note: String,
    /// Follow the job to its end
    #[arg(long, short, help_heading = "Options")]
    watch: bool,
}

/// Arguments of `redial bulk abort`.
#[derive(Debug, Args)]
pub struct AbortArgs {
    /// The job
    #[arg(value_name = "ID")]
    id: String,
    /// Why; the audit log keeps it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Arguments of `redial bulk watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The job
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    patience: watch::PatienceArgs,
}

/// Arguments of `redial bulk show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The job
    #[arg(value_name = "ID")]
    id: String,
    /// List its calls with what became of them
    #[arg(long)]
    calls: bool,
    /// Only calls with this result: waiting, acted, succeeded, failed, skipped
    #[arg(long, value_name = "RESULT", requires = "calls")]
    result: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

pub(super) async fn run(session: &Session, command: BulkCommand) -> anyhow::Result<ExitCode> {
    match command {
        BulkCommand::Start(args) => return start(session, &args).await,
        BulkCommand::List(page) => {
            pages::list(session, &["v1", "bulk"], Query::new(), &page, "jobs", table).await?;
        }
        BulkCommand::Show(args) => show(session, &args).await?,
        BulkCommand::Watch(args) => return Ok(watch::to_the_end(session, &args.id, args.patience).await?),
        BulkCommand::Abort(args) => {
            let answer = session
                .server
                .post(&["v1", "bulk", &args.id, "abort"], &json!({ "note": args.note }))
                .await?;
            session.show(&answer, one)?;
        }
    }
    Ok(DONE)
}

async fn start(session: &Session, args: &StartArgs) -> anyhow::Result<ExitCode> {
    let mut document = args.document()?;
    if args.dry_run || !(session.json && args.yes) {
        let mut question = document.clone();
        question.insert("dry_run".to_owned(), json!(true));
        let answer = session.server.post(&["v1", "bulk"], &Value::Object(question)).await?;
        let preview: Preview = answer.document()?;
        let text = preview_text(&preview, args.action, session.paper);
        if args.dry_run {
            // Here it is what was asked for, not a question.
            say(if session.json { &answer.text } else { &text });
            return Ok(DONE);
        }
        session.remark(&text);
        if preview.count == 0 {
            return Ok(DONE);
        }
        let noun = if preview.count == 1 { "call" } else { "calls" };
        input::confirm(&format!("{} {} {noun}?", args.action.as_str(), preview.count), args.yes)?;
    }
    document.insert("dry_run".to_owned(), json!(false));
    let answer = session.server.post(&["v1", "bulk"], &Value::Object(document)).await?;
    if !args.watch {
        session.show(&answer, one)?;
        return Ok(DONE);
    }
    let job: Job = answer.document()?;
    session.remark(&format!("job {}", job.id));
    Ok(watch::to_the_end(session, &job.id, watch::PatienceArgs::default()).await?)
}

impl StartArgs {
    fn document(&self) -> Result<Map<String, Value>> {
        let filter = self.filter.document(&self.ids);
        if filter.as_object().is_none_or(Map::is_empty) {
            let sentence = "which calls? Without any condition a job would act on all; --status review names what waits for a person";
            return Err(Trouble::Usage(sentence.to_owned()));
        }
        let mut document = Map::new();
        document.insert("action".to_owned(), json!(self.action.as_str()));
        document.insert("filter".to_owned(), filter);
        document.insert("note".to_owned(), json!(self.note));
        let options = [
            ("rate", self.rate.as_ref().map(|rate| json!(rate))),
            ("canary", self.canary.map(|canary| json!(canary))),
            ("stop_at_failure_rate", self.stop_at_failure_rate.map(|share| json!(share))),
            ("idempotency_key", self.new_keys.then(|| json!("new"))),
        ];
        document.extend(options.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        Ok(document)
    }
}

/// What a job would do, in front of the question whether it should.
fn preview_text(preview: &Preview, action: Action, paper: Paper) -> String {
    if preview.count == 0 {
        return "nothing matches".to_owned();
    }
    let lines = [
        ("action", action.as_str().to_owned()),
        ("calls", preview.count.to_string()),
        ("by endpoint", counts(&preview.by_endpoint)),
        ("by status", counts(&preview.by_status)),
    ];
    let text = pairs(lines, paper);
    if preview.sample.is_empty() {
        return text;
    }
    format!("{text}\n\nsome of them\n{}\n", calls::table(&preview.sample, paper))
}

async fn show(session: &Session, args: &ShowArgs) -> Result<()> {
    if !args.calls {
        let answer = session.server.get(&["v1", "bulk", &args.id], &Query::new()).await?;
        return session.show(&answer, one);
    }
    let query = args.result.iter().map(|result| ("result".to_owned(), result.clone())).collect();
    pages::list(session, &["v1", "bulk", &args.id, "calls"], query, &args.page, "calls", calls_of).await
}

fn calls_of(calls: &[JobCall], paper: Paper) -> String {
    let mut sheet = Sheet::new(&["call", "result", "detail"]).toned(1);
    for call in calls {
        sheet.row([&call.call, &call.result, call.detail.as_deref().unwrap_or_default()]);
    }
    sheet.render(paper)
}

fn table(jobs: &[Job], paper: Paper) -> String {
    let headers =
        ["id", "status", "action", "total", "acted", "succeeded", "failed", "started (UTC)", "by", "note"];
    let mut sheet = Sheet::new(&headers).toned(1).expendable(&["by", "acted", "started (UTC)", "action"]);
    for job in jobs {
        sheet.row([
            job.id.clone(),
            job.status.clone(),
            job.action.clone(),
            job.total.to_string(),
            job.acted.to_string(),
            job.succeeded.to_string(),
            job.failed.to_string(),
            moment(&job.created_at),
            job.actor.clone(),
            job.note.clone().unwrap_or_default(),
        ]);
    }
    sheet.render(paper)
}

/// One job with everything.
pub(super) fn one(job: &Job, paper: Paper) -> String {
    let lines = [
        ("id", job.id.clone()),
        ("status", job.status.clone()),
        ("reason", job.reason.clone().unwrap_or_default()),
        ("action", job.action.clone()),
        ("filter", cell(&job.filter)),
        ("total", job.total.to_string()),
        ("acted", job.acted.to_string()),
        ("succeeded", job.succeeded.to_string()),
        ("failed", job.failed.to_string()),
        ("pending", job.pending.to_string()),
        ("skipped", job.skipped.to_string()),
        ("rate", cell(&job.rate)),
        ("canary", job.canary.map(|canary| canary.to_string()).unwrap_or_default()),
        ("stops above", percent(job.stop_at_failure_rate)),
        ("by", job.actor.clone()),
        ("note", job.note.clone().unwrap_or_default()),
        ("started", moment(&job.created_at)),
        ("updated", moment_of(job.updated_at.as_ref())),
        ("finished", moment_of(job.finished_at.as_ref())),
    ];
    pairs(lines, paper)
}
