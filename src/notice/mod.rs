//! Tells the outside about outcomes: events in RabbitMQ, callbacks.
