//! `redial audit`: who did what, when and why.

use std::process::ExitCode;

use clap::Args;

use super::connection::{Query, ServerArgs};
use super::documents::{Entry, moment};
use super::filter::point;
use super::pages::{self, PageArgs};
use super::paper::Paper;
use super::sheet::Sheet;
use super::trouble::EXIT_CODES;
use super::{DONE, Session};
use crate::clock::Timestamp;

/// Arguments of `redial audit`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct AuditArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// Only what this one did
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only this: replay, cancel, resolve, pause, resume, erase, …
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// At or after: a time (RFC 3339), or how long ago, as in 2h
    #[arg(long, value_name = "TIME", value_parser = point)]
    from: Option<Timestamp>,
    /// Before: a time (RFC 3339), or how long ago
    #[arg(long, value_name = "TIME", value_parser = point)]
    to: Option<Timestamp>,
    #[command(flatten)]
    page: PageArgs,
}

pub(super) async fn run(session: &Session, args: &AuditArgs) -> anyhow::Result<ExitCode> {
    let conditions = [
        ("actor", args.actor.clone()),
        ("action", args.action.clone()),
        ("from", args.from.as_ref().map(ToString::to_string)),
        ("to", args.to.as_ref().map(ToString::to_string)),
    ];
    let query: Query =
        conditions.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    pages::list(session, &["v1", "audit"], query, &args.page, "entries", table).await?;
    Ok(DONE)
}

fn table(entries: &[Entry], paper: Paper) -> String {
    let mut sheet = Sheet::new(&["at (UTC)", "by", "action", "on", "note", "detail"]);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    for entry in entries {
        sheet.row([
            moment(&entry.at),
            entry.actor.clone(),
            entry.action.clone(),
            entry.call.clone().or_else(|| entry.subject.clone()).unwrap_or_default(),
            text(&entry.note),
            text(&entry.detail),
        ]);
    }
    sheet.render(paper)
}
