//! What third parties report by themselves, and the newest attempts of an endpoint. Twins of those in `postgres/sql/reports.rs`.

/// Keeps a word; the same one once.
pub const KEEP_REPORT: &str = "
    insert into reports (call_id, digest, report, rule, body, received_at)
    values (?1, ?2, ?3, ?4, ?5, ?6)
    on conflict do nothing";

/// The words kept of a call.
pub const REPORTS: &str = "
    select report, rule, body, received_at
    from reports
    where call_id = ?1
    order by received_at, digest";

/// Sends a scheduled call to review because the third party refused it.
pub const REFUSE_REPORTED: &str = "
    update calls set
      status = 'review',
      review_reason = 'rejected',
      due_at = null,
      wake_at = null,
      trigger = null,
      last_verdict = 'rejected',
      last_http_status = null,
      last_error = ?2,
      error_group = ?3,
      updated_at = ?4
    where id = ?1 and status = 'scheduled'";

/// Calls of an endpoint by outgoing key. The index knows keys by publisher, of whom there are few: one step for each.
pub const SENT_WITH: &str = concat!(
    "with recursive publishers(publisher) as (
       select min(publisher) from calls
       union all
       select (select min(n.publisher) from calls n where n.publisher > p.publisher)
       from publishers p
       where p.publisher is not null
     )
     select ",
    call_columns!(),
    " from calls
     where publisher in (select publisher from publishers where publisher is not null)
       and idempotency_key in (select value from json_each(?1))
       and endpoint = ?2
       and coalesce(sent_key, idempotency_key) = ?3
     order by id
     limit 10"
);

/// Attempts of the newest calls of an endpoint, newest first.
pub const NEWEST_ATTEMPTS: &str = "
    select a.call_id, a.number, a.claim_number, a.trigger, a.provider, a.provider_reason, a.cost_millionths, a.rule, a.rule_notes,
      a.worker, a.started_at, a.duration_us, a.verdict, a.request_method, a.request_url, a.request_headers,
      a.request_body_bytes, a.request_revision, a.http_status, a.response_headers, a.response_body, a.response_body_bytes,
      a.error_kind, a.error_detail, a.late_verdict, a.late_recorded_at
    from (
      select r.id
      from (select id, endpoint, attempts_made from calls order by id desc limit ?3) r
      where r.endpoint = ?1 and r.attempts_made > 0
      order by r.id desc
      limit ?2
    ) c
    join attempts a on a.call_id = c.id
    where a.trigger <> 'confirm'
    order by a.call_id desc, a.number desc
    limit ?2";

/// Every statement, for the test that prepares them.
pub const ALL: &[&str] = &[KEEP_REPORT, REPORTS, REFUSE_REPORTED, SENT_WITH, NEWEST_ATTEMPTS];
