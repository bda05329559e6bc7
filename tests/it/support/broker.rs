//! RabbitMQ for tests.
