//! Statements of bulk jobs.

use super::look::filter;

/// The columns that `BulkRow` reads, of the alias `b`.
macro_rules! bulk_columns {
    () => {
        "b.id, b.action, b.new_key, b.filter, b.status, b.reason, b.actor, b.note, b.rate, b.canary, b.stop_at_failure_rate,
         b.total, b.acted, b.skipped, b.succeeded, b.failed, b.created_at, b.updated_at, b.acted_at, b.finished_at"
    };
}

/// How many calls a filter picks.
pub const COUNT_CALLS: &str = concat!(
    "select c.endpoint, c.status, count(*) as calls
     from calls c
     where ",
    filter!(),
    "
     group by c.endpoint, c.status
     order by c.endpoint, c.status"
);

/// Freezes the calls that a filter picks, one more than a job may be for; answers how many.
pub const FREEZE_BULK_CALLS: &str = concat!(
    "with frozen as (
       insert into bulk_calls (job_id, call_id, revision, result)
       select $15::uuid, c.id, c.revision, 'waiting'
       from calls c
       where ",
    filter!(),
    "
       limit $16
       returning 1
     )
     select count(*) from frozen"
);

/// Makes a job.
pub const CREATE_BULK: &str = concat!(
    "insert into bulk_jobs as b
       (id, action, new_key, filter, status, actor, note, rate, canary, stop_at_failure_rate, total, acted, skipped, succeeded,
        failed, created_at, updated_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, 0, 0, 0, now(), now())
     returning ",
    bulk_columns!()
);

/// One job.
pub const FIND_BULK: &str = concat!("select ", bulk_columns!(), " from bulk_jobs b where b.id = $1");

/// Jobs, newest first.
pub const LIST_BULKS: &str = concat!(
    "select ",
    bulk_columns!(),
    " from bulk_jobs b
     where ($1::uuid is null or b.id < $1)
     order by b.id desc
     limit $2"
);

/// Calls of a job, oldest first.
pub const BULK_CALLS: &str = "
    select call_id, result, detail
    from bulk_calls
    where job_id = $1 and ($2::text is null or result = $2) and ($3::uuid is null or call_id > $3)
    order by call_id
    limit $4";

/// Takes jobs that nobody else holds; what another process is just taking is passed over.
pub const TAKE_BULKS: &str = concat!(
    "with free as materialized (
       select id
       from bulk_jobs
       where status in ('canary', 'running') and (held_by is null or held_by = $1 or held_until <= now())
       order by id
       limit $3
       for update skip locked
     )
     update bulk_jobs b set held_by = $1, held_until = now() + $2 * interval '1 microsecond'
     from free
     where b.id = free.id
     returning ",
    bulk_columns!()
);

/// Lets go of all jobs of a holder.
pub const RELEASE_BULKS: &str = "update bulk_jobs set held_by = null, held_until = null where held_by = $1";

/// A job that is held and has not ended, locked until the end of the transaction.
pub const LOCK_BULK: &str = concat!(
    "select ",
    bulk_columns!(),
    " from bulk_jobs b
     where b.id = $1 and b.held_by = $2 and b.status in ('canary', 'running')
     for update"
);

/// Until the end of the transaction nothing is sorted that an index has in order. Of a list that was just frozen the planner knows nothing; it
/// expects two calls to be left, and would read and sort all hundred thousand of them for each step.
pub const IN_INDEX_ORDER: &str = "set local enable_sort = off";

/// The calls of a job whose turn it is.
pub const NEXT_BULK_CALLS: &str = "
    select call_id, revision
    from bulk_calls
    where job_id = $1 and result = 'waiting'
    order by call_id
    limit $2";

/// Notes what became of one call.
pub const MARK_BULK_CALL: &str =
    "update bulk_calls set result = $3, detail = $4 where job_id = $1 and call_id = $2";

/// Counts what a step did.
pub const COUNT_BULK_STEP: &str = concat!(
    "update bulk_jobs b set
       acted = b.acted + $2,
       skipped = b.skipped + $3,
       succeeded = b.succeeded + $4,
       acted_at = case when $2 > 0 then now() else b.acted_at end,
       updated_at = now()
     where b.id = $1
     returning ",
    bulk_columns!()
);

/// Looks what came of the calls that were acted on, and counts it.
pub const SETTLE_BULK: &str = concat!(
    "with known as (
       select r.call_id, c.status, c.review_reason
       from bulk_calls r
       join calls c on c.id = r.call_id
       where r.job_id = $1
         and r.result = 'acted'
         and c.status in ('succeeded', 'review', 'resolved', 'cancelled', 'superseded')
       limit $2
     ),
     settled as (
       update bulk_calls r set
         result = case when k.status = 'succeeded' then 'succeeded' else 'failed' end,
         detail = case k.status
           when 'succeeded' then null
           when 'review' then 'it came back to review: ' || k.review_reason
           else 'it is ' || k.status end
       from known k
       where r.job_id = $1
         and r.call_id = k.call_id
         and r.result = 'acted'
       returning r.result
     ),
     counted as (
       select
         count(*) filter (where result = 'succeeded') as succeeded,
         count(*) filter (where result = 'failed') as failed
       from settled
     )
     update bulk_jobs b set
       succeeded = b.succeeded + t.succeeded,
       failed = b.failed + t.failed,
       updated_at = now()
     from counted t
     where b.id = $1 and t.succeeded + t.failed > 0
     returning ",
    bulk_columns!()
);

/// Jobs that have ended while outcomes of their calls were not known yet. After a month nobody waits for them any more.
pub const UNSETTLED_BULKS: &str = "
    select id
    from bulk_jobs
    where finished_at > now() - interval '30 days' and acted > succeeded + failed
    order by id
    limit $1";

/// Moves a job on that is held.
pub const MOVE_BULK: &str = concat!(
    "update bulk_jobs b set
       status = $3,
       reason = $4,
       finished_at = case when $3 = 'running' then null else now() end,
       held_by = case when $3 = 'running' then b.held_by end,
       held_until = case when $3 = 'running' then b.held_until end,
       updated_at = now()
     where b.id = $1 and b.held_by = $2 and b.status in ('canary', 'running')
     returning ",
    bulk_columns!()
);

/// Ends a job for a person.
pub const ABORT_BULK: &str = concat!(
    "update bulk_jobs b set
       status = 'aborted',
       reason = $2,
       finished_at = now(),
       held_by = null,
       held_until = null,
       updated_at = now()
     where b.id = $1 and b.status in ('canary', 'running')
     returning ",
    bulk_columns!()
);

/// Every statement, for the test that prepares them.
pub const ALL: &[&str] = &[
    COUNT_CALLS,
    FREEZE_BULK_CALLS,
    CREATE_BULK,
    FIND_BULK,
    LIST_BULKS,
    BULK_CALLS,
    TAKE_BULKS,
    RELEASE_BULKS,
    LOCK_BULK,
    IN_INDEX_ORDER,
    NEXT_BULK_CALLS,
    MARK_BULK_CALL,
    COUNT_BULK_STEP,
    SETTLE_BULK,
    UNSETTLED_BULKS,
    MOVE_BULK,
    ABORT_BULK,
];
