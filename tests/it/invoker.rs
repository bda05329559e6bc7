//! Tests of invoker.
