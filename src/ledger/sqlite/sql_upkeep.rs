//! The statements of upkeep on SQLite: tallies, retention, erasure. Twins of those in `postgres/sql_upkeep.rs`, under the same names.
//!
//! One call at a time inside one transaction. What belongs to a call is found by the call's id, never by a scan.

/// Adds a count to what is there.
pub const ADD_TALLIES: &str = "
    insert into tallies (minute, endpoint, provider, kind, label, n)
    values (?1, ?2, ?3, ?4, ?5, ?6)
    on conflict (minute, endpoint, provider, kind, label) do update set n = n + excluded.n";

/// Counts by minute.
pub const TALLIES_BY_MINUTE: &str = "
    select minute, kind, label, sum(n) as n
    from tallies
    where minute >= ?1 and (?2 is null or endpoint = ?2)
    group by minute, kind, label
    order by minute, kind, label";

/// Counts by endpoint and provider.
pub const TALLIES_BY_ENDPOINT: &str = "
    select endpoint, provider, kind, label, sum(n) as n
    from tallies
    where minute >= ?1 and (?2 is null or endpoint = ?2)
    group by endpoint, provider, kind, label
    order by endpoint, provider, kind, label";

/// Forgets counts that are too old, a bounded number at a time.
pub const FORGET_TALLIES: &str =
    "delete from tallies where rowid in (select rowid from tallies where minute < ?1 limit ?2)";

/// Takes the next step of a walk, unless it is not time for it.
pub const TAKE_WALK: &str = "select after_id from walks where name = 'retention' and next_at <= ?1";

/// Writes how far a walk has come, and when its next step may be taken.
pub const PUT_WALK: &str = "update walks set after_id = ?1, next_at = ?2 where name = 'retention'";

/// A page of calls by id, with what is due: removal, or blanking. What is on the page and may not be touched costs a look.
pub const WALK_PAGE: &str = "
    select
      id,
      coalesce(finished_at < ?4, false) as removable,
      coalesce(finished_at < ?5 and body_erased_at is null, false) as blankable
    from calls
    where id > ?1 and id <= ?2
    order by id
    limit ?3";

/// Removes the tags of a call from the index of tags.
pub const REMOVE_TAGS: &str = "
    delete from call_tags
    where (key, value, call_id) in (
      select tag.value ->> 0, tag.value ->> 1, c.id
      from calls c, json_each(c.tags) tag
      where c.id = ?1)";

/// Removes the attempts of a call.
pub const REMOVE_ATTEMPTS: &str = "delete from attempts where call_id = ?1";

/// Removes what operators did with a call.
pub const REMOVE_ACTIONS: &str = "delete from actions where call_id = ?1";

/// Removes earlier requests of a call.
pub const REMOVE_REVISIONS: &str = "delete from revisions where call_id = ?1";

/// Removes what third parties reported of calls.
pub const REMOVE_REPORTS: &str = "delete from reports where call_id = ?1";

/// Removes a call.
pub const REMOVE_CALLS: &str = "delete from calls where id = ?1";

/// The oldest bulk job that ended long enough ago. Ids are ordered by time, so younger jobs cost no look.
pub const OLD_BULK: &str = "
    select id
    from bulk_jobs
    where id <= ?1 and finished_at < ?2
    order by id
    limit 1";

/// Removes calls of a job from its list, a bounded number at a time.
pub const REMOVE_BULK_CALLS: &str =
    "delete from bulk_calls where rowid in (select rowid from bulk_calls where job_id = ?1 limit ?2)";

/// Removes a job whose list is empty.
pub const REMOVE_BULK: &str =
    "delete from bulk_jobs where id = ?1 and not exists (select 1 from bulk_calls where job_id = ?1)";

/// Blanks the request body of a call. A body that was there is empty from now on, not absent.
pub const BLANK_CALLS: &str = "
    update calls set
      body = case when body_kind <> 'empty' then x'' end,
      body_erased_at = ?2
    where id = ?1";

/// Blanks the answers' bodies of a call.
pub const BLANK_ATTEMPTS: &str =
    "update attempts set response_body = x'' where call_id = ?1 and length(response_body) > 0";

/// Blanks the bodies of earlier requests of a call.
pub const BLANK_REVISIONS: &str = "update revisions set body = x'' where call_id = ?1 and length(body) > 0";

/// Blanks what third parties reported of calls.
pub const BLANK_REPORTS: &str = "update reports set body = x'' where call_id = ?1 and length(body) > 0";

/// Where a call stands that is not erased yet.
pub const LOCK_FOR_ERASURE: &str = "select status from calls where id = ?1 and erased_at is null";

/// Blanks whatever could be personal of a call.
pub const ERASE_CALLS: &str = "
    update calls set
      path = '/',
      headers = null,
      body = case when body_kind <> 'empty' then x'' end,
      tags = case when tags is not null then (
        select json_group_array(json_array(tag.value ->> 0, '[erased]')) from json_each(calls.tags) tag) end,
      callback_url = null,
      failure = json_set(failure, '$.error', null),
      last_error = null,
      error_group = null,
      body_erased_at = coalesce(body_erased_at, ?2),
      erased_at = ?2,
      updated_at = ?2
    where id = ?1";

/// Blanks whatever could be personal of the attempts of a call.
pub const ERASE_ATTEMPTS: &str = "
    update attempts set
      request_url = case when request_url is not null then '' end,
      request_headers = case when request_headers is not null then '[]' end,
      response_headers = case when response_headers is not null then '[]' end,
      response_body = case when response_body is not null then x'' end,
      error_detail = null,
      rule_notes = null
    where call_id = ?1";

/// Blanks earlier requests of a call.
pub const ERASE_REVISIONS: &str = "
    update revisions set path = '/', headers = null, body = case when body_kind <> 'empty' then x'' end
    where call_id = ?1";

/// Blanks what the outside has yet to be told of a call, as far as it may hold the third party's words.
pub const ERASE_NOTICES: &str =
    "update notices set last_error = null where call_id = ?1 and last_error is not null";

/// Blanks what bulk jobs say of a call, as far as it may hold the third party's words.
pub const ERASE_BULK_DETAILS: &str =
    "update bulk_calls set detail = null where call_id = ?1 and detail is not null";

/// How many attempts and earlier requests a call has.
pub const COUNT_FOR_ERASURE: &str = "
    select
      (select count(*) from attempts where call_id = ?1) as attempts,
      (select count(*) from revisions where call_id = ?1) as revisions";

/// Every statement, for the test that prepares them.
pub const ALL: &[&str] = &[
    ADD_TALLIES,
    TALLIES_BY_MINUTE,
    TALLIES_BY_ENDPOINT,
    FORGET_TALLIES,
    TAKE_WALK,
    PUT_WALK,
    WALK_PAGE,
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
