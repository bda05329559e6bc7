//! How an endpoint's third party is protected from us, and our calls from it.

use std::time::Duration;

/// Limits and pauses beside the ladder.
#[derive(Clone, Debug, Default)]
pub struct Protection {
    /// Attempts made shortly after a transient failure, before the next rung.
    pub immediate_retries: u16,
    /// How far each rung may be stretched at random, in parts of itself: 0.1 makes 10 s last 10 to 11 s.
    pub jitter: f64,
    /// When failures park the endpoint; `None`: never.
    pub breaker: Option<BreakerSettings>,
    /// How often it may be called, over all worker processes; `None`: as often as there are slots.
    pub rate_limit: Option<RateLimit>,
}

/// The first immediate retry comes within this time, each further one within twice the time of the one before.
pub const IMMEDIATE_RETRY_FIRST: Duration = Duration::from_millis(200);

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerSettings {
    /// It opens when this part of the calls has failed, above 0 and at most 1.
    pub failure_rate: f64,
    /// Only calls of this last while count.
    pub window: Duration,
    /// It does not open before this many calls of the window are known.
    pub min_calls: u32,
    /// How long it stays open before one call may probe.
    pub open_for: Duration,
}

impl BreakerSettings {
    /// What a configuration gets that names a breaker and leaves something out.
    pub const USUAL: Self = Self {
        failure_rate: 0.5,
        window: Duration::from_secs(30),
        min_calls: 20,
        open_for: Duration::from_secs(15),
    };
}

/// So many calls in so long a time, evenly spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    calls: u32,
    per: Duration,
}

impl RateLimit {
    /// Reads `100/s`, `30/m` or `5/h`; `None` for anything else, for none, and for more than a million a second.
    pub fn parse(text: &str) -> Option<Self> {
        let (calls, unit) = text.split_once('/')?;
        let per = match unit {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return None,
        };
        let digits = !calls.is_empty() && calls.bytes().all(|byte| byte.is_ascii_digit());
        let calls = calls.parse().ok().filter(|calls| digits && (1..=1_000_000).contains(calls))?;
        Some(Self { calls, per })
    }

    /// The time from one call to the next.
    pub fn interval(self) -> Duration {
        self.per / self.calls
    }
}

/// As it is written in the configuration.
impl std::fmt::Display for RateLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = match self.per.as_secs() {
            1 => 's',
            60 => 'm',
            _ => 'h',
        };
        write!(f, "{}/{unit}", self.calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_unit() {
        for (text, interval_us) in
            [("1/s", 1_000_000), ("50/s", 20_000), ("30/m", 2_000_000), ("1/h", 3_600_000_000)]
        {
            let rate = RateLimit::parse(text).unwrap();
            assert_eq!(rate.interval(), Duration::from_micros(interval_us), "{text}");
            assert_eq!(rate.to_string(), text);
        }
        for text in ["", "50", "/s", "0/s", "-1/s", "+1/s", "1.5/s", "50/d", "50 / s", "1000001/s"] {
            assert_eq!(RateLimit::parse(text), None, "{text}");
        }
    }
}
