//! The ledger: the database of calls, attempts and operator actions, and the only source of truth.
//!
//! One seam, two implementations ([`postgres`], [`sqlite`]), one conformance suite (`tests/it/ledger.rs`). The hot path (accept,
//! claim, record) takes many calls at once and commits once; [`batch`] collects what many tasks want at the same time.
//! Nothing here decides what comes next: callers say it, the ledger writes it down if the call still stands where they think.

pub mod audit;
pub mod batch;
pub mod bulk;
mod fault;
pub mod holds;
mod key_use;
mod late;
mod look;
mod operator;
pub mod postgres;
pub mod reports;
mod review;
mod row;
pub mod schema;
pub mod sqlite;
pub mod upkeep;
pub mod whole;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use crate::call::{
    Action, ActionKind, Attempt, Call, CallId, Claim, ClaimNumber, Course, EndpointName, Event,
    IdempotencyKey, KeyUse, Mode, PastRevision, ProviderName, Publisher, Request, ReviewReason, Revision,
    Rung, State, Status, Submission, TagKey, Ticket, Trigger, WorkerName,
};
use crate::clock::Timestamp;

pub use holds::{HoldChange, HoldLedger, Park, ParkKind};
pub use reports::{KeptReport, ReportLedger, Settled, Settlement};
pub use upkeep::{EndpointTally, Erased, Erasure, ErasureMode, MinuteTally, Retention, Tidied, Upkeep};

/// Why the ledger could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It cannot be reached, or gave up on the statement: the same request may succeed later. Whether a commit took effect is unknown.
    #[error("the ledger is away")]
    Away(#[source] sqlx::Error),
    /// A search took longer than one may take beside the deliveries; a narrower one may succeed.
    #[error("the search took too long")]
    TooSlow,
    /// It refused one of the rows: repeating the same request cannot help.
    #[error("the ledger refused a row")]
    Refused(#[source] sqlx::Error),
    /// A row holds what no version of this program writes.
    #[error("the ledger holds a row that cannot be read: {0}")]
    Corrupt(String),
    /// The schema could not be brought to this program's version.
    #[error("the ledger could not be migrated")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// Another process has the ledger and does not share it; the sentence names it.
    #[error("{0}")]
    Occupied(String),
    /// The URL names no database that this program knows; the sentence says what is allowed.
    #[error("{0}")]
    BadUrl(String),
}

/// The result of a ledger operation.
pub type Result<T> = std::result::Result<T, LedgerError>;

/// Which database, and how it is used.
#[derive(Clone, Debug)]
pub struct Config {
    /// `postgres://…`, `postgresql://…` or `sqlite:path`. May hold a password.
    pub url: SecretString,
    /// Most connections to PostgreSQL, not counting those for searches. SQLite has one writer and a few readers, whatever this says.
    pub connections_max: u32,
}

/// Opens the ledger that the URL names. A PostgreSQL server need not be up: operations answer [`LedgerError::Away`] until it is.
///
/// # Errors
/// [`LedgerError::BadUrl`], and for SQLite whatever stands in the way of the file.
pub async fn open(config: &Config) -> Result<Arc<dyn Ledger>> {
    let url = config.url.expose_secret();
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => Ok(Arc::new(postgres::PostgresLedger::connect(config)?)),
        Some("sqlite") => Ok(Arc::new(sqlite::SqliteLedger::open(url).await?)),
        _ => Err(LedgerError::BadUrl(
            "the database's URL must begin with postgres://, postgresql:// or sqlite:, for example sqlite:redial.db".to_owned(),
        )),
    }
}

/// A submission that is to become a call, with the place it starts from.
#[derive(Clone, Debug)]
pub struct NewCall {
    /// Its identity.
    pub id: CallId,
    /// What was submitted.
    pub submission: Submission,
    /// Where it starts.
    pub start: Start,
    /// What policy remembers of the publisher's own attempts.
    pub course: Course,
}

