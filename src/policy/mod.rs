//! What comes next: from evidence to verdict, from verdict to next step. Pure functions, no clock, no I/O.
//!
//! Only this module decides; the ledger writes down what was decided, the worker carries it out.

pub mod choice;
pub mod retry_after;
pub mod step;
pub mod verdict;

pub use choice::{Candidate, Line, Pick, Wish, choose, has_alternative};
pub use step::{
    Decision, FirstStep, Reach, Standing, Step, doubt, first_step, is_repeatable, next_after_query, next_step,
};
pub use verdict::{find, judge, judge_by_default};

pub use crate::endpoint::Finding;
