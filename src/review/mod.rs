//! What a person may do with a call: replay it, cancel it, declare it resolved.
//!
//! Every action is guarded by the call's state and logged in the ledger; the API, the console, the command line and the queue
//! `<prefix>.replay` ([`queue`]) all come through here.

mod erase;
mod holds;
pub mod queue;

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::call::Call;
use crate::delay::{Delay, Departure};
use crate::ledger::{Acted, Ledger, LedgerError, OperatorAction, Settled, Settlement};
use crate::notice::Events;

/// Carries out what operators ask for. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    ledger: Arc<dyn Ledger>,
    delay: Arc<dyn Delay>,
    events: Events,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk")
    }
}

impl Desk {
    /// A desk that works on this ledger and sends replayed calls on their way through `delay`.
    pub fn new(ledger: Arc<dyn Ledger>, delay: Arc<dyn Delay>, events: Events, tasks: TaskTracker) -> Self {
        Self { ledger, delay, events, tasks }
    }

    /// Carries out an action; durable and logged when it returns.
    ///
    /// # Errors
    /// [`LedgerError`]: whether it was carried out is unknown.
    pub async fn act(&self, action: &OperatorAction) -> Result<Acted, LedgerError> {
        let acted = self.ledger.act(action).await?;
        if let Acted::Done(call) = &acted {
            tracing::info!(call.id = %call.id, actor = action.actor, action = %action.order.kind(), "an operator acted on a call");
            self.follow_up(call);
        }
        Ok(acted)
    }

    /// Settles a call by a third party's word; durable when it returns.
    ///
    /// # Errors
    /// [`LedgerError`]: whether it was settled is unknown.
    pub async fn settle(&self, settlement: &Settlement) -> Result<Settled, LedgerError> {
        let settled = self.ledger.settle(settlement).await?;
        if let Settled::Changed(call) = &settled {
            tracing::info!(call.id = %call.id, endpoint = %call.endpoint, report = %settlement.report, "a third party settled a call by itself");
            self.follow_up(call);
        }
        Ok(settled)
    }

    fn follow_up(&self, call: &Call) {
        match Departure::of(call) {
            Some(departure) => self.see_off(departure),
            None => self.events.tell(call),
        }
    }

    fn see_off(&self, departure: Departure) {
        let (delay, id) = (Arc::clone(&self.delay), departure.ticket.call);
        self.tasks.spawn(async move {
            if let Err(error) = delay.depart(vec![departure]).await {
                tracing::debug!(call.id = %id, %error, "a replayed call's ticket could not be published; the sweeper will find the call");
            }
        });
    }
}
