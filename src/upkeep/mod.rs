//! Upkeep: what keeps the ledger useful and small beside the calls themselves. Tallies are added, what is old is removed.
//!
//! Nothing here decides about a call that is not finished, and nothing here may hold one up: small steps, pauses between them, and what
//! fails is tried again later.

pub mod retention;
pub mod tallies;
