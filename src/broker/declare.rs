//! Declares the topology: each object by itself, so that one that RabbitMQ refuses does not keep the others from existing.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};

use super::BrokerError;
use super::session::answered;
use super::topology::{Argument, Arguments, Binding, Exchange, ExchangeKind, Queue, Topology};

/// An object that RabbitMQ refused, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was to be declared, such as `queue redial.due.sms`.
    pub object: String,
    /// The AMQP reply code.
    pub code: u16,
    /// RabbitMQ's own words.
    pub text: String,
}

/// One thing to declare.
pub(super) enum Step<'a> {
    Exchange(&'a Exchange),
    Queue(&'a Queue),
    Binding(&'a Binding),
}

impl Step<'_> {
    async fn declare(&self, channel: &Channel) -> Result<(), BrokerError> {
        match self {
            Self::Exchange(exchange) => declare_exchange(channel, exchange).await,
            Self::Queue(queue) => declare_queue(channel, queue).await,
            Self::Binding(binding) => declare_binding(channel, binding).await,
        }
    }

    /// Whether it is there and alike. What is missing is not created; a binding cannot be asked for.
    pub(super) async fn compare(&self, channel: &Channel) -> Result<(), BrokerError> {
        match self {
            Self::Exchange(exchange) => find_exchange(channel, exchange).await?,
            Self::Queue(queue) => find_queue(channel, queue).await?,
            Self::Binding(_) => return Ok(()),
        }
        self.declare(channel).await
    }

    /// What it is, in words.
    pub(super) fn object(&self) -> String {
        match self {
            Self::Exchange(exchange) => format!("exchange {}", exchange.name),
            Self::Queue(queue) => format!("queue {}", queue.name),
            Self::Binding(Binding { queue, exchange, key }) => {
                format!("binding of queue {queue} to exchange {exchange} by {key}")
            }
        }
    }
}

/// Declares everything that is missing. What exists with other arguments stays as it is and is refused.
///
/// # Errors
/// RabbitMQ is away.
pub async fn apply(connection: &Connection, topology: &Topology) -> Result<Vec<Refusal>, BrokerError> {
    let mut refusals = Vec::new();
    let mut channel = answered(connection.create_channel()).await?;
    let exchanges = topology.exchanges.iter().map(Step::Exchange);
    let queues = topology.queues.iter().map(Step::Queue);
    let bindings = topology.bindings.iter().map(Step::Binding);
    for step in exchanges.chain(queues).chain(bindings) {
        match step.declare(&channel).await {
            Ok(()) => {}
            Err(BrokerError::Refused { code, text }) => {
                refusals.push(Refusal { object: step.object(), code, text });
                // The refusal has closed the channel.
                channel = answered(connection.create_channel()).await?;
            }
            Err(away @ BrokerError::Away(_)) => return Err(away),
        }
    }
    let _ = answered(channel.close(200, "OK".into())).await;
    Ok(refusals)
}

/// Declares everything that is missing; what is refused is logged, and does not keep calls from going on.
pub(super) async fn apply_and_report(
    connection: &Connection,
    topology: &Topology,
) -> Result<(), BrokerError> {
    report(apply(connection, topology).await?);
    Ok(())
}

/// Logs what was refused.
pub(super) fn report(refusals: Vec<Refusal>) {
    for Refusal { object, code, text } in refusals {
        tracing::error!(
            object,
            code,
            text,
            "RabbitMQ refused a declaration; `redial topology check` tells what differs"
        );
    }
}

async fn declare_exchange(channel: &Channel, exchange: &Exchange) -> Result<(), BrokerError> {
    let kind = match exchange.kind {
        ExchangeKind::Topic => lapin::ExchangeKind::Topic,
        ExchangeKind::Fanout => lapin::ExchangeKind::Fanout,
    };
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let name = exchange.name.as_str().into();
    answered(channel.exchange_declare(name, kind, options, table(&exchange.arguments))).await
}

async fn find_exchange(channel: &Channel, exchange: &Exchange) -> Result<(), BrokerError> {
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let (name, kind) = (exchange.name.as_str().into(), lapin::ExchangeKind::Topic);
    answered(channel.exchange_declare(name, kind, options, FieldTable::default())).await
}

async fn find_queue(channel: &Channel, queue: &Queue) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    answered(channel.queue_declare(queue.name.as_str().into(), options, FieldTable::default())).await?;
    Ok(())
}

async fn declare_queue(channel: &Channel, queue: &Queue) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    answered(channel.queue_declare(queue.name.as_str().into(), options, table(&queue.arguments))).await?;
    Ok(())
}

async fn declare_binding(channel: &Channel, binding: &Binding) -> Result<(), BrokerError> {
    let Binding { queue, exchange, key } = binding;
    let options = QueueBindOptions::default();
    let arguments = FieldTable::default();
    answered(channel.queue_bind(
        queue.as_str().into(),
        exchange.as_str().into(),
        key.as_str().into(),
        options,
        arguments,
    ))
    .await
}

/// Arguments as RabbitMQ takes them. Numbers are 64 bits wide, as in imported definitions: it compares types too.
fn table(arguments: &Arguments) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
            Argument::Flag(flag) => AMQPValue::Boolean(*flag),
        };
        table.insert((*name).into(), value);
    }
    table
}
