//! The API's documents as far as tables show them. A member that the server does not send is empty, so that program and server
//! need not be of one version, except those without which it is no such document; `--json` passes documents on as they came.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

/// A document that answers a command.
pub trait Document: DeserializeOwned {
    /// What it always has: an answer without one of these is not a Redial's, whatever its status.
    const MEMBERS: &'static [&'static str];
}

/// Says what each document always has.
macro_rules! documents {
    ($($name:ident: $($member:literal),+;)+) => {
        $(impl Document for $name { const MEMBERS: &'static [&'static str] = &[$($member),+]; })+
    };
}

documents! {
    Call: "id", "status";
    Groups: "groups";
    Preview: "count";
    Job: "id", "status";
    Endpoint: "name";
    Endpoints: "endpoints";
    RejectedList: "messages";
    Judged: "judged", "table";
    Erased: "calls";
}

/// A call, with its story where the server sent it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Call {
    pub(super) id: String,
    pub(super) status: String,
    pub(super) review_reason: Option<String>,
    pub(super) endpoint: String,
    pub(super) publisher: String,
    pub(super) idempotency_key: String,
    pub(super) request: Request,
    pub(super) rung: u32,
    pub(super) attempts_made: u32,
    pub(super) due_at: Option<String>,
    pub(super) deadline: Option<String>,
    pub(super) entity: Option<Entity>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) callback_url: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) dry_run: bool,
    pub(super) failure: Option<FirstFailure>,
    pub(super) last_error: Option<String>,
    pub(super) worker: Option<String>,
    pub(super) revision: u32,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    pub(super) finished_at: Option<String>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) actions: Vec<Action>,
    pub(super) revisions: Vec<Revision>,
    pub(super) reports: Vec<Report>,
    pub(super) response: Option<Box<RawValue>>,
}

/// How a call had failed before it was handed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct FirstFailure {
    pub(super) occurred_at: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) error: Option<String>,
    pub(super) ambiguous: bool,
    pub(super) attempts: Option<u32>,
}

/// What a third party reported of a call by itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Report {
    #[serde(rename = "report")]
    pub(super) word: String,
    pub(super) rule: Option<String>,
    pub(super) body: String,
    pub(super) received_at: String,
}

/// What is sent to the third party.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Option<Box<RawValue>>,
    pub(super) body_base64: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Entity {
    pub(super) key: String,
    pub(super) version: i64,
}

/// One attempt.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Attempt {
    pub(super) number: u32,
    pub(super) trigger: String,
    pub(super) provider: Option<String>,
    pub(super) worker: String,
    pub(super) started_at: String,
    pub(super) duration_ms: u64,
    pub(super) verdict: String,
    pub(super) rule: Value,
    pub(super) http_status: Option<u16>,
    pub(super) error: Option<String>,
    pub(super) request: Option<Sent>,
    pub(super) response_headers: Option<BTreeMap<String, String>>,
    pub(super) response_body: Option<String>,
    pub(super) response_body_base64: Option<String>,
    pub(super) response_body_bytes: Option<u64>,
    pub(super) late: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Sent {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body_bytes: u64,
}

/// What an operator did to a call.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
pub struct Action {
    pub(super) action: String,
    pub(super) actor: String,
    pub(super) note: Option<String>,
    pub(super) at: String,
}

/// An earlier request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
pub struct Revision {
    pub(super) revision: u32,
    pub(super) replaced_at: String,
    pub(super) replaced_by: String,
    pub(super) diff: Vec<DiffLine>,
}

/// One line of a difference.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct DiffLine {
    pub(super) op: String,
    pub(super) text: String,
}

/// Calls that wait for the same reason.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Group {
    pub(super) endpoint: String,
    pub(super) review_reason: Option<String>,
    pub(super) error: Option<String>,
    pub(super) count: u64,
    pub(super) first_at: String,
    pub(super) last_at: String,
    pub(super) example: Option<String>,
}

/// The list of groups.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Groups {
    pub(super) groups: Vec<Group>,
}

/// What a bulk job would act on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Preview {
    pub(super) count: u64,
    pub(super) by_endpoint: BTreeMap<String, u64>,
    pub(super) by_status: BTreeMap<String, u64>,
    pub(super) sample: Vec<Call>,
}

/// A bulk job.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Job {
    pub(super) id: String,
    pub(super) action: String,
    pub(super) filter: Value,
    pub(super) status: String,
    pub(super) reason: Option<String>,
    pub(super) actor: String,
    pub(super) note: Option<String>,
    pub(super) rate: Value,
    pub(super) canary: Option<u64>,
    pub(super) stop_at_failure_rate: Option<f64>,
    pub(super) total: u64,
    pub(super) acted: u64,
    pub(super) skipped: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) pending: u64,
    pub(super) created_at: String,
    pub(super) updated_at: Option<String>,
    pub(super) finished_at: Option<String>,
}

/// One call of a bulk job.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct JobCall {
    pub(super) call: String,
    pub(super) result: String,
    pub(super) detail: Option<String>,
}

