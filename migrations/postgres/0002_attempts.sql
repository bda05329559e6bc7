-- Attempts: the log of invocations. A row is written once, when the attempt is closed, in the statement that moves its call
-- on; while an attempt runs, the claim on the call's row is the evidence of it. Only a result that comes late is added afterwards.
--
-- There is no foreign key to calls. It would cost a look-up and a row lock on the call for every attempt, on a row that the same
-- statement has just rewritten; and every row here is made from a row that this statement updated, so the call is there.
create table attempts (
    call_id              uuid        not null,
    number               integer     not null,
    claim_number         bigint      not null,
    trigger              text        not null,
    provider             text,
    worker               text        not null,
    started_at           timestamptz not null,
    duration_us          bigint      not null,
    verdict              text        not null,

    -- What was sent, secrets redacted; null where nobody knows.
    request_method       text,
    request_url          text,
    request_headers      text,
    request_body_bytes   bigint,
    request_revision     integer,

    -- What came back, cut to what is kept, ...
    http_status          integer,
    response_headers     text,
    response_body        bytea,
    response_body_bytes  bigint,
    -- ... or how it failed below HTTP.
    error_kind           text,
    error_detail         text,

    -- A result that arrived after the attempt had been closed as lost. Its answer, if it had one, fills the columns above;
    -- the error kind goes on saying that the attempt had been given up.
    late_verdict         text,
    late_recorded_at     timestamptz,

    recorded_at          timestamptz not null,

    constraint attempts_pk primary key (call_id, number),
    constraint attempts_numbered_from_one check (number >= 1),
    constraint attempts_claim_from_one check (claim_number >= 1),
    constraint attempts_known_trigger check (trigger in ('first', 'ladder', 'replay', 'recovery', 'confirm')),
    constraint attempts_known_verdict check
        (verdict in ('success', 'transient', 'limited', 'ambiguous', 'pending', 'rejected')),
    constraint attempts_known_late_verdict check
        (late_verdict in ('success', 'transient', 'limited', 'ambiguous', 'pending', 'rejected')),
    constraint attempts_known_error_kind check
        (error_kind in ('dns', 'connect', 'tls', 'broken', 'timeout', 'malformed', 'not_sent', 'unsendable', 'worker_lost')),
    constraint attempts_duration_not_negative check (duration_us >= 0),
    constraint attempts_http_status_in_bounds check (http_status between 100 and 999),
    -- Either an answer or a failure; both only where the answer came late.
    constraint attempts_answer_or_error check
        ((http_status is null) <> (error_kind is null) or (http_status is not null and late_verdict is not null)),
    constraint attempts_answer_whole check
        ((http_status is null) = (response_body is null)
            and (http_status is null) = (response_headers is null)
            and (http_status is null) = (response_body_bytes is null)),
    constraint attempts_request_whole check
        ((request_method is null) = (request_url is null)
            and (request_method is null) = (request_headers is null)
            and (request_method is null) = (request_body_bytes is null)
            and (request_method is null) = (request_revision is null)),
    constraint attempts_body_bytes_not_negative check (request_body_bytes >= 0 and response_body_bytes >= 0),
    constraint attempts_error_whole check (error_detail is null or error_kind is not null),
    constraint attempts_late_whole check ((late_verdict is null) = (late_recorded_at is null)),
    constraint attempts_late_only_after_loss check (late_verdict is null or error_kind is not distinct from 'worker_lost')
);
