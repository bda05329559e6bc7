//! A client of the HTTP API, and calls as it shows them.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use redial::clock::{Timestamp, monotonic};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::wait_for;

/// Calls that are looked at side by side.
const SIDE_BY_SIDE: usize = 16;
/// Calls of which none has moved for this long do not move any more: no fault and no lease of the tests is longer.
const STUCK_AFTER: Duration = Duration::from_secs(45);
/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// States in which a call stays until somebody acts.
const AT_REST: [&str; 5] = ["succeeded", "review", "resolved", "cancelled", "superseded"];

/// A client of one process.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
}

/// A call with its story.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Story {
    pub id: String,
    #[serde(rename = "idempotency_key")]
    pub key: String,
    pub status: String,
    pub review_reason: Option<String>,
    pub attempts_made: u32,
    pub rung: u32,
    pub failure: Option<Value>,
    pub created_at: Time,
    pub attempts: Vec<Attempt>,
    pub actions: Vec<Value>,
}

/// An attempt in the log.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Attempt {
    pub number: u32,
    pub trigger: String,
    pub worker: String,
    pub started_at: Time,
    pub duration_ms: u64,
    pub verdict: String,
    pub http_status: Option<u16>,
    pub error_kind: Option<String>,
    pub late: Option<Late>,
}

/// A result that came late.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Late {
    pub verdict: String,
}

/// A time as the API writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Time(pub Timestamp);

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Timestamp::parse_rfc3339(&text).map(Self).ok_or(text)
    }
}

