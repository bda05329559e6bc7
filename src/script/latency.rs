//! How long an answer takes: a distribution, written in one line.

use std::time::Duration;

use crate::clock::parse_duration;

use super::dice::Dice;

/// The longest that an answer is held back, whatever the distribution says.
const LATENCY_MAX: Duration = Duration::from_mins(10);

/// How long an answer takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency {
    /// Always the same.
    Fixed(Duration),
    /// Anything between two bounds, with equal chance.
    Uniform {
        /// The shortest.
        low: Duration,
        /// The longest.
        high: Duration,
    },
    /// Around a mean; never below zero.
    Normal {
        /// The mean.
        mean: Duration,
        /// The standard deviation.
        deviation: Duration,
    },
    /// Mostly short, sometimes long.
    Exponential {
        /// The mean.
        mean: Duration,
    },
}

impl Latency {
    /// No wait at all.
    pub const NONE: Self = Self::Fixed(Duration::ZERO);

    /// Reads `200ms`, `uniform:10ms,50ms`, `normal:50ms,10ms` or `exp:20ms`; a number without a unit is milliseconds.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (shape, rest) = text.split_once(':').unwrap_or(("fixed", text));
        let times = rest.split(',').map(|part| parse_time(part.trim())).collect::<Result<Vec<_>, _>>()?;
        match (shape.trim(), times.as_slice()) {
            ("fixed", [time]) => Ok(Self::Fixed(*time)),
            ("uniform", [low, high]) if low <= high => Ok(Self::Uniform { low: *low, high: *high }),
            ("normal", [mean, deviation]) => Ok(Self::Normal { mean: *mean, deviation: *deviation }),
            ("exp", [mean]) => Ok(Self::Exponential { mean: *mean }),
            _ => Err(format!(
                "{text:?} is no latency: write \"200ms\", \"uniform:10ms,50ms\" (the shorter first), \"normal:50ms,10ms\" or \
                 \"exp:20ms\""
            )),
        }
    }

    /// One wait out of the distribution.
    pub fn sample(&self, dice: &mut Dice) -> Duration {
        let seconds = match self {
            Self::Fixed(time) => return (*time).min(LATENCY_MAX),
            Self::Uniform { low, high } => {
                low.as_secs_f64() + dice.roll() * high.saturating_sub(*low).as_secs_f64()
            }
            Self::Normal { mean, deviation } => mean.as_secs_f64() + normal(dice) * deviation.as_secs_f64(),
            Self::Exponential { mean } => -(1.0 - dice.roll()).ln() * mean.as_secs_f64(),
        };
        Duration::from_secs_f64(seconds.clamp(0.0, LATENCY_MAX.as_secs_f64()))
    }
}

/// A number of the standard normal distribution (Box and Muller).
fn normal(dice: &mut Dice) -> f64 {
    let radius = (-2.0 * (1.0 - dice.roll()).ln()).sqrt();
    radius * (std::f64::consts::TAU * dice.roll()).cos()
}

/// Reads a duration; a bare number is milliseconds.
pub(super) fn parse_time(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(ms) => Ok(Duration::from_millis(ms)),
        Err(_) => parse_duration(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_ms(text: &str) -> f64 {
        let latency = Latency::parse(text).unwrap();
        let samples = 20_000;
        let sum: f64 =
            (0..samples).map(|ordinal| latency.sample(&mut Dice::new(1, "k", ordinal)).as_secs_f64()).sum();
        sum * 1000.0 / f64::from(samples)
    }

    #[test]
    fn every_distribution_keeps_its_mean() {
        for (text, mean) in [
            ("30", 30.0),
            ("30ms", 30.0),
            ("uniform:10,50", 30.0),
            ("normal:30ms,5ms", 30.0),
            ("exp:30", 30.0),
        ] {
            assert!((mean_ms(text) - mean).abs() < 1.5, "{text}: {}", mean_ms(text));
        }
    }

    #[test]
    fn what_is_no_latency_gets_a_sentence() {
        for text in ["", "fast", "normal:50", "uniform:50,10", "exp:1,2", "normal:50,-1", "gauss:1,2", "1.5"]
        {
            assert!(Latency::parse(text).is_err(), "{text}");
        }
    }
}
