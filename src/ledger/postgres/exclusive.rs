//! A schema for one process alone: a session's advisory lock, kept by a connection of its own and taken again when that is lost.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::super::{LedgerError, Result};
use super::{connect, sql, took_too_long};

/// How often the lock is looked after.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the server may take to show that the connection lives.
const PING_MAX: Duration = Duration::from_secs(5);

/// The hold of this process on a schema.
#[derive(Debug)]
pub(super) struct Hold {
    options: PgConnectOptions,
    connection: Arc<Mutex<Option<PgConnection>>>,
    keeper: Mutex<Option<CancellationToken>>,
}

impl Hold {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options, connection: Arc::default(), keeper: Mutex::new(None) }
    }

    /// Takes the schema, or makes sure that it is still held. From the first success on a task keeps it.
    pub(super) async fn take(&self) -> Result<()> {
        secure(&self.options, &mut *self.connection.lock().await).await?;
        let mut keeper = self.keeper.lock().await;
        if keeper.is_none() {
            let stop = CancellationToken::new();
            *keeper = Some(stop.clone());
            let keeping = keep(self.options.clone(), Arc::clone(&self.connection));
            tokio::spawn(async move { stop.run_until_cancelled(keeping).await });
        }
        Ok(())
    }

    /// Lets go of the schema.
    pub(super) async fn release(&self) {
        if let Some(stop) = self.keeper.lock().await.take() {
            stop.cancel();
        }
        if let Some(connection) = self.connection.lock().await.take() {
            // The server lets go of the lock whether it hears the farewell or sees the connection end.
            drop(connection.close().await);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(stop) = self.keeper.get_mut() {
            stop.cancel();
        }
    }
}

/// Looks after the lock for ever. That another process has got it in between is said once each time.
async fn keep(options: PgConnectOptions, connection: Arc<Mutex<Option<PgConnection>>>) {
    let mut told = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match secure(&options, &mut *connection.lock().await).await {
            Err(error @ LedgerError::Occupied(_)) if !told => {
                told = true;
                tracing::error!(%error, "the hold on the ledger was lost with its connection");
            }
            Ok(()) => told = false,
            Err(_) => {}
        }
    }
}

/// Makes sure that the connection lives and holds the lock.
async fn secure(options: &PgConnectOptions, connection: &mut Option<PgConnection>) -> Result<()> {
    if let Some(held) = connection.as_mut() {
        match tokio::time::timeout(PING_MAX, held.ping()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(_)) | Err(_) => *connection = None,
        }
    }
    let mut fresh = connect::connect(options).await?;
    let asked = sqlx::query_scalar(sql::TRY_EXCLUSIVE).fetch_one(&mut fresh);
    let locked: bool = tokio::time::timeout(PING_MAX, asked).await.map_err(|_elapsed| took_too_long())??;
    if !locked {
        return Err(LedgerError::Occupied(
            "another process works on this database with the embedded broker, which one process only can do; stop it, or set \
             broker.url to RabbitMQ in both"
                .to_owned(),
        ));
    }
    *connection = Some(fresh);
    Ok(())
}
