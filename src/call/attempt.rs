//! An attempt: one invocation of a call, with what was sent, what came back and what that came to.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::name::{ProviderName, WorkerName};
use super::request::{REDACTED, is_secret_header};
use super::{ClaimNumber, Revision, named};
use crate::clock::Timestamp;
use crate::limits::{RESPONSE_JUDGED_BYTES, RESPONSE_KEPT_BYTES};

/// Numbers the attempts of a call: 1, 2, 3 … without gap. Zero stands only for "none made yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptNumber(i32);

impl AttemptNumber {
    /// No attempt made yet.
    pub const NONE: Self = Self(0);
    /// The first attempt.
    pub const FIRST: Self = Self(1);

    /// The attempt with this number, 1 or more; `None` below.
    pub const fn new(number: i32) -> Option<Self> {
        if number >= 1 { Some(Self(number)) } else { None }
    }

    /// A count of attempts made, as a row holds it: 0 or more, what is below counts as 0.
    pub const fn made(count: i32) -> Self {
        if count > 0 { Self(count) } else { Self(0) }
    }

    /// Its number.
    pub const fn get(self) -> i32 {
        self.0
    }

    /// The attempt after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for AttemptNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

named! {
    /// Why an attempt is made.
    Trigger {
        /// It is the call's first.
        First = "first",
        /// The one before it failed and a rung has passed.
        Ladder = "ladder",
        /// An operator asked for it.
        Replay = "replay",
        /// The worker of the one before it was lost.
        Recovery = "recovery",
        /// It asks the third party what became of the one before it.
        Confirm = "confirm",
    }
}

named! {
    /// What an attempt came to.
    Verdict {
        /// Done.
        Success = "success",
        /// Failed for now; certainly not done.
        Transient = "transient",
        /// The third party asks for a pause.
        Limited = "limited",
        /// Nobody knows whether it was done.
        Ambiguous = "ambiguous",
        /// Accepted; the result comes later.
        Pending = "pending",
        /// Refused; repeating cannot mend it.
        Rejected = "rejected",
    }
}

named! {
    /// How an invocation failed below HTTP.
    ErrorKind {
        /// The host name did not resolve.
        Dns = "dns",
        /// No connection came about: refused, unreachable, or timed out in connecting.
        Connect = "connect",
        /// The TLS handshake failed.
        Tls = "tls",
        /// The connection broke after the request began to leave.
        Broken = "broken",
        /// No answer, or no whole answer, in time.
        Timeout = "timeout",
        /// What came back is no HTTP.
        Malformed = "malformed",
        /// The lease had run out before the request could leave; it was not sent.
        NotSent = "not_sent",
        /// The request could not be built.
        Unsendable = "unsendable",
        /// The worker died or lost its lease in the middle of the call.
        WorkerLost = "worker_lost",
    }
}

impl ErrorKind {
    /// Whether the third party certainly did not see the request.
    pub const fn certainly_never_left(self) -> bool {
        match self {
            Self::Dns | Self::Connect | Self::Tls | Self::NotSent | Self::Unsendable => true,
            Self::Broken | Self::Timeout | Self::Malformed | Self::WorkerLost => false,
        }
    }
}

/// What came back from an invocation: the evidence that verdicts are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The third party answered.
    Answered(Answer),
    /// It did not, or not wholly.
    Failed {
        /// In what way.
        kind: ErrorKind,
        /// A sentence for a person; no secrets.
        detail: String,
    },
}

impl Outcome {
    /// What the log keeps of it: the beginning of a long body, and no values of headers that are secret by name. Rules may see both.
    #[must_use]
    pub fn kept(mut self) -> Self {
        if let Self::Answered(answer) = &mut self {
            if answer.body.len() > RESPONSE_KEPT_BYTES {
                // A slice would keep the whole of it in memory.
                answer.body = Bytes::copy_from_slice(&answer.body[..RESPONSE_KEPT_BYTES]);
            }
            for (_, value) in answer.headers.iter_mut().filter(|(name, _)| is_secret_header(name)) {
                REDACTED.clone_into(value);
            }
        }
        self
    }
}

/// An answer of the third party, cut to what rules see, and in the log to what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status, 100 to 999.
    pub status: u16,
    /// Names in lower case, in the order received.
    pub headers: Vec<(String, String)>,
    /// The first bytes of the body, at most [`RESPONSE_JUDGED_BYTES`], and in the log at most [`RESPONSE_KEPT_BYTES`].
    pub body: Bytes,
    /// The body's true length in bytes; a lower bound if reading stopped early.
    pub body_bytes: u64,
}

