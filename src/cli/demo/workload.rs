//! What the demo submits: a mixture of good, slow, flaky and hopeless calls.

use anyhow::bail;
use serde_json::{Value, json};

use super::TAG;
use crate::limits::SUBMISSION_BATCH_MAX;

/// The demo's endpoints.
pub(super) const ENDPOINTS: [&str; 3] = ["sms", "payment", "partner"];
/// Their ladders: short, because somebody watches.
pub(super) const LADDERS: [(&str, &str); 3] = [
    ("sms", r#"["1s", "2s", "3s x3"]"#),
    ("payment", r#"["2s", "4s x3"]"#),
    ("partner", r#"["1s x2", "3s x2"]"#),
];

/// What call number `number` is; the third party's paths say how it behaves.
fn document(number: u32, run: &str) -> Value {
    let (endpoint, path, what) = match number % 20 {
        0 => ("partner", "/status/422", "refused: a person has to mend it"),
        1 => ("payment", "/fail/99", "never succeeds: its ladder ends in review"),
        2..=4 => ("payment", "/fail/2/500", "answers 500 twice"),
        5..=7 => ("partner", "/slow?ms=900", "slow, but it works"),
        8 => ("partner", "/fail/1/429?retry_after=2", "asks for a pause"),
        _ => ("sms", "/flaky/0.3?latency=uniform:5,60", "fails three times out of ten"),
    };
    json!({
        "endpoint": endpoint,
        "idempotency_key": format!("{run}-{number}"),
        "request": { "method": "POST", "path": path, "body": { "number": number, "what": what } },
        "tags": { TAG: run, "number": number.to_string() },
    })
}

/// Submits the calls by HTTP, as a publisher would.
///
/// # Errors
/// The API cannot be reached, or does not accept one.
pub(super) async fn submit(api: &str, run: &str, calls: u32) -> anyhow::Result<()> {
    let client = crate::cli::http::client(std::time::Duration::from_secs(30))?;
    let documents: Vec<Value> = (1..=calls).map(|number| document(number, run)).collect();
    for batch in documents.chunks(SUBMISSION_BATCH_MAX) {
        let response =
            client.post(format!("{api}/v1/calls/batch")).json(batch).send().await?.error_for_status()?;
        let answer: Value = response.json().await?;
        let refused = answer["results"]
            .as_array()
            .and_then(|results| results.iter().find(|result| result["status"] != 202));
        if let Some(refused) = refused {
            bail!("a call was not accepted: {refused}");
        }
    }
    Ok(())
}