/// Where a new call starts.
#[derive(Clone, Debug)]
pub enum Start {
    /// It waits: due this long after acceptance, but not before the submission's `not_before`.
    Waiting {
        /// The wait, from acceptance.
        delay: Duration,
        /// The rungs that this wait uses up.
        rung: Rung,
        /// Why its first attempt will be made.
        trigger: Trigger,
    },
    /// The accepting process has a free slot and claims it in the same commit. Never for a call with an entity: whether such a call is
    /// superseded shows only in the commit itself.
    Claimed {
        /// Who claims it.
        worker: WorkerName,
        /// For how long.
        lease: Duration,
    },
    /// A person decides at once.
    Review(ReviewReason),
}

/// What became of one submission.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Accepted {
    /// It is a new call, durable.
    Stored(Box<Call>),
    /// The publisher handed the same document over before under this key; nothing was added.
    Known(CallId),
    /// The publisher used this key for a different document; nothing was added.
    KeyReused(CallId),
}

/// Wish of a worker with a free slot to take a call.
#[derive(Clone, Debug)]
pub struct ClaimWish {
    /// The call and the attempt.
    pub ticket: Ticket,
    /// The endpoint that the worker took it for; a call of another endpoint is not claimed.
    pub endpoint: EndpointName,
    /// Who claims it.
    pub worker: WorkerName,
    /// For how long.
    pub lease: Duration,
}

/// What became of one wish.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Claimed {
    /// The call is this worker's, durable; its state is [`State::Running`].
    Won(Box<Call>),
    /// It is not due for this long.
    Early(Duration),
    /// Its deadline has passed while it waited; it has to be set aside.
    Expired,
    /// The ticket no longer fits, or never did.
    Stale,
}

/// An attempt to write down, with what comes next.
#[derive(Clone, Debug)]
pub struct Record {
    /// The call.
    pub call: CallId,
    /// The closed attempt, with the claim it was made under. Its `started_at` is the claim's.
    pub attempt: Arc<Attempt>,
    /// What comes next.
    pub next: Next,
    /// What policy will want to remember then.
    pub course: Course,
}

/// What comes next for a call whose attempt is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is done.
    Succeeded,
    /// It waits for another attempt.
    Scheduled {
        /// From now.
        delay: Duration,
        /// The rungs then used.
        rung: Rung,
        /// Why the attempt will be made.
        trigger: Trigger,
    },
    /// A person decides.
    Review(ReviewReason),
}

/// What became of one record.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Recorded {
    /// Attempt and next state are written, now or (if the answer to an earlier try was lost) before. The state may differ from what
    /// was asked: a late success or a higher entity version closes the call.
    Applied {
        /// Where the call now stands.
        state: State,
        /// When its ticket should wake it, if it is scheduled: the due time or the deadline, whichever comes first.
        wake_at: Option<Timestamp>,
    },
    /// The claim was lost before. The result is kept as late evidence.
    ClaimLost {
        /// The evidence was a success, and this closed the waiting call.
        closed: bool,
    },
}

/// A call that is to go to review without an attempt.
#[derive(Clone, Debug)]
pub struct SetAside {
    /// The call, which must be scheduled for this attempt.
    pub ticket: Ticket,
    /// Why. For [`ReviewReason::Expired`] the deadline must have passed by the ledger's clock; for any other reason the call must be due.
    pub reason: ReviewReason,
}

/// A scheduled call as the sweeper and the embedded transport see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Call and attempt.
    pub ticket: Ticket,
    /// Its endpoint.
    pub endpoint: EndpointName,
    /// When its ticket is to wake it: due time or deadline, or when the sweeper last sent a ticket out for it.
    pub wake_at: Timestamp,
    /// Its deadline has passed.
    pub expired: bool,
}

