//! What a person may do with a call.
