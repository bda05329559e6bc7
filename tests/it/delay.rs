//! Tests of delay.
