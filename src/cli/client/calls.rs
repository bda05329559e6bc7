//! `redial calls`: lists, one call with its story, and what else is done with calls.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::connection::ServerArgs;
use super::documents::{
    Action, Attempt, Call, FirstFailure, Report, Request, Revision, cell, moment, moment_of,
};
use super::filter::ListFilterArgs;
use super::layout::pretty;
use super::pages::{self, PageArgs};
use super::paper::{Paper, clean, clean_lines};
use super::sheet::{Sheet, pairs};
use super::trouble::{EXIT_CODES, Result, Trouble};
use super::{DONE, Session, actions, submit};

/// Arguments of `redial calls`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct CallsArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(subcommand)]
    pub(super) command: CallsCommand,
}

/// What to do with calls.
#[derive(Debug, Subcommand)]
pub enum CallsCommand {
    /// List calls, newest first
    #[command(after_help = EXIT_CODES)]
    List(ListArgs),
    /// Show one call with its attempts, actions and revisions
    #[command(after_help = EXIT_CODES)]
    Show(ShowArgs),
    /// Hand a call over: a document from a file or standard input, or flags, or flags over a document
    #[command(after_help = EXIT_CODES)]
    Submit(Box<submit::SubmitArgs>),
    /// Set calls going again, due at once and from the first rung
    #[command(after_help = EXIT_CODES)]
    Replay(actions::ReplayArgs),
    /// Give calls up
    #[command(after_help = EXIT_CODES)]
    Cancel(actions::ActionArgs),
    /// Declare calls done by hand outside Redial
    #[command(after_help = EXIT_CODES)]
    Resolve(actions::ActionArgs),
}

/// Arguments of `redial calls list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    filter: ListFilterArgs,
    #[command(flatten)]
    page: PageArgs,
}

/// Arguments of `redial calls show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The call
    #[arg(value_name = "ID")]
    id: String,
    /// Show this attempt in full: request as sent, answer with headers and body
    #[arg(long, value_name = "NUMBER")]
    attempt: Option<u32>,
}

pub(super) async fn run(session: &Session, command: CallsCommand) -> anyhow::Result<ExitCode> {
    match command {
        CallsCommand::List(args) => list(session, &args).await?,
        CallsCommand::Show(args) => show(session, &args).await?,
        CallsCommand::Submit(args) => return submit::run(session, *args).await,
        CallsCommand::Replay(args) => return actions::replay(session, &args).await,
        CallsCommand::Cancel(args) => return actions::end(session, "cancel", &args).await,
        CallsCommand::Resolve(args) => return actions::end(session, "resolve", &args).await,
    }
    Ok(DONE)
}

async fn list(session: &Session, args: &ListArgs) -> Result<()> {
    pages::list(session, &["v1", "calls"], args.filter.query(), &args.page, "calls", table).await
}

/// Calls, one a row.
pub(super) fn table(calls: &[Call], paper: Paper) -> String {
    let mut sheet = Sheet::new(&["id", "status", "endpoint", "key", "attempts", "updated (UTC)", "why"])
        .toned(1)
        .expendable(&["attempts", "updated (UTC)"]);
    for call in calls {
        sheet.row([
            call.id.as_str(),
            &call.status,
            &call.endpoint,
            if call.idempotency_key == call.id { "" } else { &call.idempotency_key },
            &call.attempts_made.to_string(),
            &moment(&call.updated_at),
            &why(call),
        ]);
    }
    sheet.render(paper)
}

/// Why a call stands where it stands.
fn why(call: &Call) -> String {
    let reason = call.review_reason.as_deref();
    let due = call.due_at.as_deref().filter(|_| call.status == "scheduled");
    let due = due.map(|due| format!("due {}", moment(due)));
    let before = call.failure.as_ref().and_then(|failure| failure.error.as_deref());
    let error = call.last_error.as_deref().or(before).filter(|_| call.status != "succeeded");
    [reason, due.as_deref(), error].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

async fn show(session: &Session, args: &ShowArgs) -> Result<()> {
    let answer = session.server.get(&["v1", "calls", &args.id], &Vec::new()).await?;
    let Some(number) = args.attempt.filter(|_| !session.json) else {
        return session.show(&answer, story);
    };
    let call: Call = answer.document()?;
    let attempt = call.attempts.iter().find(|attempt| attempt.number == number);
    let attempt = attempt.ok_or_else(|| Trouble::Usage(format!("the call has no attempt {number}")))?;
    super::say(&attempt_in_full(attempt, session.paper));
    Ok(())
}

/// A call with everything that is known of it.
pub(super) fn story(call: &Call, paper: Paper) -> String {
    let mut text = head(call, paper);
    let sections = [
        (
            "failed before it was handed over",
            call.failure.as_ref().map(|f| failure(f, paper)).unwrap_or_default(),
        ),
        ("request", request(&call.request)),
        ("attempts", attempts(&call.attempts, paper)),
        ("reports of the third party", reports(&call.reports, paper)),
        ("actions", actions_of(&call.actions, paper)),
        ("earlier requests", revisions(&call.revisions)),
        ("response", call.response.as_ref().map(|response| pretty(response.get())).unwrap_or_default()),
    ];
    for (title, section) in sections.iter().filter(|(_, section)| !section.is_empty()) {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n\n{title}\n{section}");
    }
    text
}

fn head(call: &Call, paper: Paper) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let tags: Vec<String> = call.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let entity = call.entity.as_ref().map(|entity| format!("{} version {}", entity.key, entity.version));
    let scheduled = call.due_at.as_ref().filter(|_| call.status == "scheduled");
    let lines = [
        ("id", call.id.clone()),
        ("status", call.status.clone()),
        ("reason", text(&call.review_reason)),
        ("last error", text(&call.last_error)),
        ("endpoint", call.endpoint.clone()),
        ("provider", text(&call.provider)),
        ("publisher", call.publisher.clone()),
        ("key", call.idempotency_key.clone()),
        ("dry run", if call.dry_run { "yes: nothing leaves the machine" } else { "" }.to_owned()),
        ("attempts", format!("{} (rung {})", call.attempts_made, call.rung)),
        ("due", moment_of(scheduled)),
        ("worker", text(&call.worker)),
        ("entity", entity.unwrap_or_default()),
        ("tags", tags.join(" ")),
        ("callback", text(&call.callback_url)),
        ("created", moment(&call.created_at)),
        ("updated", moment(&call.updated_at)),
        ("finished", moment_of(call.finished_at.as_ref())),
        ("deadline", moment_of(call.deadline.as_ref())),
        ("revision", call.revision.to_string()),
    ];
    pairs(lines, paper)
}

