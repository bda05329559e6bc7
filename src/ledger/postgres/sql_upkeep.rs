//! The statements of upkeep on PostgreSQL: tallies, retention, erasure. Twins of those in `sqlite/sql_upkeep.rs`, under the same names.
//!
//! A step works on calls that it has locked, and passes over those that somebody else has. What belongs to a call is found by the call's
//! id, never by a scan.

/// Adds counts to those that are there. The rows come in one order, so that two processes never wait for each other in a circle.
pub const ADD_TALLIES: &str = "
    insert into tallies as t (minute, endpoint, provider, kind, label, n)
    select * from unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
    on conflict (minute, endpoint, provider, kind, label) do update set n = t.n + excluded.n";

/// Counts by minute.
pub const TALLIES_BY_MINUTE: &str = "
    select minute, kind, label, sum(n)::bigint as n
    from tallies
    where minute >= $1 and ($2::text is null or endpoint = $2)
    group by minute, kind, label
    order by minute, kind, label";

/// Counts by endpoint and provider.
pub const TALLIES_BY_ENDPOINT: &str = "
    select endpoint, provider, kind, label, sum(n)::bigint as n
    from tallies
    where minute >= $1 and ($2::text is null or endpoint = $2)
    group by endpoint, provider, kind, label
    order by endpoint, provider, kind, label";

/// Forgets counts that are too old, a bounded number at a time.
pub const FORGET_TALLIES: &str = "
    delete from tallies
    where ctid = any (array(
      select ctid from tallies where minute < now() - $1 * interval '1 microsecond' limit $2))";

/// Takes the next step of a walk, unless somebody else has it or it is not time for it.
pub const TAKE_WALK: &str =
    "select after_id from walks where name = 'retention' and next_at <= now() for update skip locked";

/// Writes how far a walk has come, and when its next step may be taken.
pub const PUT_WALK: &str = "
    update walks set after_id = $1, next_at = now() + $2 * interval '1 microsecond'
    where name = 'retention'";

/// A page of calls by id, with what is due: removal, or blanking. What is on the page and may not be touched costs a look.
pub const WALK_PAGE: &str = "
    select
      id,
      coalesce(finished_at < now() - $4 * interval '1 microsecond', false) as removable,
      coalesce(finished_at < now() - $5 * interval '1 microsecond' and body_erased_at is null, false) as blankable
    from calls
    where id > $1 and id <= $2
    order by id
    limit $3";

/// Locks those of these calls that are still finished and that nobody else has.
pub const LOCK_FINISHED: &str = "
    select id from calls where id = any ($1) and finished_at is not null order by id for update skip locked";

/// Removes the tags of calls from the index of tags.
pub const REMOVE_TAGS: &str = "
    delete from call_tags t
    using calls c, json_array_elements(c.tags::json) tag
    where c.id = any ($1) and t.key = tag ->> 0 and t.value = tag ->> 1 and t.call_id = c.id";

/// Removes the attempts of calls.
pub const REMOVE_ATTEMPTS: &str = "delete from attempts where call_id = any ($1)";

/// Removes what operators did with calls.
pub const REMOVE_ACTIONS: &str = "delete from actions where call_id = any ($1)";

/// Removes earlier requests of calls.
pub const REMOVE_REVISIONS: &str = "delete from revisions where call_id = any ($1)";

/// Removes what third parties reported of calls.
pub const REMOVE_REPORTS: &str = "delete from reports where call_id = any ($1)";

/// Removes calls.
pub const REMOVE_CALLS: &str = "delete from calls where id = any ($1)";

/// The oldest bulk job that ended long enough ago, locked. Ids are ordered by time, so younger jobs cost no look.
pub const OLD_BULK: &str = "
    select id
    from bulk_jobs
    where id <= $1 and finished_at < now() - $2 * interval '1 microsecond'
    order by id
    limit 1
    for update skip locked";

/// Removes calls of a job from its list, a bounded number at a time. Who still looks for their outcomes has some locked: those come later.
pub const REMOVE_BULK_CALLS: &str = "
    delete from bulk_calls
    where ctid = any (array(
      select ctid from bulk_calls where job_id = $1 limit $2 for update skip locked))";

