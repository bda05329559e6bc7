-- What the operators' side needs: groups of errors, the audit of everything that is no action on one call, and bulk jobs.

-- The error that a call went to review with, without numbers, ids and quoted text, so that failures of one kind are one group. Written only
-- where a call goes to review. It stays when the call leaves: what it once waited for can still be found.
alter table calls add column error_group text;

-- What operators did beside acting on one call: paused an endpoint, started a bulk job, erased data. Kept for ever. Actions on calls stand in
-- the table actions; the audit log is both.
create table audit (
    id      integer constraint audit_pk primary key autoincrement,
    at      integer not null,
    actor   text    not null,
    action  text    not null,
    call_id blob,
    -- What it was done to: an endpoint, a bulk job, a message.
    subject text,
    note    text    not null,
    detail  text
) strict;
create index audit_by_time on audit (at, id);
create index actions_by_time on actions (at, id);

-- Bulk jobs: one operator's order for many calls. Which calls is frozen when the job is made: its rows in bulk_calls.
create table bulk_jobs (
    id                   blob    not null,
    action               text    not null,
    new_key              integer not null,
    -- The filter as it was asked for, JSON; only ever shown.
    filter               text    not null,
    status               text    not null,
    reason               text,
    actor                text    not null,
    note                 text    not null,
    rate                 text    not null,
    canary               integer not null,
    stop_at_failure_rate real,
    -- Counts of the rows in bulk_calls, moved in the transaction that moves the row.
    total                integer not null,
    acted                integer not null,
    skipped              integer not null,
    succeeded            integer not null,
    failed               integer not null,
    -- The process that works on it, and until when it may without saying so again.
    held_by              text,
    held_until           integer,
    created_at           integer not null,
    updated_at           integer not null,
    acted_at             integer,
    finished_at          integer,
    constraint bulk_jobs_pk primary key (id),
    constraint bulk_jobs_known_action check (action in ('replay', 'cancel', 'resolve')),
    constraint bulk_jobs_known_status check (status in ('canary', 'running', 'done', 'aborted', 'stopped')),
    constraint bulk_jobs_finished_iff_ended check ((status in ('canary', 'running')) = (finished_at is null)),
    constraint bulk_jobs_held_while_open check (held_by is null or finished_at is null),
    constraint bulk_jobs_lease_whole check ((held_by is null) = (held_until is null)),
    constraint bulk_jobs_counts_add_up check
        (acted >= 0 and skipped >= 0 and succeeded >= 0 and failed >= 0
            and acted + skipped <= total and succeeded + failed <= acted)
) strict;

-- The calls of a job, and what became of each.
create table bulk_calls (
    job_id   blob    not null,
    call_id  blob    not null,
    -- The call's revision when it was chosen: one that an operator touched since is passed over.
    revision integer not null,
    result   text    not null,
    detail   text,
    constraint bulk_calls_pk primary key (job_id, call_id),
    constraint bulk_calls_known_result check (result in ('waiting', 'acted', 'succeeded', 'failed', 'skipped'))
) strict;
create index bulk_calls_by_result on bulk_calls (job_id, result, call_id);
