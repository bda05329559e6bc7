//! Compares what is declared.
