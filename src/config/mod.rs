//! Configuration: what was written, read into what it means, all faults at once with their place.
