-- What third parties reported of calls by themselves, where it said something. The reasons stand with the twin for PostgreSQL.
create table reports (
    call_id     blob    not null,
    digest      blob    not null,
    report      text    not null,
    rule        text,
    body        blob    not null,
    received_at integer not null,
    constraint reports_pk primary key (call_id, digest),
    constraint reports_known_report check (report in ('done', 'failed'))
) strict;