impl Answer {
    /// Whether there is less of the body than rules saw when it came, or than came at all. What was masked in it changes its length, so
    /// that says nothing.
    pub fn is_beginning(&self) -> bool {
        let is_as_kept =
            self.body.len() <= RESPONSE_KEPT_BYTES && self.body_bytes > RESPONSE_KEPT_BYTES as u64;
        is_as_kept || self.body_bytes > RESPONSE_JUDGED_BYTES as u64
    }

    /// Whether the log keeps only the beginning of the body. One that was erased since is no beginning.
    pub fn is_cut(&self) -> bool {
        self.body_bytes > RESPONSE_KEPT_BYTES as u64 && !self.body.is_empty()
    }

    /// The values of one header, name in lower case.
    pub fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A request as it left, secrets redacted. The body is the one of the call's revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentRequest {
    /// The HTTP method.
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// Names in lower case; the values of secret ones replaced.
    pub headers: Vec<(String, String)>,
    /// The body's length.
    pub body_bytes: u64,
    /// Which revision of the call's request it was.
    pub revision: Revision,
}

/// A result that came after its worker had lost the claim: evidence, not a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateResult {
    /// What it would have come to.
    pub verdict: Verdict,
    /// When it was written down.
    pub recorded_at: Timestamp,
}

/// The vendor that an attempt went to, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub provider: ProviderName,
    /// Why that one, in a few words for a person.
    pub reason: String,
    /// What the attempt cost, where the provider has a price.
    pub cost: Option<Cost>,
}

/// An amount of money in millionths of the unit that the configuration uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(i64);

impl Cost {
    /// So many millionths.
    pub const fn from_millionths(millionths: i64) -> Self {
        Self(millionths)
    }

    /// In whole units, for people; exact below nine thousand million units.
    #[expect(clippy::cast_precision_loss, reason = "53 bits hold every sum that anybody pays for calls")]
    pub const fn units(self) -> f64 {
        self.0 as f64 / 1_000_000.0
    }

    /// How many millionths.
    pub const fn millionths(self) -> i64 {
        self.0
    }
}

/// What decided a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruling {
    /// The rule that held; `None`: no rule did, the defaults decided.
    pub rule: Option<String>,
    /// Rules that could not be asked, each with its reason; for a person.
    pub notes: Option<String>,
}

impl Ruling {
    /// With a note besides those that are there.
    #[must_use]
    pub fn with_note(self, note: Option<String>) -> Self {
        let notes: Vec<String> = self.notes.into_iter().chain(note).collect();
        Self { notes: (!notes.is_empty()).then(|| notes.join("; ")), ..self }
    }
}

/// One closed attempt in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its number.
    pub number: AttemptNumber,
    /// The claim it was made under.
    pub claim: ClaimNumber,
    /// Why it was made.
    pub trigger: Trigger,
    /// Which of several vendors it went to.
    pub choice: Option<Choice>,
    /// What decided the verdict.
    pub ruling: Ruling,
    /// Who made it.
    pub worker: WorkerName,
    /// When it was claimed, by the ledger's clock.
    pub started_at: Timestamp,
    /// From the request's leaving to the answer's end, or to giving up.
    pub duration: Duration,
    /// What it came to.
    pub verdict: Verdict,
    /// What was sent; `None` where nobody knows (worker lost).
    pub request: Option<SentRequest>,
    /// What came back.
    pub outcome: Outcome,
    /// A result that arrived after the attempt had been closed as lost.
    pub late: Option<LateResult>,
}

impl Attempt {
    /// The HTTP status, if there was an answer.
    pub const fn http_status(&self) -> Option<u16> {
        match &self.outcome {
            Outcome::Answered(answer) => Some(answer.status),
            Outcome::Failed { .. } => None,
        }
    }

    /// One sentence on why it was no success; `None` for a success.
    pub fn error(&self) -> Option<String> {
        if self.verdict == Verdict::Success {
            return None;
        }
        Some(match &self.outcome {
            Outcome::Answered(answer) => format!("the third party answered {}", answer.status),
            Outcome::Failed { kind, detail } if detail.is_empty() => kind.to_string(),
            Outcome::Failed { kind, detail } => format!("{kind}: {detail}"),
        })
    }
}
