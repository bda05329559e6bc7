//! Bulk jobs: one operator's order for many calls, carried out step by step by whoever has the lease.
//!
//! Which calls a job is for is frozen when it is made. A step is one transaction: it acts on calls, marks them, and counts; so each call is
//! acted on once at most, whatever dies in between. A call that an operator touched since it was chosen is passed over.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::audit::{AuditAction, AuditEntry};
use super::{Acted, Filter, OperatorAction, Order, Result};
use crate::call::{ActionKind, Call, CallId, EndpointName, Revision, Status, named};
use crate::clock::Timestamp;
use crate::limits::{BULK_RATE_MAX, ERROR_BYTES_MAX};

/// A job's identity, a `UUIDv7`: ids sort by time of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BulkId(Uuid);

impl BulkId {
    /// A new id for a job made now.
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

impl fmt::Display for BulkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

named! {
    /// Where a job stands.
    BulkStatus {
        /// The first few calls go ahead; the rest waits until all of them have succeeded.
        Canary = "canary",
        /// Calls are acted on.
        Running = "running",
        /// Every call was acted on or passed over.
        Done = "done",
        /// A person ended it.
        Aborted = "aborted",
        /// It ended itself: the canary failed, or too many calls did.
        Stopped = "stopped",
    }
}

named! {
    /// What became of one call of a job.
    BulkResult {
        /// Not acted on yet, or never, if the job has ended.
        Waiting = "waiting",
        /// Acted on; what comes of it is not known yet.
        Acted = "acted",
        /// Acted on, and it came to what was wanted.
        Succeeded = "succeeded",
        /// Acted on, and it came back to review or ended otherwise.
        Failed = "failed",
        /// Passed over.
        Skipped = "skipped",
    }
}

/// How fast calls are acted on at most: a number of calls in a second, a minute or an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    calls: u32,
    per: Duration,
}

impl Rate {
    /// What a job that names no rate goes at: 50 calls a second.
    pub const DEFAULT: Self = Self { calls: 50, per: Duration::from_secs(1) };

    /// Reads `50/s`, `100/m` or `1000/h`. `None` for anything else, for nothing, and for more than [`BULK_RATE_MAX`] a second.
    pub fn parse(text: &str) -> Option<Self> {
        let (calls, unit) = text.split_once('/')?;
        let per = Duration::from_secs(match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            _ => return None,
        });
        // Neither a sign nor leading zeros: what is shown is what was typed.
        let plain = calls.bytes().all(|byte| byte.is_ascii_digit()) && !calls.starts_with('0');
        let rate = Self { calls: calls.parse().ok().filter(|_| plain)?, per };
        (rate.per_second() <= f64::from(BULK_RATE_MAX)).then_some(rate)
    }

    /// Calls in a second.
    pub fn per_second(self) -> f64 {
        f64::from(self.calls) / self.per.as_secs_f64()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            1 => 's',
            60 => 'm',
            _ => 'h',
        };
        write!(f, "{}/{unit}", self.calls)
    }
}

/// What a job does with each of its calls, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkPlan {
    /// The action.
    pub action: ActionKind,
    /// A replay sends a new key to the third party.
    pub new_key: bool,
    /// Who ordered it.
    pub actor: String,
    /// Why, in their words.
    pub note: String,
    /// How fast.
    pub rate: Rate,
    /// How many calls go first and must all succeed; 0: none.
    pub canary: u32,
    /// Stop when this part of the calls with a known outcome has failed; above 0, up to 1.
    pub stop_at_failure_rate: Option<f64>,
    /// The filter as it was asked for, JSON.
    pub filter: String,
}

