//! A ladder: the delays between attempts, in order.

use std::time::Duration;

use crate::call::Rung;
pub use crate::clock::{format_duration, parse_duration};
use crate::limits::{RUNG_MAX, RUNG_MIN, RUNGS_MAX};

/// The delays between attempts, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder(Vec<Duration>);

impl Ladder {
    /// Reads rungs such as `10s` or `10m x3` (three times ten minutes).
    ///
    /// # Errors
    /// The position of the first bad rung and a sentence; position and length of the list if it is empty or too long.
    pub fn parse<S: AsRef<str>>(rungs: &[S]) -> Result<Self, (usize, String)> {
        let mut delays = Vec::with_capacity(rungs.len());
        for (position, rung) in rungs.iter().enumerate() {
            let (delay, times) = parse_rung(rung.as_ref()).map_err(|sentence| (position, sentence))?;
            delays.extend(std::iter::repeat_n(delay, times));
            if delays.len() > RUNGS_MAX {
                return Err((
                    position,
                    format!("a ladder has at most {RUNGS_MAX} rungs, repetitions counted"),
                ));
            }
        }
        if delays.is_empty() {
            return Err((0, "a ladder has at least one rung".to_owned()));
        }
        Ok(Self(delays))
    }

    /// The delay that comes after `rung` rungs are used; `None` when the ladder is exhausted.
    pub fn delay(&self, rung: Rung) -> Option<Duration> {
        self.0.get(usize::from(rung.used())).copied()
    }

    /// The delay of this rung, or of the last one beyond the end: for waits that use up no rung.
    pub fn delay_or_last(&self, rung: Rung) -> Duration {
        self.delay(rung).or(self.0.last().copied()).unwrap_or(RUNG_MIN)
    }

    /// All delays in order.
    pub fn delays(&self) -> &[Duration] {
        &self.0
    }
}

fn parse_rung(text: &str) -> Result<(Duration, usize), String> {
    let mut parts = text.split_whitespace();
    let delay = parse_duration(parts.next().unwrap_or_default())?;
    let times = match (parts.next(), parts.next()) {
        (None, _) => 1,
        (Some(times), None) => times
            .strip_prefix('x')
            .and_then(|digits| digits.parse::<usize>().ok())
            .filter(|times| (1..=RUNGS_MAX).contains(times))
            .ok_or_else(|| {
                format!("{text:?}: a repetition is written x1 to x{RUNGS_MAX}, as in \"10m x3\"")
            })?,
        (Some(_), Some(_)) => {
            return Err(format!("{text:?}: a rung is a delay and perhaps a repetition, as in \"10m x3\""));
        }
    };
    if delay < RUNG_MIN || delay > RUNG_MAX {
        return Err(format!("{text:?}: a rung lasts 1ms to {}ms (49 days)", RUNG_MAX.as_millis()));
    }
    Ok((delay, times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_unrolled() {
        let ladder = Ladder::parse(&["5s", "10m x3"]).unwrap();
        let minutes = Duration::from_mins(10);
        assert_eq!(ladder.delays(), [Duration::from_secs(5), minutes, minutes, minutes]);
        assert_eq!(ladder.delay(Rung::new(4)), None);
        assert_eq!(ladder.delay_or_last(Rung::new(4)), minutes);
    }

    #[test]
    fn bad_rungs_are_named_by_their_position() {
        for rung in [
            "",
            "0s",
            "10 parsecs",
            "-1s",
            "1.5s",
            "10",
            "s",
            "10s x0",
            "10s x",
            "10s 3",
            "10s x3 x3",
            "50d",
            "99999999999999999999s",
        ] {
            let (position, _) = Ladder::parse(&["1s", rung]).unwrap_err();
            assert_eq!(position, 1, "{rung}");
        }
        assert!(Ladder::parse::<&str>(&[]).is_err());
        assert!(Ladder::parse(&["1s x150", "1s x150"]).is_err());
    }
}
