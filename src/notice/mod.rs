//! Tells the outside about outcomes: events in RabbitMQ, and the outbox that makes sure of those a person waits for.
//!
//! Events of final states are told once, when they happen, as well as the broker takes them. A call that enters review or
//! is superseded, and every outcome of a call with a callback, is kept in the ledger's outbox until it was told.

pub mod document;
pub mod endpoint;
pub mod events;
pub mod outbox;
pub mod rejection;

pub use document::Link;
pub use endpoint::EndpointEvent;
pub use events::Events;
pub use outbox::Outbox;
