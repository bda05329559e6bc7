//! Points in time, durations as they are written, and the only places where the machine's clocks are read.
//!
//! Everything else takes the time as an argument. What is due is decided by the ledger's clock; the monotonic
//! clock guards leases inside one process, because it goes on while the wall clock jumps.

use std::fmt;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};

/// A point in time, UTC, to the microsecond (what PostgreSQL's `timestamptz` holds).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first microsecond of 1970.
    pub const UNIX_EPOCH: Self = Self(0);

    /// The wall clock of this machine.
    #[expect(clippy::disallowed_methods, reason = "this is where the wall clock is read")]
    pub fn now() -> Self {
        Self(Utc::now().timestamp_micros())
    }

    /// The point that lies this many microseconds after 1970.
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970.
    pub const fn unix_micros(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339, any offset, years 1970 to 9999. `None` for anything else.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let parsed = DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc);
        (parsed.timestamp() >= 0).then(|| Self(parsed.timestamp_micros()))
    }

    /// This point and a while later; stays at the last representable point.
    #[must_use]
    pub fn plus(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This point and a while earlier; stays at the first representable point.
    #[must_use]
    pub fn minus(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this point lies; zero if it does not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// RFC 3339, UTC, with milliseconds: the form of every time in the API.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::<Utc>::from_timestamp_micros(self.0) {
            Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true)),
            None => write!(f, "@{}us", self.0),
        }
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time.timestamp_micros())
    }
}

impl From<std::time::SystemTime> for Timestamp {
    fn from(time: std::time::SystemTime) -> Self {
        Self::from(DateTime::<Utc>::from(time))
    }
}

impl From<Timestamp> for DateTime<Utc> {
    fn from(time: Timestamp) -> Self {
        DateTime::from_timestamp_micros(time.0).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

/// The monotonic clock of this process.
#[expect(clippy::disallowed_methods, reason = "this is where the monotonic clock is read")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Units of durations, largest first, in milliseconds.
const UNITS: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads `200ms`, `10s`, `2m`, `1h`, `7d`: a whole number and one unit.
///
/// # Errors
/// A sentence that says what is allowed.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let sentence = || {
        format!(
            "{text:?} is no duration: write a whole number and one of ms, s, m, h, d, as in \"200ms\" or \"10s\""
        )
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| sentence())?;
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(sentence)?;
    number.checked_mul(*factor).map(Duration::from_millis).ok_or_else(sentence)
}

/// Writes a duration in the largest unit that holds it exactly, rounded down to the millisecond: `90s`, `2m`, `1500ms`.
pub fn format_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, factor) =
        UNITS.iter().find(|(_, factor)| ms >= *factor && ms % factor == 0).unwrap_or(&("ms", 1));
    format!("{}{unit}", ms / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc_with_milliseconds() {
        let time = Timestamp::parse_rfc3339("2026-11-21T18:00:00.5+08:00").unwrap();
        assert_eq!(time.to_string(), "2026-11-21T10:00:00.500Z");
    }

    #[test]
    fn times_outside_the_years_that_rfc_3339_can_write_are_refused() {
        for text in ["300000-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "yesterday", "2026-11-21", ""] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn a_duration_is_written_as_it_is_read() {
        for text in ["1ms", "200ms", "1500ms", "1s", "90s", "2m", "1h", "12h", "7d"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(format_duration(parse_duration("60s").unwrap()), "1m");
    }
}
