//! A call: one HTTP request to a third party that has to succeed in the end.
//!
//! Plain values, no I/O. A state carries exactly what is true in it; the ledger's constraints say the same.

pub mod attempt;
pub mod course;
pub mod error_group;
pub mod event;
pub mod name;
pub mod request;
pub mod submission;

use std::fmt;

use uuid::Uuid;

use crate::clock::Timestamp;

pub use attempt::{
    Attempt, AttemptNumber, Choice, Cost, ErrorKind, LateResult, Outcome, Ruling, Trigger, Verdict,
};
pub use course::Course;
pub use error_group::error_group;
pub use event::Event;
pub use name::{EndpointName, EntityKey, IdempotencyKey, ProviderName, Publisher, TagKey, WorkerName};
pub use request::{Body, Headers, Method, Request, RequestPath};
pub use submission::{Failure, KeyUse, Submission};

/// A call's identity, a `UUIDv7` (RFC 9562): ids sort by time of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(Uuid);

impl CallId {
    /// A new id for a call submitted now.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// Reads the hyphenated form. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten().map(Self)
    }

    /// The id with these 128 bits.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Its 128 bits.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// How many rungs of its ladder a call has used since it was submitted or replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rung(u16);

impl Rung {
    /// No rung used yet.
    pub const GROUND: Self = Self(0);

    /// This many rungs used.
    pub const fn new(used: u16) -> Self {
        Self(used)
    }

    /// How many are used.
    pub const fn used(self) -> u16 {
        self.0
    }

    /// One more rung used.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Fences the claims of one call: each claim has a higher number than the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimNumber(i64);

impl ClaimNumber {
    /// The first claim of a call.
    pub const FIRST: Self = Self(1);

    /// The claim with this number.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// Counts what operators did to a call, edits of its request among it; a call as submitted is at revision 1.
///
/// Every action counts, not only edits: whoever decides on what an earlier revision showed must learn that somebody was faster, or two
/// operators could replay the same call twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(i32);

impl Revision {
    /// The request as submitted.
    pub const FIRST: Self = Self(1);

    /// The revision with this number.
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> i32 {
        self.0
    }
}

/// The right of one worker to invoke the third party for a call, until the lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its fence.
    pub number: ClaimNumber,
    /// The attempt that is made under it.
    pub attempt: AttemptNumber,
    /// Why that attempt is made.
    pub trigger: Trigger,
    /// Who holds it.
    pub worker: WorkerName,
    /// When it was taken, by the ledger's clock.
    pub started_at: Timestamp,
    /// When the sweeper may take the call away, by the ledger's clock.
    pub lease_until: Timestamp,
}

/// Where a call stands. Each variant carries exactly what is true there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not running; its ticket wakes it at `due_at`.
    Scheduled {
        /// When the next attempt may be made, by the ledger's clock.
        due_at: Timestamp,
        /// Why that attempt will be made.
        trigger: Trigger,
    },
    /// One worker invokes the third party under this claim.
    Running(Claim),
    /// No rule may decide what comes next; a person does.
    Review {
        /// Why no rule may.
        reason: ReviewReason,
    },
    /// The third party said so.
    Succeeded {
        /// When that was recorded.
        finished_at: Timestamp,
    },
    /// Done by hand outside Redial.
    Resolved {
        /// When a person said so.
        finished_at: Timestamp,
    },
    /// Given up by a person.
    Cancelled {
        /// When a person said so.
        finished_at: Timestamp,
    },
    /// A higher version of the same entity was accepted.
    Superseded {
        /// When that was recorded.
        finished_at: Timestamp,
    },
}

impl State {
    /// The state's name.
    pub const fn status(&self) -> Status {
        match self {
            Self::Scheduled { .. } => Status::Scheduled,
            Self::Running(_) => Status::Running,
            Self::Review { .. } => Status::Review,
            Self::Succeeded { .. } => Status::Succeeded,
            Self::Resolved { .. } => Status::Resolved,
            Self::Cancelled { .. } => Status::Cancelled,
            Self::Superseded { .. } => Status::Superseded,
        }
    }

    /// When the call ended, if it has.
    pub const fn finished_at(&self) -> Option<Timestamp> {
        match self {
            Self::Scheduled { .. } | Self::Running(_) | Self::Review { .. } => None,
            Self::Succeeded { finished_at }
            | Self::Resolved { finished_at }
            | Self::Cancelled { finished_at }
            | Self::Superseded { finished_at } => Some(*finished_at),
        }
    }

    /// Why the call waits for a person, if it does.
    pub const fn review_reason(&self) -> Option<ReviewReason> {
        if let Self::Review { reason } = self { Some(*reason) } else { None }
    }
}

/// Declares an enum whose variants have one lower-case name each, the same in SQL, JSON, metrics and logs.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// Every variant, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in SQL, JSON, metrics and logs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The variant with this name.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }

            /// All names, for sentences about what is allowed.
            pub fn allowed() -> String {
                [$($text),+].join(", ")
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use named;

named! {
    /// The name of a state.
    Status {
        /// Waits for its next attempt.
        Scheduled = "scheduled",
        /// Is being attempted.
        Running = "running",
        /// Waits for a person.
        Review = "review",
        /// The third party said so.
        Succeeded = "succeeded",
        /// Done by hand outside Redial.
        Resolved = "resolved",
        /// Given up by a person.
        Cancelled = "cancelled",
        /// Overtaken by a higher version of its entity.
        Superseded = "superseded",
    }
}

impl Status {
    /// Whether a call in this state never changes again by itself.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Scheduled | Self::Running | Self::Review => false,
            Self::Succeeded | Self::Resolved | Self::Cancelled | Self::Superseded => true,
        }
    }
}

