//! A running server: whether it is ready, and of which version it is.

use std::time::Duration;

use serde_json::Value;

use super::report::Report;
use crate::cli::http;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at a server through its API.
///
/// # Errors
/// No client could be made.
pub(super) async fn look(url: &str, report: &mut Report) -> anyhow::Result<()> {
    let client = http::client(PATIENCE)?;
    let url = url.trim_end_matches('/');
    match client.get(format!("{url}/readyz")).send().await {
        Ok(answer) => {
            let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap_or_default());
            judge(url, status.is_success(), &body, report);
        }
        Err(error) => {
            report.fault("server", format!("{url} does not answer: {}", error.without_url()));
            return Ok(());
        }
    }
    if let Ok(answer) = client.get(format!("{url}/openapi.json")).send().await
        && answer.status().is_success()
        && let Ok(description) = answer.json::<Value>().await
        && let Some(version) = description["info"]["version"].as_str()
    {
        judge_version(version, report);
    }
    Ok(())
}

fn judge(url: &str, ready: bool, body: &Value, report: &mut Report) {
    let status = body["status"].as_str().unwrap_or("something else than a Redial");
    let sentence = format!("{url} says {status}");
    match (ready, status) {
        (true, "ok") => report.ok("server", sentence),
        (true, _) => report.warning("server", format!("{sentence}; away: {}", body["away"])),
        (false, _) => report.fault("server", sentence),
    }
}

fn judge_version(version: &str, report: &mut Report) {
    let own = env!("CARGO_PKG_VERSION");
    if version == own {
        report.ok("server's version", version);
    } else {
        report.warning("server's version", format!("{version}; this program is {own}"));
    }
}
