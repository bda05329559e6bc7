//! The integration tests: one binary, real servers, the program from the outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod broker;
mod config;
mod console;
mod delay;
mod deploy;
mod doors;
mod fuzz;
mod invoker;
mod journey;
mod ledger;
mod reference;
mod simulator;
mod support;
mod tidy;
mod topology;
mod vendors;
