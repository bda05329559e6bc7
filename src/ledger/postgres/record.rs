//! Recording attempts: one statement for all, and a look at the log for each whose claim was gone.

use std::collections::{HashMap, HashSet};

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::super::late::{ClosedAttempt, Finding, find_out, stripped};
use super::super::review::group_of_record;
use super::super::row::{AttemptFields, CallRow, NextFields, Stamp, StateRow, course_to_json};
use super::super::{Record, Recorded, Result};
use super::{column, sql};
use crate::call::{CallId, Verdict};

/// Writes attempts and next states.
pub(super) async fn record(connection: &mut PgConnection, records: &[Record]) -> Result<Vec<Recorded>> {
    let mut applied = apply(connection, records).await?;
    let mut answers = Vec::with_capacity(records.len());
    for record in records {
        answers.push(match applied.remove(&(record.call, record.claim().get())) {
            Some(recorded) => recorded,
            None => look_back(connection, record).await?,
        });
    }
    Ok(answers)
}

/// One record as columns.
struct Fields<'a> {
    call: Uuid,
    attempt: AttemptFields<'a>,
    next: NextFields,
    course: Option<String>,
    error_group: Option<String>,
}

impl<'a> From<&'a Record> for Fields<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            call: record.call.uuid(),
            attempt: AttemptFields::from(&*record.attempt),
            next: NextFields::from(record.next),
            course: course_to_json(&record.course),
            error_group: group_of_record(record),
        }
    }
}

/// A call that was moved on.
#[derive(sqlx::FromRow)]
struct Changed {
    id: Uuid,
    claim_number: i64,
    wake_at: Option<Stamp>,
    #[sqlx(flatten)]
    state: StateRow,
}

/// Writes what still has its claim. A record that comes twice goes out once; the other then finds it in the log.
async fn apply(
    connection: &mut PgConnection,
    records: &[Record],
) -> Result<HashMap<(CallId, i64), Recorded>> {
    let mut seen = HashSet::with_capacity(records.len());
    let first = records.iter().filter(|record| seen.insert((record.call, record.claim().get())));
    let mut fields: Vec<_> = first.map(Fields::from).collect();
    fields.sort_unstable_by_key(|record| record.call);
    let changed: Vec<Changed> = sqlx::query_as(sql::RECORD)
        .bind(column(&fields, |record| record.call))
        .bind(column(&fields, |record| record.attempt.number))
        .bind(column(&fields, |record| record.attempt.claim_number))
        .bind(column(&fields, |record| record.attempt.trigger))
        .bind(column(&fields, |record| record.attempt.provider))
        .bind(column(&fields, |record| record.attempt.worker))
        .bind(column(&fields, |record| record.attempt.started_at))
        .bind(column(&fields, |record| record.attempt.duration_us))
        .bind(column(&fields, |record| record.attempt.verdict))
        .bind(column(&fields, |record| record.attempt.request.method))
        .bind(column(&fields, |record| record.attempt.request.url.as_deref()))
        .bind(column(&fields, |record| record.attempt.request.headers.as_deref()))
        .bind(column(&fields, |record| record.attempt.request.body_bytes))
        .bind(column(&fields, |record| record.attempt.request.revision))
        .bind(column(&fields, |record| record.attempt.answer.status))
        .bind(column(&fields, |record| record.attempt.answer.headers.as_deref()))
        .bind(column(&fields, |record| record.attempt.answer.body))
        .bind(column(&fields, |record| record.attempt.answer.body_bytes))
        .bind(column(&fields, |record| record.attempt.error_kind))
        .bind(column(&fields, |record| record.attempt.error_detail.as_deref()))
        .bind(column(&fields, |record| record.attempt.error.as_deref()))
        .bind(column(&fields, |record| record.next.status))
        .bind(column(&fields, |record| record.next.delay_us))
        .bind(column(&fields, |record| record.next.rung))
        .bind(column(&fields, |record| record.next.trigger))
        .bind(column(&fields, |record| record.next.review_reason))
        .bind(column(&fields, |record| record.course.as_deref()))
        .bind(column(&fields, |record| record.attempt.provider_reason.as_deref()))
        .bind(column(&fields, |record| record.attempt.cost_millionths))
        .bind(column(&fields, |record| record.attempt.rule.as_deref()))
        .bind(column(&fields, |record| record.attempt.rule_notes.as_deref()))
        .bind(column(&fields, |record| record.error_group.as_deref()))
        .fetch_all(connection)
        .await?;
    changed
        .into_iter()
        .map(|row| {
            let key = (CallId::from_uuid(row.id), row.claim_number);
            let wake_at = row.wake_at.map(|stamp| stamp.0);
            Ok((key, Recorded::Applied { state: row.state.state()?, wake_at }))
        })
        .collect()
}

/// What became of a record whose claim was gone. The call is locked first, so that two late results go one after the other.
async fn look_back(connection: &mut PgConnection, record: &Record) -> Result<Recorded> {
    let lost = Recorded::ClaimLost { closed: false };
    let mut transaction = connection.begin().await?;
    let call: Option<CallRow> =
        sqlx::query_as(sql::LOCK_CALL).bind(record.call.uuid()).fetch_optional(&mut *transaction).await?;
    let Some(call) = call else { return Ok(lost) };
    let closed: Option<ClosedAttempt> = sqlx::query_as(sql::CLOSED_ATTEMPT)
        .bind(record.call.uuid())
        .bind(record.attempt.number.get())
        .fetch_optional(&mut *transaction)
        .await?;
    let recorded = match find_out(closed.as_ref(), record) {
        Finding::WrittenBefore => {
            let wake_at = call.wake_at().map(|stamp| stamp.0);
            Recorded::Applied { state: call.into_call()?.state, wake_at }
        }
        Finding::CameLate if call.is_erased() => add_late(&mut transaction, &stripped(record)).await?,
        Finding::CameLate => add_late(&mut transaction, record).await?,
        Finding::Nothing => lost,
    };
    transaction.commit().await?;
    Ok(recorded)
}

/// Keeps a late result, and lets a late success end the call.
async fn add_late(connection: &mut PgConnection, record: &Record) -> Result<Recorded> {
    let Fields { call, attempt, .. } = Fields::from(record);
    sqlx::query(sql::ADD_LATE_RESULT)
        .bind(call)
        .bind(attempt.number)
        .bind(attempt.verdict)
        .bind(attempt.provider)
        .bind(attempt.request.method)
        .bind(attempt.request.url.as_deref())
        .bind(attempt.request.headers.as_deref())
        .bind(attempt.request.body_bytes)
        .bind(attempt.request.revision)
        .bind(attempt.answer.status)
        .bind(attempt.answer.headers.as_deref())
        .bind(attempt.answer.body)
        .bind(attempt.answer.body_bytes)
        .execute(&mut *connection)
        .await?;
    if record.attempt.verdict != Verdict::Success {
        return Ok(Recorded::ClaimLost { closed: false });
    }
    let closed: Option<Uuid> = sqlx::query_scalar(sql::SUCCEED_LATE)
        .bind(call)
        .bind(attempt.verdict)
        .bind(attempt.answer.status)
        .fetch_optional(connection)
        .await?;
    Ok(Recorded::ClaimLost { closed: closed.is_some() })
}