/// A job that is to be made.
#[derive(Clone, Debug)]
pub struct NewBulk {
    /// Its identity.
    pub id: BulkId,
    /// What it does.
    pub plan: BulkPlan,
    /// The calls that it is for.
    pub filter: Filter,
}

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub struct Bulk {
    /// Its identity.
    pub id: BulkId,
    /// What it does.
    pub plan: BulkPlan,
    /// Where it stands.
    pub status: BulkStatus,
    /// Why it ended, if not by being done.
    pub reason: Option<String>,
    /// How many calls it is for.
    pub total: u64,
    /// How many were acted on.
    pub acted: u64,
    /// How many were passed over.
    pub skipped: u64,
    /// Of those acted on, how many came to what was wanted.
    pub succeeded: u64,
    /// Of those acted on, how many did not.
    pub failed: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
    /// When a call was last acted on.
    pub acted_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl NewBulk {
    /// Where the job begins.
    pub(super) const fn first_status(&self) -> BulkStatus {
        if self.plan.canary > 0 { BulkStatus::Canary } else { BulkStatus::Running }
    }

    /// The filter, cut where it names many ids.
    fn shown_filter(&self) -> &str {
        let filter = &self.plan.filter;
        &filter[..filter.floor_char_boundary(ERROR_BYTES_MAX)]
    }

    /// What the audit log says about its beginning.
    pub(super) fn audit_entry(&self, total: i64) -> AuditEntry {
        AuditEntry {
            actor: self.plan.actor.clone(),
            action: AuditAction::BulkStart,
            call: None,
            subject: Some(self.id.to_string()),
            note: self.plan.note.clone(),
            detail: Some(format!("{} of {total} calls with {}", self.plan.action, self.shown_filter())),
        }
    }
}

impl Bulk {
    /// Calls acted on whose outcome is not known yet.
    pub const fn pending(&self) -> u64 {
        self.acted.saturating_sub(self.succeeded + self.failed)
    }

    /// Calls that are neither acted on nor passed over.
    pub const fn waiting(&self) -> u64 {
        self.total.saturating_sub(self.acted + self.skipped)
    }

    /// What the audit log says when a person has ended it.
    pub(super) fn abort_entry(&self, actor: &str, note: &str) -> AuditEntry {
        AuditEntry {
            actor: actor.to_owned(),
            action: AuditAction::BulkAbort,
            call: None,
            subject: Some(self.id.to_string()),
            note: note.to_owned(),
            detail: Some(format!("{} of {} calls had been acted on", self.acted, self.total)),
        }
    }

    /// What is asked of one of its calls, if that is still at the revision at which it was chosen.
    pub(super) fn order_for(&self, call: CallId, revision: Revision) -> OperatorAction {
        let plan = &self.plan;
        let order = match plan.action {
            ActionKind::Replay => Order::Replay { request: None, new_key: plan.new_key },
            ActionKind::Cancel => Order::Cancel,
            ActionKind::Resolve => Order::Resolve,
        };
        let note = match plan.note.as_str() {
            "" => format!("bulk {}", self.id),
            note => format!("{note} (bulk {})", self.id),
        };
        OperatorAction { call, actor: plan.actor.clone(), note, if_revision: Some(revision), order }
    }
}

/// Why a job ended, when a person ended it.
pub(super) fn abort_reason(actor: &str, note: &str) -> String {
    match note {
        "" => format!("aborted by {actor}"),
        note => format!("aborted by {actor}: {note}"),
    }
}

/// What came of an action on one call of a job.
pub(super) fn result_of(action: ActionKind, acted: &Acted) -> (BulkResult, Option<String>) {
    let passed_over = |why: String| (BulkResult::Skipped, Some(why));
    match (acted, action) {
        (Acted::Done(_), ActionKind::Replay) => (BulkResult::Acted, None),
        // The call has ended with the action itself: there is nothing to wait for.
        (Acted::Done(_), ActionKind::Cancel | ActionKind::Resolve) => (BulkResult::Succeeded, None),
        (Acted::NotAllowed(status), _) => passed_over(format!("it was {status} when its turn came")),
        (Acted::Outdated(_), _) => passed_over("an operator acted on it after it was chosen".to_owned()),
        (Acted::BodyErased(at), _) => passed_over(format!("its bodies were erased at {at}")),
        (Acted::Unknown, _) => passed_over("it is no longer there".to_owned()),
    }
}

/// What became of the wish for a job.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum BulkCreated {
    /// It is there, and its calls are frozen.
    Created(Box<Bulk>),
    /// The filter picks so many calls, more than one job may be for; nothing was made.
    TooMany(u64),
}

/// What became of the wish to end a job.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Aborted {
    /// It acts on no call any more.
    Done(Box<Bulk>),
    /// There is no such job.
    Unknown,
    /// It had ended before.
    Ended(BulkStatus),
}

/// One call of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkCall {
    /// Which call.
    pub call: CallId,
    /// What became of it.
    pub result: BulkResult,
    /// Why, if there is something to say.
    pub detail: Option<String>,
}

