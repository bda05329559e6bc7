//! What a person may do with an endpoint: pause it, resume it.

use super::Desk;
use crate::call::EndpointName;
use crate::gate::Hold;
use crate::ledger::audit::{AuditAction, AuditEntry};
use crate::ledger::{HoldChange, LedgerError};
use crate::notice::EndpointEvent;
use crate::worker::gates::RAMP;

impl Desk {
    /// Holds an endpoint until somebody resumes it; durable when it returns. Every process knows within half a second; attempts that
    /// are under way end as they would have. Pausing a paused endpoint changes the note.
    ///
    /// # Errors
    /// [`LedgerError`]: whether it is held is unknown.
    pub async fn pause(&self, endpoint: &EndpointName, actor: &str, note: &str) -> Result<(), LedgerError> {
        let change = HoldChange::Pause { actor: actor.to_owned(), note: note.to_owned() };
        let hold = self.ledger.change_hold(endpoint, &change).await?;
        tracing::info!(endpoint = %endpoint, actor, "an operator paused an endpoint");
        self.tell_of_hold(hold.as_ref());
        self.ledger.audit(&entry(AuditAction::Pause, endpoint, actor, note, None)).await
    }

    /// Lets calls out again, a few at first, whatever held the endpoint. Nothing happens to one that is not held.
    ///
    /// # Errors
    /// [`LedgerError`]: whether it is still held is unknown.
    pub async fn resume(&self, endpoint: &EndpointName, actor: &str, note: &str) -> Result<(), LedgerError> {
        let hold = self.ledger.change_hold(endpoint, &HoldChange::Resume { ramp: RAMP }).await?;
        tracing::info!(endpoint = %endpoint, actor, "an operator resumed an endpoint");
        self.tell_of_hold(hold.as_ref());
        let detail = hold.is_none().then(|| "it was not held".to_owned());
        self.ledger.audit(&entry(AuditAction::Resume, endpoint, actor, note, detail)).await
    }

    fn tell_of_hold(&self, hold: Option<&Hold>) {
        let Some(hold) = hold else { return };
        let event = EndpointEvent::of(hold);
        event.log();
        self.events.tell_endpoint(event);
    }
}

fn entry(
    action: AuditAction,
    endpoint: &EndpointName,
    actor: &str,
    note: &str,
    detail: Option<String>,
) -> AuditEntry {
    AuditEntry {
        actor: actor.to_owned(),
        action,
        call: None,
        subject: Some(endpoint.to_string()),
        note: note.to_owned(),
        detail,
    }
}
