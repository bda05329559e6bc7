//! Counts of attempts, and what can be said of them: how many succeed, how long they take.

use std::collections::BTreeMap;

use super::Kind;
use crate::call::{Attempt, ErrorKind, Outcome, Verdict};

/// The upper bounds of the buckets of durations, in ms; one bucket more takes what is longer than the last of them. None is more than
/// half as long again as the one before it, so that no percentile is off by more. A bound that was in use once stays:
/// what was written down under it is still added.
pub const BUCKETS_MS: [u64; 30] = [
    5, 7, 10, 15, 20, 25, 35, 50, 75, 100, 150, 200, 250, 350, 500, 700, 1_000, 1_500, 2_000, 2_500, 3_500,
    5_000, 7_000, 10_000, 15_000, 20_000, 30_000, 40_000, 50_000, 60_000,
];
/// The label of the bucket without a bound.
const UNBOUNDED: &str = "+Inf";
/// Millionths of a unit of cost.
const MICROS: f64 = 1_000_000.0;

/// What was counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts by verdict.
    pub by_verdict: BTreeMap<Verdict, u64>,
    /// Attempts that were no success by HTTP status or kind of failure.
    pub errors: BTreeMap<String, u64>,
    /// Attempts by the bucket of their duration.
    pub buckets: [u64; BUCKETS_MS.len() + 1],
    /// What attempts cost, in millionths.
    pub cost_micros: u64,
    /// Calls that were accepted.
    pub accepted: u64,
}

impl Counts {
    /// Counts one attempt.
    pub(super) fn attempt(&mut self, attempt: &Attempt) {
        *self.by_verdict.entry(attempt.verdict).or_default() += 1;
        if attempt.verdict != Verdict::Success {
            *self.errors.entry(error_of(&attempt.outcome)).or_default() += 1;
        }
        if left(&attempt.outcome) {
            let ms = u64::try_from(attempt.duration.as_millis()).unwrap_or(u64::MAX);
            self.buckets[bucket(ms)] += 1;
        }
        let cost = attempt.choice.as_ref().and_then(|choice| choice.cost);
        let millionths = cost.and_then(|cost| u64::try_from(cost.millionths()).ok()).unwrap_or(0);
        self.cost_micros = self.cost_micros.saturating_add(millionths);
    }

    /// Adds what was counted elsewhere; a label that this program does not know is passed over.
    pub fn add(&mut self, kind: Kind, label: &str, count: u64) {
        match kind {
            Kind::Verdict => {
                if let Some(verdict) = Verdict::parse(label) {
                    *self.by_verdict.entry(verdict).or_default() += count;
                }
            }
            Kind::Error => *self.errors.entry(label.to_owned()).or_default() += count,
            Kind::Latency => {
                if let Some(bucket) = bucket_of_label(label) {
                    self.buckets[bucket] += count;
                }
            }
            Kind::Cost => self.cost_micros = self.cost_micros.saturating_add(count),
            Kind::Accepted => self.accepted += count,
        }
    }

    /// Adds all of these.
    pub fn merge(&mut self, counts: &Self) {
        for (kind, label, count) in counts.rows() {
            self.add(kind, &label, count);
        }
    }

    /// Everything that is not zero: kind, label, count.
    pub(super) fn rows(&self) -> Vec<(Kind, String, u64)> {
        let verdicts =
            self.by_verdict.iter().map(|(verdict, count)| (Kind::Verdict, verdict.to_string(), *count));
        let errors = self.errors.iter().map(|(error, count)| (Kind::Error, error.clone(), *count));
        let buckets = self
            .buckets
            .iter()
            .enumerate()
            .map(|(bucket, count)| (Kind::Latency, bucket_label(bucket), *count));
        let rest =
            [(Kind::Cost, String::new(), self.cost_micros), (Kind::Accepted, String::new(), self.accepted)];
        verdicts.chain(errors).chain(buckets).chain(rest).filter(|(_, _, count)| *count > 0).collect()
    }

    /// All attempts.
    pub fn attempts(&self) -> u64 {
        self.by_verdict.values().sum()
    }

    /// Successes of all attempts, 0 to 1; `None` without attempts.
    pub fn success_rate(&self) -> Option<f64> {
        let attempts = self.attempts();
        let succeeded = self.by_verdict.get(&Verdict::Success).copied().unwrap_or(0);
        (attempts > 0).then(|| float(succeeded) / float(attempts))
    }

    /// The duration in ms that this share (0 to 1) of the attempts did not exceed, estimated inside its bucket; `None` without
    /// attempts. What is longer than the last bound counts as that bound.
    pub fn latency_ms(&self, share: f64) -> Option<f64> {
        let all: u64 = self.buckets.iter().sum();
        if all == 0 {
            return None;
        }
        let rank = share.clamp(0.0, 1.0) * float(all);
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            if float(below + count) >= rank {
                return Some(inside(bucket, (rank - float(below)) / float(*count)));
            }
            below += count;
        }
        BUCKETS_MS.last().map(|last| float(*last))
    }

    /// What attempts cost.
    pub fn cost(&self) -> f64 {
        float(self.cost_micros) / MICROS
    }
}

