//! Every statement that is sent to SQLite. Twins of those in `postgres/sql.rs`, under the same names.
//!
//! One row at a time: a batch loops over them inside one transaction. The time comes as a parameter, in microseconds since 1970, read once
//! for the whole transaction. A test prepares each of them on a migrated database.

/// The columns that `CallRow` reads.
macro_rules! call_columns {
    () => {
        "id, publisher, idempotency_key, sent_key, endpoint, method, path, headers, body_kind, body, status, due_at, wake_at,
         trigger, rung, attempts_made, claim_number, worker, started_at, lease_until, review_reason, deadline, span_us,
         entity_key, entity_version, tags, callback_url, failure, last_verdict, last_http_status, last_error, course, provider, dry_run, trace_parent,
         revision, created_at, updated_at, finished_at, body_erased_at, erased_at"
    };
}

pub mod audit;
pub mod bulk;
pub mod holds;
pub mod look;
pub mod reports;

/// Begins a transaction that writes. It takes the lock at once: one that took it only with its first write could find that another
/// had written since its first read, and fail.
pub const BEGIN: &str = "begin immediate";

/// Stores a new call, unless its key or (when an accept is run again) its id is there; `KNOWN` tells why.
pub const ACCEPT: &str = "
    insert into calls
      (id, publisher, idempotency_key, fingerprint, endpoint, method, path, headers, body_kind, body, status, due_at, wake_at,
       trigger, rung, attempts_made, claim_number, worker, started_at, lease_until, review_reason, deadline, span_us,
       entity_key, entity_version, tags, callback_url, failure, trace_parent, revision, created_at, updated_at,
       course, provider, dry_run)
    values
      (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
       ?14, ?15, ?16, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
       ?23, ?24, ?25, ?26, ?27, ?28, 1, ?29, ?29,
       ?30, ?31, ?32)
    on conflict do nothing";

/// A tag of a new call.
pub const TAG: &str =
    "insert into call_tags (key, value, call_id) values (?1, ?2, ?3) on conflict do nothing";

/// Writes the notices that the present state of a call gives rise to: the broker is told of reviews and of what
/// a later submission overtook, a callback of every outcome.
pub const NOTIFY: &str = "
    insert into notices
      (channel, call_id, endpoint, publisher, idempotency_key, status, review_reason, attempts, last_error, at, callback_url,
       tries, due_at)
    select
      n.channel, s.id, s.endpoint, s.publisher, s.idempotency_key, s.status, s.review_reason, s.attempts_made,
      s.last_error, ?2, case when n.channel = 'callback' then s.callback_url end, 0, ?2
    from calls s
    join (select 'broker' as channel union all select 'callback') n
      on (n.channel = 'broker' and s.status in ('review', 'superseded'))
      or (n.channel = 'callback' and s.callback_url is not null
          and s.status in ('review', 'succeeded', 'resolved', 'cancelled', 'superseded'))
    where s.id = ?1";

/// The call that stands under a key.
pub const KNOWN: &str = "select id, fingerprint from calls where publisher = ?1 and idempotency_key = ?2";

/// Raises the highest accepted version of an entity.
pub const RAISE_ENTITIES: &str = "
    insert into entities (endpoint, entity_key, version)
    values (?1, ?2, ?3)
    on conflict (endpoint, entity_key) do update set version = max(version, excluded.version)";

/// Ends all calls of an entity that a higher version has overtaken; a running one when its attempt is closed.
pub const SUPERSEDE: &str = "
    update calls set
      status = case when status = 'running' then 'running' else 'superseded' end,
      ending = case when status = 'running' then 'superseded' end,
      due_at = null,
      wake_at = null,
      trigger = case when status = 'running' then trigger end,
      review_reason = null,
      finished_at = case when status = 'running' then null else ?3 end,
      updated_at = ?3
    where endpoint = ?1
      and entity_key = ?2
      and entity_version < (select version from entities where endpoint = ?1 and entity_key = ?2)
      and entity_key is not null
      and status in ('scheduled', 'running', 'review')
      and (status <> 'running' or ending is null)
    returning id, status";

