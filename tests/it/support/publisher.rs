//! A foreign program that publishes: a plain AMQP client, which knows the exchanges' names and nothing else of Redial.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm};
use serde_json::Value;

/// A connected publisher.
pub(crate) struct Publisher {
    channel: Channel,
    connection: Connection,
    prefix: String,
}

impl Publisher {
    /// Connects.
    pub(crate) async fn connect(url: &str, prefix: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { channel, connection, prefix: prefix.to_owned() }
    }

    /// Submits a call; it is confirmed when this returns.
    pub(crate) async fn submit(&self, document: &Value) {
        self.submit_all(std::slice::from_ref(document)).await;
    }

    /// Submits calls, one behind the other; all are confirmed when this returns.
    pub(crate) async fn submit_all(&self, documents: &[Value]) {
        let mut confirms = Vec::with_capacity(documents.len());
        for document in documents {
            let endpoint = document["endpoint"].as_str().unwrap();
            confirms.push(self.send("submit", endpoint, document.to_string().as_bytes()).await);
        }
        for confirm in confirms {
            assert!(
                matches!(confirm.await.unwrap(), Confirmation::Ack(None)),
                "a submission was not confirmed"
            );
        }
    }

    /// Publishes to the exchange of this name, its prefix left out; answers whether the broker took it and had a queue for it.
    pub(crate) async fn publish(&self, exchange: &str, key: &str, body: &[u8]) -> bool {
        let confirm = self.send(exchange, key, body).await;
        matches!(confirm.await.unwrap(), Confirmation::Ack(None))
    }

    async fn send(&self, exchange: &str, key: &str, body: &[u8]) -> PublisherConfirm {
        let exchange = format!("{}.{exchange}", self.prefix);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties =
            BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
        self.channel.basic_publish(exchange.into(), key.into(), options, body, properties).await.unwrap()
    }

    /// Messages that stand ready in the queue of this name, its prefix left out.
    pub(crate) async fn ready(&self, queue: &str) -> u32 {
        let name = format!("{}.{queue}", self.prefix);
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = self.channel.queue_declare(name.into(), options, FieldTable::default()).await.unwrap();
        queue.message_count()
    }

    /// Empties the queue of this name, its prefix left out; answers how many messages are lost.
    pub(crate) async fn purge(&self, queue: &str) -> u32 {
        let name = format!("{}.{queue}", self.prefix);
        self.channel.queue_purge(name.into(), QueuePurgeOptions::default()).await.unwrap()
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        let _ = self.connection.close(200, "OK".into()).await;
    }
}
