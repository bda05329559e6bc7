//! How an endpoint's answers are judged, and what happens when nobody knows.

use std::time::Duration;

use super::OnAmbiguous;
use super::reporting::Reporting;
use super::rule::Rules;
use super::template::{PathTemplate, Template};
use crate::call::{Method, Verdict, named};

/// How answers become verdicts, and doubts become certainty.
#[derive(Clone, Debug)]
pub struct Judging {
    /// What decides before the defaults do.
    pub rules: Rules<Verdict>,
    /// What happens when nobody knows whether an attempt took effect.
    pub on_ambiguous: OnAmbiguous,
    /// How long the third party remembers an idempotency key; `None`: for ever, as far as is known.
    pub idempotency_window: Option<Duration>,
    /// How the third party is asked what became of an attempt.
    pub confirm: Option<Confirm>,
    /// How the third party reports results by itself (`POST /v1/callbacks/{endpoint}`), if it does.
    pub reporting: Option<Reporting>,
}

named! {
    /// What a confirm query found out.
    Finding {
        /// The request was carried out.
        Done = "done",
        /// There is no trace of it.
        Absent = "absent",
        /// Nothing.
        Unknown = "unknown",
    }
}

/// The query that asks the third party what became of an attempt.
#[derive(Clone, Debug)]
pub struct Confirm {
    /// "Absent" proves nothing before the doubt is this old; also the pause between two queries.
    pub after: Duration,
    /// So many "absent" in a row, 1 or more, prove that the request was not carried out.
    pub times: u16,
    /// The method of the query.
    pub method: Method,
    /// Its path, below the base URL of whoever is asked.
    pub path: PathTemplate,
    /// Its headers, beside those of the endpoint.
    pub headers: Vec<(http::HeaderName, Template)>,
    /// Its body; JSON unless a header says otherwise.
    pub body: Option<Template>,
    /// What its answers mean. Where no rule holds, nothing was found out.
    pub rules: Rules<Finding>,
}

impl Judging {
    /// No rules, no queries.
    pub fn plain(on_ambiguous: OnAmbiguous) -> Self {
        Self { rules: Rules::none(), on_ambiguous, idempotency_window: None, confirm: None, reporting: None }
    }
}
