//! `[confirm]`: how the third party is asked what became of an attempt.

use std::time::Duration;

use super::super::fault::Complaint;
use super::super::table::{Found, Placed, Table};
use super::super::value;
use super::super::written::Node;
use super::rules::{Kind, rules};
use super::{HEADER_NAME, TIMEOUT_MIN, header_name};
use crate::call::Method;
use crate::endpoint::condition::ANSWER_NAMES;
use crate::endpoint::{Confirm, Finding, PathTemplate, Template, TemplateFault};
use crate::limits::RUNG_MAX;

/// "Absent" counts from this age on where nothing else is said: most third parties have written down by then what they took.
const AFTER_DEFAULT: Duration = Duration::from_secs(30);
/// So many "absent" in a row count where nothing else is said.
const TIMES_DEFAULT: u16 = 2;
const TIMES_MAX: u16 = 100;

const FINDINGS: Kind<Finding> = Kind {
    label: "confirm.rules",
    meaning: "answer",
    parse: Finding::parse,
    allowed: Finding::allowed,
    names: ANSWER_NAMES,
};

/// What allowed templates are, for a sentence.
pub(super) const TEMPLATE: &str =
    "text with {{ … }} over what docs/configuration.md lists, as in \"/v1/messages/{{ idempotency_key }}\"";

/// Reads the table; `None` has been reported.
pub(super) fn read(table: &mut Table<'_>) -> Option<Confirm> {
    let after = table.optional("after", value::duration(TIMEOUT_MIN..=RUNG_MAX));
    let times = table.optional("times", value::integer(1..=TIMES_MAX));
    let method = table.optional("method", value::parsed(Method::parse, Method::allowed()));
    let path = table.required("path", |node| PathTemplate::parse(node.text()?).map_err(complaint));
    let headers = table.table("headers", headers).unwrap_or_default();
    let body = table.optional("body", template);
    let rules = rules(table, &FINDINGS);
    if matches!(&rules, Found::Nothing) {
        let allowed = "rules = [{ when = \"status == 200\", answer = \"done\" }, …]: without them no query finds anything out";
        table.fault(Complaint::new("has no rules", allowed));
    }
    Some(Confirm {
        after: or(after, AFTER_DEFAULT)?,
        times: or(times, TIMES_DEFAULT)?,
        method: or(method, Method::Get)?,
        path: path?.value,
        headers,
        body: match body {
            Found::Nothing => None,
            Found::Faulty => return None,
            Found::Value(body) => Some(body.value),
        },
        rules: rules.value()?.value,
    })
}

fn or<T>(found: Found<T>, default: T) -> Option<T> {
    match found {
        Found::Nothing => Some(default),
        Found::Faulty => None,
        Found::Value(Placed { value, .. }) => Some(value),
    }
}

/// Templates of headers; names are those of a submission's headers.
fn headers(table: &mut Table<'_>) -> Vec<(http::HeaderName, Template)> {
    let mut headers = Vec::new();
    for name in table.names() {
        let Found::Value(value) = table.optional(&name, template) else { continue };
        match header_name(&name) {
            Some(name) => headers.push((name, value.value)),
            None => table.desk.fault_at(&value, Complaint::new("is no header", HEADER_NAME)),
        }
    }
    headers
}

fn template(node: &Node) -> Result<Template, Complaint> {
    Template::parse(node.text()?).map_err(complaint)
}

/// A template's fault as the configuration tells it.
#[expect(clippy::needless_pass_by_value, reason = "handed to map_err as it is")]
pub(super) fn complaint(fault: TemplateFault) -> Complaint {
    Complaint::new(fault.to_string(), TEMPLATE)
}
