//! The delay transport inside one process: timers, refilled from the ledger at start.
