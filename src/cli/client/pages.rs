//! Lists, page by page.

use std::collections::BTreeMap;

use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::Session;
use super::connection::{Answer, Query};
use super::paper::{Paper, say};
use super::trouble::{Result, Trouble};

/// How many a page has where all pages are wanted.
const PAGE_OF_ALL: usize = 500;

/// Which page.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Pages")]
pub struct PageArgs {
    /// At most this many [default: 50]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Go on where a list ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// All pages
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    all: bool,
}

/// One page of a list: its items as they came, and where the next one begins.
struct Page {
    items: Box<RawValue>,
    next: Option<String>,
}

/// Prints a list: the pages that were asked for, for people in tables.
///
/// # Errors
/// [`Trouble`]
pub async fn list<T: DeserializeOwned>(
    session: &Session,
    path: &[&str],
    mut query: Query,
    args: &PageArgs,
    member: &str,
    table: impl Fn(&[T], Paper) -> String,
) -> Result<()> {
    let limit = if args.all { Some(PAGE_OF_ALL) } else { args.limit };
    query.extend(limit.map(|limit| ("limit".to_owned(), limit.to_string())));
    query.extend(args.cursor.iter().map(|cursor| ("cursor".to_owned(), cursor.clone())));
    if session.json && !args.all {
        say(&session.server.get(path, &query).await?.text);
        return Ok(());
    }
    let mut printed = Printed::default();
    loop {
        let page = Page::of(&session.server.get(path, &query).await?, member)?;
        if session.json {
            printed.json(&page, member)?;
        } else {
            let items: Vec<T> =
                Answer { status: 200, location: None, text: page.items.get().to_owned() }.read()?;
            printed.table(&items, &table, session.paper);
        }
        match page.next {
            Some(next) if args.all => {
                query.retain(|(name, _)| name != "cursor");
                query.push(("cursor".to_owned(), next));
            }
            next => {
                printed.end(session, next.as_deref());
                return Ok(());
            }
        }
    }
}

impl Page {
    fn of(answer: &Answer, member: &str) -> Result<Self> {
        let mut document: BTreeMap<String, Box<RawValue>> = answer.read()?;
        let items = document.remove(member).ok_or_else(|| Trouble::no_member(member))?;
        let next = document.get("next_cursor").and_then(|next| serde_json::from_str(next.get()).ok());
        Ok(Self { items, next: next.flatten() })
    }
}

/// What has been printed of a list.
#[derive(Default)]
struct Printed {
    items: usize,
    /// All pages make one document.
    open: bool,
}

impl Printed {
    fn json(&mut self, page: &Page, member: &str) -> Result<()> {
        if !self.open {
            say(&format!("{{{member:?}:["));
            self.open = true;
        }
        let items: Vec<&RawValue> = serde_json::from_str(page.items.get())
            .map_err(|error| Trouble::NotUnderstood(format!("{member} is no list: {error}")))?;
        let lines = items.iter().enumerate().map(|(position, item)| {
            let comma = if self.items + position == 0 { "" } else { "," };
            format!("{comma}{item}")
        });
        let lines: Vec<String> = lines.collect();
        if !lines.is_empty() {
            say(&lines.join("\n"));
        }
        self.items += items.len();
        Ok(())
    }

    fn table<T>(&mut self, items: &[T], table: &impl Fn(&[T], Paper) -> String, paper: Paper) {
        if !items.is_empty() {
            say(&table(items, paper));
        }
        self.items += items.len();
    }

    fn end(&self, session: &Session, next: Option<&str>) {
        if self.open {
            say("],\"next_cursor\":null}");
        } else if self.items == 0 {
            session.remark("nothing matches");
        } else if let Some(next) = next {
            session.remark(&format!("there are more: --cursor {next}, or --all"));
        }
    }
}
