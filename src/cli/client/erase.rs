//! `redial erase`: blanks bodies and headers of calls with certain tags, for people who have a right to be forgotten.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::connection::ServerArgs;
use super::documents::Erased;
use super::paper::Paper;
use super::sheet::pairs;
use super::trouble::EXIT_CODES;
use super::{DONE, Session, filter, input};

/// Arguments of `redial erase`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct EraseArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// Calls with this tag; given several times, with all of them
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = filter::pair, required = true)]
    tags: Vec<(String, String)>,
    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Only say what would be erased
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(session: &Session, args: &EraseArgs) -> anyhow::Result<ExitCode> {
    if args.dry_run || !(session.json && args.yes) {
        let answer = session.server.post(&["v1", "erase"], &args.document(true)).await?;
        if args.dry_run {
            session.show(&answer, text)?;
            return Ok(DONE);
        }
        let found: Erased = answer.document()?;
        session.remark(&text(&found, session.paper));
        if found.calls == 0 {
            session.remark("nothing matches");
            return Ok(DONE);
        }
        input::confirm("erase their bodies and headers, for good?", args.yes)?;
    }
    let answer = session.server.post(&["v1", "erase"], &args.document(false)).await?;
    session.show(&answer, text)?;
    session.remark("erased");
    Ok(DONE)
}

impl EraseArgs {
    fn document(&self, dry_run: bool) -> Value {
        let tags: Map<String, Value> =
            self.tags.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        json!({ "tags": tags, "note": self.note, "dry_run": dry_run })
    }
}

fn text(erased: &Erased, paper: Paper) -> String {
    let lines = [
        ("calls", erased.calls.to_string()),
        ("attempts", erased.attempts.to_string()),
        ("earlier requests", erased.revisions.to_string()),
        ("running, left alone", erased.running_skipped.to_string()),
    ];
    pairs(lines, paper)
}