named! {
    /// Why a call waits for a person.
    ReviewReason {
        /// The ladder has no rung left.
        Exhausted = "exhausted",
        /// The third party refused it in a way that repeating cannot mend.
        Rejected = "rejected",
        /// Nobody knows whether it took effect, and it must not be repeated blindly.
        Ambiguous = "ambiguous",
        /// Its deadline passed.
        Expired = "expired",
        /// Its endpoint is no longer configured.
        Unroutable = "unroutable",
    }
}

/// A thing of which only the newest version matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// Which thing.
    pub key: EntityKey,
    /// Which version of it, 0 or more.
    pub version: i64,
}

/// What the last recorded attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastOutcome {
    /// Its verdict.
    pub verdict: Verdict,
    /// The HTTP status, if there was an answer.
    pub http_status: Option<u16>,
    /// A sentence for a person, if it was no success.
    pub error: Option<String>,
}

/// One row of the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Its identity.
    pub id: CallId,
    /// Who handed it over.
    pub publisher: Publisher,
    /// The publisher's name for it; unique per publisher.
    pub idempotency_key: IdempotencyKey,
    /// What goes out in the idempotency header where an operator gave the call a new key; else `idempotency_key`.
    pub sent_key: Option<IdempotencyKey>,
    /// The third-party interface.
    pub endpoint: EndpointName,
    /// The request to make, at its current revision.
    pub request: Request,
    /// Where it stands.
    pub state: State,
    /// Rungs used.
    pub rung: Rung,
    /// Attempts claimed so far.
    pub attempts_made: AttemptNumber,
    /// When it goes to review as expired.
    pub deadline: Timestamp,
    /// The entity whose version this call carries.
    pub entity: Option<Entity>,
    /// The publisher's labels.
    pub tags: Vec<(TagKey, String)>,
    /// Where the outcome is posted.
    pub callback_url: Option<url::Url>,
    /// The publisher's own failure, if the call was taken over.
    pub failure: Option<Failure>,
    /// What the last recorded attempt came to.
    pub last: Option<LastOutcome>,
    /// What policy remembers of earlier attempts.
    pub course: Course,
    /// The provider that the publisher wants it to go to.
    pub provider: Option<ProviderName>,
    /// Whether its requests leave.
    pub mode: Mode,
    /// W3C `traceparent` of the submission.
    pub trace_parent: Option<String>,
    /// Counts operators' actions, edits among them.
    pub revision: Revision,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When its bodies were blanked, those of its attempts too; it cannot be sent again.
    pub body_erased_at: Option<Timestamp>,
    /// When everything else that could be personal was blanked as well.
    pub erased_at: Option<Timestamp>,
}

impl Call {
    /// The key that goes out in the idempotency header: the same on every attempt.
    pub fn outgoing_key(&self) -> &IdempotencyKey {
        self.sent_key.as_ref().unwrap_or(&self.idempotency_key)
    }

    /// What went wrong last, as far as anybody knows: Redial's own last error, before the first attempt the publisher's.
    pub fn known_error(&self) -> Option<&str> {
        let own = self.last.as_ref().map(|last| last.error.as_deref());
        own.unwrap_or_else(|| self.failure.as_ref().and_then(|failure| failure.error.as_deref()))
    }
}

/// A pointer to a call and to the attempt it is to wake: all that travels through RabbitMQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    /// Which call.
    pub call: CallId,
    /// Which attempt it is for; any other makes the ticket stale.
    pub attempt: AttemptNumber,
}

named! {
    /// Whether a call's requests leave the machine.
    Mode {
        /// They do.
        Live = "live",
        /// They do not: a script answers in the third party's place, and the call counts in no statistics.
        DryRun = "dry_run",
    }
}

impl Mode {
    /// Whether calls of this kind count in statistics, breakers and success rates.
    pub const fn counts(self) -> bool {
        match self {
            Self::Live => true,
            Self::DryRun => false,
        }
    }
}

named! {
    /// What an operator did.
    ActionKind {
        /// Set the call going again from the first rung.
        Replay = "replay",
        /// Gave the call up.
        Cancel = "cancel",
        /// Declared the call done outside Redial.
        Resolve = "resolve",
    }
}

/// One operator action, kept for ever with its call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What was done.
    pub kind: ActionKind,
    /// Who did it.
    pub actor: String,
    /// Why, in their words.
    pub note: String,
    /// When, by the ledger's clock.
    pub at: Timestamp,
    /// The call's revision after it.
    pub revision: Revision,
}

/// An earlier version of an edited request.
#[derive(Clone, Debug, PartialEq)]
pub struct PastRevision {
    /// Its number.
    pub revision: Revision,
    /// The request as it was.
    pub request: Request,
    /// When it was replaced.
    pub replaced_at: Timestamp,
    /// Who replaced it.
    pub replaced_by: String,
}
