//! `redial judge`: how rules that are not in force yet would have judged attempts that were made.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::connection::ServerArgs;
use super::documents::{Judged, JudgedRow, cell};
use super::paper::Paper;
use super::sheet::Sheet;
use super::trouble::{EXIT_CODES, Result, Trouble};
use super::{DONE, Session, input};

/// Arguments of `redial judge`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct JudgeArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// The endpoint whose attempts are judged
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// The rules: a TOML file as the configuration has them, or JSON; - is standard input
    #[arg(long, value_name = "FILE")]
    rules: String,
    /// How many of the latest attempts
    #[arg(long, value_name = "N", default_value_t = 100)]
    last: u32,
}

pub(super) async fn run(session: &Session, args: &JudgeArgs) -> anyhow::Result<ExitCode> {
    let rules = read_rules(&input::read_text(&args.rules)?, &args.endpoint)?;
    let document = json!({ "rules": rules, "last": args.last });
    let answer = session.server.post(&["v1", "endpoints", &args.endpoint, "judge"], &document).await?;
    session.show(&answer, table)?;
    let judged: Judged = answer.document()?;
    session
        .remark(&format!("{} attempts judged, {} would have another verdict", judged.judged, judged.changed));
    Ok(if judged.faults.is_empty() { DONE } else { ExitCode::FAILURE })
}

/// The rules out of a list, an object with a member `rules`, or a configuration file with this endpoint's.
fn read_rules(text: &str, endpoint: &str) -> Result<Value> {
    let document: Value = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(_) => toml::from_str(text)
            .map_err(|error| Trouble::Usage(format!("the rules are neither JSON nor TOML: {error}")))?,
    };
    if document.is_array() {
        return Ok(document);
    }
    let rules = document.get("rules").or_else(|| document.get("endpoints")?.get(endpoint)?.get("rules"));
    rules.cloned().ok_or_else(|| {
        Trouble::Usage(format!(
            "there are no rules in it: a list, `rules = [...]`, or those of [endpoints.{endpoint}]"
        ))
    })
}

fn table(judged: &Judged, paper: Paper) -> String {
    let mut sheet = Sheet::new(&["count", "", "now", "then", "examples"]);
    for row in &judged.table {
        let mark = if row.old == row.new { "" } else { "!" };
        sheet.row([row.count.to_string(), mark.to_owned(), row.old.clone(), row.new.clone(), examples(row)]);
    }
    let mut lines: Vec<String> =
        judged.faults.iter().map(|fault| format!("fault: {}", cell(fault))).collect();
    if !sheet.is_empty() {
        lines.push(sheet.render(paper));
    }
    lines.join("\n")
}

/// Some attempts that would be judged so, where that differs.
fn examples(row: &JudgedRow) -> String {
    if row.old == row.new {
        return String::new();
    }
    let examples = row.examples.iter().take(3).map(|example| format!("{}/{}", example.call, example.attempt));
    examples.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_from_wherever_they_stand() {
        let rule = json!([{ "when": "status == 200", "verdict": "success" }]);
        let toml = "rules = [{ when = \"status == 200\", verdict = \"success\" }]";
        for text in [
            rule.to_string(),
            json!({ "rules": rule }).to_string(),
            toml.to_owned(),
            format!("[endpoints.sms]\nbase_url = \"http://x\"\n{toml}"),
        ] {
            assert_eq!(read_rules(&text, "sms").unwrap(), rule, "{text}");
        }
        assert!(read_rules("[endpoints.mms]", "sms").is_err() && read_rules("{", "sms").is_err());
    }
}
