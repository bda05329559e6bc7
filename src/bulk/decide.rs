//! Where a bulk job goes from here: pure, decided from its counts and the time.

use crate::clock::Timestamp;
use crate::ledger::bulk::{Bulk, BulkMove, BulkStatus};
use crate::limits::{BULK_CANARY_PATIENCE, BULK_FAILURE_SAMPLE_MIN};

/// What is to be done about a job now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Act on so many calls at most.
    Act(u64),
    /// Outcomes must be known first.
    Wait,
    /// Move it on.
    Move(BulkMove),
    /// It has ended.
    Nothing,
}

/// Decides about a job whose outcomes have just been looked at.
pub(super) fn decide(job: &Bulk, now: Timestamp) -> Decision {
    match job.status {
        BulkStatus::Canary => about_canary(job, now),
        BulkStatus::Running => about_the_rest(job),
        BulkStatus::Done | BulkStatus::Aborted | BulkStatus::Stopped => Decision::Nothing,
    }
}

/// A call that was passed over is no canary: another one takes its place.
fn about_canary(job: &Bulk, now: Timestamp) -> Decision {
    let canary = u64::from(job.plan.canary);
    if job.failed > 0 {
        let reason = format!("{} of the first {} calls failed", job.failed, job.acted);
        return Decision::Move(BulkMove::Stop(reason));
    }
    if job.acted < canary && job.waiting() > 0 {
        return Decision::Act((canary - job.acted).min(job.waiting()));
    }
    if job.pending() == 0 {
        return Decision::Move(if job.waiting() > 0 { BulkMove::Go } else { BulkMove::Finish });
    }
    let waited = now.since(job.acted_at.unwrap_or(job.created_at));
    if waited < BULK_CANARY_PATIENCE {
        return Decision::Wait;
    }
    let minutes = BULK_CANARY_PATIENCE.as_secs() / 60;
    let reason =
        format!("{} of the first {} calls had no outcome after {minutes} min", job.pending(), job.acted);
    Decision::Move(BulkMove::Stop(reason))
}

fn about_the_rest(job: &Bulk) -> Decision {
    if let Some(reason) = too_many_failures(job) {
        return Decision::Move(BulkMove::Stop(reason));
    }
    match job.waiting() {
        0 => Decision::Move(BulkMove::Finish),
        waiting => Decision::Act(waiting),
    }
}

/// Why the job stops, if too large a part of the calls with a known outcome has failed. Few outcomes say nothing. A job that has no call
/// left to spare goes on to its end.
fn too_many_failures(job: &Bulk) -> Option<String> {
    let limit = job.plan.stop_at_failure_rate?;
    let known = job.succeeded + job.failed;
    let reached = known >= BULK_FAILURE_SAMPLE_MIN && share(job.failed, known) >= limit;
    (reached && job.waiting() > 0)
        .then(|| format!("{} of {known} calls with a known outcome failed; the limit is {limit}", job.failed))
}

#[expect(clippy::cast_precision_loss, reason = "a share of at most some hundred thousand calls")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::ActionKind;
    use crate::ledger::bulk::{BulkId, BulkPlan, Rate};
    use std::time::Duration;

    /// A job with counts: total, acted, skipped, succeeded, failed.
    fn job(status: BulkStatus, [total, acted, skipped, succeeded, failed]: [u64; 5]) -> Bulk {
        let at = Timestamp::from_unix_micros(0);
        let plan = BulkPlan {
            action: ActionKind::Replay,
            new_key: false,
            actor: "ada".to_owned(),
            note: String::new(),
            rate: Rate::DEFAULT,
            canary: 5,
            stop_at_failure_rate: Some(0.5),
            filter: "{}".to_owned(),
        };
        Bulk {
            id: BulkId::generate(),
            plan,
            status,
            reason: None,
            total,
            acted,
            skipped,
            succeeded,
            failed,
            created_at: at,
            updated_at: at,
            acted_at: Some(at),
            finished_at: None,
        }
    }

    fn decision(status: BulkStatus, counts: [u64; 5], seconds: u64) -> String {
        let now = Timestamp::from_unix_micros(0).plus(Duration::from_secs(seconds));
        match decide(&job(status, counts), now) {
            Decision::Act(calls) => format!("act on {calls}"),
            Decision::Wait => "wait".to_owned(),
            Decision::Move(BulkMove::Go) => "go".to_owned(),
            Decision::Move(BulkMove::Finish) => "finish".to_owned(),
            Decision::Move(BulkMove::Stop(reason)) => format!("stop: {reason}"),
            Decision::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn the_canary_goes_first_and_must_succeed_in_time() {
        for (counts, seconds, expected) in [
            ([300, 0, 0, 0, 0], 0, "act on 5"),
            ([300, 3, 0, 0, 0], 0, "act on 2"),
            ([2, 0, 0, 0, 0], 0, "act on 2"),
            ([300, 4, 2, 4, 0], 0, "act on 1"),
            ([300, 5, 0, 4, 0], 899, "wait"),
            ([300, 5, 0, 4, 0], 900, "stop: 1 of the first 5 calls had no outcome after 15 min"),
            ([300, 5, 0, 5, 0], 9_000, "go"),
            ([300, 5, 0, 3, 1], 0, "stop: 1 of the first 5 calls failed"),
            ([300, 2, 0, 0, 1], 0, "stop: 1 of the first 2 calls failed"),
            ([3, 2, 1, 2, 0], 0, "finish"),
            ([3, 2, 1, 1, 0], 0, "wait"),
            ([0, 0, 0, 0, 0], 0, "finish"),
            ([4, 0, 4, 0, 0], 0, "finish"),
        ] {
            assert_eq!(decision(BulkStatus::Canary, counts, seconds), expected, "{counts:?}");
        }
    }

    #[test]
    fn the_rest_goes_on_until_nothing_is_left_or_too_much_fails() {
        for (counts, expected) in [
            ([300, 5, 0, 5, 0], "act on 295"),
            ([300, 9, 0, 0, 9], "act on 291"),
            ([300, 10, 0, 6, 4], "act on 290"),
            ([300, 10, 0, 5, 5], "stop: 5 of 10 calls with a known outcome failed; the limit is 0.5"),
            ([300, 200, 0, 5, 5], "stop: 5 of 10 calls with a known outcome failed; the limit is 0.5"),
            ([300, 290, 10, 0, 290], "finish"),
            ([300, 290, 10, 0, 0], "finish"),
            ([0, 0, 0, 0, 0], "finish"),
        ] {
            assert_eq!(decision(BulkStatus::Running, counts, 0), expected, "{counts:?}");
        }
    }

    #[test]
    fn nothing_is_done_about_what_has_ended() {
        for status in [BulkStatus::Done, BulkStatus::Aborted, BulkStatus::Stopped] {
            assert_eq!(decision(status, [300, 5, 0, 5, 0], 0), "nothing", "{status}");
        }
    }
}
