//! `redial rejected`: messages that could not be accepted, corrected and handed over again, or discarded.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::connection::{Query, ServerArgs};
use super::documents::{Rejected, RejectedList, moment_of};
use super::layout::pretty;
use super::paper::{Paper, clean, say};
use super::sheet::Sheet;
use super::trouble::{EXIT_CODES, Result, Trouble};
use super::{DONE, Session, calls, input};

/// How many messages are looked through for the one that is named.
const LOOK_THROUGH: usize = 500;

/// Arguments of `redial rejected`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct RejectedArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(subcommand)]
    pub(super) command: RejectedCommand,
}

/// What to do with rejected messages.
#[derive(Debug, Subcommand)]
pub enum RejectedCommand {
    /// List them with their reasons
    List {
        /// At most this many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Print the body of one, to be corrected
    Show {
        /// The message
        id: String,
    },
    /// Hand one over again: corrected, or as it is after the configuration was mended
    Resubmit {
        /// The message
        id: String,
        /// The corrected document: JSON, @FILE, or @- for standard input [default: the message's own body]
        #[arg(long, value_name = "JSON")]
        document: Option<String>,
    },
    /// Ask, and throw one away
    Discard {
        /// The message
        id: String,
        /// Why, for those who read it later
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

pub(super) async fn run(session: &Session, command: RejectedCommand) -> anyhow::Result<ExitCode> {
    match command {
        RejectedCommand::List { limit } => list(session, limit).await?,
        RejectedCommand::Show { id } => {
            let message = find(session, &id).await?;
            if let Some(body) = &message.body_base64 {
                session.remark("the message is no text; this is its base64");
                say(&clean(body));
            } else {
                say(&message.body.map(|body| pretty(body.get())).unwrap_or_default());
            }
        }
        RejectedCommand::Resubmit { id, document } => {
            // Without a document the server takes the message's own body.
            let document = document.map(|typed| input::json_value("--document", &typed)).transpose()?;
            let wish: BTreeMap<&str, _> =
                document.map(|document| ("document", document)).into_iter().collect();
            let answer = session.server.post(&["v1", "rejected", &id, "resubmit"], &wish).await?;
            session.show(&answer, calls::story)?;
        }
        RejectedCommand::Discard { id, note, yes } => {
            input::confirm(&format!("discard the message {id}, for good?"), yes)?;
            let path = ["v1", "rejected", &id, "discard"];
            let answer = session.server.post(&path, &json!({ "note": note })).await?;
            if session.json {
                say(&answer.text);
            }
            session.remark("discarded");
        }
    }
    Ok(DONE)
}

async fn list(session: &Session, limit: Option<usize>) -> Result<()> {
    let query = limit.map(|limit| ("limit".to_owned(), limit.to_string())).into_iter().collect();
    let answer = session.server.get(&["v1", "rejected"], &query).await?;
    if session.json {
        answer.expect::<RejectedList>()?;
        say(&answer.text);
        return Ok(());
    }
    let list: RejectedList = answer.document()?;
    if list.messages.is_empty() {
        session.remark("nothing was rejected");
        return Ok(());
    }
    say(&table(&list.messages, session.paper));
    let shown = list.messages.len() as u64;
    if list.count > shown {
        session.remark(&format!("{shown} of {} are shown", list.count));
    }
    Ok(())
}

fn table(messages: &[Rejected], paper: Paper) -> String {
    let mut sheet = Sheet::new(&["id", "code", "rejected (UTC)", "publisher", "routing key", "detail"])
        .expendable(&["routing key", "publisher", "rejected (UTC)"]);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    for message in messages {
        sheet.row([
            message.id.clone(),
            text(&message.code),
            moment_of(message.rejected_at.as_ref()),
            text(&message.publisher),
            text(&message.routing_key),
            text(&message.detail),
        ]);
    }
    sheet.render(paper)
}

async fn find(session: &Session, id: &str) -> anyhow::Result<Rejected> {
    let query: Query = vec![("limit".to_owned(), LOOK_THROUGH.to_string())];
    let list: RejectedList = session.server.get(&["v1", "rejected"], &query).await?.document()?;
    let found = list.messages.into_iter().find(|message| message.id == id);
    found.ok_or_else(|| {
        Trouble::Missing(format!(
            "there is no message {id} among the first {LOOK_THROUGH} that were rejected"
        ))
        .into()
    })
}
