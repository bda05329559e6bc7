//! `redial calls submit`: hands calls over.

use std::collections::BTreeMap;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::connection::Answer;
use super::documents::Call;
use super::paper::say;
use super::trouble::{Refusal, Result, Trouble};
use super::{DONE, Session, calls, filter, input};

/// How many calls go in one request; the server takes up to 1,000.
const BATCH: usize = 500;

/// Arguments of `redial calls submit`.
#[derive(Debug, Default, Args)]
pub struct SubmitArgs {
    /// A file with the document, or with an array of documents; - is standard input
    #[arg(value_name = "FILE")]
    file: Option<String>,
    /// The endpoint
    #[arg(long, value_name = "NAME", required_unless_present = "file")]
    endpoint: Option<String>,
    /// The request's method
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// The request's path and query
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// A header of the request; may be given several times
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = filter::pair)]
    headers: Vec<(String, String)>,
    /// The request's body: JSON, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON", conflicts_with = "raw_body")]
    body: Option<String>,
    /// A body that is no JSON: text, @FILE, or @- for standard input; wants --header content-type=…
    #[arg(long, value_name = "TEXT")]
    raw_body: Option<String>,
    /// The idempotency key: the same key and document again is the same call
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// A tag; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = filter::pair)]
    tags: Vec<(String, String)>,
    /// The entity that the call is about, and its version, as in deal-42=7
    #[arg(long, value_name = "KEY=VERSION", value_parser = entity)]
    entity: Option<(String, i64)>,
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    not_before: Option<String>,
    /// Go to review if not done by this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    deadline: Option<String>,
    /// Where the outcome is posted to
    #[arg(long, value_name = "URL")]
    callback_url: Option<String>,
    /// Wait this many seconds for the first attempt, and print the third party's answer if it succeeded
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u16>,
}

fn entity(text: &str) -> std::result::Result<(String, i64), String> {
    let (key, version) = text.rsplit_once('=').unwrap_or_default();
    let version = version.parse().ok().filter(|_| !key.is_empty());
    version
        .map(|version| (key.to_owned(), version))
        .ok_or_else(|| "must be KEY=VERSION, with a whole number".to_owned())
}

pub(super) async fn run(session: &Session, args: SubmitArgs) -> anyhow::Result<ExitCode> {
    let text = args.file.as_deref().map(input::read_text).transpose()?;
    if let Some(documents) = text.as_deref().and_then(array) {
        return many(session, &documents).await;
    }
    let document = args.lay_over(text.as_deref())?;
    let mut request = session.server.request(Method::POST, &["v1", "calls"])?.json(&document);
    if let Some(seconds) = args.wait {
        request = request.header("prefer", format!("wait={seconds}"));
    }
    let answer = session.server.send(request).await?;
    tell(session, &answer)?;
    Ok(DONE)
}

fn tell(session: &Session, answer: &Answer) -> Result<()> {
    if answer.location.is_none() {
        session.remark("this call was known before; nothing was added");
    }
    session.show(answer, calls::story)
}

/// A JSON object whose members stay as they were written.
type Object = BTreeMap<String, Box<RawValue>>;

impl SubmitArgs {
    /// The document: what the file says, and the flags over it.
    fn lay_over(&self, text: Option<&str>) -> Result<Object> {
        let mut document: Object = match text {
            Some(text) => serde_json::from_str(text)
                .map_err(|error| Trouble::Usage(format!("the file must hold a JSON object: {error}")))?,
            None => Object::new(),
        };
        let texts = [
            ("endpoint", &self.endpoint),
            ("idempotency_key", &self.key),
            ("not_before", &self.not_before),
            ("deadline", &self.deadline),
            ("callback_url", &self.callback_url),
        ];
        for (name, value) in texts {
            put(&mut document, name, value.as_ref())?;
        }
        let entity = self.entity.as_ref().map(|(key, version)| json!({ "key": key, "version": version }));
        put(&mut document, "entity", entity)?;
        put_pairs(&mut document, "tags", &self.tags)?;
        let request = self.lay_over_request(document.get("request").map(|request| request.get()))?;
        put(&mut document, "request", request)?;
        Ok(document)
    }

    /// The request with the flags over it; `None` where it is no object, which the server refuses with its place.
    fn lay_over_request(&self, present: Option<&str>) -> Result<Option<Object>> {
        let Ok(mut request) = serde_json::from_str::<Object>(present.unwrap_or("{}")) else {
            return Ok(None);
        };
        put(&mut request, "method", self.method.as_ref())?;
        put(&mut request, "path", self.path.as_ref())?;
        put_pairs(&mut request, "headers", &self.headers)?;
        if let Some(body) = &self.body {
            request.remove("body_base64");
            request.insert("body".to_owned(), input::json_value("--body", body)?);
        }
        if let Some(body) = &self.raw_body {
            request.remove("body");
            put(&mut request, "body_base64", Some(STANDARD.encode(input::value(body)?)))?;
        }
        Ok(Some(request))
    }
}

