//! One HTTP request out, evidence back. Decides nothing.
//!
//! One attempt is at most one HTTP request: no redirect is followed, no library resends.