/// An endpoint: configuration and live state.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    pub(super) name: String,
    pub(super) base_url: Option<String>,
    pub(super) ladder: Vec<String>,
    pub(super) concurrency: Option<u64>,
    pub(super) rate_limit: Value,
    pub(super) on_ambiguous: Option<String>,
    pub(super) lane: Option<String>,
    pub(super) dry_run: bool,
    pub(super) backlog: Backlog,
    pub(super) running: Option<u64>,
    pub(super) state: Option<String>,
    pub(super) hold: Option<Hold>,
    pub(super) breaker: Option<Breaker>,
    pub(super) recent: Option<Recent>,
    pub(super) providers: Vec<Provider>,
    pub(super) rules: Vec<Rule>,
}

/// The list of endpoints.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Endpoints {
    pub(super) endpoints: Vec<Endpoint>,
}

/// Scheduled calls, and how many of them are due.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Backlog {
    pub(super) scheduled: u64,
    pub(super) due: u64,
}

/// Why a lane waits.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Hold {
    pub(super) kind: String,
    pub(super) since: Option<String>,
    pub(super) until: Option<String>,
    pub(super) by: Option<String>,
    pub(super) note: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Breaker {
    pub(super) state: String,
}

/// What came of the latest attempts.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Recent {
    pub(super) window_s: Option<f64>,
    pub(super) attempts: u64,
    pub(super) success_rate: Option<f64>,
    pub(super) latency_p50_ms: Option<f64>,
    pub(super) latency_p99_ms: Option<f64>,
    pub(super) by_verdict: BTreeMap<String, u64>,
    pub(super) errors: BTreeMap<String, u64>,
}

/// One of several vendors behind an endpoint.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Provider {
    pub(super) name: String,
    pub(super) weight: Option<f64>,
    pub(super) cost: Option<f64>,
    pub(super) share: Option<f64>,
    pub(super) attempts: u64,
    pub(super) success_rate: Option<f64>,
    pub(super) latency_p99_ms: Option<f64>,
    pub(super) breaker: Option<String>,
}

/// A rule that judges answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Rule {
    pub(super) when: String,
    pub(super) verdict: String,
}

/// What is in the queue of rejected messages.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RejectedList {
    pub(super) count: u64,
    pub(super) messages: Vec<Rejected>,
}

/// A message that could not be accepted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
pub struct Rejected {
    pub(super) id: String,
    pub(super) code: Option<String>,
    pub(super) detail: Option<String>,
    pub(super) publisher: Option<String>,
    pub(super) routing_key: Option<String>,
    pub(super) rejected_at: Option<String>,
    pub(super) body: Option<Box<RawValue>>,
    pub(super) body_base64: Option<String>,
}

/// One line of the audit log.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Entry {
    pub(super) at: String,
    pub(super) actor: String,
    pub(super) action: String,
    pub(super) call: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) note: Option<String>,
    pub(super) detail: Option<String>,
}

/// How rules would have judged.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
pub struct Judged {
    pub(super) judged: u64,
    pub(super) changed: u64,
    pub(super) table: Vec<JudgedRow>,
    pub(super) faults: Vec<Value>,
}

/// One pair of verdicts, before and after.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct JudgedRow {
    pub(super) old: String,
    pub(super) new: String,
    pub(super) count: u64,
    pub(super) examples: Vec<Example>,
}

/// An attempt that was judged.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Example {
    pub(super) call: String,
    pub(super) attempt: u64,
}

/// What an erasure did, or would do.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Erased {
    pub(super) calls: u64,
    pub(super) attempts: u64,
    pub(super) revisions: u64,
    pub(super) running_skipped: u64,
}

/// `2026-11-21T10:00:00.123Z` as `2026-11-21 10:00:00`, UTC like every time the program shows.
pub fn moment(time: &str) -> String {
    time.get(..19).map_or_else(|| time.to_owned(), |seconds| seconds.replacen('T', " ", 1))
}

/// The same where there may be none.
pub fn moment_of(time: Option<&String>) -> String {
    time.map(|time| moment(time)).unwrap_or_default()
}

/// A share from 0 to 1 as a percentage.
pub fn percent(share: Option<f64>) -> String {
    share.map(|share| format!("{:.1}%", share * 100.0)).unwrap_or_default()
}

/// Milliseconds.
pub fn milliseconds(time: Option<f64>) -> String {
    time.map(|time| format!("{time:.0} ms")).unwrap_or_default()
}

/// A JSON value in a cell: text as it is, nothing for null.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// `name count` for each, the most frequent first.
pub fn counts(counts: &BTreeMap<String, u64>) -> String {
    let mut counts: Vec<_> = counts.iter().filter(|(_, count)| **count > 0).collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_does_not_send_is_empty() {
        let call: Call = serde_json::from_str(r#"{"id":"7","status":"review","unheard_of":[1]}"#).unwrap();
        assert_eq!((call.id.as_str(), call.attempts.len(), call.last_error), ("7", 0, None));
    }

    #[test]
    fn values_are_shown_as_people_read_them() {
        assert_eq!(moment("2026-11-21T10:00:00.123Z"), "2026-11-21 10:00:00");
        assert_eq!(moment("soon"), "soon");
        assert_eq!(percent(Some(0.9834)), "98.3%");
        assert_eq!(milliseconds(Some(12.4)), "12 ms");
        assert_eq!(cell(&serde_json::json!("50/s")), "50/s");
        assert_eq!(
            counts(&[("a".to_owned(), 1), ("b".to_owned(), 2), ("c".to_owned(), 0)].into()),
            "b 2, a 1"
        );
    }
}
