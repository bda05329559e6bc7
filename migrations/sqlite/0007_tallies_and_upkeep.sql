-- Tallies: what was attempted and accepted, counted by minute. The process counts in memory and adds what it has every few
-- seconds, so a row is written a few times a minute however busy the endpoint is. Dry runs are left out.
--
-- One row per fact: (minute, endpoint, provider, 'verdict', 'success') -> 17. Where there are no providers the column is empty text, because
-- a null would be no key. Cost is counted in millionths of the currency's unit, latency by the upper bound of its bucket in ms.
create table tallies (
    minute   integer not null,
    endpoint text    not null,
    provider text    not null,
    kind     text    not null,
    label    text    not null,
    n        integer not null,
    constraint tallies_pk primary key (minute, endpoint, provider, kind, label),
    constraint tallies_known_kind check (kind in ('verdict', 'error', 'latency', 'cost', 'accepted')),
    constraint tallies_not_negative check (n >= 0)
) strict;

-- When the bodies of a finished call were blanked, by retention or by an erasure; when everything that could be personal was.
-- A body that was blanked is empty but there, so that "there was one" stays true. No call whose body is gone may be sent again, so the
-- column is only set on calls that are final.
alter table calls add column body_erased_at integer
    constraint body_erased_only_when_final check (body_erased_at is null or finished_at is not null);
alter table calls add column erased_at integer
    constraint erased_without_body check (erased_at is null or body_erased_at is not null);

-- How far the walk of retention has come. The walk goes by primary key: ids are ordered by time, so no index has to be paid for
-- by every call that finishes.
create table walks (
    name     text    not null,
    after_id blob    not null,
    next_at  integer not null,
    constraint walks_pk primary key (name)
) strict;
insert into walks (name, after_id, next_at) values ('retention', zeroblob(16), 0);
