//! Which calls: the flags of lists, groups and bulk jobs.

use clap::Args;
use serde_json::{Map, Value, json};

use super::connection::Query;
use crate::clock::Timestamp;
use crate::endpoint::ladder::parse_duration;

/// Conditions that lists and bulk jobs share; all hold together.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Conditions")]
pub struct FilterArgs {
    /// In one of these states: scheduled, running, review, succeeded, resolved, cancelled, superseded
    #[arg(long, value_delimiter = ',', value_name = "STATUS")]
    status: Vec<String>,
    /// Of this endpoint
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// Of this publisher
    #[arg(long, value_name = "NAME")]
    publisher: Option<String>,
    /// In review for this reason: exhausted, rejected, ambiguous, expired, unroutable
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Of the group with exactly this error, as `redial groups` shows it
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// With this tag; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = pair)]
    tags: Vec<(String, String)>,
    /// Accepted at or after: a time (RFC 3339), or how long ago, as in 2h
    #[arg(long, value_name = "TIME", value_parser = point)]
    from: Option<Timestamp>,
    /// Accepted before: a time (RFC 3339), or how long ago
    #[arg(long, value_name = "TIME", value_parser = point)]
    to: Option<Timestamp>,
    /// With this text in id, key, path, tags or last error
    #[arg(long = "query", short = 'q', value_name = "TEXT")]
    text: Option<String>,
    /// That ask for this provider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
}

/// Conditions that only lists know.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Conditions")]
pub struct ListFilterArgs {
    #[command(flatten)]
    common: FilterArgs,
    /// That are (true) or are not (false) of an endpoint whose calls never leave the machine
    #[arg(long, value_name = "BOOL")]
    dry_run: Option<bool>,
}

impl FilterArgs {
    /// Conditions with one value, by their name in the API.
    fn singles(&self) -> impl Iterator<Item = (&'static str, String)> {
        let Self { endpoint, publisher, reason, error, from, to, text, provider, status: _, tags: _ } = self;
        let singles = [
            ("endpoint", endpoint.clone()),
            ("publisher", publisher.clone()),
            ("reason", reason.clone()),
            ("error", error.clone()),
            ("from", from.as_ref().map(ToString::to_string)),
            ("to", to.as_ref().map(ToString::to_string)),
            ("q", text.clone()),
            ("provider", provider.clone()),
        ];
        singles.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    /// As parameters of a list.
    pub fn query(&self) -> Query {
        let mut query: Query = self.singles().map(|(name, value)| (name.to_owned(), value)).collect();
        if !self.status.is_empty() {
            query.push(("status".to_owned(), self.status.join(",")));
        }
        query.extend(self.tags.iter().map(|(key, value)| (format!("tag.{key}"), value.clone())));
        query
    }

    /// As the filter of a bulk job, together with calls that are named one by one.
    pub fn document(&self, ids: &[String]) -> Value {
        let mut filter: Map<String, Value> =
            self.singles().map(|(name, value)| (name.to_owned(), Value::String(value))).collect();
        if !self.status.is_empty() {
            filter.insert("status".to_owned(), json!(self.status));
        }
        if !self.tags.is_empty() {
            let tags: Map<String, Value> =
                self.tags.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
            filter.insert("tags".to_owned(), Value::Object(tags));
        }
        if !ids.is_empty() {
            filter.insert("ids".to_owned(), json!(ids));
        }
        Value::Object(filter)
    }
}

impl ListFilterArgs {
    /// As parameters of a list.
    pub fn query(&self) -> Query {
        let mut query = self.common.query();
        query.extend(self.dry_run.iter().map(|dry| ("dry_run".to_owned(), dry.to_string())));
        query
    }
}

/// Reads `key=value`; the value may hold more of the sign.
///
/// # Errors
/// A sentence: there is no key.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE".to_owned()),
    }
}

/// Reads a time, or how long ago it was.
///
/// # Errors
/// A sentence that says what is allowed.
pub fn point(text: &str) -> Result<Timestamp, String> {
    if let Some(time) = Timestamp::parse_rfc3339(text) {
        return Ok(time);
    }
    match parse_duration(text) {
        Ok(ago) => Ok(Timestamp::now().minus(ago)),
        Err(_) => Err("must be a time such as 2026-11-21T10:00:00Z, or a duration ago such as 2h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Whole {
        #[command(flatten)]
        filter: ListFilterArgs,
    }

    fn read(arguments: &[&str]) -> ListFilterArgs {
        Whole::parse_from([&["x"], arguments].concat()).filter
    }

    #[test]
    fn every_condition_reaches_the_api_under_its_name() {
        let filter = read(&[
            "--status",
            "review,scheduled",
            "--endpoint",
            "sms",
            "--publisher",
            "shop",
            "--reason",
            "rejected",
            "--error",
            "answered # with 'x'",
            "--tag",
            "order=1=2",
            "--tag",
            "shop=7",
            "--from",
            "2026-11-21T10:00:00Z",
            "--to",
            "2026-11-22T10:00:00+08:00",
            "-q",
            "42",
            "--provider",
            "alpha",
            "--dry-run",
            "false",
        ]);
        let query: Vec<String> =
            filter.query().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "endpoint=sms",
            "publisher=shop",
            "reason=rejected",
            "error=answered # with 'x'",
            "from=2026-11-21T10:00:00.000Z",
            "to=2026-11-22T02:00:00.000Z",
            "q=42",
            "provider=alpha",
            "status=review,scheduled",
            "tag.order=1=2",
            "tag.shop=7",
            "dry_run=false",
        ];
        assert_eq!(query, expected);
        let document = filter.common.document(&["7".to_owned()]);
        let expected = json!({
            "endpoint": "sms", "publisher": "shop", "reason": "rejected", "error": "answered # with 'x'",
            "from": "2026-11-21T10:00:00.000Z", "to": "2026-11-22T02:00:00.000Z", "q": "42", "provider": "alpha",
            "status": ["review", "scheduled"], "tags": { "order": "1=2", "shop": "7" }, "ids": ["7"],
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn a_time_may_be_given_as_how_long_ago_it_was() {
        let hour = Timestamp::now().since(point("1h").unwrap());
        assert!((3_599..3_660).contains(&hour.as_secs()), "{hour:?}");
        assert!(point("yesterday").is_err() && pair("=x").is_err() && pair("x").is_err());
    }
}
