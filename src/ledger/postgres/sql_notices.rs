//! The statements on notices that are sent to PostgreSQL.

/// Takes notices that are due and puts each off; what another process is just taking is passed over.
pub const TAKE_NOTICES: &str = "
    with due as materialized (
      select id
      from notices
      where channel = any ($1) and due_at <= now()
      order by due_at, id
      limit $2
      for update skip locked
    )
    update notices n set tries = n.tries + 1, due_at = now() + ($3 << least(n.tries, 6)) * interval '1 microsecond'
    from due
    where n.id = due.id
    returning n.id, n.channel, n.call_id, n.endpoint, n.publisher, n.idempotency_key, n.status, n.review_reason, n.attempts,
      n.last_error, n.at, n.callback_url, n.tries - 1 as tries,
      (select c.failure from calls c where c.id = n.call_id and n.attempts = 0) as failure,
      coalesce((select c.dry_run from calls c where c.id = n.call_id), false) as dry_run";

/// Forgets notices that were told.
pub const FORGET_NOTICES: &str = "delete from notices where id = any ($1)";