/// Claims a call. The predicate, not the ticket, is what keeps two attempts of a call apart.
pub const CLAIM: &str = concat!(
    "update calls set
       status = 'running',
       attempts_made = attempts_made + 1,
       claim_number = claim_number + 1,
       worker = ?4,
       started_at = ?5,
       lease_until = ?6,
       due_at = null,
       wake_at = null,
       updated_at = ?5
     where id = ?1
       and status = 'scheduled'
       and attempts_made = ?2 - 1
       and endpoint = ?3
       and due_at <= ?7
       and deadline > ?5
     returning ",
    call_columns!()
);

/// Why a wish was not granted, if the call stands as named: whether it has expired, and the wait that is left.
pub const UNCLAIMED: &str = "
    select deadline <= ?4 as expired, min(due_at, deadline) - ?4 as wait_us
    from calls
    where id = ?1 and status = 'scheduled' and attempts_made = ?2 - 1 and endpoint = ?3";

/// Moves a call on, only under the claim that its attempt was made under. What ends the call from outside (a late success, a higher
/// version of its entity) comes before what was asked, but not before a success.
pub const RECORD: &str = "
    update calls set
      status = case when ?4 = 'succeeded' then ?4 else coalesce(ending, ?4) end,
      due_at = case when ?4 = 'scheduled' and ending is null then ?5 end,
      wake_at = case when ?4 = 'scheduled' and ending is null then min(?5, deadline) end,
      trigger = case when ?4 = 'scheduled' and ending is null then ?7 end,
      rung = case when ?4 = 'scheduled' and ending is null then ?6 else rung end,
      review_reason = case when ?4 = 'review' and ending is null then ?8 end,
      finished_at = case when ?4 = 'succeeded' or ending is not null then ?12 end,
      worker = null,
      started_at = null,
      lease_until = null,
      ending = null,
      last_verdict = ?9,
      last_http_status = ?10,
      last_error = ?11,
      course = ?13,
      error_group = case when ?4 = 'review' and ending is null then ?14 else error_group end,
      updated_at = ?12
    where id = ?1 and status = 'running' and attempts_made = ?2 and claim_number = ?3
    returning status, due_at, wake_at, trigger, attempts_made, claim_number, worker, started_at, lease_until, review_reason,
      finished_at";

/// Closes an attempt.
pub const LOG_ATTEMPT: &str = "
    insert into attempts
      (call_id, number, claim_number, trigger, provider, worker, started_at, duration_us, verdict, request_method, request_url,
       request_headers, request_body_bytes, request_revision, http_status, response_headers, response_body, response_body_bytes,
       error_kind, error_detail, recorded_at, provider_reason, cost_millionths, rule, rule_notes)
    values
      (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
       ?22, ?23, ?24, ?25)";

/// One call, inside a transaction that writes.
pub const LOCK_CALL: &str = concat!("select ", call_columns!(), " from calls where id = ?1");

/// How an attempt was closed.
pub const CLOSED_ATTEMPT: &str =
    "select claim_number, error_kind, late_verdict from attempts where call_id = ?1 and number = ?2";

/// Adds to a lost attempt what came late, once. The error kind stays.
pub const ADD_LATE_RESULT: &str = "
    update attempts set
      late_verdict = ?3,
      late_recorded_at = ?14,
      provider = coalesce(provider, ?4),
      request_method = ?5,
      request_url = ?6,
      request_headers = ?7,
      request_body_bytes = ?8,
      request_revision = ?9,
      http_status = ?10,
      response_headers = ?11,
      response_body = ?12,
      response_body_bytes = ?13
    where call_id = ?1 and number = ?2 and late_verdict is null and error_kind = 'worker_lost'";