/// How far one worker has got in one lane; the sweeper tells late tickets from lost ones by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneReport {
    /// The endpoint whose tickets these are.
    pub endpoint: EndpointName,
    /// When the earliest ticket that the worker holds without a slot was to wake its call.
    pub oldest_held: Option<Timestamp>,
    /// When the ticket it took last was to wake its call.
    pub last_taken: Option<Timestamp>,
}

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct OperatorAction {
    /// Which call.
    pub call: CallId,
    /// Who asks.
    pub actor: String,
    /// Why, in their words.
    pub note: String,
    /// Only if the call is at this revision.
    pub if_revision: Option<Revision>,
    /// What to do.
    pub order: Order,
}

/// What to do with a call.
#[derive(Clone, Debug)]
pub enum Order {
    /// Due at once, from the first rung again. A deadline that has passed is moved by the call's original span.
    Replay {
        /// The request in place of the present one.
        request: Option<Request>,
        /// A new key goes out, so that the third party takes it for a new call.
        new_key: bool,
    },
    /// Give it up.
    Cancel,
    /// It was done by hand outside Redial.
    Resolve,
}

impl Order {
    /// The order's name in the action log.
    pub const fn kind(&self) -> ActionKind {
        match self {
            Self::Replay { .. } => ActionKind::Replay,
            Self::Cancel => ActionKind::Cancel,
            Self::Resolve => ActionKind::Resolve,
        }
    }

    /// Whether a call in this state may be acted on so (design, section 2).
    pub const fn allows(&self, status: Status) -> bool {
        match self {
            Self::Replay { .. } => {
                matches!(status, Status::Review | Status::Scheduled | Status::Cancelled | Status::Resolved)
            }
            Self::Cancel | Self::Resolve => matches!(status, Status::Review | Status::Scheduled),
        }
    }
}

/// What became of an operator's wish.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Acted {
    /// Done; the call as it now stands.
    Done(Box<Call>),
    /// There is no such call.
    Unknown,
    /// The call's state does not allow it.
    NotAllowed(Status),
    /// Somebody was faster: the call is at this revision.
    Outdated(Revision),
    /// Its bodies were erased at this time, so it cannot be sent again.
    BodyErased(Timestamp),
}

/// Which calls a list shows. All conditions hold together.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// In one of these states; empty: in any.
    pub statuses: Vec<Status>,
    /// Of this endpoint.
    pub endpoint: Option<EndpointName>,
    /// Of this publisher.
    pub publisher: Option<Publisher>,
    /// Waiting for a person for this reason.
    pub reason: Option<ReviewReason>,
    /// With all these tags.
    pub tags: Vec<(TagKey, String)>,
    /// Accepted at or after.
    pub from: Option<Timestamp>,
    /// Accepted before.
    pub to: Option<Timestamp>,
    /// Key, path, tag values, last error or (from 8 hexadecimal digits on) the id contain this text, in any case.
    pub text: Option<String>,
    /// Went to review with an error of this group; empty: with none that is known.
    pub error: Option<String>,
    /// One of these calls; `None`: any.
    pub ids: Option<Vec<CallId>>,
    /// Its publisher asked for this provider.
    pub provider: Option<ProviderName>,
    /// In earnest or as a dry run.
    pub mode: Option<Mode>,
}

/// Calls that stand alike: one line of what waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Their endpoint.
    pub endpoint: EndpointName,
    /// Why they wait, if they do.
    pub reason: Option<ReviewReason>,
    /// The error that they went to review with, without what differs from call to call ([`error_group`](fn@crate::call::error_group)).
    pub error: Option<String>,
    /// How many they are.
    pub count: u64,
    /// When the first of them came to where it stands.
    pub first_at: Timestamp,
    /// When the last of them did.
    pub last_at: Timestamp,
    /// The newest of them.
    pub example: CallId,
}

