//! How late calls are, out of the histogram that the server's process counts.

/// The bounds under which half and 99 of 100 waits stayed, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lateness {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

const BUCKET: &str = "redial_lateness_seconds_bucket{le=\"";

impl Lateness {
    /// Out of Prometheus' text; `None` where nothing was counted yet.
    pub(super) fn of(metrics: &str) -> Option<Self> {
        let buckets: Vec<(f64, f64)> = metrics.lines().filter_map(bucket).collect();
        let all = buckets.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
        let bound =
            |share: f64| buckets.iter().find(|(_, count)| *count >= share * all).map(|(bound, _)| *bound);
        Some(Self { p50: bound(0.5)?, p99: bound(0.99)? })
    }

    /// For people.
    pub(super) fn in_words(self) -> String {
        format!("half within {}, 99 of 100 within {}", seconds(self.p50), seconds(self.p99))
    }
}

/// `redial_lateness_seconds_bucket{le="0.005"} 12`, with `+Inf` as the last bound.
fn bucket(line: &str) -> Option<(f64, f64)> {
    let (bound, count) = line.strip_prefix(BUCKET)?.split_once("\"} ")?;
    Some((bound.parse().ok()?, count.split(' ').next()?.parse().ok()?))
}

fn seconds(seconds: f64) -> String {
    if seconds.is_infinite() {
        "more than can be told".to_owned()
    } else if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1_000.0)
    } else {
        format!("{seconds:.0} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_read_out_of_the_histogram() {
        let metrics = "# TYPE redial_lateness_seconds histogram\nredial_lateness_seconds_sum 1.0\n\
                       redial_lateness_seconds_bucket{le=\"0.005\"} 40\nredial_lateness_seconds_bucket{le=\"0.1\"} 98\n\
                       redial_lateness_seconds_bucket{le=\"2.5\"} 100\nredial_lateness_seconds_bucket{le=\"+Inf\"} 100\n";
        let lateness = Lateness::of(metrics).unwrap();
        assert_eq!(lateness, Lateness { p50: 0.1, p99: 2.5 });
        assert_eq!(lateness.in_words(), "half within 100 ms, 99 of 100 within 2 s");
        assert_eq!(Lateness::of("redial_lateness_seconds_bucket{le=\"+Inf\"} 0\n"), None);
        assert_eq!(Lateness::of(""), None);
    }
}
