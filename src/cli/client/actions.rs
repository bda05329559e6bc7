//! `redial calls replay|cancel|resolve`: what an operator does with calls that are named one by one.

use std::process::ExitCode;

use clap::Args;
use reqwest::Method;
use reqwest::header::IF_MATCH;
use serde::Serialize;
use serde_json::value::RawValue;

use super::connection::Answer;
use super::documents::Call;
use super::paper::say;
use super::trouble::{Result, Trouble};
use super::{Session, calls, input};

/// Arguments of `redial calls cancel` and `resolve`.
#[derive(Debug, Args)]
pub struct ActionArgs {
    /// The calls
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Only if the call is still at this revision
    #[arg(long, value_name = "NUMBER")]
    if_revision: Option<u32>,
}

/// Arguments of `redial calls replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    action: ActionArgs,
    /// Change the request: a JSON object with the members that are to be different, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON")]
    request: Option<String>,
    /// Send a new idempotency key, so that the third party takes it for a new call
    #[arg(long)]
    new_key: bool,
}

/// The document of an action.
#[derive(Serialize)]
struct Wish<'a> {
    note: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<&'a str>,
}

pub(super) async fn replay(session: &Session, args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    if args.request.is_some() && args.action.ids.len() > 1 {
        return Err(Trouble::Usage("--request changes one call; name one".to_owned()).into());
    }
    let request = args.request.as_deref().map(|typed| input::json_value("--request", typed)).transpose()?;
    let idempotency_key = args.new_key.then_some("new");
    let wish = Wish { note: &args.action.note, request, idempotency_key };
    act_on_all(session, "replay", &args.action, &wish).await
}

pub(super) async fn end(session: &Session, action: &str, args: &ActionArgs) -> anyhow::Result<ExitCode> {
    let wish = Wish { note: &args.note, request: None, idempotency_key: None };
    act_on_all(session, action, args, &wish).await
}

/// Acts on each call; one that is refused does not keep the others from theirs. The exit code is that of the first refusal.
async fn act_on_all(
    session: &Session,
    action: &str,
    args: &ActionArgs,
    wish: &Wish<'_>,
) -> anyhow::Result<ExitCode> {
    let mut first_refusal = None;
    for id in &args.ids {
        match act(session, id, action, args.if_revision, wish).await {
            Ok(answer) => tell(session, &answer)?,
            Err(trouble) if args.ids.len() == 1 => return Err(trouble.into()),
            Err(trouble) => {
                eprintln!("error: {id}: {trouble}");
                first_refusal.get_or_insert(trouble.exit_code());
                if trouble.may_pass() {
                    break;
                }
            }
        }
    }
    Ok(first_refusal.map_or(super::DONE, ExitCode::from))
}

async fn act(
    session: &Session,
    id: &str,
    action: &str,
    if_revision: Option<u32>,
    wish: &Wish<'_>,
) -> Result<Answer> {
    let mut request = session.server.request(Method::POST, &["v1", "calls", id, action])?.json(wish);
    if let Some(revision) = if_revision {
        request = request.header(IF_MATCH, format!("\"{revision}\""));
    }
    session.server.send(request).await
}

fn tell(session: &Session, answer: &Answer) -> Result<()> {
    if session.json {
        say(&answer.text);
    } else {
        say(&calls::table(&[answer.document::<Call>()?], session.paper));
    }
    Ok(())
}