/// Removes a job whose list is empty.
pub const REMOVE_BULK: &str =
    "delete from bulk_jobs where id = $1 and not exists (select from bulk_calls where job_id = $1)";

/// Blanks the request bodies of calls. A body that was there is empty from now on, not absent.
pub const BLANK_CALLS: &str = "
    update calls set
      body = case when body_kind <> 'empty' then ''::bytea end,
      body_erased_at = now()
    where id = any ($1)";

/// Blanks the answers' bodies of calls.
pub const BLANK_ATTEMPTS: &str = "
    update attempts set response_body = ''
    where call_id = any ($1) and octet_length(response_body) > 0";

/// Blanks the bodies of earlier requests of calls.
pub const BLANK_REVISIONS: &str = "
    update revisions set body = ''
    where call_id = any ($1) and octet_length(body) > 0";

/// Blanks what third parties reported of calls.
pub const BLANK_REPORTS: &str =
    "update reports set body = '' where call_id = any ($1) and octet_length(body) > 0";

/// Locks these calls, so that nobody claims or changes one while it is erased.
pub const LOCK_FOR_ERASURE: &str = "
    select id, status from calls where id = any ($1) and erased_at is null order by id for update";

/// Blanks whatever could be personal of calls.
pub const ERASE_CALLS: &str = "
    update calls c set
      path = '/',
      headers = null,
      body = case when c.body_kind <> 'empty' then ''::bytea end,
      tags = (select json_agg(json_build_array(tag ->> 0, '[erased]'))::text
              from json_array_elements(c.tags::json) tag),
      callback_url = null,
      failure = jsonb_set(c.failure::jsonb, '{error}', 'null')::text,
      last_error = null,
      error_group = null,
      body_erased_at = coalesce(c.body_erased_at, now()),
      erased_at = now(),
      updated_at = now()
    where c.id = any ($1)";

/// Blanks whatever could be personal of the attempts of calls.
pub const ERASE_ATTEMPTS: &str = "
    update attempts set
      request_url = case when request_url is not null then '' end,
      request_headers = case when request_headers is not null then '[]' end,
      response_headers = case when response_headers is not null then '[]' end,
      response_body = case when response_body is not null then ''::bytea end,
      error_detail = null,
      rule_notes = null
    where call_id = any ($1)";

/// Blanks earlier requests of calls.
pub const ERASE_REVISIONS: &str = "
    update revisions set path = '/', headers = null, body = case when body_kind <> 'empty' then ''::bytea end
    where call_id = any ($1)";

/// Blanks what the outside has yet to be told of calls, as far as it may hold the third party's words.
pub const ERASE_NOTICES: &str =
    "update notices set last_error = null where call_id = any ($1) and last_error is not null";

/// Blanks what bulk jobs say of calls, as far as it may hold the third party's words.
pub const ERASE_BULK_DETAILS: &str =
    "update bulk_calls set detail = null where call_id = any ($1) and detail is not null";

/// How many attempts and earlier requests calls have.
pub const COUNT_FOR_ERASURE: &str = "
    select
      (select count(*) from attempts where call_id = any ($1)) as attempts,
      (select count(*) from revisions where call_id = any ($1)) as revisions";

/// Every statement, for the test that prepares them.
pub const ALL: &[&str] = &[
    ADD_TALLIES,
    TALLIES_BY_MINUTE,
    TALLIES_BY_ENDPOINT,
    FORGET_TALLIES,
    TAKE_WALK,
    PUT_WALK,
    WALK_PAGE,
    LOCK_FINISHED,
    REMOVE_TAGS,
    REMOVE_ATTEMPTS,
    REMOVE_ACTIONS,
    REMOVE_REVISIONS,
    REMOVE_REPORTS,
    REMOVE_CALLS,
    OLD_BULK,
    REMOVE_BULK_CALLS,
    REMOVE_BULK,
    BLANK_CALLS,
    BLANK_ATTEMPTS,
    BLANK_REVISIONS,
    BLANK_REPORTS,
    LOCK_FOR_ERASURE,
    ERASE_CALLS,
    ERASE_ATTEMPTS,
    ERASE_REVISIONS,
    ERASE_NOTICES,
    ERASE_BULK_DETAILS,
    COUNT_FOR_ERASURE,
];
