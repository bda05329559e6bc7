//! Recording attempts, one after the other in one transaction.

use sqlx::{FromRow, SqliteConnection};

use super::super::late::{ClosedAttempt, Finding, find_out, stripped};
use super::super::review::group_of_record;
use super::super::row::{AttemptFields, CallRow, NextFields, Stamp, StateRow, course_to_json};
use super::super::{Next, Record, Recorded, Result};
use super::{notices, sql};
use crate::call::{State, Status, Verdict};
use crate::clock::Timestamp;

/// Writes attempts and next states.
pub(super) async fn record(
    connection: &mut SqliteConnection,
    records: &[Record],
    now: Timestamp,
) -> Result<Vec<Recorded>> {
    let mut answers = Vec::with_capacity(records.len());
    for record in records {
        answers.push(match apply(connection, record, now).await? {
            Some(applied) => applied,
            None => look_back(connection, record, now).await?,
        });
    }
    Ok(answers)
}

/// A call that was moved on.
#[derive(FromRow)]
struct Changed {
    wake_at: Option<Stamp>,
    #[sqlx(flatten)]
    state: StateRow,
}

/// Writes a record that still has its claim.
async fn apply(
    connection: &mut SqliteConnection,
    record: &Record,
    now: Timestamp,
) -> Result<Option<Recorded>> {
    let attempt = AttemptFields::from(&*record.attempt);
    let Some(changed) = move_on(connection, record, &attempt, now).await? else { return Ok(None) };
    log(connection, record, attempt, now).await?;
    let state = changed.state.state()?;
    if is_outcome(&state) {
        notices::notify(connection, record.call.uuid(), now).await?;
    }
    Ok(Some(Recorded::Applied { state, wake_at: changed.wake_at.map(|stamp| stamp.0) }))
}

/// Whether a state is an outcome that somebody may have to be told of.
const fn is_outcome(state: &State) -> bool {
    let status = state.status();
    status.is_final() || matches!(status, Status::Review)
}

async fn move_on(
    connection: &mut SqliteConnection,
    record: &Record,
    attempt: &AttemptFields<'_>,
    now: Timestamp,
) -> Result<Option<Changed>> {
    let next = NextFields::from(record.next);
    let due_at = match record.next {
        Next::Scheduled { delay, .. } => Some(now.plus(delay)),
        Next::Succeeded | Next::Review(_) => None,
    };
    Ok(sqlx::query_as(sql::RECORD)
        .bind(record.call.uuid())
        .bind(attempt.number)
        .bind(attempt.claim_number)
        .bind(next.status)
        .bind(due_at.map(Stamp))
        .bind(next.rung)
        .bind(next.trigger)
        .bind(next.review_reason)
        .bind(attempt.verdict)
        .bind(attempt.answer.status)
        .bind(attempt.error.as_deref())
        .bind(Stamp(now))
        .bind(course_to_json(&record.course))
        .bind(group_of_record(record))
        .fetch_optional(connection)
        .await?)
}

async fn log(
    connection: &mut SqliteConnection,
    record: &Record,
    attempt: AttemptFields<'_>,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(sql::LOG_ATTEMPT)
        .bind(record.call.uuid())
        .bind(attempt.number)
        .bind(attempt.claim_number)
        .bind(attempt.trigger)
        .bind(attempt.provider)
        .bind(attempt.worker)
        .bind(attempt.started_at)
        .bind(attempt.duration_us)
        .bind(attempt.verdict)
        .bind(attempt.request.method)
        .bind(attempt.request.url)
        .bind(attempt.request.headers)
        .bind(attempt.request.body_bytes)
        .bind(attempt.request.revision)
        .bind(attempt.answer.status)
        .bind(attempt.answer.headers)
        .bind(attempt.answer.body)
        .bind(attempt.answer.body_bytes)
        .bind(attempt.error_kind)
        .bind(attempt.error_detail)
        .bind(Stamp(now))
        .bind(attempt.provider_reason)
        .bind(attempt.cost_millionths)
        .bind(attempt.rule)
        .bind(attempt.rule_notes)
        .execute(connection)
        .await?;
    Ok(())
}

/// What became of a record whose claim was gone.
async fn look_back(connection: &mut SqliteConnection, record: &Record, now: Timestamp) -> Result<Recorded> {
    let lost = Recorded::ClaimLost { closed: false };
    let call: Option<CallRow> =
        sqlx::query_as(sql::LOCK_CALL).bind(record.call.uuid()).fetch_optional(&mut *connection).await?;
    let Some(call) = call else { return Ok(lost) };
    let closed: Option<ClosedAttempt> = sqlx::query_as(sql::CLOSED_ATTEMPT)
        .bind(record.call.uuid())
        .bind(record.attempt.number.get())
        .fetch_optional(&mut *connection)
        .await?;
    match find_out(closed.as_ref(), record) {
        Finding::WrittenBefore => {
            let wake_at = call.wake_at().map(|stamp| stamp.0);
            Ok(Recorded::Applied { state: call.into_call()?.state, wake_at })
        }
        Finding::CameLate if call.is_erased() => add_late(connection, &stripped(record), now).await,
        Finding::CameLate => add_late(connection, record, now).await,
        Finding::Nothing => Ok(lost),
    }
}

/// Keeps a late result, and lets a late success end the call.
async fn add_late(connection: &mut SqliteConnection, record: &Record, now: Timestamp) -> Result<Recorded> {
    let attempt = AttemptFields::from(&*record.attempt);
    let call = record.call.uuid();
    let status = attempt.answer.status;
    sqlx::query(sql::ADD_LATE_RESULT)
        .bind(call)
        .bind(attempt.number)
        .bind(attempt.verdict)
        .bind(attempt.provider)
        .bind(attempt.request.method)
        .bind(attempt.request.url)
        .bind(attempt.request.headers)
        .bind(attempt.request.body_bytes)
        .bind(attempt.request.revision)
        .bind(status)
        .bind(attempt.answer.headers)
        .bind(attempt.answer.body)
        .bind(attempt.answer.body_bytes)
        .bind(Stamp(now))
        .execute(&mut *connection)
        .await?;
    if record.attempt.verdict != Verdict::Success {
        return Ok(Recorded::ClaimLost { closed: false });
    }
    let stands: Option<String> = sqlx::query_scalar(sql::SUCCEED_LATE)
        .bind(call)
        .bind(attempt.verdict)
        .bind(status)
        .bind(Stamp(now))
        .fetch_optional(&mut *connection)
        .await?;
    let closed = stands.as_deref() == Some(Status::Succeeded.as_str());
    if closed {
        notices::notify(connection, call, now).await?;
    }
    Ok(Recorded::ClaimLost { closed })
}
