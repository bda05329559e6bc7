//! Statements of bulk jobs.

use super::look::filter;

/// The columns that `BulkRow` reads.
macro_rules! bulk_columns {
    () => {
        "id, action, new_key, filter, status, reason, actor, note, rate, canary, stop_at_failure_rate, total, acted, skipped,
         succeeded, failed, created_at, updated_at, acted_at, finished_at"
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

/// Freezes the calls that a filter picks, one more than a job may be for.
pub const FREEZE_BULK_CALLS: &str = concat!(
    "insert into bulk_calls (job_id, call_id, revision, result)
     select ?14, c.id, c.revision, 'waiting'
     from calls c
     where ",
    filter!(),
    "
     limit ?15"
);

/// Makes a job.
pub const CREATE_BULK: &str = concat!(
    "insert into bulk_jobs
       (id, action, new_key, filter, status, actor, note, rate, canary, stop_at_failure_rate, total, acted, skipped, succeeded,
        failed, created_at, updated_at)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0, 0, 0, 0, ?12, ?12)
     returning ",
    bulk_columns!()
);

/// One job.
pub const FIND_BULK: &str = concat!("select ", bulk_columns!(), " from bulk_jobs where id = ?1");

/// Jobs, newest first.
pub const LIST_BULKS: &str = concat!(
    "select ",
    bulk_columns!(),
    " from bulk_jobs
     where (?1 is null or id < ?1)
     order by id desc
     limit ?2"
);

/// Calls of a job, oldest first.
pub const BULK_CALLS: &str = "
    select call_id, result, detail
    from bulk_calls
    where job_id = ?1 and (?2 is null or result = ?2) and (?3 is null or call_id > ?3)
    order by call_id
    limit ?4";

/// Whether any job has not ended. Read before anything is written, so that looking costs no commit.
pub const ANY_OPEN_BULK: &str =
    "select exists (select 1 from bulk_jobs where status in ('canary', 'running'))";

/// Takes jobs that nobody else holds.
pub const TAKE_BULKS: &str = concat!(
    "update bulk_jobs set held_by = ?1, held_until = ?2
     where id in (
       select id
       from bulk_jobs
       where status in ('canary', 'running') and (held_by is null or held_by = ?1 or held_until <= ?4)
       order by id
       limit ?3)
     returning ",
    bulk_columns!()
);

/// Lets go of all jobs of a holder.
pub const RELEASE_BULKS: &str = "update bulk_jobs set held_by = null, held_until = null where held_by = ?1";

/// A job that is held and has not ended.
pub const LOCK_BULK: &str = concat!(
    "select ",
    bulk_columns!(),
    " from bulk_jobs where id = ?1 and held_by = ?2 and status in ('canary', 'running')"
);

/// The calls of a job whose turn it is.
pub const NEXT_BULK_CALLS: &str = "
    select call_id, revision
    from bulk_calls
    where job_id = ?1 and result = 'waiting'
    order by call_id
    limit ?2";

/// Notes what became of one call.
pub const MARK_BULK_CALL: &str =
    "update bulk_calls set result = ?3, detail = ?4 where job_id = ?1 and call_id = ?2";

/// Counts what a step did.
pub const COUNT_BULK_STEP: &str = concat!(
    "update bulk_jobs set
       acted = acted + ?2,
       skipped = skipped + ?3,
       succeeded = succeeded + ?4,
       acted_at = case when ?2 > 0 then ?5 else acted_at end,
       updated_at = ?5
     where id = ?1
     returning ",
    bulk_columns!()
);

/// Looks what came of the calls that were acted on.
pub const SETTLE_BULK: &str = "
    update bulk_calls set
      result = case when c.status = 'succeeded' then 'succeeded' else 'failed' end,
      detail = case c.status
        when 'succeeded' then null
        when 'review' then 'it came back to review: ' || c.review_reason
        else 'it is ' || c.status end
    from calls c
    where bulk_calls.job_id = ?1
      and c.id = bulk_calls.call_id
      and bulk_calls.call_id in (
        select r.call_id
        from bulk_calls r
        join calls k on k.id = r.call_id
        where r.job_id = ?1
          and r.result = 'acted'
          and k.status in ('succeeded', 'review', 'resolved', 'cancelled', 'superseded')
        limit ?2)
    returning result";

/// Counts what came of them.
pub const COUNT_SETTLED: &str = concat!(
    "update bulk_jobs set succeeded = succeeded + ?2, failed = failed + ?3, updated_at = ?4
     where id = ?1
     returning ",
    bulk_columns!()
);

/// Whether a job waits for outcomes of calls. Read before anything is written, so that looking costs no commit.
pub const IS_SETTLED: &str = "select acted <= succeeded + failed from bulk_jobs where id = ?1";

/// Jobs that have ended while outcomes of their calls were not known yet. After a month nobody waits for them any more.
pub const UNSETTLED_BULKS: &str = "
    select id
    from bulk_jobs
    where finished_at > ?2 and acted > succeeded + failed
    order by id
    limit ?1";

/// Moves a job on that is held.
pub const MOVE_BULK: &str = concat!(
    "update bulk_jobs set
       status = ?3,
       reason = ?4,
       finished_at = case when ?3 = 'running' then null else ?5 end,
       held_by = case when ?3 = 'running' then held_by end,
       held_until = case when ?3 = 'running' then held_until end,
       updated_at = ?5
     where id = ?1 and held_by = ?2 and status in ('canary', 'running')
     returning ",
    bulk_columns!()
);

/// Ends a job for a person.
pub const ABORT_BULK: &str = concat!(
    "update bulk_jobs set
       status = 'aborted',
       reason = ?2,
       finished_at = ?3,
       held_by = null,
       held_until = null,
       updated_at = ?3
     where id = ?1 and status in ('canary', 'running')
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
    NEXT_BULK_CALLS,
    MARK_BULK_CALL,
    COUNT_BULK_STEP,
    ANY_OPEN_BULK,
    SETTLE_BULK,
    COUNT_SETTLED,
    IS_SETTLED,
    UNSETTLED_BULKS,
    MOVE_BULK,
    ABORT_BULK,
];
