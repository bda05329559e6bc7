-- Endpoints that are held: nothing goes out to them but a probe, in no process, until the hold is over. An operator's hold outlasts
-- every restart. A row is gone when calls go out freely again.
create table holds (
    endpoint    text    not null,
    kind        text    not null,
    since       integer not null,
    actor       text,
    note        text    not null,
    -- Parked so often in a row.
    parks       integer not null,
    phase       text    not null,
    phase_since integer not null,
    -- When the phase ends; an operator's hold ends when an operator says so.
    until       integer,
    -- Who probes.
    worker      text,
    constraint holds_pk primary key (endpoint),
    constraint holds_known_kind check (kind in ('paused', 'limited', 'breaker')),
    constraint holds_known_phase check (phase in ('parked', 'probing', 'ramping')),
    constraint holds_worker_iff_probing check ((phase = 'probing') = (worker is not null)),
    constraint holds_until_iff_it_ends check ((kind = 'paused' and phase = 'parked') = (until is null)),
    constraint holds_actor_iff_paused check ((kind = 'paused') = (actor is not null)),
    constraint holds_parks_not_negative check (parks >= 0)
) strict;
