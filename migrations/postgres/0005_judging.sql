-- What judging and protecting need to remember.

-- What policy remembers of a call between its attempts (JSON; null: nothing), the provider that its publisher asked for, and whether
-- its requests only pretend to leave.
alter table calls
    add column course text,
    add column provider text,
    add column dry_run boolean not null default false;

-- Why an attempt went to the provider it went to, what it cost in millionths of the configured unit, the rule that decided its verdict,
-- and the rules that could not be asked.
alter table attempts
    add column provider_reason text,
    add column cost_millionths bigint,
    add column rule text,
    add column rule_notes text,
    add constraint attempts_cost_of_a_provider check (cost_millionths is null or provider is not null);
