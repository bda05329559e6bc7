//! What stands between a due call and its third party: breaker, rate, ramp, adaptive timeout, and the holds that park an endpoint.
//!
//! Pure state machines: the time is an argument, nothing here waits, locks or asks anybody.

pub mod adaptive;
pub mod breaker;
pub mod bucket;
pub mod entrance;
pub mod hold;
pub mod ramp;

pub use adaptive::Adaptive;
pub use breaker::{Breaker, Health};
pub use bucket::Bucket;
pub use entrance::{Answer, Entrance, Errand, Finding};
pub use hold::{Hold, HoldKind, Phase};
pub use ramp::Ramp;