impl Client {
    /// A client of the process that listens here.
    pub(crate) fn new(url: &str) -> Self {
        redial::invoker::tls::install_provider();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).no_proxy().build().unwrap();
        Self { http, url: url.to_owned() }
    }

    /// Where the process listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Asks for something; `Err` where no answer came.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> reqwest::Result<(u16, Value)> {
        self.ask_with(method, path, body, &[]).await
    }

    /// Asks for something, with headers.
    pub(crate) async fn ask_with(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&'static str, &str)],
    ) -> reqwest::Result<(u16, Value)> {
        let request = self.http.request(method, format!("{}{path}", self.url));
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// Looks at something, again if a busy machine's ledger was too slow to answer.
    async fn get(&self, path: &str) -> Value {
        wait_for(path, || async {
            let (status, answer) = self.ask(Method::GET, path, None).await.unwrap();
            assert!(matches!(status, 200 | 503), "{path}: {status} {answer}");
            (status == 200).then_some(answer)
        })
        .await
    }

    /// Submits one call.
    pub(crate) async fn submit(&self, document: &Value) -> (u16, Value) {
        self.ask(Method::POST, "/v1/calls", Some(document)).await.unwrap()
    }

    /// Submits one call that must be new; answers its id.
    pub(crate) async fn submit_new(&self, document: &Value) -> String {
        let (status, call) = self.submit(document).await;
        assert_eq!(status, 202, "{call}");
        call["id"].as_str().unwrap().to_owned()
    }

    /// Submits calls together; all must be new.
    pub(crate) async fn submit_all(&self, documents: &[Value]) {
        for batch in documents.chunks(500) {
            let (status, answer) =
                self.ask(Method::POST, "/v1/calls/batch", Some(&json!(batch))).await.unwrap();
            assert_eq!(status, 200, "{answer}");
            for result in answer["results"].as_array().unwrap() {
                assert_eq!(result["status"], 202, "{result}");
            }
        }
    }

    /// Does to a call what an operator does.
    pub(crate) async fn act(&self, id: &str, action: &str) -> (u16, Value) {
        let note = json!({ "note": "by a test" });
        self.ask(Method::POST, &format!("/v1/calls/{id}/{action}"), Some(&note)).await.unwrap()
    }

    /// One call with its story.
    pub(crate) async fn story(&self, id: &str) -> Story {
        serde_json::from_value(self.get(&format!("/v1/calls/{id}")).await).unwrap()
    }

    /// A call, as the API shows it, once it stays as it is.
    pub(crate) async fn at_rest(&self, id: &str) -> Value {
        wait_for(&format!("call {id} is at rest"), || async {
            let call = self.get(&format!("/v1/calls/{id}")).await;
            AT_REST.contains(&call["status"].as_str().unwrap()).then_some(call)
        })
        .await
    }

    /// The call with this key, as the API shows it.
    pub(crate) async fn view_of(&self, key: &str) -> Value {
        let found = self.get(&format!("/v1/calls?q={key}")).await;
        let calls = found["calls"].as_array().unwrap();
        let call = calls.iter().find(|call| call["idempotency_key"] == key);
        let id = call.unwrap_or_else(|| panic!("{key} is not in {found}"))["id"].as_str().unwrap();
        self.get(&format!("/v1/calls/{id}")).await
    }

    /// The call with this key and its story.
    pub(crate) async fn story_of(&self, key: &str) -> Story {
        serde_json::from_value(self.view_of(key).await).unwrap()
    }

    /// Every call with its story.
    pub(crate) async fn stories(&self) -> Vec<Story> {
        let ids = self.ids().await;
        futures_util::stream::iter(ids)
            .map(|id| async move { self.story(&id).await })
            .buffer_unordered(SIDE_BY_SIDE)
            .collect()
            .await
    }

    /// Every call of an endpoint with its story.
    pub(crate) async fn stories_of(&self, endpoint: &str) -> Vec<Story> {
        let ids = self.ids_where(&format!("&endpoint={endpoint}")).await;
        futures_util::stream::iter(ids)
            .map(|id| async move { self.story(&id).await })
            .buffer_unordered(SIDE_BY_SIDE)
            .collect()
            .await
    }

    async fn ids(&self) -> Vec<String> {
        self.ids_where("").await
    }

    async fn ids_where(&self, conditions: &str) -> Vec<String> {
        let mut ids = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("/v1/calls?limit=500&cursor={cursor}{conditions}")).await;
            let calls = page["calls"].as_array().unwrap();
            ids.extend(calls.iter().map(|call| call["id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { return ids };
            next.clone_into(&mut cursor);
        }
    }

    /// How many calls stand in each state.
    pub(crate) async fn totals(&self) -> Option<BTreeMap<String, u64>> {
        let (status, answer) = self.ask(Method::GET, "/v1/stats", None).await.ok()?;
        (status == 200).then(|| serde_json::from_value(answer["calls"].clone()).unwrap())
    }

    /// Status and document of `/readyz`.
    pub(crate) async fn readiness(&self) -> reqwest::Result<(u16, Value)> {
        self.ask(Method::GET, "/readyz", None).await
    }

    /// A whole number that this process counts; 0 if it was never touched.
    pub(crate) async fn counter(&self, name: &str, label: &str) -> u64 {
        let text = self.get("/metrics").await.as_str().unwrap().to_owned();
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        // Sums are written with a point, even of whole numbers.
        let value =
            |line: &str| line.rsplit(' ').next().unwrap().trim_end_matches(".0").parse::<u64>().unwrap();
        lines.map(value).sum()
    }

    /// How many calls the sweeper of this process has rescued for a reason.
    pub(crate) async fn rescued(&self, reason: &str) -> u64 {
        self.counter("redial_rescued_total", &format!("\"{reason}\"")).await
    }

    /// Waits until at least so many attempts are in flight in this process.
    pub(crate) async fn in_the_middle_of(&self, attempts: u64) {
        wait_for("attempts are in flight", || async {
            (self.counter("redial_running", "").await >= attempts).then_some(())
        })
        .await;
    }

    /// Waits until `/readyz` says this.
    pub(crate) async fn says_of_itself(&self, status: u16, document: Value) {
        wait_for(&format!("/readyz says {status} {document}"), || async {
            (self.readiness().await.ok()? == (status, document.clone())).then_some(())
        })
        .await;
    }

    /// Submits a call until it is confirmed, as a careful publisher does.
    pub(crate) async fn submit_until_confirmed(&self, document: &Value) {
        wait_for("a submission is confirmed", || async {
            let answer = self.ask(Method::POST, "/v1/calls", Some(document)).await;
            let status = answer.map_or(0, |(status, _)| status);
            assert!(matches!(status, 0 | 200 | 202 | 503), "{status}");
            matches!(status, 200 | 202).then_some(())
        })
        .await;
    }

    /// Waits until this many calls are in the ledger and none of them will move by itself. Gives up when nothing moves any more.
    pub(crate) async fn all_at_rest(&self, calls: u64) {
        let began = monotonic();
        let (mut last, mut moved) = (None, began);
        while self.totals_at_rest(calls).await.is_none() {
            let now = self.totals().await;
            if now != last {
                (last, moved) = (now, monotonic());
            }
            let stuck = moved.elapsed() > STUCK_AFTER || began.elapsed() > 3 * STUCK_AFTER;
            assert!(!stuck, "{calls} calls do not come to rest: {last:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn totals_at_rest(&self, calls: u64) -> Option<()> {
        let totals = self.totals().await?;
        let at_rest: u64 = AT_REST.iter().filter_map(|status| totals.get(*status)).sum();
        (at_rest == calls && totals.values().sum::<u64>() == calls).then_some(())
    }
}
