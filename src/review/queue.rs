//! The queue `<prefix>.replay`: a message moved there from `<prefix>.review`, or published by hand, replays its call.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::Desk;
use crate::broker::{Broker, Delivery, Published};
use crate::call::CallId;
use crate::ledger::{Acted, OperatorAction, Order};
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

/// What a message must hold; an event document of `<prefix>.review` does.
#[derive(Deserialize)]
struct ReplayRequest {
    call: String,
    #[serde(default)]
    note: String,
}

/// What is to happen to a message.
enum Handled {
    Done,
    Rejected(&'static str, String),
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
                Handled::Rejected(code, detail) => self.reject(&delivery, code, detail).await,
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
        let request: ReplayRequest = match serde_json::from_slice(&delivery.body) {
            Ok(request) => request,
            Err(error) => {
                return Handled::Rejected(
                    "malformed_json",
                    format!("a replay request is {{\"call\":\"<id>\"}}: {error}"),
                );
            }
        };
        let Some(call) = CallId::parse(&request.call) else {
            return Handled::Rejected(
                "invalid_value",
                format!("call is {:?}; it must be a call's id", request.call),
            );
        };
        let actor = delivery.user_id().or_else(|| delivery.app_id()).unwrap_or("anonymous");
        let action = OperatorAction {
            call,
            actor: format!("{actor} via {}", delivery.routing_key),
            note: request.note.chars().take(1_000).collect(),
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
            Ok(Acted::Unknown) => Handled::Rejected("unknown_call", format!("there is no call {call}")),
            Err(error) => {
                tracing::debug!(call.id = %call, %error, "a replay request waits for the ledger");
                Handled::Later
            }
        }
    }

    async fn reject(&self, delivery: &Delivery, code: &'static str, detail: String) -> bool {
        let message = rejected_message(
            &self.broker.topology().names.rejected(),
            delivery,
            &Rejection::new(code, detail),
        );
        let outcomes = self.broker.publish(vec![message]).await;
        matches!(outcomes.first(), Some(Published::Confirmed))
    }
}
