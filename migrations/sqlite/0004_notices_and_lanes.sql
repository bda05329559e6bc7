-- Notices: what the outside has yet to be told. A notice is written by the statement that makes the state it tells of, so it is
-- neither lost nor told of a state that never was. It keeps the event as of that moment, because the call may move on.
create table notices (
    -- Never given twice: a late "forget it" must not meet a later row.
    id              integer constraint notices_pk primary key autoincrement,
    channel         text    not null,
    call_id         blob    not null,
    endpoint        text    not null,
    publisher       text    not null,
    idempotency_key text    not null,
    status          text    not null,
    review_reason   text,
    attempts        integer not null,
    last_error      text,
    at              integer not null,
    callback_url    text,
    -- How often it was taken to be told, and when it may be taken next.
    tries           integer not null,
    due_at          integer not null,
    constraint notices_known_channel check (channel in ('broker', 'callback')),
    constraint notices_known_status check
        (status in ('scheduled', 'running', 'review', 'succeeded', 'resolved', 'cancelled', 'superseded')),
    constraint notices_known_reason check
        (review_reason in ('exhausted', 'rejected', 'ambiguous', 'expired', 'unroutable')),
    constraint notices_reason_iff_review check ((status = 'review') = (review_reason is not null)),
    constraint notices_url_iff_callback check ((channel = 'callback') = (callback_url is not null)),
    constraint notices_tries_not_negative check (tries >= 0 and attempts >= 0)
) strict;
create index notices_by_due_time on notices (due_at, id);

-- How far each worker has got in each lane. The sweeper reads it to tell a ticket that is late from one that is lost.
create table lane_reports (
    worker      text    not null,
    endpoint    text    not null,
    oldest_held integer,
    last_taken  integer,
    reported_at integer not null,
    constraint lane_reports_pk primary key (worker, endpoint)
) strict;