fn put(object: &mut Object, name: &str, value: Option<impl Serialize>) -> Result<()> {
    if let Some(value) = value {
        let raw = to_raw_value(&value).map_err(|error| Trouble::Usage(format!("{name}: {error}")))?;
        object.insert(name.to_owned(), raw);
    }
    Ok(())
}

/// Adds members to an object of texts. One that is none stays, for the server to refuse.
fn put_pairs(object: &mut Object, name: &str, pairs: &[(String, String)]) -> Result<()> {
    if pairs.is_empty() {
        return Ok(());
    }
    let present = object.get(name).map_or("{}", |present| present.get());
    let Ok(mut members) = serde_json::from_str::<Object>(present) else { return Ok(()) };
    for (key, value) in pairs {
        put(&mut members, key, Some(value))?;
    }
    put(object, name, Some(members))
}

/// The documents of an array; `None` if the text holds something else.
fn array(text: &str) -> Option<Vec<Box<RawValue>>> {
    text.trim_start().starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// The result of one document of a batch.
#[derive(Deserialize)]
struct BatchResult {
    status: u16,
    call: Option<Call>,
    problem: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct BatchAnswer {
    results: Vec<BatchResult>,
}

/// How many documents came to what.
#[derive(Default)]
struct Tally {
    accepted: usize,
    known: usize,
    refused: usize,
}

async fn many(session: &Session, documents: &[Box<RawValue>]) -> anyhow::Result<ExitCode> {
    let bar = ProgressBar::new(documents.len() as u64).with_style(
        ProgressStyle::with_template("[{bar:40}] {pos}/{len} handed over")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> "),
    );
    let mut tally = Tally::default();
    for (number, batch) in documents.chunks(BATCH).enumerate() {
        let texts: Vec<&str> = batch.iter().map(|document| document.get()).collect();
        let body = format!("[{}]", texts.join(","));
        let request = session.server.request(Method::POST, &["v1", "calls", "batch"])?;
        let answer =
            session.server.send(request.header("content-type", "application/json").body(body)).await?;
        if session.json {
            say(&answer.text);
        }
        for (position, result) in answer.read::<BatchAnswer>()?.results.into_iter().enumerate() {
            tally.count(number * BATCH + position, result, &bar);
        }
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    let Tally { accepted, known, refused } = tally;
    session.remark(&format!("{accepted} accepted, {known} known before, {refused} refused"));
    Ok(if refused == 0 { DONE } else { ExitCode::FAILURE })
}

impl Tally {
    fn count(&mut self, position: usize, result: BatchResult, bar: &ProgressBar) {
        match (result.status, result.call, result.problem) {
            (202, Some(_), _) => self.accepted += 1,
            (_, Some(_), _) => self.known += 1,
            (status, None, problem) => {
                self.refused += 1;
                let body = problem.map(|problem| problem.get().to_owned()).unwrap_or_default();
                bar.suspend(|| eprintln!("document {position}: {}", Refusal::new(status, body)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_laid_over_the_file() {
        let args = SubmitArgs {
            endpoint: Some("sms".to_owned()),
            path: Some("/new".to_owned()),
            headers: vec![("x-tenant".to_owned(), "7".to_owned())],
            body: Some(r#"{"to":1}"#.to_owned()),
            tags: vec![("order".to_owned(), "2".to_owned())],
            entity: Some(("deal".to_owned(), 3)),
            ..SubmitArgs::default()
        };
        let file = r#"{"endpoint":"mms","request":{"method":"PUT","path":"/old","headers":{"a":"b"},"body_base64":"eA=="},"tags":{"order":"1","shop":"9"}}"#;
        let expected = json!({
            "endpoint": "sms",
            "request": { "method": "PUT", "path": "/new", "headers": { "a": "b", "x-tenant": "7" }, "body": { "to": 1 } },
            "tags": { "order": "2", "shop": "9" },
            "entity": { "key": "deal", "version": 3 },
        });
        let value = |object: Object| serde_json::to_value(object).unwrap();
        assert_eq!(value(args.lay_over(Some(file)).unwrap()), expected);
        let alone = value(args.lay_over(None).unwrap());
        assert_eq!(
            alone["request"],
            json!({ "path": "/new", "headers": { "x-tenant": "7" }, "body": { "to": 1 } })
        );
    }

    #[test]
    fn a_body_that_is_no_json_travels_as_base64() {
        let args = SubmitArgs { raw_body: Some("a=1&b=2".to_owned()), ..SubmitArgs::default() };
        let document = args.lay_over(None).unwrap();
        assert_eq!(document["request"].get(), r#"{"body_base64":"YT0xJmI9Mg=="}"#);
    }

    #[test]
    fn a_body_keeps_its_order_and_its_digits() {
        let body = r#"{"z": 1.50, "a": 12345678901234567890123}"#;
        let args = SubmitArgs { body: Some(body.to_owned()), ..SubmitArgs::default() };
        assert!(args.lay_over(None).unwrap()["request"].get().contains(body));
        let file = format!(r#"{{"endpoint":"sms","request":{{"path":"/","body":{body}}}}}"#);
        let document = SubmitArgs::default().lay_over(Some(&file)).unwrap();
        assert!(document["request"].get().contains(body));
    }
}
