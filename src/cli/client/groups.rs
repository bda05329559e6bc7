//! `redial groups`: what waits for a person, by endpoint, reason and error.

use std::process::ExitCode;

use clap::Args;

use super::connection::ServerArgs;
use super::documents::{Group, Groups, moment};
use super::filter::ListFilterArgs;
use super::paper::Paper;
use super::sheet::Sheet;
use super::trouble::EXIT_CODES;
use super::{DONE, Session};

/// Arguments of `redial groups`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct GroupsArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(flatten)]
    filter: ListFilterArgs,
}

pub(super) async fn run(session: &Session, args: &GroupsArgs) -> anyhow::Result<ExitCode> {
    let mut query = args.filter.query();
    // Groups are of what waits for a person, unless somebody asks for others.
    if !query.iter().any(|(name, _)| name == "status") {
        query.push(("status".to_owned(), "review".to_owned()));
    }
    let answer = session.server.get(&["v1", "groups"], &query).await?;
    if !session.json && answer.document::<Groups>()?.groups.is_empty() {
        session.remark("nothing waits for a person");
        return Ok(DONE);
    }
    session.show(&answer, |groups: &Groups, paper| table(&groups.groups, paper))?;
    Ok(DONE)
}

fn table(groups: &[Group], paper: Paper) -> String {
    let mut sheet =
        Sheet::new(&["count", "endpoint", "reason", "first (UTC)", "last (UTC)", "example", "error"])
            .expendable(&["first (UTC)", "last (UTC)"]);
    for group in groups {
        sheet.row([
            group.count.to_string(),
            group.endpoint.clone(),
            group.review_reason.clone().unwrap_or_default(),
            moment(&group.first_at),
            moment(&group.last_at),
            group.example.clone().unwrap_or_default(),
            group.error.clone().unwrap_or_default(),
        ]);
    }
    sheet.render(paper)
}
