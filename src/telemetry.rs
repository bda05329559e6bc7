//! Counters of the process, and where its log goes.
