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

/// A second, in microseconds.
const SECOND_US: u64 = 1_000_000;

/// What the third party saw of an outage of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outage {
    /// Requests that came while it was down.
    pub(super) requests_while_down: usize,
    /// From the end of the outage to the first request that succeeds.
    pub(super) back_after: Option<Duration>,
    /// Requests in the second after that one was answered.
    pub(super) first_second: usize,
    /// Most requests in any second since the end of the outage.
    pub(super) busiest_second: usize,
    /// From the end of the outage to the last request.
    pub(super) drained_after: Option<Duration>,
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

    /// Effects beyond one for each call.
    pub(super) fn surplus_effects(&self) -> usize {
        let effects = |arrivals: &Vec<Line>| arrivals.iter().filter(|line| line.took_effect()).count();
        self.0.values().map(|arrivals| effects(arrivals).saturating_sub(1)).sum()
    }

    /// What was seen of an outage that ended so long after the third party's start.
    pub(super) fn outage(&self, up: Duration) -> Outage {
        let up_us = u64::try_from(up.as_micros()).unwrap_or(u64::MAX);
        let mut lines: Vec<&Line> = self.0.values().flatten().collect();
        lines.sort_by_key(|line| line.arrived_us());
        let after: Vec<u64> =
            lines.iter().map(|line| line.arrived_us()).filter(|arrived| *arrived >= up_us).collect();
        let done: Vec<&&Line> = lines.iter().filter(|line| line.took_effect()).collect();
        let since_up = |line: Option<&&&Line>| {
            line.map(|line| Duration::from_micros(line.arrived_us().saturating_sub(up_us)))
        };
        let before = |at: u64| after.partition_point(|arrived| *arrived < at);
        let within = |from: u64| before(from + SECOND_US) - before(from);
        Outage {
            requests_while_down: lines.len() - after.len(),
            back_after: since_up(done.first()),
            // The probe is answered before the ramp begins.
            first_second: done.first().and_then(|probe| probe.answered_us()).map_or(0, within),
            busiest_second: after.iter().map(|at| within(*at)).max().unwrap_or(0),
            drained_after: since_up(done.last()),
        }
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
    fn an_outage_is_seen_from_its_end() {
        let text = "[\"a\",100,200,503,false]\n[\"b\",150,300,503,false]\n\
                    [\"a\",3000000,3000500,200,true]\n[\"b\",3000600,3000700,200,true]\n\
                    [\"c\",4000499,4000600,200,true]\n[\"c\",4100000,4200000,200,true]\n";
        let journal = Journal::parse(text).unwrap();
        let expected = Outage {
            requests_while_down: 2,
            back_after: Some(Duration::from_secs(1)),
            first_second: 2,
            busiest_second: 2,
            drained_after: Some(Duration::from_millis(2_100)),
        };
        assert_eq!(journal.outage(Duration::from_secs(2)), expected);
        assert_eq!((journal.surplus_effects(), journal.succeeded()), (1, 3));
        let nothing = Journal::default().outage(Duration::ZERO);
        assert_eq!((nothing.back_after, nothing.busiest_second), (None, 0));
    }

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
