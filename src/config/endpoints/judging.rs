//! How answers are judged: `rules`, `on_ambiguous`, `idempotency_window`, `confirm`, `callback`.

use std::time::Duration;

use super::super::fault::Complaint;
use super::super::table::{Desk, Found, Table};
use super::super::value;
use super::rules::{Kind, or_none, rules};
use super::{TIMEOUT_MIN, WINDOW_MAX, confirm, reporting};
use crate::call::Verdict;
use crate::endpoint::condition::ANSWER_NAMES;
use crate::endpoint::ladder::format_duration;
use crate::endpoint::{Confirm, Judging, Ladder, OnAmbiguous, Reporting, Rules};

/// The rules that decide about verdicts.
pub(super) const VERDICTS: Kind<Verdict> = Kind {
    label: "rules",
    meaning: "verdict",
    parse: Verdict::parse,
    allowed: Verdict::allowed,
    names: ANSWER_NAMES,
};

/// What is written about judging.
#[derive(Clone)]
pub(super) struct JudgingDraft {
    rules: Found<Rules<Verdict>>,
    on_ambiguous: Found<OnAmbiguous>,
    idempotency_window: Found<Duration>,
    confirm: Part<Confirm>,
    callback: Part<Reporting>,
}

/// A table that is said as a whole.
#[derive(Clone)]
enum Part<T> {
    Nothing,
    /// It has been reported.
    Faulty,
    Whole(Box<T>),
}

impl<T> Part<T> {
    fn read(table: &mut Table<'_>, key: &str, read: impl FnOnce(&mut Table<'_>) -> Option<T>) -> Self {
        if !table.has(key) {
            // Asked all the same, so that the key is known.
            let _nothing = table.table(key, |_| ());
            return Self::Nothing;
        }
        table.table(key, read).flatten().map_or(Self::Faulty, |value| Self::Whole(Box::new(value)))
    }

    fn or(self, other: Self) -> Self {
        if matches!(self, Self::Nothing) { other } else { self }
    }

    /// `None` has been reported.
    #[expect(clippy::option_option, reason = "faulty, absent and present are three things")]
    fn finish(self) -> Option<Option<T>> {
        match self {
            Self::Nothing => Some(None),
            Self::Faulty => None,
            Self::Whole(value) => Some(Some(*value)),
        }
    }
}

impl JudgingDraft {
    pub(super) fn read(table: &mut Table<'_>) -> Self {
        Self {
            rules: rules(table, &VERDICTS),
            on_ambiguous: table
                .optional("on_ambiguous", value::parsed(OnAmbiguous::parse, OnAmbiguous::allowed())),
            idempotency_window: table
                .optional("idempotency_window", value::duration(TIMEOUT_MIN..=WINDOW_MAX)),
            confirm: Part::read(table, "confirm", confirm::read),
            callback: Part::read(table, "callback", reporting::read),
        }
    }

    /// This draft where it says something, otherwise the other one.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            rules: self.rules.or(below.rules),
            on_ambiguous: self.on_ambiguous.or(below.on_ambiguous),
            idempotency_window: self.idempotency_window.or(below.idempotency_window),
            confirm: self.confirm.or(below.confirm),
            callback: self.callback.or(below.callback),
        }
    }

    /// What is meant; `None` has been reported.
    pub(super) fn finish(self, ladder: &Found<Ladder>, table: &Table<'_>) -> Option<Judging> {
        self.warn_of_forgotten_keys(ladder, table.desk);
        self.refuse_asking_nobody(table.desk);
        self.warn_of_results_that_nobody_tells(table.desk);
        if self.idempotency_window.is_faulty() {
            return None;
        }
        let (confirm, reporting, rules) =
            (self.confirm.finish(), self.callback.finish(), or_none(self.rules));
        Some(Judging {
            rules: rules?,
            on_ambiguous: self.on_ambiguous.value()?.value,
            idempotency_window: self.idempotency_window.value().map(|window| window.value),
            confirm: confirm?,
            reporting: reporting?,
        })
    }

    /// Who is to ask needs a question.
    fn refuse_asking_nobody(&self, desk: &Desk<'_>) {
        if let (Found::Value(on_ambiguous), Part::Nothing) = (&self.on_ambiguous, &self.confirm)
            && on_ambiguous.value == OnAmbiguous::Confirm
        {
            let allowed = "a table [confirm] beside it that says how to ask; or retry, review";
            desk.fault_at(on_ambiguous, Complaint::new("\"confirm\" has nothing to ask", allowed));
        }
    }

    /// A pending call that nobody asks about is sent again, which few who write "pending" mean.
    fn warn_of_results_that_nobody_tells(&self, desk: &Desk<'_>) {
        if let (Found::Value(rules), Part::Nothing, Part::Nothing) =
            (&self.rules, &self.confirm, &self.callback)
            && rules.value.iter().any(|rule| rule.means == Verdict::Pending)
        {
            let sentence = "a rule means \"pending\", and nothing tells what became of such a call, so it is sent again along the ladder: \
                            add a table [confirm] that says how to ask, or [callback] for a third party that reports by itself";
            desk.warn(&rules.place, &rules.key, sentence.to_owned());
        }
    }

    /// A third party that forgot a key takes the next attempt for a new request.
    fn warn_of_forgotten_keys(&self, ladder: &Found<Ladder>, desk: &Desk<'_>) {
        let (Found::Value(window), Found::Value(ladder)) = (&self.idempotency_window, ladder) else {
            return;
        };
        let mut since_first = Duration::ZERO;
        for (position, delay) in ladder.value.delays().iter().enumerate() {
            since_first += *delay;
            if since_first > window.value && matches!(self.confirm, Part::Nothing) {
                let sentence = format!(
                    "rung {} ends {} after the first attempt, when the third party has forgotten the idempotency key: \
                     shorten the ladder, or set on_ambiguous = \"review\"",
                    position + 1,
                    format_duration(since_first)
                );
                return desk.warn(&window.place, &window.key, sentence);
            }
        }
    }
}