/// Lets a late success end a call that waits, or that runs again.
pub const SUCCEED_LATE: &str = "
    update calls set
      status = case when status = 'running' then 'running' else 'succeeded' end,
      ending = case when status = 'running' then 'succeeded' end,
      due_at = null,
      wake_at = null,
      trigger = case when status = 'running' then trigger end,
      review_reason = null,
      finished_at = case when status = 'running' then null else ?4 end,
      last_verdict = case when status = 'running' then last_verdict else ?2 end,
      last_http_status = case when status = 'running' then last_http_status else ?3 end,
      last_error = case when status = 'running' then last_error end,
      updated_at = ?4
    where id = ?1 and status in ('scheduled', 'running', 'review')
    returning status";

/// Sends a scheduled call to review without an attempt.
pub const SET_ASIDE: &str = concat!(
    "update calls set
       status = 'review',
       review_reason = ?3,
       due_at = null,
       wake_at = null,
       trigger = null,
       updated_at = ?4
     where id = ?1
       and status = 'scheduled'
       and attempts_made = ?2 - 1
       and case when ?3 = 'expired' then deadline <= ?4 else due_at <= ?5 end
     returning ",
    call_columns!()
);

/// Running calls whose lease ran out.
pub const EXPIRED_LEASES: &str = concat!(
    "select ",
    call_columns!(),
    " from calls
     where status = 'running' and lease_until <= ?1
     order by lease_until
     limit ?2"
);

/// Notes that a new ticket goes out.
pub const MARK_RESCUED: &str = "
    update calls set wake_at = ?3
    where id = ?1 and status = 'scheduled' and attempts_made = ?2 - 1 and wake_at < ?4";

/// Endpoints of which any call is scheduled: one step through the index for each, however many calls wait.
pub const WAITING_ENDPOINTS: &str = "
    with recursive found (endpoint) as (
      select min(endpoint)
      from calls
      where status = 'scheduled'
      union all
      select (select min(c.endpoint) from calls c where c.status = 'scheduled' and c.endpoint > f.endpoint)
      from found f
      where f.endpoint is not null
    )
    select endpoint
    from found
    where endpoint is not null";

/// The first page of what waits at an endpoint, by wake time.
pub const WAITING_FIRST: &str = "
    select id, attempts_made, endpoint, wake_at, deadline <= ?4 as expired
    from calls
    where status = 'scheduled' and endpoint = ?1 and wake_at < ?2
    order by wake_at, id
    limit ?3";

/// The page of what waits at an endpoint after one place in that order.
pub const WAITING_AFTER: &str = "
    select id, attempts_made, endpoint, wake_at, deadline <= ?4 as expired
    from calls
    where status = 'scheduled' and endpoint = ?1 and wake_at < ?2 and (wake_at, id) > (?5, ?6)
    order by wake_at, id
    limit ?3";

/// Forgets what a worker reported before, and what workers that are long gone left behind.
pub const FORGET_LANES: &str = "delete from lane_reports where worker = ?1 or reported_at < ?2";

/// Writes how far a worker has got.
pub const REPORT_LANES: &str = "
    insert into lane_reports (worker, endpoint, oldest_held, last_taken, reported_at)
    values (?1, ?2, ?3, ?4, ?5)
    on conflict (worker, endpoint) do update set
      oldest_held = excluded.oldest_held,
      last_taken = excluded.last_taken,
      reported_at = excluded.reported_at";

/// What all workers reported lately.
pub const LANE_REPORTS: &str = "
    select worker, endpoint, oldest_held, last_taken
    from lane_reports
    where reported_at >= ?1
    order by worker, endpoint";

/// The highest accepted version of the entity of a call.
pub const HOLD_ENTITY: &str = "
    select e.version
    from calls c
    join entities e on e.endpoint = c.endpoint and e.entity_key = c.entity_key
    where c.id = ?1";

/// Sets a call going again.
pub const REPLAY: &str = concat!(
    "update calls set
       status = 'scheduled',
       due_at = ?10,
       wake_at = min(?10, ?2),
       trigger = 'replay',
       rung = 0,
       review_reason = null,
       finished_at = null,
       deadline = ?2,
       method = ?3,
       path = ?4,
       headers = ?5,
       body_kind = ?6,
       body = ?7,
       sent_key = ?8,
       revision = ?9,
       course = ?11,
       updated_at = ?10
     where id = ?1
     returning ",
    call_columns!()
);

