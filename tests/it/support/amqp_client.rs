//! An AMQP client as a publisher in another language has it: nothing of the program's own is between it and RabbitMQ.

use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::Value;

use super::wait_for;

/// One connection with one channel in confirm mode.
pub(crate) struct AmqpClient {
    _connection: Connection,
    channel: Channel,
}

/// A message that was taken out of a queue.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Its body.
    pub body: Vec<u8>,
    /// Its routing key.
    pub routing_key: String,
    /// Everything else of it.
    pub properties: BasicProperties,
}

impl Taken {
    /// A header that is text; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> String {
        let value = self.properties.headers().as_ref().and_then(|table| table.inner().get(name));
        let text = value.and_then(AMQPValue::as_long_string);
        text.map(|text| String::from_utf8(text.as_bytes().to_vec()).unwrap()).unwrap_or_default()
    }

    /// Its body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl AmqpClient {
    /// Connects.
    pub(crate) async fn connect(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { _connection: connection, channel }
    }

    /// Publishes and waits for the confirm; a message that no queue takes fails the test.
    pub(crate) async fn publish(&self, exchange: &str, key: &str, properties: BasicProperties, body: &[u8]) {
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let sent = self.channel.basic_publish(exchange.into(), key.into(), options, body, properties).await;
        let confirmation = sent.unwrap().await.unwrap();
        assert!(confirmation.is_ack(), "{confirmation:?}");
        assert!(confirmation.take_message().is_none(), "no queue takes {exchange} {key}");
    }

    /// Takes the next message out of a queue; `None` if it is empty.
    pub(crate) async fn take(&self, queue: &str) -> Option<Taken> {
        let got = self.channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap();
        let BasicGetMessage { delivery, .. } = got?;
        Some(Taken {
            body: delivery.data,
            routing_key: delivery.routing_key.to_string(),
            properties: delivery.properties,
        })
    }

    /// Takes so many messages out of a queue, when they are there.
    pub(crate) async fn take_many(&self, queue: &str, count: usize) -> Vec<Taken> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            let what = format!("message {} of {count} in {queue}", taken.len() + 1);
            taken.push(wait_for(&what, || self.take(queue)).await);
        }
        taken
    }

    /// How many messages wait in a queue; those that a consumer holds are not among them.
    pub(crate) async fn depth(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared =
            self.channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap();
        declared.message_count()
    }

    /// A queue of this connection's own that gets what an exchange routes by a key.
    pub(crate) async fn listen(&self, exchange: &str, key: &str) -> String {
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let declared = self.channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap();
        let queue = declared.name().to_string();
        let bound = self.channel.queue_bind(
            queue.as_str().into(),
            exchange.into(),
            key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await.unwrap();
        queue
    }
}

/// Properties of a message of JSON as a careful publisher sets them.
pub(crate) fn json_properties() -> BasicProperties {
    BasicProperties::default().with_content_type("application/json".into()).with_delivery_mode(2)
}
