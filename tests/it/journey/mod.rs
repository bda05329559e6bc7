//! Journeys: the program from the outside, as a process, under the faults that its guarantees are about. Every one of them ends
//! with the same question: does everything hold that must ([`invariants`])?

mod bad_histories;
mod invariants;
mod ladder;
mod load;
