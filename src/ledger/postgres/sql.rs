//! Every statement that is sent to PostgreSQL. Twins of those in `sqlite/sql.rs`, under the same names.
//!
//! A batch is one statement over arrays of its columns. `now()` is the transaction's start, the same for all rows of a batch: a statement
//! that had to wait for a lock counts a lease from before the wait, never from after it. A test prepares each of them on a migrated database.
//!
//! Batches that name calls ask for the state inside a `case`. The planner does not look into one, so it finds the calls by their ids. Where it
//! sees `status = 'running'`, it prefers the small partial index of all that run, which after a few seconds of traffic is mostly dead
//! entries: measured, three times the work for a batch of 64.

pub use super::sql_notices::{FORGET_NOTICES, TAKE_NOTICES};

/// The columns that `CallRow` reads, of the alias `c`.
macro_rules! call_columns {
    () => {
        "c.id, c.publisher, c.idempotency_key, c.sent_key, c.endpoint, c.method, c.path, c.headers, c.body_kind, c.body,
         c.status, c.due_at, c.wake_at, c.trigger, c.rung, c.attempts_made, c.claim_number, c.worker, c.started_at,
         c.lease_until, c.review_reason, c.deadline, c.span_us, c.entity_key, c.entity_version, c.tags, c.callback_url,
         c.failure, c.last_verdict, c.last_http_status, c.last_error, c.course, c.provider, c.dry_run, c.trace_parent, c.revision, c.created_at,
         c.updated_at, c.finished_at, c.body_erased_at, c.erased_at"
    };
}

/// The columns that `insert_notices` reads; a statement returns them of the calls that it changed.
macro_rules! event_columns {
    () => {
        "c.id, c.endpoint, c.publisher, c.idempotency_key, c.status, c.review_reason, c.attempts_made, c.last_error,
         c.callback_url"
    };
}

/// Writes the notices that the changed calls of a `with` clause give rise to: the broker is told of reviews and of what
/// a later submission overtook, a callback of every outcome.
macro_rules! insert_notices {
    ($changed:literal) => {
        concat!(
            "insert into notices
               (channel, call_id, endpoint, publisher, idempotency_key, status, review_reason, attempts, last_error, at,
                callback_url, tries, due_at)
             select
               n.channel, s.id, s.endpoint, s.publisher, s.idempotency_key, s.status, s.review_reason, s.attempts_made,
               s.last_error, now(), case when n.channel = 'callback' then s.callback_url end, 0, now()
             from ",
            $changed,
            " s
             join (values ('broker'), ('callback')) as n(channel)
               on (n.channel = 'broker' and s.status in ('review', 'superseded'))
               or (n.channel = 'callback' and s.callback_url is not null
                   and s.status in ('review', 'succeeded', 'resolved', 'cancelled', 'superseded'))"
        )
    };
}

pub mod audit;
pub mod bulk;
pub mod holds;
pub mod look;
pub mod reports;

/// The ledger's clock.
pub const NOW: &str = "select clock_timestamp()";

