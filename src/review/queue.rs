//! The queue `<prefix>.replay`: a message moved there from `<prefix>.review`, or published by hand, replays its call.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Desk;
use crate::broker::{Broker, Delivery, Published};
use crate::call::CallId;
use crate::document::{self, DocumentError, Object};
use crate::ledger::{Acted, LedgerError, OperatorAction, Order};
use crate::limits::{LANE_PREFETCH, RECONNECT_PAUSE_MAX};
use crate::notice::rejection::{Rejection, rejected_message};

/// Takes replay requests out of RabbitMQ.
#[derive(Debug)]
pub struct ReplayQueue {
    /// Where actions are carried out.
    pub desk: Desk,
    /// Where messages come from and bad ones go.
    pub broker: Arc<Broker>,
}

/// What a message must hold; an event document of `<prefix>.review` does, so what else it holds is nobody's fault.
struct ReplayRequest {
    call: CallId,
    note: String,
}

impl ReplayRequest {
    fn read(bytes: &[u8]) -> Result<Self, DocumentError> {
        document::read(bytes, |raw, _, faults| {
            let mut object = Object::open(raw, String::new(), faults)?;
            object.required("call", faults);
            let call = object.name("call", faults, |text| {
                CallId::parse(text).ok_or("must be a call's id, as in {\"call\":\"<id>\"}")
            });
            let note =
                object.name("note", faults, |text| Ok::<_, String>(text.chars().take(1_000).collect()));
            Some(Self { call: call?, note: note.unwrap_or_default() })
        })
    }
}

/// What is to happen to a message.
enum Handled {
    Done,
    Rejected(Rejection),
    /// The ledger is away.
    Later,
}

impl ReplayQueue {
    /// Takes requests until stopped; what is not acknowledged by then comes again.
    pub async fn run(self, stop: CancellationToken) {
        let mut deliveries = self.broker.consume(&self.broker.topology().names.replay(), LANE_PREFETCH);
        loop {
            let delivery = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                delivery = deliveries.recv() => delivery,
            };
            let Some(delivery) = delivery else { return };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.take(delivery) => {}
            }
        }
    }

    async fn take(&self, delivery: Delivery) {
        let mut pause = Duration::from_millis(100);
        loop {
            let done = match self.handle(&delivery).await {
                Handled::Done => true,
                Handled::Rejected(rejection) => self.reject(&delivery, &rejection).await,
                Handled::Later => false,
            };
            if done {
                return delivery.ack();
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_PAUSE_MAX);
        }
    }

    async fn handle(&self, delivery: &Delivery) -> Handled {
        let ReplayRequest { call, note } = match ReplayRequest::read(&delivery.body) {
            Ok(request) => request,
            Err(error) => return Handled::Rejected(Rejection::new(error.code(), error.detail())),
        };
        let actor = delivery.user_id().or_else(|| delivery.app_id()).unwrap_or("anonymous");
        let action = OperatorAction {
            call,
            actor: format!("{actor} via {}", delivery.routing_key),
            note,
            if_revision: None,
            order: Order::Replay { request: None, new_key: false },
        };
        match self.desk.act(&action).await {
            Ok(Acted::NotAllowed(status)) => {
                tracing::info!(call.id = %call, %status, "a replay request was passed over: the call's state does not allow it");
                Handled::Done
            }
            // No revision was asked for, so none can be outdated.
            Ok(Acted::Done(_) | Acted::Outdated(_)) => Handled::Done,
            Ok(Acted::BodyErased(at)) => {
                tracing::info!(call.id = %call, %at, "a replay request was passed over: the call's bodies were erased");
                Handled::Done
            }
            Ok(Acted::Unknown) => {
                Handled::Rejected(Rejection::new("unknown_call", format!("there is no call {call}")))
            }
            Err(error @ (LedgerError::Refused(_) | LedgerError::Corrupt(_))) => {
                tracing::error!(call.id = %call, error = &error as &dyn std::error::Error, "the ledger cannot replay a call");
                Handled::Rejected(Rejection::new("not_storable", format!("the ledger cannot replay {call}")))
            }
            Err(error) => {
                tracing::debug!(call.id = %call, %error, "a replay request waits for the ledger");
                Handled::Later
            }
        }
    }

    async fn reject(&self, delivery: &Delivery, rejection: &Rejection) -> bool {
        let message = rejected_message(&self.broker.topology().names.rejected(), delivery, rejection);
        let outcomes = self.broker.publish(vec![message]).await;
        matches!(outcomes.first(), Some(Published::Confirmed))
    }
}
