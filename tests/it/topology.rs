//! Tests of topology.
