//! Short questions to RabbitMQ, on pooled connections apart from those that carry calls.
//!
//! A question that RabbitMQ answers with an error closes its channel; here that harms nobody. Every question has a bound.

use std::sync::Arc;
use std::time::Duration;

use deadpool_lapin::{Hook, HookError, Pool, Runtime, Timeouts};
use lapin::Channel;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{FieldTable, ShortString};
use tokio::sync::Mutex;

use super::declare::{self, Refusal};
use super::session::{answered, properties};
use super::topology::{Binding, Topology};
use super::{Address, BrokerError, Declare, Shared};
use crate::call::EndpointName;
use crate::clock::monotonic;
use crate::limits::{BROKER_ANSWER_TIMEOUT, BROKER_CLOSE_TIMEOUT, BROKER_CONNECT_TIMEOUT};

/// Connections for short work.
const POOL_SIZE: usize = 2;
/// Several consumers miss their queues at once; one declaration in this time serves them all.
const DECLARE_AGAIN_PAUSE: Duration = Duration::from_secs(1);
/// Time for RabbitMQ to tell all consumers of a deleted queue that they are cancelled. Declared again at once, it would
/// subscribe them to the new queue without their knowledge (see `consume`).
const DECLARE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What is done with lanes that are left from another configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// They are looked at.
    Look,
    /// They get no further messages.
    Unbind,
}

/// What stands in a queue, and who takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueCounts {
    /// Messages that stand ready.
    pub ready: u64,
    /// Consumers.
    pub consumers: u64,
}

/// Asks RabbitMQ short questions.
#[derive(Clone)]
pub struct Admin {
    pool: Result<Pool, String>,
    declared: Arc<Mutex<Option<std::time::Instant>>>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// An admin that connects when it is first asked. Needs a tokio runtime.
    pub fn new(address: &Address, connection_name: &str) -> Self {
        let pool = pool(address, connection_name).map_err(|error| error.to_string());
        Self { pool, declared: Arc::default() }
    }

    /// Messages that stand ready in a queue; `None` if there is no such queue.
    ///
    /// # Errors
    /// RabbitMQ is away, or we may not ask.
    pub async fn ready(&self, queue: &str) -> Result<Option<u64>, BrokerError> {
        Ok(self.ready_in(&[queue.to_owned()]).await?.pop().flatten())
    }

    /// Messages that stand ready in each of these queues, in their order.
    ///
    /// # Errors
    /// RabbitMQ is away, or we may not ask.
    pub async fn ready_in(&self, queues: &[String]) -> Result<Vec<Option<u64>>, BrokerError> {
        let counts = self.counts_of(queues).await?;
        Ok(counts.into_iter().map(|counts| counts.map(|counts| counts.ready)).collect())
    }

    /// What stands in each of these queues, in their order.
    ///
    /// # Errors
    /// RabbitMQ is away, or we may not ask.
    pub async fn counts_of(&self, queues: &[String]) -> Result<Vec<Option<QueueCounts>>, BrokerError> {
        let connection = self.connection().await?;
        let mut channel = answered(connection.create_channel()).await?;
        let mut counts = Vec::new();
        for queue in queues {
            match passive(&channel, queue).await {
                Ok(count) => counts.push(Some(count)),
                Err(error) if error.is_missing() => {
                    counts.push(None);
                    channel = answered(connection.create_channel()).await?;
                }
                Err(error) => return Err(error),
            }
        }
        let _ = answered(channel.close(200, "OK".into())).await;
        Ok(counts)
    }

    /// Declares everything that is missing, and tells what was refused.
    ///
    /// # Errors
    /// RabbitMQ is away.
    pub async fn apply(&self, topology: &Topology) -> Result<Vec<Refusal>, BrokerError> {
        let connection = self.connection().await?;
        declare::apply(&connection, topology).await
    }

    /// Looks for lanes that are left from another configuration; answers those that exist, with the messages in each. With
    /// [`Stale::Unbind`] nothing comes into them any more.
    ///
    /// # Errors
    /// RabbitMQ is away, or we may not ask.
    pub async fn stale_lanes(
        &self,
        topology: &Topology,
        what: Stale,
    ) -> Result<Vec<(String, u64)>, BrokerError> {
        let stale = topology.stale_lanes();
        let queues: Vec<String> = stale.keys().cloned().collect();
        let counts = self.ready_in(&queues).await?;
        let found: Vec<_> =
            queues.into_iter().zip(counts).filter_map(|(queue, count)| Some((queue, count?))).collect();
        if what == Stale::Unbind && !found.is_empty() {
            self.unbind(found.iter().flat_map(|(queue, _)| &stale[queue])).await?;
        }
        Ok(found)
    }

    /// Takes the lane of an endpoint that is not configured any more out of its tickets' way, so that they reach the catch-all lane.
    /// Answers the queues that there are; `None`, and nothing is changed, while somebody consumes one: a process that has the endpoint.
    ///
    /// # Errors
    /// RabbitMQ is away, or we may not ask or unbind.
    pub async fn desert_lanes(
        &self,
        topology: &Topology,
        endpoint: &EndpointName,
    ) -> Result<Option<Vec<String>>, BrokerError> {
        let bindings = topology.lanes_before(endpoint);
        let queues: Vec<String> = bindings.iter().map(|binding| binding.queue.clone()).collect();
        let counts = self.counts_of(&queues).await?;
        if counts.iter().flatten().any(|counts| counts.consumers > 0) {
            return Ok(None);
        }
        let found: Vec<&Binding> =
            bindings.iter().zip(counts).filter_map(|(binding, counts)| counts.map(|_| binding)).collect();
        self.unbind(found.iter().copied()).await?;
        Ok(Some(found.into_iter().map(|binding| binding.queue.clone()).collect()))
    }

