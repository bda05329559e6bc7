//! Who did what, when and why: actions on calls, and everything else that operators do.
//!
//! An action on one call is written by [`super::Ledger::act`] in the transaction that changes the call; nobody writes it here a second
//! time. What is no such action is written with [`AuditLedger::audit`], or by the operation that does it.

use async_trait::async_trait;

use super::Result;
use crate::call::{CallId, named};
use crate::clock::Timestamp;

named! {
    /// What was done.
    AuditAction {
        /// A call was set going again.
        Replay = "replay",
        /// A call was given up.
        Cancel = "cancel",
        /// A call was declared done.
        Resolve = "resolve",
        /// An endpoint was held.
        Pause = "pause",
        /// A held endpoint was let go.
        Resume = "resume",
        /// A bulk job was started.
        BulkStart = "bulk_start",
        /// A bulk job was ended by a person.
        BulkAbort = "bulk_abort",
        /// Data was erased.
        Erase = "erase",
        /// A rejected message was submitted again.
        RejectedResubmit = "rejected_resubmit",
        /// A rejected message was thrown away.
        RejectedDiscard = "rejected_discard",
    }
}

/// Something that an operator did beside acting on one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Who.
    pub actor: String,
    /// What.
    pub action: AuditAction,
    /// To which call, if to one.
    pub call: Option<CallId>,
    /// To what else: an endpoint, a bulk job, a message.
    pub subject: Option<String>,
    /// Why, in their words.
    pub note: String,
    /// What came of it, in a sentence.
    pub detail: Option<String>,
}

/// An entry of the audit log, wherever it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// Where it stands in the log.
    pub place: AuditPlace,
    /// Who.
    pub actor: String,
    /// What: the name of an [`AuditAction`], or of one that a newer program knows.
    pub action: String,
    /// To which call.
    pub call: Option<CallId>,
    /// To what else.
    pub subject: Option<String>,
    /// Why.
    pub note: String,
    /// What came of it.
    pub detail: Option<String>,
}

/// A place in the audit log; places sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditPlace {
    /// When it was done, by the ledger's clock.
    pub at: Timestamp,
    /// Which of the two tables it stands in.
    pub source: AuditSource,
    /// Its number there.
    pub id: i64,
}

named! {
    /// Where an entry stands. The names order entries of one moment, in SQL as well.
    AuditSource {
        /// Among the actions on calls.
        Action = "action",
        /// Among the others.
        Other = "other",
    }
}

/// Which entries are asked for. All conditions hold together.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Of this person.
    pub actor: Option<String>,
    /// Of this kind.
    pub action: Option<AuditAction>,
    /// Done at or after.
    pub from: Option<Timestamp>,
    /// Done before.
    pub to: Option<Timestamp>,
}

/// The audit log.
#[async_trait]
pub trait AuditLedger {
    /// Writes down what an operator did.
    async fn audit(&self, entry: &AuditEntry) -> Result<()>;

    /// Entries that pass the filter, newest first, from before a place on.
    async fn audit_log(
        &self,
        filter: &AuditFilter,
        before: Option<AuditPlace>,
        limit: usize,
    ) -> Result<Vec<Audited>>;
}
