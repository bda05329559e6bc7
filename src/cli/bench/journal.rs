//! The third party's journal: the truth about what was lost, doubled, early or late.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;

/// One request as the third party saw it, in microseconds since its start: key, arrival, answer, status, whether it took effect.
#[derive(Debug, Deserialize)]
struct Line(String, u64, Option<u64>, #[expect(dead_code, reason = "part of the format")] Option<u16>, bool);

impl Line {
    const fn arrived_us(&self) -> u64 {
        self.1
    }

    const fn answered_us(&self) -> Option<u64> {
        self.2
    }

    const fn took_effect(&self) -> bool {
        self.4
    }
}

/// Arrivals by call.
#[derive(Debug, Default)]
pub(super) struct Journal(HashMap<String, Vec<Line>>);

impl Journal {
    /// Reads the journal's JSON lines.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut calls = HashMap::<String, Vec<Line>>::new();
        for line in text.lines() {
            let line: Line =
                serde_json::from_str(line).with_context(|| format!("a line of the journal: {line}"))?;
            calls.entry(line.0.clone()).or_default().push(line);
        }
        for arrivals in calls.values_mut() {
            arrivals.sort_by_key(Line::arrived_us);
        }
        Ok(Self(calls))
    }

    /// Requests in all.
    pub(super) fn requests(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Calls that took effect.
    pub(super) fn succeeded(&self) -> usize {
        self.0.values().filter(|arrivals| arrivals.iter().any(Line::took_effect)).count()
    }

    /// Requests beyond those that each call needs.
    pub(super) fn surplus(&self, needed: usize) -> usize {
        self.0.values().map(|arrivals| arrivals.len().saturating_sub(needed)).sum()
    }

    /// How late each repetition came, in microseconds after `delay` since the answer before it; negative is early. Sorted.
    pub(super) fn lateness_us(&self, delay: Duration) -> Vec<i64> {
        let mut lateness: Vec<i64> = self
            .0
            .values()
            .flat_map(|arrivals| arrivals.windows(2))
            .filter_map(|pair| late(pair, delay))
            .collect();
        lateness.sort_unstable();
        lateness
    }
}

fn late(pair: &[Line], delay: Duration) -> Option<i64> {
    let due = i64::try_from(pair[0].answered_us()?).ok()? + i64::try_from(delay.as_micros()).ok()?;
    Some(i64::try_from(pair[1].arrived_us()).ok()? - due)
}

/// The value below which this share of a sorted list lies.
pub(super) fn quantile(sorted: &[i64], per_mille: usize) -> Option<i64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get(last * per_mille / 1_000).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_counted_from_the_answer_before() {
        let text = "[\"a\",0,100,503,false]\n[\"a\",1000350,1000400,200,true]\n";
        let journal = Journal::parse(text).unwrap();
        assert_eq!(
            (journal.requests(), journal.succeeded(), journal.surplus(2), journal.surplus(1)),
            (2, 1, 0, 1)
        );
        assert_eq!(journal.lateness_us(Duration::from_secs(1)), [250]);
        assert_eq!(quantile(&[1, 2, 3], 500), Some(2));
        assert_eq!(quantile(&[], 500), None);
    }
}
