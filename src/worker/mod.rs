//! From a due ticket to a recorded attempt.
