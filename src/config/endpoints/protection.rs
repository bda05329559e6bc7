//! How the third party is protected: `immediate_retries`, `jitter`, `breaker`, `rate_limit`.

use std::time::Duration;

use super::super::fault::Complaint;
use super::super::table::{Found, Table};
use super::super::value;
use crate::endpoint::{BreakerSettings, Protection, RateLimit};

/// Most immediate retries before a rung: the tenth may come after 100 s, and a rung serves better.
const IMMEDIATE_RETRIES_MAX: usize = 10;
/// Bounds of a breaker's window and pause.
const SPAN_MIN: Duration = Duration::from_secs(1);
const SPAN_MAX: Duration = Duration::from_hours(1);
/// Most calls that a breaker may wait for.
const MIN_CALLS_MAX: u32 = 1_000_000;
const RATE: &str = "a number of calls and s, m or h, as in \"100/s\" or \"30/m\"";

/// What is written about protection.
#[derive(Clone)]
pub(super) struct ProtectionDraft {
    immediate_retries: Found<usize>,
    jitter: Found<f64>,
    breaker: BreakerDraft,
    rate_limit: Found<RateLimit>,
}

/// What is written about the breaker.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "a few of them live for a moment")]
enum BreakerDraft {
    /// Nothing.
    Silent,
    /// `"off"`.
    Off,
    /// A table, or something faulty.
    On { failure_rate: Found<f64>, window: Found<Duration>, min_calls: Found<u32>, open_for: Found<Duration> },
}

impl ProtectionDraft {
    pub(super) fn read(table: &mut Table<'_>) -> Self {
        Self {
            immediate_retries: table.optional("immediate_retries", value::integer(0..=IMMEDIATE_RETRIES_MAX)),
            jitter: table.optional(
                "jitter",
                value::decimal(0.0..=1.0, "the part of itself by which a rung may be longer,"),
            ),
            breaker: BreakerDraft::read(table),
            rate_limit: table.optional("rate_limit", value::parsed(RateLimit::parse, RATE)),
        }
    }

    /// This draft where it says something, otherwise the other one.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            immediate_retries: self.immediate_retries.or(below.immediate_retries),
            jitter: self.jitter.or(below.jitter),
            breaker: self.breaker.over(below.breaker),
            rate_limit: self.rate_limit.or(below.rate_limit),
        }
    }

    /// What is meant; `None` has been reported.
    pub(super) fn finish(self) -> Option<Protection> {
        if self.immediate_retries.is_faulty() || self.jitter.is_faulty() || self.rate_limit.is_faulty() {
            return None;
        }
        let immediate_retries = self.immediate_retries.value().map_or(0, |retries| retries.value);
        Some(Protection {
            immediate_retries: u16::try_from(immediate_retries).unwrap_or(u16::MAX),
            jitter: self.jitter.value().map_or(0.0, |jitter| jitter.value),
            breaker: self.breaker.finish()?,
            rate_limit: self.rate_limit.value().map(|rate| rate.value),
        })
    }
}

impl BreakerDraft {
    fn read(table: &mut Table<'_>) -> Self {
        table.mention("breaker", &["failure_rate", "window", "min_calls", "open_for"]);
        let written = table.optional("breaker", |node| match node.text() {
            Ok("off") => Ok(Self::Off),
            Ok(_) => Err(Complaint::new(
                "is neither a breaker nor \"off\"",
                "\"off\", or a table with failure_rate",
            )),
            // A table, which is read below.
            Err(_) => Ok(Self::Silent),
        });
        match written {
            Found::Nothing => return Self::Silent,
            Found::Faulty => return Self::faulty(),
            Found::Value(placed) => {
                if let Self::Off = placed.value {
                    return Self::Off;
                }
            }
        }
        let read = |table: &mut Table<'_>| Self::On {
            failure_rate: table.optional(
                "failure_rate",
                value::decimal(0.01..=1.0, "the part of the calls that has to fail,"),
            ),
            window: table.optional("window", value::duration(SPAN_MIN..=SPAN_MAX)),
            min_calls: table.optional("min_calls", value::integer(1..=MIN_CALLS_MAX)),
            open_for: table.optional("open_for", value::duration(SPAN_MIN..=SPAN_MAX)),
        };
        table.table("breaker", read).unwrap_or_else(Self::faulty)
    }

    const fn faulty() -> Self {
        Self::On {
            failure_rate: Found::Faulty,
            window: Found::Nothing,
            min_calls: Found::Nothing,
            open_for: Found::Nothing,
        }
    }

    fn over(self, below: Self) -> Self {
        match (self, below) {
            (Self::Silent, below) => below,
            (
                Self::On { failure_rate, window, min_calls, open_for },
                Self::On {
                    failure_rate: rate_below,
                    window: window_below,
                    min_calls: calls_below,
                    open_for: open_below,
                },
            ) => Self::On {
                failure_rate: failure_rate.or(rate_below),
                window: window.or(window_below),
                min_calls: min_calls.or(calls_below),
                open_for: open_for.or(open_below),
            },
            (own @ (Self::Off | Self::On { .. }), _) => own,
        }
    }

    /// `None` has been reported.
    #[expect(clippy::option_option, reason = "faulty, absent and present are three things")]
    fn finish(self) -> Option<Option<BreakerSettings>> {
        let Self::On { failure_rate, window, min_calls, open_for } = self else { return Some(None) };
        if failure_rate.is_faulty() || window.is_faulty() || min_calls.is_faulty() || open_for.is_faulty() {
            return None;
        }
        let usual = BreakerSettings::USUAL;
        Some(Some(BreakerSettings {
            failure_rate: failure_rate.value().map_or(usual.failure_rate, |rate| rate.value),
            window: window.value().map_or(usual.window, |window| window.value),
            min_calls: min_calls.value().map_or(usual.min_calls, |calls| calls.value),
            open_for: open_for.value().map_or(usual.open_for, |pause| pause.value),
        }))
    }
}
