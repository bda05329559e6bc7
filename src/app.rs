//! Builds the program from its configuration, starts its parts in order and stops them in order.