/// The point this far (0 to 1) into a bucket, in ms, to a tenth.
fn inside(bucket: usize, part: f64) -> f64 {
    let lower = if bucket == 0 { 0 } else { BUCKETS_MS[bucket - 1] };
    let Some(upper) = BUCKETS_MS.get(bucket) else { return float(lower) };
    let point = float(lower) + float(upper - lower) * part.clamp(0.0, 1.0);
    (point * 10.0).round() / 10.0
}

fn bucket(ms: u64) -> usize {
    BUCKETS_MS.partition_point(|bound| *bound < ms)
}

/// The label of a bucket: its upper bound in ms.
pub fn bucket_label(bucket: usize) -> String {
    BUCKETS_MS.get(bucket).map_or_else(|| UNBOUNDED.to_owned(), u64::to_string)
}

fn bucket_of_label(label: &str) -> Option<usize> {
    if label == UNBOUNDED {
        return Some(BUCKETS_MS.len());
    }
    let bound: u64 = label.parse().ok()?;
    BUCKETS_MS.iter().position(|known| *known == bound)
}

/// What went wrong, in a word: the status of an answer, the kind of a failure.
fn error_of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered(answer) => answer.status.to_string(),
        Outcome::Failed { kind, .. } => kind.to_string(),
    }
}

/// Whether there is a duration that says something about the third party.
const fn left(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Answered(_) => true,
        Outcome::Failed { kind, .. } => match kind {
            ErrorKind::NotSent | ErrorKind::Unsendable | ErrorKind::WorkerLost => false,
            ErrorKind::Dns
            | ErrorKind::Connect
            | ErrorKind::Tls
            | ErrorKind::Broken
            | ErrorKind::Timeout
            | ErrorKind::Malformed => true,
        },
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts for people, far below 2^52")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(buckets: &[(&str, u64)]) -> Counts {
        let mut counts = Counts::default();
        for (label, count) in buckets {
            counts.add(Kind::Latency, label, *count);
        }
        counts
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        for (ms, label) in
            [(0, "5"), (5, "5"), (6, "7"), (10, "10"), (1_000, "1000"), (60_000, "60000"), (60_001, "+Inf")]
        {
            assert_eq!(bucket_label(bucket(ms)), label, "{ms}");
        }
        for bucket in 0..=BUCKETS_MS.len() {
            assert_eq!(bucket_of_label(&bucket_label(bucket)), Some(bucket));
        }
    }

    #[test]
    fn buckets_are_fine_enough_for_a_percentile() {
        for pair in BUCKETS_MS.windows(2) {
            assert!(pair[0] < pair[1] && 2 * pair[1] <= 3 * pair[0], "{pair:?}");
        }
        for once in ["5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "10000", "30000"] {
            assert!(bucket_of_label(once).is_some(), "{once} is in ledgers already");
        }
    }

    #[test]
    fn percentiles_are_interpolated_inside_their_bucket() {
        for (buckets, share, expected) in [
            (&[][..], 0.5, None),
            (&[("5", 1)], 0.5, Some(2.5)),
            (&[("5", 1)], 1.0, Some(5.0)),
            (&[("100", 10)], 0.5, Some(87.5)),
            (&[("100", 10)], 0.0, Some(75.0)),
            (&[("5", 50), ("100", 50)], 0.5, Some(5.0)),
            (&[("5", 50), ("100", 50)], 0.75, Some(87.5)),
            (&[("50", 98), ("1000", 2)], 0.99, Some(850.0)),
            (&[("10", 9), ("+Inf", 1)], 0.99, Some(60_000.0)),
            (&[("+Inf", 3)], 0.5, Some(60_000.0)),
        ] {
            assert_eq!(with(buckets).latency_ms(share), expected, "{buckets:?} {share}");
        }
    }

    #[test]
    fn success_is_a_share_of_all_attempts() {
        let mut counts = Counts::default();
        assert_eq!(counts.success_rate(), None);
        for (verdict, count) in [("success", 3), ("transient", 1), ("odd", 7)] {
            counts.add(Kind::Verdict, verdict, count);
        }
        assert_eq!((counts.attempts(), counts.success_rate()), (4, Some(0.75)));
    }

    #[test]
    fn what_is_written_down_can_be_added_again() {
        let mut counts = with(&[("5", 2), ("+Inf", 1)]);
        counts.add(Kind::Verdict, "limited", 3);
        counts.add(Kind::Error, "429", 3);
        counts.add(Kind::Cost, "", 1_250_000);
        counts.add(Kind::Accepted, "", 9);
        let mut again = Counts::default();
        for (kind, label, count) in counts.rows() {
            again.add(kind, &label, count);
        }
        assert_eq!(again, counts);
        assert!((counts.cost() - 1.25).abs() < f64::EPSILON);
    }
}
