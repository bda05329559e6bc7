//! Claiming calls: one statement for all, and a second one only where a wish was not granted.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sqlx::PgConnection;

use super::super::row::{CallRow, micros, readable};
use super::super::{ClaimWish, Claimed, Result};
use super::{column, rows, sql};
use crate::call::{Call, EndpointName, Ticket};
use crate::limits::EARLY_TOLERANCE;

/// Claims calls.
pub(super) async fn claim(connection: &mut PgConnection, wishes: &[ClaimWish]) -> Result<Vec<Claimed>> {
    let mut won = take(connection, wishes).await?;
    let mut answers: Vec<_> = wishes
        .iter()
        .map(|wish| won.remove(&key(wish)).map_or(Claimed::Stale, |call| Claimed::Won(Box::new(call))))
        .collect();
    let lost: Vec<_> = (0..wishes.len()).filter(|place| answers[*place] == Claimed::Stale).collect();
    if !lost.is_empty() {
        explain(connection, wishes, &lost, &mut answers).await?;
    }
    Ok(answers)
}

fn key(wish: &ClaimWish) -> (Ticket, EndpointName) {
    (wish.ticket, wish.endpoint.clone())
}

/// Claims what can be claimed. A wish that comes twice goes out once: the first has it.
async fn take(
    connection: &mut PgConnection,
    wishes: &[ClaimWish],
) -> Result<HashMap<(Ticket, EndpointName), Call>> {
    let mut seen = HashSet::with_capacity(wishes.len());
    let mut wishes: Vec<_> = wishes.iter().filter(|wish| seen.insert(key(wish))).collect();
    wishes.sort_unstable_by_key(|wish| wish.ticket);
    let rows: Vec<CallRow> = sqlx::query_as(sql::CLAIM)
        .bind(column(&wishes, |wish| wish.ticket.call.uuid()))
        .bind(column(&wishes, |wish| wish.ticket.attempt.get()))
        .bind(column(&wishes, |wish| wish.endpoint.as_str()))
        .bind(column(&wishes, |wish| wish.worker.as_str()))
        .bind(column(&wishes, |wish| micros(wish.lease)))
        .bind(micros(EARLY_TOLERANCE))
        .fetch_all(connection)
        .await?;
    let calls = readable(rows.into_iter().map(CallRow::into_call)).into_iter();
    Ok(calls
        .map(|call| {
            let ticket = Ticket { call: call.id, attempt: call.attempts_made };
            ((ticket, call.endpoint.clone()), call)
        })
        .collect())
}

/// Tells the wishes that come early or too late from those that are stale.
async fn explain(
    connection: &mut PgConnection,
    wishes: &[ClaimWish],
    lost: &[usize],
    answers: &mut [Claimed],
) -> Result<()> {
    let standing: Vec<(i64, bool, i64)> = sqlx::query_as(sql::UNCLAIMED)
        .bind(column(lost, |place| rows(*place)))
        .bind(column(lost, |place| wishes[*place].ticket.call.uuid()))
        .bind(column(lost, |place| wishes[*place].ticket.attempt.get()))
        .bind(column(lost, |place| wishes[*place].endpoint.as_str()))
        .fetch_all(connection)
        .await?;
    for (place, expired, wait_us) in standing {
        let Some(answer) = usize::try_from(place).ok().and_then(|place| answers.get_mut(place)) else {
            continue;
        };
        let wait = Duration::from_micros(u64::try_from(wait_us).unwrap_or(0));
        *answer = if expired { Claimed::Expired } else { Claimed::Early(wait) };
    }
    Ok(())
}
