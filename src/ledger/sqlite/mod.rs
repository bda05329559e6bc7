//! The ledger on SQLite.

use super::Result;

/// The ledger on SQLite.
pub struct SqliteLedger;
impl SqliteLedger {
    /// Opens.
    pub async fn open(_url: &str) -> Result<Self> {
        Err(super::LedgerError::BadUrl("not yet".into()))
    }
}