/// Ends a call by hand.
pub const FINISH: &str = concat!(
    "update calls set
       status = ?2,
       due_at = null,
       wake_at = null,
       trigger = null,
       review_reason = null,
       finished_at = ?3,
       revision = revision + 1,
       updated_at = ?3
     where id = ?1
     returning ",
    call_columns!()
);

/// Keeps a request that is about to be replaced.
pub const KEEP_REVISION: &str = "
    insert into revisions (call_id, revision, method, path, headers, body_kind, body, replaced_by, replaced_at)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

/// Logs what an operator did.
pub const LOG_ACTION: &str = "
    insert into actions (call_id, kind, actor, note, revision, at)
    values (?1, ?2, ?3, ?4, ?5, ?6)";

/// One call.
pub const FIND: &str = LOCK_CALL;

/// The attempts of a call.
pub const ATTEMPTS: &str = "
    select number, claim_number, trigger, provider, provider_reason, cost_millionths, rule, rule_notes, worker, started_at, duration_us, verdict, request_method, request_url,
      request_headers, request_body_bytes, request_revision, http_status, response_headers, response_body,
      response_body_bytes, error_kind, error_detail, late_verdict, late_recorded_at
    from attempts
    where call_id = ?1
    order by number";

/// What operators did with a call.
pub const ACTIONS: &str =
    "select kind, actor, note, at, revision from actions where call_id = ?1 order by id";

/// Earlier requests of a call.
pub const REVISIONS: &str = "
    select revision, method, path, headers, body_kind, body, replaced_at, replaced_by
    from revisions
    where call_id = ?1
    order by revision";

/// Counts. Attempt numbers have no gap, so the log's length is known without reading it: all attempts made but those that still run.
pub const TOTALS: &str = "
    select
      status,
      endpoint,
      count(*) as calls,
      coalesce(sum(attempts_made), 0) as attempts_made,
      count(*) filter (where due_at <= ?1) as due
    from calls
    group by status, endpoint
    order by status, endpoint";

/// Takes notices that are due and puts each off. The channels come as JSON.
pub const TAKE_NOTICES: &str = "
    update notices set tries = tries + 1, due_at = ?3 + (?4 << min(tries, 6))
    where id in (
      select id
      from notices
      where channel in (select value from json_each(?1)) and due_at <= ?3
      order by due_at, id
      limit ?2)
    returning id, channel, call_id, endpoint, publisher, idempotency_key, status, review_reason, attempts, last_error, at,
      callback_url, tries - 1 as tries,
      (select c.failure from calls c where c.id = call_id and attempts = 0) as failure,
      coalesce((select c.dry_run from calls c where c.id = call_id), 0) as dry_run";

/// Forgets a notice that was told.
pub const FORGET_NOTICES: &str = "delete from notices where id = ?1";

/// Whether the file answers.
pub const NOW: &str = "select count(*) from sqlite_schema";

/// Every statement, for the test that prepares them.
pub const ALL: &[&str] = &[
    ACCEPT,
    TAG,
    NOTIFY,
    KNOWN,
    RAISE_ENTITIES,
    SUPERSEDE,
    CLAIM,
    UNCLAIMED,
    RECORD,
    LOG_ATTEMPT,
    LOCK_CALL,
    CLOSED_ATTEMPT,
    ADD_LATE_RESULT,
    SUCCEED_LATE,
    SET_ASIDE,
    EXPIRED_LEASES,
    MARK_RESCUED,
    WAITING_ENDPOINTS,
    WAITING_FIRST,
    WAITING_AFTER,
    FORGET_LANES,
    REPORT_LANES,
    LANE_REPORTS,
    HOLD_ENTITY,
    REPLAY,
    FINISH,
    KEEP_REVISION,
    LOG_ACTION,
    FIND,
    ATTEMPTS,
    ACTIONS,
    REVISIONS,
    TOTALS,
    TAKE_NOTICES,
    FORGET_NOTICES,
    NOW,
];
