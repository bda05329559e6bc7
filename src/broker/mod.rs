//! RabbitMQ plumbing: connections, confirmed publishing, consuming, topology. Knows no calls.
//!
//! [`Broker`] keeps two connections, one that publishes and one that consumes: a memory alarm stops every write on a connection
//! that publishes, and acknowledgements must get out all the same. The two live and die together as a session; a supervisor
//! opens sessions for ever. lapin's own recovery stays off: it recovers no channel errors and hides what was lost.
//!
//! Invariants: what was not confirmed is unknown, never assumed to be lost; nothing here waits without a bound; the topology is
//! declared before anybody publishes or consumes on a new session.

pub mod address;
pub mod admin;
mod carried;
pub mod check;
pub mod consume;
pub mod declare;
pub mod definitions;
mod management;
mod peek;
mod publish;
mod session;
pub mod topology;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{BROKER_CLOSE_TIMEOUT, CONFIRM_WINDOW, PUBLISH_CHANNELS, PUBLISH_QUEUE};

pub use address::Address;
pub use admin::{Admin, QueueCounts, Stale};
pub use carried::Carried;
pub use consume::{Death, Delivery, Settlement};
pub use management::{ManagementUrl, Overview, overview};
pub use peek::Peek;
pub use publish::{ContentType, HeaderValue, Message, Published, Routing};
pub use topology::{Names, Topology};

use session::Session;

/// What the plumbing needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where RabbitMQ is, and who we are there.
    pub address: Address,
    /// How the connections are called in RabbitMQ's own lists.
    pub connection_name: String,
    /// Whether the topology is declared by this process.
    pub declare: Declare,
}

/// Whether this process declares the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declare {
    /// At every new session, and when a queue turns out to be missing.
    Apply,
    /// Never: somebody else does, and this process may lack the permission.
    Never,
}

/// Why RabbitMQ could not be asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BrokerError {
    /// It cannot be reached or did not answer in time: try again later.
    #[error("RabbitMQ is away: {0}")]
    Away(String),
    /// It answered, and refused: trying again will not help.
    #[error("RabbitMQ refused ({code}): {text}")]
    Refused {
        /// The AMQP reply code, such as 404 or 406.
        code: u16,
        /// RabbitMQ's own words.
        text: String,
    },
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        // Soft errors close a channel, because of what was asked; all others end the connection.
        if let lapin::ErrorKind::ProtocolError(amqp) = error.kind()
            && error.is_amqp_soft_error()
        {
            return Self::Refused { code: amqp.get_id(), text: amqp.get_message().to_string() };
        }
        Self::Away(error.to_string())
    }
}

impl BrokerError {
    /// RabbitMQ did not answer in time.
    fn silent() -> Self {
        Self::Away("no answer in time".to_owned())
    }

    /// Whether what was asked for does not exist.
    fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }
}

/// A standing relation to RabbitMQ, through any number of connections.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<publish::Job>,
    tasks: TaskTracker,
    /// One look into a queue at a time: two would hide messages from each other.
    peeking: Arc<tokio::sync::Mutex<()>>,
}

/// What the supervisor, the publishers and the consumers share.
#[derive(Debug)]
struct Shared {
    config: Config,
    topology: ArcSwap<Topology>,
    admin: Admin,
    session: watch::Sender<Option<Arc<Session>>>,
    /// Consumers end.
    stop: CancellationToken,
    /// Everything ends.
    closing: CancellationToken,
}