/// Stores new calls with their tags, and the notices of those that start in review. Answers the stored ones.
///
/// Whatever is in the way of a row, be it the key or (when an accept is run again) the id, the row is left out, and `KNOWN` tells why.
pub const ACCEPT: &str = concat!(
    "with stored as (
       insert into calls as c
         (id, publisher, idempotency_key, fingerprint, endpoint, method, path, headers, body_kind, body, status,
          due_at, wake_at, trigger, rung, attempts_made, claim_number, worker, started_at, lease_until, review_reason,
          deadline, span_us, entity_key, entity_version, tags, callback_url, failure, trace_parent, revision,
          created_at, updated_at, course, provider, dry_run)
       select
         i.id, i.publisher, i.idempotency_key, i.fingerprint, i.endpoint, i.method, i.path, i.headers, i.body_kind,
         i.body, i.status,
         t.due_at,
         case when i.status = 'scheduled' then least(t.due_at, t.deadline) end,
         i.trigger,
         i.rung,
         case when i.status = 'running' then 1 else 0 end,
         case when i.status = 'running' then 1 else 0 end,
         i.worker,
         case when i.status = 'running' then now() end,
         now() + i.lease_us * interval '1 microsecond',
         i.review_reason,
         t.deadline,
         (extract(epoch from t.deadline - now()) * 1000000)::bigint,
         i.entity_key, i.entity_version, i.tags, i.callback_url, i.failure, i.trace_parent, 1, now(), now(),
         i.course, i.provider, i.dry_run
       from unnest(
         $1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
         $10::bytea[], $11::text[], $12::bigint[], $13::timestamptz[], $14::integer[], $15::text[], $16::bigint[],
         $17::text[], $18::timestamptz[], $19::text[], $20::bigint[], $21::text[], $22::text[], $23::text[], $24::text[],
         $25::text[], $26::text[], $27::text[], $28::boolean[]
       ) as i(
         id, publisher, idempotency_key, fingerprint, endpoint, method, path, headers, body_kind,
         body, status, delay_us, not_before, rung, worker, lease_us,
         review_reason, deadline, entity_key, entity_version, tags, callback_url, failure, trace_parent,
         trigger, course, provider, dry_run)
       cross join lateral (
         select
           case when i.status = 'scheduled'
             then greatest(now() + i.delay_us * interval '1 microsecond', i.not_before) end as due_at,
           coalesce(i.deadline, now() + $29 * interval '1 microsecond') as deadline
       ) t
       on conflict do nothing
       returning ",
    event_columns!(),
    ", c.due_at, c.wake_at, c.deadline, c.created_at, c.lease_until
     ),
     tagged as (
       insert into call_tags (key, value, call_id)
       select t.key, t.value, t.call_id
       from unnest($30::text[], $31::text[], $32::uuid[]) as t(key, value, call_id)
       join stored s on s.id = t.call_id
       on conflict do nothing
     ),
     told as (",
    insert_notices!("stored"),
    ")
     select id, due_at, deadline, created_at, lease_until from stored"
);

/// The calls that stand under these keys.
pub const KNOWN: &str = "
    select k.place, c.id, c.fingerprint
    from unnest($1::bigint[], $2::text[], $3::text[]) as k(place, publisher, idempotency_key)
    join calls c on c.publisher = k.publisher and c.idempotency_key = k.idempotency_key";

/// Raises the highest accepted version of entities. Locks their rows until the end of the transaction, in one order for all.
pub const RAISE_ENTITIES: &str = "
    insert into entities (endpoint, entity_key, version)
    select e.endpoint, e.entity_key, max(e.version)
    from unnest($1::text[], $2::text[], $3::bigint[]) as e(endpoint, entity_key, version)
    group by e.endpoint, e.entity_key
    order by e.endpoint, e.entity_key
    on conflict (endpoint, entity_key) do update set version = greatest(entities.version, excluded.version)";

/// Ends all calls of these entities that a higher version has overtaken; a running one when its attempt is closed.
pub const SUPERSEDE: &str = concat!(
    "with overtaken as (
       update calls c set
         status = case when c.status = 'running' then 'running' else 'superseded' end,
         ending = case when c.status = 'running' then coalesce(c.ending, 'superseded') end,
         due_at = null,
         wake_at = null,
         trigger = case when c.status = 'running' then c.trigger end,
         review_reason = null,
         finished_at = case when c.status = 'running' then null else now() end,
         updated_at = now()
       from unnest($1::text[], $2::text[]) as k(endpoint, entity_key)
       join entities e on e.endpoint = k.endpoint and e.entity_key = k.entity_key
       where c.endpoint = k.endpoint
         and c.entity_key = k.entity_key
         and c.entity_version < e.version
         and c.entity_key is not null
         and c.status in ('scheduled', 'running', 'review')
         and (c.status <> 'running' or c.ending is null)
       returning ",
    event_columns!(),
    "
     ),
     told as (",
    insert_notices!("overtaken"),
    ")
     select id from overtaken where status = 'superseded'"
);

/// Claims calls. The predicate, not the ticket, is what keeps two attempts of a call apart.
pub const CLAIM: &str = concat!(
    "update calls c set
       status = 'running',
       attempts_made = c.attempts_made + 1,
       claim_number = c.claim_number + 1,
       worker = w.worker,
       started_at = now(),
       lease_until = now() + w.lease_us * interval '1 microsecond',
       due_at = null,
       wake_at = null,
       updated_at = now()
     from unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::bigint[])
       as w(id, attempt, endpoint, worker, lease_us)
     where c.id = w.id
       and case when c.status = 'scheduled'
         then c.attempts_made = w.attempt - 1
           and c.endpoint = w.endpoint
           and c.due_at <= now() + $6 * interval '1 microsecond'
           and c.deadline > now()
         else false end
     returning ",
    call_columns!()
);

