//! Statistics as JSON: what was counted, rounded for people.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::call::Verdict;
use crate::tally::{Counts, bucket_label};

/// Attempts by verdict; every verdict is there.
#[derive(Debug)]
pub(super) struct Verdicts(BTreeMap<Verdict, u64>);

impl Verdicts {
    /// Those of these counts.
    pub(super) fn of(counts: &Counts) -> Self {
        let count = |verdict: &Verdict| counts.by_verdict.get(verdict).copied().unwrap_or(0);
        Self(Verdict::ALL.iter().map(|verdict| (*verdict, count(verdict))).collect())
    }
}

impl Serialize for Verdicts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(verdict, count)| (verdict.as_str(), count)))
    }
}

/// Attempts by the upper bound of their duration in ms, shortest first, `+Inf` for what is longer than all bounds. Every bucket is there.
#[derive(Debug)]
pub(super) struct Buckets(Vec<(String, u64)>);

impl Buckets {
    /// Those of these counts.
    pub(super) fn of(counts: &Counts) -> Self {
        Self(
            counts.buckets.iter().enumerate().map(|(bucket, count)| (bucket_label(bucket), *count)).collect(),
        )
    }
}

impl Serialize for Buckets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (label, count) in &self.0 {
            map.serialize_entry(label, count)?;
        }
        map.end()
    }
}

/// A share to a tenth of a thousandth: more digits say nothing.
pub(super) fn tenth(share: f64) -> f64 {
    (share * 10_000.0).round() / 10_000.0
}
