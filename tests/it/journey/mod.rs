//! Journeys: the program from the outside, as a process, under the faults that its guarantees are about. Every one of them ends
//! with the same question: does everything hold that must ([`invariants`])?

mod bad_histories;
mod broker_away;
mod database_away;
mod entities;
mod exclusive;
mod fencing;
mod invariants;
mod kill;
mod ladder;
mod load;
mod outcomes;
mod shutdown;
mod sweeping;
mod tickets;