fn failure(failure: &FirstFailure, paper: Paper) -> String {
    let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
    let lines = [
        ("error", failure.error.clone().unwrap_or_default()),
        ("http", number(failure.status.map(u32::from))),
        ("attempts", number(failure.attempts)),
        ("at (UTC)", moment_of(failure.occurred_at.as_ref())),
        ("ambiguous", if failure.ambiguous { "yes: it may have arrived" } else { "" }.to_owned()),
    ];
    pairs(lines, paper)
}

fn reports(reports: &[Report], paper: Paper) -> String {
    let mut sheet = Sheet::new(&["at (UTC)", "report", "rule", "body"]);
    for kept in reports {
        let rule = kept.rule.clone().unwrap_or_default();
        sheet.row([moment(&kept.received_at), kept.word.clone(), rule, kept.body.clone()]);
    }
    if sheet.is_empty() { String::new() } else { sheet.render(paper) }
}

fn request(request: &Request) -> String {
    let mut text = clean(&format!("{} {}", request.method, request.path)).into_owned();
    for (name, value) in &request.headers {
        let _ = write!(text, "\n{}: {}", clean(name), clean(value));
    }
    if let Some(body) = &request.body {
        let _ = write!(text, "\n{}", pretty(body.get()));
    } else if let Some(body) = &request.body_base64 {
        let _ = write!(text, "\n(base64) {}", clean(body));
    }
    text
}

fn attempts(attempts: &[Attempt], paper: Paper) -> String {
    let mut sheet = Sheet::new(&[
        "number",
        "verdict",
        "http",
        "started (UTC)",
        "took",
        "trigger",
        "provider",
        "rule",
        "worker",
        "error",
    ])
    .toned(1);
    for attempt in attempts {
        sheet.row([
            attempt.number.to_string(),
            attempt.verdict.clone(),
            attempt.http_status.map(|status| status.to_string()).unwrap_or_default(),
            moment(&attempt.started_at),
            format!("{} ms", attempt.duration_ms),
            attempt.trigger.clone(),
            attempt.provider.clone().unwrap_or_default(),
            cell(&attempt.rule),
            attempt.worker.clone(),
            attempt.error.clone().unwrap_or_default(),
        ]);
    }
    if sheet.is_empty() { String::new() } else { sheet.render(paper) }
}

fn actions_of(actions: &[Action], paper: Paper) -> String {
    let mut sheet = Sheet::new(&["at (UTC)", "action", "by", "note"]);
    for action in actions {
        let note = action.note.clone().unwrap_or_default();
        sheet.row([moment(&action.at), action.action.clone(), action.actor.clone(), note]);
    }
    if sheet.is_empty() { String::new() } else { sheet.render(paper) }
}

fn revisions(revisions: &[Revision]) -> String {
    let mut blocks = Vec::new();
    for revision in revisions {
        let (number, at, by) =
            (revision.revision, moment(&revision.replaced_at), clean(&revision.replaced_by));
        let mut block = format!("revision {number}, replaced {at} by {by}");
        for line in revision.diff.iter().filter(|line| line.op != "=") {
            let _ = write!(block, "\n  {} {}", clean(&line.op), clean(&line.text));
        }
        blocks.push(block);
    }
    blocks.join("\n")
}

fn attempt_in_full(attempt: &Attempt, paper: Paper) -> String {
    let mut text = attempts(std::slice::from_ref(attempt), paper);
    if let Some(sent) = &attempt.request {
        let _ = write!(text, "\n\nrequest as sent ({} bytes of body)\n", sent.body_bytes);
        let _ = write!(text, "{} {}", clean(&sent.method), clean(&sent.url));
        for (name, value) in &sent.headers {
            let _ = write!(text, "\n{}: {}", clean(name), clean(value));
        }
    }
    let length = attempt.response_body_bytes.map(|bytes| format!(" ({bytes} bytes of body)"));
    if attempt.response_headers.is_some() || attempt.response_body.is_some() {
        let _ = write!(text, "\n\nanswer{}", length.unwrap_or_default());
    }
    for (name, value) in attempt.response_headers.iter().flatten() {
        let _ = write!(text, "\n{}: {}", clean(name), clean(value));
    }
    if let Some(body) = &attempt.response_body {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok();
        let shown = if is_json { pretty(body) } else { clean_lines(body) };
        let _ = write!(text, "\n\n{shown}");
    } else if let Some(body) = &attempt.response_body_base64 {
        let _ = write!(text, "\n\n(base64) {}", clean(body));
    }
    if let Some(late) = &attempt.late {
        let _ = write!(text, "\n\nlate result: {late}");
    }
    text
}