/// A call with its story.
#[derive(Clone, Debug, PartialEq)]
pub struct CallStory {
    /// The call.
    pub call: Call,
    /// Its attempts, by number.
    pub attempts: Vec<Attempt>,
    /// What operators did, oldest first.
    pub actions: Vec<Action>,
    /// Earlier versions of its request, oldest first.
    pub revisions: Vec<PastRevision>,
}

/// Something the outside has to be told, kept until it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its identity.
    pub id: i64,
    /// To whom.
    pub channel: Channel,
    /// What to tell.
    pub event: Event,
    /// Where to, for callbacks.
    pub callback_url: Option<String>,
    /// How often it was tried.
    pub tries: u32,
}

crate::call::named! {
    /// To whom a notice goes.
    Channel {
        /// To `redial.events`, and so to the queue `redial.review`.
        Broker = "broker",
        /// To the callback URL of the submission.
        Callback = "callback",
    }
}

/// Calls by status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many calls stand in each state that any call stands in.
    pub by_status: Vec<(Status, u64)>,
    /// How many attempts are in the log.
    pub attempts: u64,
    /// Scheduled calls by endpoint, and how many of them are due.
    pub waiting: Vec<(EndpointName, u64, u64)>,
    /// Running calls by endpoint.
    pub running: Vec<(EndpointName, u64)>,
}

