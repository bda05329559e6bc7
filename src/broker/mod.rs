//! RabbitMQ plumbing: connections, confirmed publishing, consuming, topology. Knows no calls.