impl Broker {
    /// Starts to connect, and returns at once: RabbitMQ need not be up.
    ///
    /// When `stop` is cancelled consumers end; publishing and acknowledging go on until [`Broker::close`].
    pub fn start(config: Config, topology: Topology, stop: CancellationToken) -> Arc<Self> {
        let (jobs, queue) = mpsc::channel(PUBLISH_QUEUE);
        let admin = Admin::new(&config.address, &config.connection_name);
        let shared = Arc::new(Shared {
            config,
            topology: ArcSwap::from_pointee(topology),
            admin,
            session: watch::Sender::new(None),
            stop,
            closing: CancellationToken::new(),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(session::supervise(Arc::clone(&shared)));
        let queue = Arc::new(tokio::sync::Mutex::new(queue));
        for _ in 0..PUBLISH_CHANNELS {
            tasks.spawn(publish::run(Arc::clone(&shared), Arc::clone(&queue)));
        }
        Arc::new(Self { shared, jobs, tasks, peeking: Arc::default() })
    }

    /// Whether nothing can be published now: not connected, or blocked by one of RabbitMQ's alarms.
    pub fn is_away(&self) -> bool {
        self.shared.session.borrow().as_ref().is_none_or(|session| session.is_blocked())
    }

    /// Waits until a session is open and not blocked.
    pub async fn connected(&self) {
        let mut session = self.shared.session.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ =
            session.wait_for(|session| session.as_ref().is_some_and(|session| !session.is_blocked())).await;
    }

    /// Publishes messages and says what became of each, in their order.
    ///
    /// Returns within the confirm timeout after RabbitMQ went silent, and at once while it is known to be away.
    pub async fn publish(&self, messages: Vec<Message>) -> Vec<Published> {
        let mut outcomes = Vec::with_capacity(messages.len());
        let mut messages = messages.into_iter();
        let mut answers = Vec::new();
        loop {
            let chunk: Vec<Message> = messages.by_ref().take(CONFIRM_WINDOW).collect();
            if chunk.is_empty() {
                break;
            }
            answers.push((chunk.len(), self.hand_over(chunk).await));
        }
        for (count, answer) in answers {
            match answer {
                Some(answer) => {
                    outcomes.extend(answer.await.unwrap_or_else(|_| vec![Published::Unknown; count]));
                }
                None => outcomes.extend(std::iter::repeat_n(Published::Away, count)),
            }
        }
        outcomes
    }

    async fn hand_over(
        &self,
        messages: Vec<Message>,
    ) -> Option<tokio::sync::oneshot::Receiver<Vec<Published>>> {
        if self.is_away() {
            return None;
        }
        let (job, answer) = publish::Job::new(messages);
        self.jobs.send(job).await.ok().map(|()| answer)
    }

    /// Consumes a queue for as long as the receiver lives, through reconnections and deletions of the queue.
    ///
    /// At most `prefetch` deliveries are out and unsettled. One that is dropped without being acknowledged goes back to the queue.
    pub fn consume(&self, queue: &str, prefetch: u16) -> mpsc::Receiver<Delivery> {
        self.consume_with(queue, prefetch, Some)
    }

    /// Like [`Broker::consume`], with a step that turns each delivery into what the receiver wants, or keeps it from it.
    pub fn consume_with<T, F>(&self, queue: &str, prefetch: u16, read: F) -> mpsc::Receiver<T>
    where
        T: Send + 'static,
        F: FnMut(Delivery) -> Option<T> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(usize::from(prefetch.max(1)));
        let consumer = consume::Consumer { queue: queue.to_owned(), prefetch, read, sender };
        self.tasks.spawn(consume::run(Arc::clone(&self.shared), consumer));
        receiver
    }

    /// Short questions on a connection of their own.
    pub fn admin(&self) -> &Admin {
        &self.shared.admin
    }

    /// What this process declares.
    pub fn topology(&self) -> Arc<Topology> {
        self.shared.topology.load_full()
    }

    /// Puts another topology in the place of the present one: declares what is new, and takes away the bindings that only the old one
    /// had. Queues stay, because they may hold messages.
    ///
    /// # Errors
    /// RabbitMQ is away: the next session declares what is new; old bindings then stay.
    pub async fn adopt(&self, topology: Topology) -> Result<(), BrokerError> {
        let topology = Arc::new(topology);
        let before = self.shared.topology.swap(Arc::clone(&topology));
        match self.shared.config.declare {
            Declare::Never => Ok(()),
            Declare::Apply => {
                declare::report(self.admin().apply(&topology).await?);
                let gone = |binding: &&topology::Binding| !topology.bindings.contains(binding);
                self.admin().unbind(before.bindings.iter().filter(gone)).await
            }
        }
    }

    /// Ends everything and closes the connections, within a few seconds. What is published from now on is `Away` or `Unknown`.
    pub async fn close(&self) {
        self.shared.stop.cancel();
        self.shared.closing.cancel();
        self.tasks.close();
        // What does not end in time ends with the process; RabbitMQ notices by itself.
        let _ = tokio::time::timeout(BROKER_CLOSE_TIMEOUT * 2, self.tasks.wait()).await;
        self.shared.admin.close().await;
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.shared.closing.cancel();
    }
}