    /// Takes bindings away; one that is not there is no error.
    ///
    /// # Errors
    /// RabbitMQ is away, or we may not unbind.
    pub async fn unbind(&self, bindings: impl Iterator<Item = &Binding>) -> Result<(), BrokerError> {
        let connection = self.connection().await?;
        let mut channel = answered(connection.create_channel()).await?;
        for Binding { queue, exchange, key } in bindings {
            let (queue, exchange, key) =
                (queue.as_str().into(), exchange.as_str().into(), key.as_str().into());
            match answered(channel.queue_unbind(queue, exchange, key, FieldTable::default())).await {
                Ok(()) => {}
                Err(error) if error.is_missing() => channel = answered(connection.create_channel()).await?,
                Err(error) => return Err(error),
            }
        }
        let _ = answered(channel.close(200, "OK".into())).await;
        Ok(())
    }

    /// Deletes queues and exchanges of a topology, with all that is in them. For tests and for taking Redial down.
    ///
    /// # Errors
    /// RabbitMQ is away, or we may not delete.
    pub async fn delete(&self, topology: &Topology) -> Result<(), BrokerError> {
        let connection = self.connection().await?;
        let channel = answered(connection.create_channel()).await?;
        let stale = topology.stale_lanes();
        for queue in topology.queues.iter().map(|queue| &queue.name).chain(stale.keys()) {
            let name = queue.as_str().into();
            answered(channel.queue_delete(name, QueueDeleteOptions::default())).await?;
        }
        for exchange in &topology.exchanges {
            let name = exchange.name.as_str().into();
            let options = lapin::options::ExchangeDeleteOptions::default();
            answered(channel.exchange_delete(name, options)).await?;
        }
        Ok(())
    }

    /// A connection for a short while.
    pub(super) async fn connection(&self) -> Result<deadpool_lapin::Connection, BrokerError> {
        let pool = self.pool.as_ref().map_err(|error| BrokerError::Away(error.clone()))?;
        pool.get().await.map_err(|error| BrokerError::Away(error.to_string()))
    }

    /// Closes the connections.
    pub async fn close(&self) {
        let Ok(pool) = &self.pool else { return };
        let idle = pool.status().available;
        for _ in 0..idle {
            let Ok(Ok(connection)) = tokio::time::timeout(BROKER_CLOSE_TIMEOUT, pool.get()).await else {
                break;
            };
            let connection = deadpool_lapin::Object::take(connection);
            let _ = tokio::time::timeout(BROKER_CLOSE_TIMEOUT, connection.close(200, "OK".into())).await;
        }
        pool.close();
    }
}

impl Shared {
    /// Declares the topology once more, because something turned out to be missing.
    pub(super) async fn declare_again(&self) {
        match self.config.declare {
            Declare::Never => return,
            Declare::Apply => {}
        }
        let mut declared = self.admin.declared.lock().await;
        if declared.is_some_and(|at| at.elapsed() < DECLARE_AGAIN_PAUSE) {
            return;
        }
        tokio::select! {
            () = self.closing.cancelled() => return,
            () = tokio::time::sleep(DECLARE_AGAIN_AFTER) => {}
        }
        match self.admin.connection().await {
            Ok(connection) => {
                if let Err(error) = declare::apply_and_report(&connection, &self.topology.load_full()).await {
                    tracing::warn!(%error, "cannot declare the topology again");
                }
            }
            Err(error) => tracing::warn!(%error, "cannot declare the topology again"),
        }
        *declared = Some(monotonic());
    }
}

fn pool(address: &Address, connection_name: &str) -> Result<Pool, deadpool_lapin::CreatePoolError> {
    let config = deadpool_lapin::Config { url: Some(address.uri().to_string()), pool: None };
    let name = connection_name.to_owned();
    let builder = config
        .builder(move || properties(&name, "asks"), Runtime::Tokio1)
        .map_err(deadpool_lapin::CreatePoolError::Config)?;
    builder
        .max_size(POOL_SIZE)
        .timeouts(Timeouts {
            wait: Some(BROKER_ANSWER_TIMEOUT),
            create: Some(BROKER_CONNECT_TIMEOUT),
            recycle: Some(BROKER_ANSWER_TIMEOUT),
        })
        // The pool's own check takes a blocked connection for a good one, and nothing can be written on it.
        .pre_recycle(Hook::sync_fn(|connection, _| {
            if connection.status().connected() && !connection.status().blocked() {
                Ok(())
            } else {
                Err(HookError::message("not connected, or blocked"))
            }
        }))
        .build()
        .map_err(deadpool_lapin::CreatePoolError::Build)
}

/// What stands in a queue. The channel is closed by a queue that is missing or forbidden.
pub(super) async fn passive(channel: &Channel, queue: &str) -> Result<QueueCounts, BrokerError> {
    let name = ShortString::try_new(queue)
        .map_err(|_| BrokerError::Refused { code: 404, text: "the queue's name is too long".to_owned() })?;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = answered(channel.queue_declare(name, options, FieldTable::default())).await?;
    Ok(QueueCounts { ready: u64::from(queue.message_count()), consumers: u64::from(queue.consumer_count()) })
}
