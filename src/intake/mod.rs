//! Takes submissions in: reads documents, places calls in the ledger, sends them on their way.
