//! Erasure by tags: page after page, each a short transaction, until no matching call is left; audited.

use super::Desk;
use crate::call::{CallId, TagKey};
use crate::ledger::audit::{AuditAction, AuditEntry};
use crate::ledger::whole::to_its_end;
use crate::ledger::{Erased, Erasure, ErasureMode, Filter, LedgerError};
use crate::limits::ERASE_BATCH;

impl Desk {
    /// [`Self::erase`] in a task of its own: an operator who goes away in the middle must not leave it unfinished, or unaudited.
    ///
    /// # Errors
    /// Those of [`Self::erase`].
    pub async fn erase_to_the_end(
        &self,
        tags: Vec<(TagKey, String)>,
        erasure: Erasure,
    ) -> Result<Erased, LedgerError> {
        let desk = self.clone();
        to_its_end(&self.tasks, async move { desk.erase(tags, &erasure).await }).await
    }

    /// Erases all calls with all these tags, newest first, or counts them. Durable page by page: if it breaks off, the same order again goes
    /// on where it stopped, because what is erased has its tags no more.
    ///
    /// # Errors
    /// [`LedgerError`]: pages before the one that failed are erased.
    pub async fn erase(&self, tags: Vec<(TagKey, String)>, erasure: &Erasure) -> Result<Erased, LedgerError> {
        let keys: Vec<String> = tags.iter().map(|(key, _)| key.to_string()).collect();
        let filter = Filter { tags, ..Filter::default() };
        let mut all = Erased::default();
        let outcome = self.erase_pages(&filter, erasure, &mut all).await;
        if erasure.mode == ErasureMode::Erase {
            tracing::info!(
                actor = erasure.actor,
                calls = all.calls,
                running_skipped = all.running_skipped,
                "an operator erased calls by their tags"
            );
            self.ledger.audit(&entry(erasure, &keys, &all)).await?;
        }
        outcome.map(|()| all)
    }

    async fn erase_pages(
        &self,
        filter: &Filter,
        erasure: &Erasure,
        all: &mut Erased,
    ) -> Result<(), LedgerError> {
        let mut before: Option<CallId> = None;
        loop {
            let page = self.ledger.list(filter, before, ERASE_BATCH).await?;
            let Some(last) = page.last() else { return Ok(()) };
            before = Some(last.id);
            let ids: Vec<CallId> = page.iter().map(|call| call.id).collect();
            let erased = self.ledger.erase(&ids, erasure).await?;
            for call in &erased.cancelled {
                self.events.tell(call);
            }
            add(all, erased);
            if page.len() < ERASE_BATCH {
                return Ok(());
            }
        }
    }
}

/// The audit names the tags' keys, not their values: those are what was to be forgotten.
fn entry(erasure: &Erasure, keys: &[String], erased: &Erased) -> AuditEntry {
    let detail = format!(
        "{} calls, {} attempts and {} earlier requests blanked; {} running calls left",
        erased.calls, erased.attempts, erased.revisions, erased.running_skipped
    );
    AuditEntry {
        actor: erasure.actor.clone(),
        action: AuditAction::Erase,
        call: None,
        subject: Some(format!("tags {}", keys.join(", "))),
        note: erasure.note.clone(),
        detail: Some(detail),
    }
}

fn add(all: &mut Erased, page: Erased) {
    all.calls += page.calls;
    all.attempts += page.attempts;
    all.revisions += page.revisions;
    all.running_skipped += page.running_skipped;
    all.cancelled.extend(page.cancelled);
}
