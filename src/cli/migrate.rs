//! `redial migrate`: brings the schema to this program's version.

use std::process::ExitCode;

use super::{ConfigArgs, Outcome, load};
use crate::app::ledger_config;
use crate::config::Purpose;
use crate::ledger;

/// Migrates the configured database.
///
/// # Errors
/// The configuration is wrong, or the database cannot be reached or migrated.
pub async fn run(args: ConfigArgs) -> Outcome {
    let settings = load(&args, Purpose::Administer)?;
    let ledger = ledger::open(&ledger_config(&settings)).await?;
    let migrated = ledger.migrate().await;
    ledger.close().await;
    migrated?;
    println!("{} is up to date", settings.database.url);
    Ok(ExitCode::SUCCESS)
}
