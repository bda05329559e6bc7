-- What operators did, for ever. An action is written in the transaction that changes the call.
create table actions (
    id       integer constraint actions_pk primary key autoincrement,
    call_id  blob    not null,
    kind     text    not null,
    actor    text    not null,
    note     text    not null,
    at       integer not null,
    -- The call's revision after the action.
    revision integer not null,
    constraint actions_of_a_call foreign key (call_id) references calls (id),
    constraint actions_known_kind check (kind in ('replay', 'cancel', 'resolve')),
    constraint actions_revision_from_one check (revision >= 1)
) strict;
create index actions_by_call on actions (call_id, id);

-- Requests that an operator replaced. The present one stands on the call.
create table revisions (
    call_id     blob    not null,
    revision    integer not null,
    method      text    not null,
    path        text    not null,
    headers     text,
    body_kind   text    not null,
    body        blob,
    replaced_at integer not null,
    replaced_by text    not null,
    constraint revisions_pk primary key (call_id, revision),
    constraint revisions_of_a_call foreign key (call_id) references calls (id),
    constraint revisions_from_one check (revision >= 1),
    constraint revisions_known_method check (method in ('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE')),
    constraint revisions_known_body_kind check (body_kind in ('empty', 'json', 'bytes')),
    constraint revisions_body_iff_kind check ((body_kind = 'empty') = (body is null))
) strict;
