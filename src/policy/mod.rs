//! What comes next: from evidence to verdict, from verdict to next step. Pure functions, no clock, no I/O.
//!
//! Only this module decides; the ledger writes down what was decided, the worker carries it out.

pub mod retry_after;
pub mod step;
pub mod verdict;

pub use step::{FirstStep, Standing, Step, first_step, next_step};
pub use verdict::judge;
