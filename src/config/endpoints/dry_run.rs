//! Calls that do not leave the machine: `dry_run`, `dry_run_script`.

use std::sync::Arc;

use secrecy::ExposeSecret as _;

use super::super::fault::Complaint;
use super::super::table::{Found, Table};
use super::super::value;
use crate::call::Mode;
use crate::endpoint::DryRun;
use crate::script::Script;

const SCRIPT: &str = "a script of the simulator (docs/simulator.md), as text or as file:/path";

/// What is written about dry runs.
#[derive(Clone)]
pub(super) struct DryRunDraft {
    mode: Found<bool>,
    script: Found<Arc<Script>>,
}

impl DryRunDraft {
    pub(super) fn read(table: &mut Table<'_>) -> Self {
        Self { mode: table.optional("dry_run", value::boolean), script: script(table) }
    }

    /// This draft where it says something, otherwise the other one.
    pub(super) fn over(self, below: Self) -> Self {
        Self { mode: self.mode.or(below.mode), script: self.script.or(below.script) }
    }

    /// What is meant; `None` has been reported.
    pub(super) fn finish(self) -> Option<DryRun> {
        if self.mode.is_faulty() || self.script.is_faulty() {
            return None;
        }
        let is_dry = self.mode.get().copied().unwrap_or(false);
        let mode = if is_dry { Mode::DryRun } else { Mode::Live };
        Some(DryRun { mode, script: self.script.value().map(|script| script.value).unwrap_or_default() })
    }
}

/// The script, with every fault of it.
fn script(table: &mut Table<'_>) -> Found<Arc<Script>> {
    let found = table.text_or_file("dry_run_script");
    let desk = table.desk;
    found.and_then(|found| match Script::parse(found.value.value.expose_secret()) {
        Ok(script) => Some(Arc::new(script)),
        Err(faults) => {
            for fault in faults {
                desk.fault_at(found, Complaint::new(format!("in the script: {fault}"), SCRIPT));
            }
            None
        }
    })
}