/// The database of calls, attempts and operator actions.
///
/// Every operation is one transaction. Batches answer in the order of their input. All time is the ledger's own clock, so that
/// processes whose clocks differ agree on what is due.
#[async_trait]
pub trait Ledger:
    audit::AuditLedger
    + bulk::BulkLedger
    + HoldLedger
    + ReportLedger
    + Upkeep
    + std::fmt::Debug
    + Send
    + Sync
    + 'static
{
    /// Brings the schema to this program's version.
    async fn migrate(&self) -> Result<()>;

    /// How its schema compares with this program's; changes nothing.
    async fn schema(&self) -> Result<schema::Schema>;

    /// Whether it answers; its clock.
    async fn now(&self) -> Result<Timestamp>;

    /// Stores new calls. A key that repeats inside the batch counts as known or reused like one from before.
    async fn accept(&self, calls: &[NewCall]) -> Result<Vec<Accepted>>;

    /// What [`Self::accept`] would answer to documents whose key is in use; `None` for a key that is free. Stores nothing.
    async fn known(&self, uses: &[KeyUse]) -> Result<Vec<Option<Accepted>>>;

    /// Claims calls: only those that are scheduled for exactly this attempt, of this endpoint, due (up to
    /// [`crate::limits::EARLY_TOLERANCE`] early) and not past their deadline.
    async fn claim(&self, wishes: &[ClaimWish]) -> Result<Vec<Claimed>>;

    /// Writes attempts and next states, each only under the claim it was made under; otherwise late evidence.
    async fn record(&self, records: &[Record]) -> Result<Vec<Recorded>>;

    /// Sends scheduled calls to review without an attempt; `None` where the call no longer stands as named.
    async fn set_aside(&self, orders: &[SetAside]) -> Result<Vec<Option<Call>>>;

    /// Running calls whose lease ran out, oldest first.
    async fn expired_leases(&self, limit: usize) -> Result<Vec<Call>>;

    /// Endpoints of which any call is scheduled.
    async fn waiting_endpoints(&self) -> Result<Vec<EndpointName>>;

    /// Scheduled calls of one endpoint that are to wake before `before`, by wake time and id, after `after`.
    async fn waiting(
        &self,
        endpoint: &EndpointName,
        after: Option<(Timestamp, CallId)>,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Waiting>>;

    /// Notes that new tickets go out for these calls: moves `wake_at` to now. Answers which still wait for that attempt with a `wake_at`
    /// older than `grace`, so that of many sweepers only one sends each.
    async fn mark_rescued(&self, tickets: &[Ticket], grace: Duration) -> Result<Vec<Ticket>>;

    /// Writes how far a worker has got; replaces what it wrote before.
    async fn report_lanes(&self, worker: &WorkerName, reports: &[LaneReport]) -> Result<()>;

    /// What all workers wrote within `fresh`.
    async fn lane_reports(&self, fresh: Duration) -> Result<Vec<(WorkerName, LaneReport)>>;

    /// Carries out what an operator asks for, and logs it.
    async fn act(&self, action: &OperatorAction) -> Result<Acted>;

    /// One call.
    async fn find(&self, call: CallId) -> Result<Option<Call>>;

    /// One call with its story.
    async fn story(&self, call: CallId) -> Result<Option<CallStory>>;

    /// Calls that pass the filter, newest first, older than `before`.
    async fn list(&self, filter: &Filter, before: Option<CallId>, limit: usize) -> Result<Vec<Call>>;

    /// The same for whoever asks, on connections for searches: none holds a delivery up, and one that takes long is [`LedgerError::TooSlow`].
    async fn search(&self, filter: &Filter, before: Option<CallId>, limit: usize) -> Result<Vec<Call>>;

    /// Calls that pass the filter by endpoint, review reason and error, the largest groups first, at most `limit` of them.
    async fn groups(&self, filter: &Filter, limit: usize) -> Result<Vec<Group>>;

    /// Counts.
    async fn totals(&self) -> Result<Totals>;

    /// Takes notices of these channels that are due, oldest first, and puts each off for `retry_after`, doubled with every
    /// earlier try up to 64 times, so that nobody else takes it meanwhile.
    async fn take_notices(
        &self,
        channels: &[Channel],
        limit: usize,
        retry_after: Duration,
    ) -> Result<Vec<Notice>>;

    /// Forgets notices that were told.
    async fn forget_notices(&self, ids: &[i64]) -> Result<()>;

    /// Takes the ledger for this process alone, for as long as it lives; may be called again to see whether that still holds.
    ///
    /// # Errors
    /// [`LedgerError::Occupied`] while another process has it.
    async fn hold_exclusively(&self) -> Result<()>;

    /// Finishes what is under way and lets go of the database. Afterwards every operation is [`LedgerError::Away`].
    async fn close(&self);
}

impl NewCall {
    /// The publisher's name for it; without one, its id serves.
    pub fn key(&self) -> IdempotencyKey {
        self.submission.idempotency_key.clone().unwrap_or_else(|| self.id.into())
    }

    /// The call that this becomes when it is accepted at `now` in this state, with this deadline.
    pub fn into_call(self, state: State, rung: Rung, deadline: Timestamp, now: Timestamp) -> Call {
        let idempotency_key = self.key();
        let Submission {
            publisher,
            endpoint,
            request,
            failure,
            entity,
            tags,
            callback_url,
            trace_parent,
            provider,
            mode,
            ..
        } = self.submission;
        let attempts_made = match &state {
            State::Running(claim) => claim.attempt,
            State::Scheduled { .. }
            | State::Review { .. }
            | State::Succeeded { .. }
            | State::Resolved { .. }
            | State::Cancelled { .. }
            | State::Superseded { .. } => crate::call::AttemptNumber::NONE,
        };
        Call {
            id: self.id,
            publisher,
            idempotency_key,
            sent_key: None,
            endpoint,
            request,
            state,
            rung,
            attempts_made,
            deadline,
            entity,
            tags,
            callback_url,
            failure,
            last: None,
            course: self.course,
            provider,
            mode,
            trace_parent,
            revision: Revision::FIRST,
            created_at: now,
            updated_at: now,
            body_erased_at: None,
            erased_at: None,
        }
    }
}

impl Record {
    /// The claim that the attempt was made under.
    pub fn claim(&self) -> ClaimNumber {
        self.attempt.claim
    }
}

/// The claim of a running call.
pub const fn claim_of(call: &Call) -> Option<&Claim> {
    if let State::Running(claim) = &call.state { Some(claim) } else { None }
}
