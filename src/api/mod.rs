//! The HTTP API: a door. Reads requests, calls the modules below, writes answers; decides nothing.
