//! What both ledgers share in looking at calls: search patterns and sums.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::row::{known, parsed, storable};
use super::{Filter, Result, Totals};
use crate::call::{EndpointName, Status};

/// The pattern that finds `text` anywhere, taken literally: `%`, `_` and `\` stand for themselves.
pub(super) fn contains(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in storable(text).chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

/// The pattern that finds an id by a piece of it, dashes left out; `None` for a text that is no such piece. From 8 digits on: every shorter
/// piece stands in some id by chance.
pub(super) fn id_contains(text: &str) -> Option<String> {
    const DIGITS_MIN: usize = 8;
    let digits: String = text.chars().filter(|character| *character != '-').collect();
    let fits = digits.len() >= DIGITS_MIN && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| format!("%{digits}%"))
}

/// The tags that a filter asks for, each once; `None` for no tags.
pub(super) fn tags_of(filter: &Filter) -> Option<Vec<(&str, Cow<'_, str>)>> {
    let tags: BTreeSet<_> = filter.tags.iter().map(|(key, value)| (key.as_str(), storable(value))).collect();
    (!tags.is_empty()).then(|| tags.into_iter().collect())
}

/// Calls of one endpoint in one state.
#[derive(sqlx::FromRow)]
pub(super) struct TotalsRow {
    status: String,
    endpoint: String,
    calls: i64,
    attempts_made: i64,
    due: i64,
}

/// The totals over all endpoints and states. The running attempt of a call is not in the log yet.
pub(super) fn sum(rows: Vec<TotalsRow>) -> Result<Totals> {
    let mut by_status = BTreeMap::new();
    let mut totals = Totals::default();
    for row in rows {
        let status = known(Status::parse(&row.status), "status", &row.status)?;
        let calls = count(row.calls);
        *by_status.entry(status).or_insert(0) += calls;
        totals.attempts += count(row.attempts_made);
        match status {
            Status::Running => {
                totals.attempts = totals.attempts.saturating_sub(calls);
                totals.running.push((parsed(EndpointName::parse(&row.endpoint), "endpoint")?, calls));
            }
            Status::Scheduled => {
                let endpoint = parsed(EndpointName::parse(&row.endpoint), "endpoint")?;
                totals.waiting.push((endpoint, calls, count(row.due)));
            }
            Status::Review
            | Status::Succeeded
            | Status::Resolved
            | Status::Cancelled
            | Status::Superseded => {}
        }
    }
    totals.by_status = by_status.into_iter().collect();
    Ok(totals)
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_its_text_literally() {
        assert_eq!(contains(r"50%_\x"), r"%50\%\_\\x%");
    }

    #[test]
    fn a_piece_of_an_id_is_told_from_other_text() {
        for (text, pattern) in [
            ("0197a2b4-7c1e", Some("%0197a2b47c1e%")),
            ("0197A2B4", Some("%0197A2B4%")),
            ("0197a2b", None),
            ("0197a2b%", None),
            ("order-0197a2b4", None),
            ("", None),
        ] {
            assert_eq!(id_contains(text).as_deref(), pattern, "{text}");
        }
    }
}
