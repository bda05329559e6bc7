//! `rules`, wherever they stand: a list of `{ when = "…", <meaning> = "…" }`.

use super::super::fault::Complaint;
use super::super::table::{Found, Placed, Table};
use super::super::value;
use crate::endpoint::condition::{Condition, ConditionFault};
use crate::endpoint::{Rule, Rules};
use crate::limits::RULES_MAX;

/// What rules are about, and what they can mean.
pub(super) struct Kind<A: 'static> {
    /// Their name in the log.
    pub(super) label: &'static str,
    /// The key of what they mean.
    pub(super) meaning: &'static str,
    /// Reads a meaning.
    pub(super) parse: fn(&str) -> Option<A>,
    /// All meanings.
    pub(super) allowed: fn() -> String,
    /// What conditions may name.
    pub(super) names: &'static [&'static str],
}

/// Reads the rules under `rules`; every fault of every rule is reported.
pub(super) fn rules<A: Copy>(table: &mut Table<'_>, kind: &Kind<A>) -> Found<Rules<A>> {
    let desk = table.desk;
    let found = table.rows("rules", |row| read(row, kind));
    found.and_then(|rows| {
        if rows.value.len() > RULES_MAX {
            let problem = format!("has {} rules", rows.value.len());
            desk.fault_at(rows, Complaint::new(problem, format!("at most {RULES_MAX} rules")));
            return None;
        }
        let rules: Option<Vec<Rule<A>>> = rows.value.iter().cloned().collect();
        Some(Rules::new(kind.label, rules?))
    })
}

/// `None` has been reported.
fn read<A: Copy>(row: &mut Table<'_>, kind: &Kind<A>) -> Option<Rule<A>> {
    let allowed = format!("a CEL expression over {} that comes to true or false", kind.names.join(", "));
    let when = row.required("when", |node| {
        let complain = |fault: ConditionFault| Complaint::new(fault.to_string(), allowed);
        Condition::parse(node.text()?, kind.names).map_err(complain)
    });
    let means = row.required(kind.meaning, value::parsed(kind.parse, (kind.allowed)()));
    Some(Rule { when: when?.value, means: means?.value })
}

/// The rules, or none where nothing is written; `None` has been reported.
pub(super) fn or_none<A>(found: Found<Rules<A>>) -> Option<Rules<A>> {
    match found {
        Found::Nothing => Some(Rules::none()),
        Found::Faulty => None,
        Found::Value(Placed { value, .. }) => Some(value),
    }
}
