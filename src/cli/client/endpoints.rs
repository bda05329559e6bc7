//! `redial endpoints`: how each third-party interface is doing, and holding one.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::connection::{Query, ServerArgs};
use super::documents::{
    Endpoint, Endpoints, Hold, Provider, Rule, cell, counts, milliseconds, moment, percent,
};
use super::paper::Paper;
use super::sheet::{Sheet, pairs};
use super::trouble::{EXIT_CODES, Result};
use super::{DONE, Session};

/// Arguments of `redial endpoints`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct EndpointsArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(subcommand)]
    pub(super) command: EndpointsCommand,
}

/// What to do with endpoints.
#[derive(Debug, Subcommand)]
pub enum EndpointsCommand {
    /// List all of them
    List,
    /// Show one: state, latest attempts, providers, rules
    Show {
        /// The endpoint
        name: String,
    },
    /// Hold endpoints: their calls wait, nothing is lost or counted as an attempt
    Pause(HoldArgs),
    /// Let held endpoints go on
    Resume(HoldArgs),
}

/// Arguments of `redial endpoints pause` and `resume`.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// The endpoints
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
}

pub(super) async fn run(session: &Session, command: EndpointsCommand) -> anyhow::Result<ExitCode> {
    match command {
        EndpointsCommand::List => {
            let answer = session.server.get(&["v1", "endpoints"], &Query::new()).await?;
            session.show(&answer, |list: &Endpoints, paper| table(&list.endpoints, paper))?;
        }
        EndpointsCommand::Show { name } => {
            let answer = session.server.get(&["v1", "endpoints", &name], &Query::new()).await?;
            session.show(&answer, one)?;
        }
        EndpointsCommand::Pause(args) => hold(session, "pause", &args).await?,
        EndpointsCommand::Resume(args) => hold(session, "resume", &args).await?,
    }
    Ok(DONE)
}

async fn hold(session: &Session, action: &str, args: &HoldArgs) -> Result<()> {
    for name in &args.names {
        let document = json!({ "note": args.note });
        let answer = session.server.post(&["v1", "endpoints", name, action], &document).await?;
        session.show(&answer, |endpoint: &Endpoint, paper| table(std::slice::from_ref(endpoint), paper))?;
    }
    Ok(())
}

impl Endpoint {
    /// In one word what is the matter with it.
    pub(super) fn state(&self) -> &str {
        match (&self.hold, &self.state, &self.breaker) {
            (Some(hold), _, _) => &hold.kind,
            (None, Some(state), _) => state,
            (None, None, Some(breaker)) if breaker.state != "closed" => "breaker",
            (None, None, _) => "ok",
        }
    }
}

fn table(endpoints: &[Endpoint], paper: Paper) -> String {
    let headers =
        ["name", "state", "due", "scheduled", "running", "success", "p50", "p99", "held by", "note"];
    let mut sheet = Sheet::new(&headers).toned(1);
    for endpoint in endpoints {
        let recent = endpoint.recent.as_ref();
        let hold = endpoint.hold.as_ref();
        sheet.row([
            endpoint.name.clone(),
            endpoint.state().to_owned(),
            endpoint.backlog.due.to_string(),
            endpoint.backlog.scheduled.to_string(),
            endpoint.running.map(|running| running.to_string()).unwrap_or_default(),
            percent(recent.and_then(|recent| recent.success_rate)),
            milliseconds(recent.and_then(|recent| recent.latency_p50_ms)),
            milliseconds(recent.and_then(|recent| recent.latency_p99_ms)),
            hold.and_then(|hold| hold.by.clone()).unwrap_or_default(),
            hold.and_then(|hold| hold.note.clone()).unwrap_or_default(),
        ]);
    }
    sheet.render(paper)
}

fn one(endpoint: &Endpoint, paper: Paper) -> String {
    let recent = endpoint.recent.as_ref();
    let lines = [
        ("name", endpoint.name.clone()),
        ("state", endpoint.state().to_owned()),
        ("held", endpoint.hold.as_ref().map(held).unwrap_or_default()),
        ("breaker", endpoint.breaker.as_ref().map(|breaker| breaker.state.clone()).unwrap_or_default()),
        ("base URL", endpoint.base_url.clone().unwrap_or_default()),
        ("dry run", if endpoint.dry_run { "yes: nothing leaves the machine" } else { "" }.to_owned()),
        ("due", endpoint.backlog.due.to_string()),
        ("scheduled", endpoint.backlog.scheduled.to_string()),
        ("running", endpoint.running.map(|running| running.to_string()).unwrap_or_default()),
        ("ladder", endpoint.ladder.join(", ")),
        (
            "in flight",
            endpoint.concurrency.map(|most| format!("at most {most} a process")).unwrap_or_default(),
        ),
        ("rate limit", cell(&endpoint.rate_limit)),
        ("ambiguous", endpoint.on_ambiguous.clone().unwrap_or_default()),
        ("lane", endpoint.lane.clone().unwrap_or_default()),
        ("lately", recent.map(lately).unwrap_or_default()),
        ("verdicts", recent.map(|recent| counts(&recent.by_verdict)).unwrap_or_default()),
        ("errors", recent.map(|recent| counts(&recent.errors)).unwrap_or_default()),
    ];
    let mut text = pairs(lines, paper);
    for (title, section) in
        [("providers", providers(&endpoint.providers, paper)), ("rules", rules(&endpoint.rules, paper))]
    {
        if !section.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n\n{title}\n{section}");
        }
    }
    text
}

fn held(hold: &Hold) -> String {
    let parts = [
        Some(hold.kind.clone()),
        hold.since.as_deref().map(|since| format!("since {}", moment(since))),
        hold.until.as_deref().map(|until| format!("until {}", moment(until))),
        hold.by.as_deref().map(|by| format!("by {by}")),
        hold.note.clone().filter(|note| !note.is_empty()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn lately(recent: &super::documents::Recent) -> String {
    let window = recent.window_s.map(|seconds| format!(" in {seconds:.0} s")).unwrap_or_default();
    let parts = [
        format!("{} attempts{window}", recent.attempts),
        percent(recent.success_rate),
        milliseconds(recent.latency_p50_ms),
        milliseconds(recent.latency_p99_ms),
    ];
    let named = ["", " succeeded", " (p50)", " (p99)"];
    let parts = parts.iter().zip(named).filter(|(part, _)| !part.is_empty());
    parts.map(|(part, name)| format!("{part}{name}")).collect::<Vec<_>>().join(", ")
}

fn providers(providers: &[Provider], paper: Paper) -> String {
    let mut sheet =
        Sheet::new(&["name", "breaker", "weight", "share", "attempts", "success", "p99", "cost"]).toned(1);
    for provider in providers {
        sheet.row([
            provider.name.clone(),
            provider.breaker.clone().unwrap_or_default(),
            provider.weight.map(|weight| weight.to_string()).unwrap_or_default(),
            percent(provider.share),
            provider.attempts.to_string(),
            percent(provider.success_rate),
            milliseconds(provider.latency_p99_ms),
            provider.cost.map(|cost| cost.to_string()).unwrap_or_default(),
        ]);
    }
    if sheet.is_empty() { String::new() } else { sheet.render(paper) }
}

fn rules(rules: &[Rule], paper: Paper) -> String {
    let mut sheet = Sheet::new(&["number", "verdict", "when"]).toned(1);
    for (position, rule) in rules.iter().enumerate() {
        sheet.row([(position + 1).to_string(), rule.verdict.clone(), rule.when.clone()]);
    }
    if sheet.is_empty() { String::new() } else { sheet.render(paper) }
}
