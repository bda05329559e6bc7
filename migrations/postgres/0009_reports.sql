-- What third parties reported of calls by themselves, where it said something: the evidence for a call that succeeded or was refused
-- without an attempt that says so. The same message counts once, however often it is sent.
create table reports (
    call_id     uuid        not null,
    -- SHA-256 of the message's whole body.
    digest      bytea       not null,
    report      text        not null,
    -- The rule that decided, and the beginning of the message.
    rule        text,
    body        bytea       not null,
    received_at timestamptz not null,
    constraint reports_pk primary key (call_id, digest),
    constraint reports_known_report check (report in ('done', 'failed'))
);