/// How many calls of an endpoint and status a filter picks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkCount {
    /// The endpoint.
    pub endpoint: EndpointName,
    /// The status.
    pub status: Status,
    /// How many.
    pub calls: u64,
}

/// What one step did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BulkStep {
    /// The calls acted on, as they now stand.
    pub acted: Vec<Call>,
    /// How many calls were passed over.
    pub skipped: u64,
    /// The job as it now stands; `None` if it has ended or somebody else holds it.
    pub job: Option<Bulk>,
}

/// Where a job goes from here, as its holder decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BulkMove {
    /// The canary has succeeded.
    Go,
    /// There is no call left.
    Finish,
    /// It ends itself, for this reason.
    Stop(String),
}

/// Bulk jobs in the ledger.
#[async_trait]
pub trait BulkLedger {
    /// How many calls a filter picks.
    async fn count_calls(&self, filter: &Filter) -> Result<Vec<BulkCount>>;

    /// Makes a job and freezes its calls, at most [`crate::limits::BULK_CALLS_MAX`]; audited.
    async fn create_bulk(&self, bulk: &NewBulk) -> Result<BulkCreated>;

    /// One job.
    async fn find_bulk(&self, id: BulkId) -> Result<Option<Bulk>>;

    /// Jobs, newest first, older than `before`.
    async fn list_bulks(&self, before: Option<BulkId>, limit: usize) -> Result<Vec<Bulk>>;

    /// The calls of a job in the order they are acted on, oldest first, after `after`.
    async fn bulk_calls(
        &self,
        id: BulkId,
        result: Option<BulkResult>,
        after: Option<CallId>,
        limit: usize,
    ) -> Result<Vec<BulkCall>>;

    /// Takes jobs that have not ended and that nobody else holds, for as long as the lease; those held already are held longer.
    async fn take_bulks(&self, holder: &str, lease: Duration, limit: usize) -> Result<Vec<Bulk>>;

    /// Lets go of all jobs, so that another process need not wait for the lease to end.
    async fn release_bulks(&self, holder: &str) -> Result<()>;

    /// Acts on the next calls of a job that is held, up to `limit`.
    async fn step_bulk(&self, id: BulkId, holder: &str, limit: usize) -> Result<BulkStep>;

    /// Passes over the next call of a job that is held, because acting on it cannot work.
    async fn skip_bulk(&self, id: BulkId, holder: &str, why: &str) -> Result<()>;

    /// Looks what came of the calls that were acted on; answers the job as it now stands.
    async fn settle_bulk(&self, id: BulkId) -> Result<Option<Bulk>>;

    /// Jobs that have ended while outcomes of their calls were not known yet, oldest first.
    async fn unsettled_bulks(&self, limit: usize) -> Result<Vec<BulkId>>;

    /// Moves a job on that is held; `None` if it has ended or somebody else holds it.
    async fn move_bulk(&self, id: BulkId, holder: &str, to: &BulkMove) -> Result<Option<Bulk>>;

    /// Ends a job for a person; audited. A step that is under way is finished first.
    async fn abort_bulk(&self, id: BulkId, actor: &str, note: &str) -> Result<Aborted>;
}

impl BulkMove {
    /// The status that it leads to, and why.
    pub(super) fn target(&self) -> (BulkStatus, Option<&str>) {
        match self {
            Self::Go => (BulkStatus::Running, None),
            Self::Finish => (BulkStatus::Done, None),
            Self::Stop(reason) => (BulkStatus::Stopped, Some(reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_whole_number_of_calls_in_a_unit_of_time() {
        for (text, per_second) in [("50/s", 50.0), ("1/m", 1.0 / 60.0), ("3600/h", 1.0), ("1000/s", 1000.0)] {
            let rate = Rate::parse(text).unwrap();
            assert!((rate.per_second() - per_second).abs() < 1e-9, "{text}");
            assert_eq!(rate.to_string(), text);
        }
        for text in [
            "",
            "50",
            "50/",
            "/s",
            "0/s",
            "-1/s",
            "+5/s",
            "05/s",
            "1.5/s",
            "50/d",
            "50 /s",
            "1001/s",
            "99999999999/h",
        ] {
            assert_eq!(Rate::parse(text), None, "{text}");
        }
    }
}
