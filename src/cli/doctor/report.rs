//! What the doctor found, line by line.

use serde_json::{Value, json};

use crate::cli::client::paper::Paper;
use crate::cli::client::sheet::Sheet;

/// How something is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// As it should be.
    Ok,
    /// It works; somebody should look.
    Warning,
    /// Calls are or will be in trouble.
    Fault,
    /// It could not be looked at.
    Unchecked,
}

impl Condition {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
            Self::Unchecked => "unchecked",
        }
    }
}

/// One line.
struct Finding {
    check: &'static str,
    condition: Condition,
    says: String,
}

/// Everything that was looked at, in order.
#[derive(Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, check: &'static str, condition: Condition, says: impl Into<String>) {
        self.0.push(Finding { check, condition, says: says.into() });
    }

    pub(super) fn ok(&mut self, check: &'static str, says: impl Into<String>) {
        self.add(check, Condition::Ok, says);
    }

    pub(super) fn warning(&mut self, check: &'static str, says: impl Into<String>) {
        self.add(check, Condition::Warning, says);
    }

    pub(super) fn fault(&mut self, check: &'static str, says: impl Into<String>) {
        self.add(check, Condition::Fault, says);
    }

    pub(super) fn unchecked(&mut self, check: &'static str, says: impl Into<String>) {
        self.add(check, Condition::Unchecked, says);
    }

    fn count(&self, condition: Condition) -> usize {
        self.0.iter().filter(|finding| finding.condition == condition).count()
    }

    pub(super) fn has_faults(&self) -> bool {
        self.count(Condition::Fault) > 0
    }

    pub(super) fn text(&self, paper: Paper) -> String {
        let mut sheet = Sheet::new(&["check", "is", "because"]).toned(1);
        for finding in &self.0 {
            sheet.row([finding.check, finding.condition.as_str(), &finding.says]);
        }
        let (faults, warnings) = (self.count(Condition::Fault), self.count(Condition::Warning));
        format!("{}\n\nfaults: {faults}, warnings: {warnings}", sheet.render(paper))
    }

    pub(super) fn json(&self) -> String {
        let checks: Vec<Value> = self
            .0
            .iter()
            .map(|finding| {
                json!({ "check": finding.check, "status": finding.condition.as_str(), "detail": finding.says })
            })
            .collect();
        let (faults, warnings) = (self.count(Condition::Fault), self.count(Condition::Warning));
        json!({ "faults": faults, "warnings": warnings, "checks": checks }).to_string()
    }
}
