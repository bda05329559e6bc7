-- What judging and protecting need to remember. The reasons stand with the twin for PostgreSQL.
alter table calls add column course text;
alter table calls add column provider text;
alter table calls add column dry_run integer not null default 0;

alter table attempts add column provider_reason text;
alter table attempts add column cost_millionths integer
    constraint attempts_cost_of_a_provider check (cost_millionths is null or provider is not null);
alter table attempts add column rule text;
alter table attempts add column rule_notes text;
