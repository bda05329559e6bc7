-- Calls: one row per HTTP request that has to succeed in the end. The only source of truth about where a call stands.
--
-- A state and the columns that are true in it are tied together by named constraints, so that no program, not even
-- ours with a bug, can store a call that is scheduled without a due time or running without a lease. The names are part of
-- the contract: a test breaks each of them once.
--
-- Points in time are microseconds since 1970, spans of time microseconds, ids 16 bytes. The tables are strict: a column holds what its
-- type says, or the row is refused.
create table calls (
    id               blob    not null,

    -- Who handed it over, and under which name. One name stands for one document: the fingerprint (SHA-256 over the
    -- document in canonical form) tells a repeated document from a different one under the same name.
    publisher        text    not null,
    idempotency_key  text    not null,
    fingerprint      blob    not null,
    -- What goes out in the idempotency header once an operator asked for a new key; null: idempotency_key goes out.
    sent_key         text,

    -- The request. Headers are JSON pairs as text: they are only ever read back whole.
    endpoint         text    not null,
    method           text    not null,
    path             text    not null,
    headers          text,
    body_kind        text    not null,
    body             blob,

    status           text    not null,

    -- While scheduled. due_at is when the next attempt may be made. wake_at is when a ticket for it is expected: the due
    -- time or the deadline, whichever comes first, and later the moment at which the sweeper last sent a ticket.
    due_at           integer,
    wake_at          integer,
    -- Why the next attempt will be made, or why the running one is made.
    trigger          text,
    rung             integer not null,
    attempts_made    integer not null,

    -- While running: the claim. The number fences: each claim of a call has a higher one than the claim before it.
    claim_number     integer not null,
    worker           text,
    started_at       integer,
    lease_until      integer,
    -- What the call becomes when its running attempt is closed, unless that attempt succeeds by itself.
    ending           text,

    review_reason    text,
    deadline         integer not null,
    -- How far the deadline lay from acceptance: a replay after the deadline grants as much again.
    span_us          integer not null,

    entity_key       text,
    entity_version   integer,
    tags             text,
    callback_url     text,
    failure          text,

    -- What the last recorded attempt came to, so that a list needs no second table.
    last_verdict     text,
    last_http_status integer,
    last_error       text,

    trace_parent     text,
    revision         integer not null,
    created_at       integer not null,
    updated_at       integer not null,
    finished_at      integer,

    constraint calls_pk primary key (id),
    constraint one_call_per_key unique (publisher, idempotency_key),

    -- Names that the program knows.
    constraint known_status check
        (status in ('scheduled', 'running', 'review', 'succeeded', 'resolved', 'cancelled', 'superseded')),
    constraint known_trigger check (trigger in ('first', 'ladder', 'replay', 'recovery', 'confirm')),
    constraint known_reason check (review_reason in ('exhausted', 'rejected', 'ambiguous', 'expired', 'unroutable')),
    constraint known_ending check (ending in ('succeeded', 'superseded')),
    constraint known_verdict check
        (last_verdict in ('success', 'transient', 'limited', 'ambiguous', 'pending', 'rejected')),
    constraint known_method check (method in ('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE')),
    constraint known_body_kind check (body_kind in ('empty', 'json', 'bytes')),

    -- Each state has its columns, and no other state has them.
    constraint due_iff_scheduled check ((status = 'scheduled') = (due_at is not null)),
    constraint wake_iff_scheduled check ((status = 'scheduled') = (wake_at is not null)),
    constraint trigger_iff_scheduled_or_running check ((status in ('scheduled', 'running')) = (trigger is not null)),
    constraint lease_iff_running check ((status = 'running') = (lease_until is not null)),
    constraint worker_iff_running check ((status = 'running') = (worker is not null)),
    constraint start_iff_running check ((status = 'running') = (started_at is not null)),
    constraint attempt_while_running check (status <> 'running' or attempts_made >= 1),
    constraint ending_only_while_running check (ending is null or status = 'running'),
    constraint reason_iff_review check ((status = 'review') = (review_reason is not null)),
    constraint finished_iff_final check
        ((status in ('succeeded', 'resolved', 'cancelled', 'superseded')) = (finished_at is not null)),

    -- Counts and parts.
    constraint rung_in_bounds check (rung between 0 and 65535),
    constraint attempts_not_negative check (attempts_made >= 0),
    constraint claims_cover_attempts check (claim_number >= attempts_made),
    constraint revision_from_one check (revision >= 1),
    constraint entity_whole check ((entity_key is null) = (entity_version is null)),
    constraint entity_version_not_negative check (entity_version >= 0),
    constraint body_iff_kind check ((body_kind = 'empty') = (body is null)),
    constraint fingerprint_is_sha256 check (length(fingerprint) = 32),
    constraint key_in_bounds check (length(cast(idempotency_key as blob)) between 1 and 255),
    constraint http_status_in_bounds check (last_http_status between 100 and 999),
    constraint outcome_has_verdict check
        (last_verdict is not null or (last_http_status is null and last_error is null))
) strict;

-- The indexes below are partial, so that a call costs them nothing once it is done. An index over all calls, beside
-- the two keys, would have to be paid for with every change of every call.

-- The sweeper and the embedded timers walk the waiting calls of an endpoint by wake time.
create index calls_by_wake_time on calls (endpoint, wake_at, id) where status = 'scheduled';

-- The sweeper looks for claims whose lease ran out.
create index calls_by_lease on calls (lease_until) where status = 'running';

-- People look at what waits for them, newest first.
create index calls_in_review on calls (id) where status = 'review';

-- A higher version of an entity overtakes those of its calls that are not final.
create index calls_open_by_entity on calls (endpoint, entity_key)
    where entity_key is not null and status in ('scheduled', 'running', 'review');

-- Tags by value. The row in calls has them too, as JSON; this table is only the way to find calls by them.
-- There is no foreign key: the rows are written in the transaction that inserts the call.
create table call_tags (
    key     text    not null,
    value   text    not null,
    call_id blob    not null,
    constraint call_tags_pk primary key (key, value, call_id)
) strict;

-- The highest accepted version of each entity.
create table entities (
    endpoint   text    not null,
    entity_key text    not null,
    version    integer not null,
    constraint entities_pk primary key (endpoint, entity_key),
    constraint entities_version_not_negative check (version >= 0)
) strict;
