//! Journeys: the program from the outside, as a process, under the faults that its guarantees are about. Every one of them ends
//! with the same question: does everything hold that must ([`invariants`])?

mod bad_histories;
mod broker_away;
mod bulk;
mod database_away;
mod entities;
mod exclusive;
mod fencing;
mod invariants;
mod judging;
mod kill;
mod ladder;
mod load;
mod outcomes;
mod parking;
mod protection;
mod reload;
mod shutdown;
mod sweeping;
mod tickets;
