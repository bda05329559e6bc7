//! `Retry-After` (RFC 9110, 10.2.3): a number of seconds or one of the three HTTP dates.

use std::time::{Duration, SystemTime};

use crate::clock::Timestamp;
use crate::limits::RETRY_AFTER_MAX;

/// The pause that the header's values ask for, at most 24 hours. `None` where there is no single sensible value: absent, given
/// several times, zero, negative, fractional, in the past, or no number and no date.
pub fn parse<'a>(mut values: impl Iterator<Item = &'a str>, now: Timestamp) -> Option<Duration> {
    let value = values.next()?.trim();
    if values.next().is_some() || value.is_empty() {
        return None;
    }
    let pause = if value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits for 64 bits is a very long pause all the same.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Timestamp::UNIX_EPOCH.plus(date).since(now)
    };
    (!pause.is_zero()).then(|| pause.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(values: &[&str]) -> Option<Duration> {
        parse(values.iter().copied(), Timestamp::parse_rfc3339("1994-11-06T08:49:00Z").unwrap())
    }

    #[test]
    fn seconds_and_the_three_dates_are_understood() {
        for (value, seconds) in [
            ("5", 5),
            (" 120 ", 120),
            ("99999999999999999999", 86_400),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 37),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 37),
            ("Sun Nov  6 08:49:37 1994", 37),
            ("Sat, 06 Nov 2094 08:49:37 GMT", 86_400),
        ] {
            assert_eq!(parsed(&[value]), Some(Duration::from_secs(seconds)), "{value}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_ignored() {
        for value in ["", "0", "-5", "1.5", "NaN", "soon", "Sun, 06 Nov 1994 08:48:00 GMT", "5 s"] {
            assert_eq!(parsed(&[value]), None, "{value}");
        }
        assert_eq!(parsed(&["5", "6"]), None);
        assert_eq!(parsed(&[]), None);
    }
}
