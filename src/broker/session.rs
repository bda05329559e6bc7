//! A session: two connections that live and die together, and the supervisor that opens one after the other for ever.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, future};
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{BrokerError, Config, Declare, Shared, declare};
use crate::clock::monotonic;
use crate::limits::{
    BROKER_ANSWER_TIMEOUT, BROKER_CLOSE_TIMEOUT, BROKER_CONNECT_TIMEOUT, RECONNECT_PAUSE_MAX,
};

/// How often the state of the connections is looked at, beside the events they send.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A session that lasted this long was a real one: the next pause is short again.
const LASTED: Duration = Duration::from_secs(10);
/// The first pause before another try.
const PAUSE_MIN: Duration = Duration::from_millis(100);

type Events = Pin<Box<dyn Stream<Item = Event> + Send>>;

/// Two open connections.
#[derive(Debug)]
pub(super) struct Session {
    publishing: Connection,
    consuming: Connection,
    blocked: watch::Sender<bool>,
    over: CancellationToken,
}

impl Session {
    /// Whether nothing can be written on the publishing connection.
    pub(super) fn is_blocked(&self) -> bool {
        *self.blocked.borrow() || !self.publishing.status().connected()
    }

    /// Resolves when a publish that is not confirmed yet will not be soon.
    pub(super) async fn hopeless(&self) {
        let mut blocked = self.blocked.subscribe();
        tokio::select! {
            () = self.over.cancelled() => {}
            _ = blocked.wait_for(|blocked| *blocked) => {}
        }
    }

    /// Resolves when the session has ended.
    pub(super) async fn ended(&self) {
        self.over.cancelled().await;
    }

    /// Whether the session has ended.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// A channel that publishes with confirms.
    pub(super) async fn publishing_channel(&self) -> Result<Channel, BrokerError> {
        answered(async {
            let channel = self.publishing.create_channel().await?;
            channel.confirm_select(lapin::options::ConfirmSelectOptions::default()).await?;
            Ok(channel)
        })
        .await
    }

    /// A channel that consumes.
    pub(super) async fn consuming_channel(&self) -> Result<Channel, BrokerError> {
        answered(self.consuming.create_channel()).await
    }

    async fn open(shared: &Shared) -> Result<(Self, Events, Events), BrokerError> {
        let (publishing, consuming) =
            tokio::try_join!(connect(&shared.config, "publishes"), connect(&shared.config, "consumes"))?;
        let events: (Events, Events) =
            (Box::pin(publishing.events_listener()), Box::pin(consuming.events_listener()));
        match shared.config.declare {
            Declare::Apply => declare::apply_and_report(&consuming, &shared.topology.load_full()).await?,
            Declare::Never => {}
        }
        let session = Self {
            publishing,
            consuming,
            blocked: watch::Sender::new(false),
            over: CancellationToken::new(),
        };
        Ok((session, events.0, events.1))
    }

    /// Watches both connections until one is gone.
    async fn watch(&self, mut publishing: Events, mut consuming: Events) -> String {
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut error = "the connection was closed".to_owned();
        loop {
            let event = tokio::select! {
                Some(event) = publishing.next() => Some(event),
                Some(event) = consuming.next() => Some(event),
                _ = look.tick() => None,
            };
            if let Some(Event::Error(told)) = event {
                error = told.to_string();
            }
            if !self.publishing.status().connected() || !self.consuming.status().connected() {
                return error;
            }
            self.note_blocking();
        }
    }

    fn note_blocking(&self) {
        let blocked = self.publishing.status().blocked();
        let changed = self.blocked.send_if_modified(|known| std::mem::replace(known, blocked) != blocked);
        match (changed, blocked) {
            (false, _) => {}
            (true, true) => tracing::warn!("RabbitMQ blocks publishing: a memory or disk alarm is on"),
            (true, false) => tracing::info!("RabbitMQ takes messages again"),
        }
    }

    /// Closes both connections, within a bound.
    async fn close(&self) {
        self.over.cancel();
        let goodbye =
            future::join(self.publishing.close(200, "OK".into()), self.consuming.close(200, "OK".into()));
        // A connection that is gone, or does not answer any more, needs no goodbye.
        let _ = tokio::time::timeout(BROKER_CLOSE_TIMEOUT, goodbye).await;
    }
}

/// Opens session after session until the broker is closed.
pub(super) async fn supervise(shared: Arc<Shared>) {
    let mut failures = 0;
    while !shared.closing.is_cancelled() {
        let opened = tokio::select! {
            biased;
            () = shared.closing.cancelled() => break,
            opened = Session::open(&shared) => opened,
        };
        match opened {
            Ok((session, publishing, consuming)) => {
                let since = monotonic();
                serve(&shared, session, publishing, consuming).await;
                failures = if since.elapsed() > LASTED { 0 } else { failures + 1 };
            }
            Err(error) => {
                report(&shared.config, failures, &error);
                failures += 1;
            }
        }
        tokio::select! {
            () = shared.closing.cancelled() => break,
            () = tokio::time::sleep(pause(failures, rand::random())) => {}
        }
    }
}

async fn serve(shared: &Shared, session: Session, publishing: Events, consuming: Events) {
    let session = Arc::new(session);
    tracing::info!(broker = %shared.config.address, "connected to RabbitMQ");
    shared.session.send_replace(Some(Arc::clone(&session)));
    tokio::select! {
        () = shared.closing.cancelled() => {}
        error = session.watch(publishing, consuming) => {
            tracing::warn!(broker = %shared.config.address, error, "lost the connection to RabbitMQ");
        }
    }
    shared.session.send_replace(None);
    session.close().await;
}

/// One line when RabbitMQ goes away, then one a minute or so: an outage of a night fills no disk.
fn report(config: &Config, failures: u32, error: &BrokerError) {
    if failures.is_multiple_of(16) {
        tracing::warn!(broker = %config.address, %error, "cannot connect to RabbitMQ; trying again");
    }
}

/// The pause after so many failures, doubling up to the limit; `jitter` in 0..1 takes away up to half of it.
fn pause(failures: u32, jitter: f64) -> Duration {
    let whole = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(RECONNECT_PAUSE_MAX);
    whole.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

async fn connect(config: &Config, purpose: &str) -> Result<Connection, BrokerError> {
    let properties = properties(&config.connection_name, purpose);
    let connecting = Connection::connect_uri(config.address.uri(), properties);
    match tokio::time::timeout(BROKER_CONNECT_TIMEOUT, connecting).await {
        Ok(connection) => Ok(connection?),
        Err(_) => Err(BrokerError::silent()),
    }
}

/// How a connection introduces itself.
pub(super) fn properties(name: &str, purpose: &str) -> ConnectionProperties {
    ConnectionProperties::default()
        .with_connection_name(format!("{name} {purpose}").into())
        .with_client_property("product".into(), "redial".into())
        .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into())
}

/// An answer from RabbitMQ, within the bound that every question has.
pub(super) async fn answered<T>(
    question: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(BROKER_ANSWER_TIMEOUT, question).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(BrokerError::silent()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_and_are_never_longer() {
        assert_eq!(pause(0, 0.0), PAUSE_MIN);
        assert_eq!(pause(1, 0.0), PAUSE_MIN * 2);
        for failures in [8, 100, u32::MAX] {
            assert_eq!(pause(failures, 0.0), RECONNECT_PAUSE_MAX);
            assert_eq!(pause(failures, 1.0), RECONNECT_PAUSE_MAX / 2);
        }
    }
}