/// Why wishes were not granted: those that stand as named, with the wait that is left.
pub const UNCLAIMED: &str = "
    select
      w.place,
      c.deadline <= now() as expired,
      (extract(epoch from least(c.due_at, c.deadline) - now()) * 1000000)::bigint as wait_us
    from unnest($1::bigint[], $2::uuid[], $3::integer[], $4::text[]) as w(place, id, attempt, endpoint)
    join calls c on c.id = w.id
    where case when c.status = 'scheduled'
      then c.attempts_made = w.attempt - 1 and c.endpoint = w.endpoint
      else false end";

/// Closes attempts and moves their calls on, each only under the claim it was made under. What ends the call from outside
/// (a late success, a higher version of its entity) comes before what was asked, but not before a success.
pub const RECORD: &str = concat!(
    "with input as materialized (
       select *
       from unnest(
         $1::uuid[], $2::integer[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::bigint[],
         $9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[], $14::integer[], $15::integer[], $16::text[],
         $17::bytea[], $18::bigint[], $19::text[], $20::text[], $21::text[], $22::text[], $23::bigint[], $24::integer[],
         $25::text[], $26::text[], $27::text[], $28::text[], $29::bigint[], $30::text[], $31::text[],
         $32::text[]
       ) as i(
         call_id, number, claim_number, trigger, provider, worker, started_at, duration_us,
         verdict, request_method, request_url, request_headers, request_body_bytes, request_revision, http_status,
         response_headers, response_body, response_body_bytes, error_kind, error_detail, error,
         next_status, delay_us, rung, next_trigger, review_reason,
         course, provider_reason, cost_millionths, rule, rule_notes, error_group)
     ),
     changed as (
       update calls c set
         status = case when i.next_status = 'succeeded' then i.next_status else coalesce(c.ending, i.next_status) end,
         due_at = case when i.next_status = 'scheduled' and c.ending is null
           then now() + i.delay_us * interval '1 microsecond' end,
         wake_at = case when i.next_status = 'scheduled' and c.ending is null
           then least(now() + i.delay_us * interval '1 microsecond', c.deadline) end,
         trigger = case when i.next_status = 'scheduled' and c.ending is null then i.next_trigger end,
         rung = case when i.next_status = 'scheduled' and c.ending is null then i.rung else c.rung end,
         review_reason = case when i.next_status = 'review' and c.ending is null then i.review_reason end,
         finished_at = case when i.next_status = 'succeeded' or c.ending is not null then now() end,
         worker = null,
         started_at = null,
         lease_until = null,
         ending = null,
         last_verdict = i.verdict,
         last_http_status = i.http_status,
         last_error = i.error,
         course = i.course,
         error_group = case when i.next_status = 'review' and c.ending is null then i.error_group else c.error_group end,
         updated_at = now()
       from input i
       where c.id = i.call_id
         and case when c.status = 'running'
           then c.claim_number = i.claim_number and c.attempts_made = i.number
           else false end
       returning ",
    event_columns!(),
    ", c.due_at, c.wake_at, c.trigger, c.claim_number, c.worker, c.started_at, c.lease_until, c.finished_at
     ),
     logged as (
       insert into attempts
         (call_id, number, claim_number, trigger, provider, worker, started_at, duration_us, verdict,
          request_method, request_url, request_headers, request_body_bytes, request_revision,
          http_status, response_headers, response_body, response_body_bytes, error_kind, error_detail, recorded_at,
          provider_reason, cost_millionths, rule, rule_notes)
       select
         i.call_id, i.number, i.claim_number, i.trigger, i.provider, i.worker, i.started_at, i.duration_us, i.verdict,
         i.request_method, i.request_url, i.request_headers, i.request_body_bytes, i.request_revision,
         i.http_status, i.response_headers, i.response_body, i.response_body_bytes, i.error_kind, i.error_detail, now(),
         i.provider_reason, i.cost_millionths, i.rule, i.rule_notes
       from changed s
       join input i on i.call_id = s.id and i.claim_number = s.claim_number
     ),
     told as (",
    insert_notices!("changed"),
    ")
     select
       id, status, due_at, wake_at, trigger, attempts_made, claim_number, worker, started_at, lease_until, review_reason,
       finished_at
     from changed"
);

/// One call, locked until the end of the transaction.
pub const LOCK_CALL: &str = concat!("select ", call_columns!(), " from calls c where c.id = $1 for update");

/// How an attempt was closed.
pub const CLOSED_ATTEMPT: &str =
    "select claim_number, error_kind, late_verdict from attempts where call_id = $1 and number = $2";

/// Adds to a lost attempt what came late, once. The error kind stays.
pub const ADD_LATE_RESULT: &str = "
    update attempts set
      late_verdict = $3,
      late_recorded_at = now(),
      provider = coalesce(provider, $4),
      request_method = $5,
      request_url = $6,
      request_headers = $7,
      request_body_bytes = $8,
      request_revision = $9,
      http_status = $10,
      response_headers = $11,
      response_body = $12,
      response_body_bytes = $13
    where call_id = $1 and number = $2 and late_verdict is null and error_kind = 'worker_lost'";

/// Lets a late success end a call that waits, or that runs again.
pub const SUCCEED_LATE: &str = concat!(
    "with changed as (
       update calls c set
         status = case when c.status = 'running' then 'running' else 'succeeded' end,
         ending = case when c.status = 'running' then 'succeeded' end,
         due_at = null,
         wake_at = null,
         trigger = case when c.status = 'running' then c.trigger end,
         review_reason = null,
         finished_at = case when c.status = 'running' then null else now() end,
         last_verdict = case when c.status = 'running' then c.last_verdict else $2 end,
         last_http_status = case when c.status = 'running' then c.last_http_status else $3 end,
         last_error = case when c.status = 'running' then c.last_error end,
         updated_at = now()
       where c.id = $1 and c.status in ('scheduled', 'running', 'review')
       returning ",
    event_columns!(),
    "
     ),
     told as (",
    insert_notices!("changed"),
    ")
     select id from changed where status = 'succeeded'"
);

/// Sends scheduled calls to review without an attempt.
pub const SET_ASIDE: &str = concat!(
    "with changed as (
       update calls c set
         status = 'review',
         review_reason = o.reason,
         due_at = null,
         wake_at = null,
         trigger = null,
         updated_at = now()
       from unnest($1::uuid[], $2::integer[], $3::text[]) as o(id, attempt, reason)
       where c.id = o.id
         and case
           when c.status <> 'scheduled' or c.attempts_made <> o.attempt - 1 then false
           when o.reason = 'expired' then c.deadline <= now()
           else c.due_at <= now() + $4 * interval '1 microsecond' end
       returning ",
    call_columns!(),
    "
     ),
     told as (",
    insert_notices!("changed"),
    ")
     select * from changed"
);

/// Running calls whose lease ran out.
pub const EXPIRED_LEASES: &str = concat!(
    "select ",
    call_columns!(),
    " from calls c
     where c.status = 'running' and c.lease_until <= now()
     order by c.lease_until
     limit $1"
);

/// Notes that new tickets go out.
pub const MARK_RESCUED: &str = "
    update calls c set wake_at = now()
    from unnest($1::uuid[], $2::integer[]) as t(id, attempt)
    where c.id = t.id
      and case when c.status = 'scheduled'
        then c.attempts_made = t.attempt - 1 and c.wake_at < now() - $3 * interval '1 microsecond'
        else false end
    returning c.id, c.attempts_made";

/// Endpoints of which any call is scheduled: one step through the index for each, however many calls wait.
pub const WAITING_ENDPOINTS: &str = "
    with recursive found as (
      select min(endpoint) as endpoint
      from calls
      where status = 'scheduled'
      union all
      select (select min(c.endpoint) from calls c where c.status = 'scheduled' and c.endpoint > f.endpoint)
      from found f
      where f.endpoint is not null
    )
    select endpoint from found where endpoint is not null";

/// The first page of what waits at an endpoint, by wake time.
pub const WAITING_FIRST: &str = "
    select id, attempts_made, endpoint, wake_at, deadline <= now() as expired
    from calls
    where status = 'scheduled' and endpoint = $1 and wake_at < $2
    order by wake_at, id
    limit $3";

/// The page of what waits at an endpoint after one place in that order.
pub const WAITING_AFTER: &str = "
    select id, attempts_made, endpoint, wake_at, deadline <= now() as expired
    from calls
    where status = 'scheduled' and endpoint = $1 and wake_at < $2 and (wake_at, id) > ($4, $5)
    order by wake_at, id
    limit $3";

/// Writes how far a worker has got, in place of what it wrote before; forgets what workers that are long gone left behind.
pub const REPORT_LANES: &str = "
    with forgotten as (
      delete from lane_reports
      where (worker, endpoint) in (
        select worker, endpoint
        from lane_reports
        where (worker = $1 and endpoint <> all ($2::text[]))
          or (worker <> $1 and reported_at < now() - interval '1 day')
        for update skip locked)
    )
    insert into lane_reports (worker, endpoint, oldest_held, last_taken, reported_at)
    select $1, r.endpoint, r.oldest_held, r.last_taken, now()
    from unnest($2::text[], $3::timestamptz[], $4::timestamptz[]) as r(endpoint, oldest_held, last_taken)
    on conflict (worker, endpoint) do update set
      oldest_held = excluded.oldest_held,
      last_taken = excluded.last_taken,
      reported_at = excluded.reported_at";

/// What all workers reported lately.
pub const LANE_REPORTS: &str = "
    select worker, endpoint, oldest_held, last_taken
    from lane_reports
    where reported_at >= now() - $1 * interval '1 microsecond'
    order by worker, endpoint";

/// The highest accepted version of the entity of a call, which stays so until the end of the transaction.
pub const HOLD_ENTITY: &str = "
    select e.version
    from calls c
    join entities e on e.endpoint = c.endpoint and e.entity_key = c.entity_key
    where c.id = $1
    for share of e";

/// The transaction's time.
pub const TRANSACTION_TIME: &str = "select now()";

/// Sets a call going again.
pub const REPLAY: &str = concat!(
    "update calls c set
       status = 'scheduled',
       due_at = now(),
       wake_at = least(now(), $2),
       trigger = 'replay',
       rung = 0,
       review_reason = null,
       finished_at = null,
       deadline = $2,
       method = $3,
       path = $4,
       headers = $5,
       body_kind = $6,
       body = $7,
       sent_key = $8,
       revision = $9,
       course = $10,
       updated_at = now()
     where c.id = $1
     returning ",
    call_columns!()
);

/// Ends a call by hand.
pub const FINISH: &str = concat!(
    "with changed as (
       update calls c set
         status = $2,
         due_at = null,
         wake_at = null,
         trigger = null,
         review_reason = null,
         finished_at = now(),
         revision = c.revision + 1,
         updated_at = now()
       where c.id = $1
       returning ",
    call_columns!(),
    "
     ),
     told as (",
    insert_notices!("changed"),
    ")
     select * from changed"
);

/// Keeps a request that is about to be replaced.
pub const KEEP_REVISION: &str = "
    insert into revisions (call_id, revision, method, path, headers, body_kind, body, replaced_at, replaced_by)
    values ($1, $2, $3, $4, $5, $6, $7, now(), $8)";

/// Logs what an operator did.
pub const LOG_ACTION: &str = "
    insert into actions (call_id, kind, actor, note, at, revision)
    values ($1, $2, $3, $4, now(), $5)";

/// One call.
pub const FIND: &str = concat!("select ", call_columns!(), " from calls c where c.id = $1");

/// The attempts of a call.
pub const ATTEMPTS: &str = "
    select number, claim_number, trigger, provider, provider_reason, cost_millionths, rule, rule_notes, worker, started_at, duration_us, verdict, request_method, request_url,
      request_headers, request_body_bytes, request_revision, http_status, response_headers, response_body,
      response_body_bytes, error_kind, error_detail, late_verdict, late_recorded_at
    from attempts
    where call_id = $1
    order by number";

/// What operators did with a call.
pub const ACTIONS: &str =
    "select kind, actor, note, at, revision from actions where call_id = $1 order by id";

/// Earlier requests of a call.
pub const REVISIONS: &str = "
    select revision, method, path, headers, body_kind, body, replaced_at, replaced_by
    from revisions
    where call_id = $1
    order by revision";

/// Counts. Attempt numbers have no gap, so the log's length is known without reading it: all attempts made but those that still run.
pub const TOTALS: &str = "
    select
      status,
      endpoint,
      count(*) as calls,
      coalesce(sum(attempts_made), 0)::bigint as attempts_made,
      count(*) filter (where due_at <= now()) as due
    from calls
    group by status, endpoint
    order by status, endpoint";

/// Takes the lock of the one process that has this schema for itself; it lasts as long as the connection.
pub const TRY_EXCLUSIVE: &str =
    "select pg_try_advisory_lock(hashtextextended('redial.exclusive.' || current_schema(), 0))";

/// Every statement, for the test that prepares them.
pub const ALL: &[&str] = &[
    NOW,
    ACCEPT,
    KNOWN,
    RAISE_ENTITIES,
    SUPERSEDE,
    CLAIM,
    UNCLAIMED,
    RECORD,
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
    REPORT_LANES,
    LANE_REPORTS,
    HOLD_ENTITY,
    TRANSACTION_TIME,
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
    TRY_EXCLUSIVE,
];
