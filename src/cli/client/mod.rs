//! Commands that work on a running server through its API: one file a command.
//!
//! They have no powers of their own: what they do, the token's roles allow. People get tables, programs (`--json`) the API's documents
//! unchanged; nothing else is written to standard output. Exit codes: [`trouble::EXIT_CODES`].

pub mod actions;
pub mod audit;
pub mod bulk;
pub mod calls;
pub mod connection;
pub mod documents;
pub mod endpoints;
pub mod erase;
pub mod filter;
pub mod groups;
pub mod input;
pub mod judge;
pub mod layout;
pub mod pages;
pub mod paper;
pub mod rejected;
pub mod sheet;
pub mod submit;
pub mod top;
pub mod trouble;
pub mod watch;

use std::process::ExitCode;

use clap::Subcommand;

use super::Outcome;
use connection::{Answer, Server, ServerArgs};
use documents::Document;
use paper::{Paper, say};
use trouble::{Result, Trouble};

/// A command that works on a running server.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// List, show, submit, replay, cancel and resolve calls
    Calls(calls::CallsArgs),
    /// Calls that wait for a person, by endpoint, reason and error
    Groups(groups::GroupsArgs),
    /// Act on many calls at once, with a preview, a canary and a pace
    Bulk(bulk::BulkArgs),
    /// Endpoints: their state, and holding them
    Endpoints(endpoints::EndpointsArgs),
    /// Messages that could not be accepted
    Rejected(rejected::RejectedArgs),
    /// What operators have done
    Audit(audit::AuditArgs),
    /// Try rules out on attempts that were made
    Judge(judge::JudgeArgs),
    /// Blank bodies and headers of calls with certain tags
    Erase(erase::EraseArgs),
    /// A live view of everything
    Top(top::TopArgs),
}

/// What a command works with.
#[derive(Debug)]
pub struct Session {
    server: Server,
    paper: Paper,
    json: bool,
}

impl Session {
    fn open(args: &ServerArgs) -> anyhow::Result<Self> {
        Ok(Self { server: Server::new(args)?, paper: Paper::of_stdout(), json: args.json })
    }

    /// Prints an answer: as it is for programs, as `table` says for people.
    fn show<T: Document>(&self, answer: &Answer, table: impl FnOnce(&T, Paper) -> String) -> Result<()> {
        if self.json {
            answer.expect::<T>()?;
            say(&answer.text);
        } else {
            say(&table(&answer.document()?, self.paper));
        }
        Ok(())
    }

    /// Writes a remark for people, unless a program is to read the output.
    fn remark(&self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }
}

/// Carries out a command.
///
/// # Errors
/// [`Trouble`], with the exit code that tells scripts what it was.
pub async fn run(command: ClientCommand) -> Outcome {
    let session = Session::open(command.server())?;
    let done = match command {
        ClientCommand::Calls(args) => calls::run(&session, args.command).await,
        ClientCommand::Groups(args) => groups::run(&session, &args).await,
        ClientCommand::Bulk(args) => bulk::run(&session, args.command).await,
        ClientCommand::Endpoints(args) => endpoints::run(&session, args.command).await,
        ClientCommand::Rejected(args) => rejected::run(&session, args.command).await,
        ClientCommand::Audit(args) => audit::run(&session, &args).await,
        ClientCommand::Judge(args) => judge::run(&session, &args).await,
        ClientCommand::Erase(args) => erase::run(&session, &args).await,
        ClientCommand::Top(args) => top::run(&session, &args).await,
    };
    if let Err(error) = &done
        && session.json
        && let Some(trouble) = error.downcast_ref()
    {
        pass_on(trouble);
    }
    Ok(done?)
}

/// Programs get a refusal where they look for the answer; the sentence goes to standard error all the same.
pub(super) fn pass_on(trouble: &Trouble) {
    if let Trouble::Refused(refusal) = trouble {
        say(refusal.document());
    }
}

impl ClientCommand {
    const fn server(&self) -> &ServerArgs {
        match self {
            Self::Calls(args) => &args.server,
            Self::Groups(args) => &args.server,
            Self::Bulk(args) => &args.server,
            Self::Endpoints(args) => &args.server,
            Self::Rejected(args) => &args.server,
            Self::Audit(args) => &args.server,
            Self::Judge(args) => &args.server,
            Self::Erase(args) => &args.server,
            Self::Top(args) => &args.server,
        }
    }
}

/// The command did what it was asked.
const DONE: ExitCode = ExitCode::SUCCESS;
