//! Statements of the audit log.

/// Writes down what an operator did.
pub const AUDIT: &str = "
    insert into audit (actor, action, call_id, subject, note, detail, at)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// Entries of both tables that pass a filter, newest first. Each side is walked by its index and gives one page at most.
pub const AUDIT_LOG: &str = "
    select *
    from (
      select *
      from (
        select 'action' as source, a.id, a.at, a.actor, a.kind as action, a.call_id, null as subject, a.note, null as detail
        from actions a
        where (?1 is null or a.actor = ?1)
          and (?2 is null or a.kind = ?2)
          and (?3 is null or a.at >= ?3)
          and (?4 is null or a.at < ?4)
          and (?5 is null or (a.at, 'action', a.id) < (?5, ?6, ?7))
        order by a.at desc, a.id desc
        limit ?8)
      union all
      select *
      from (
        select 'other', o.id, o.at, o.actor, o.action, o.call_id, o.subject, o.note, o.detail
        from audit o
        where (?1 is null or o.actor = ?1)
          and (?2 is null or o.action = ?2)
          and (?3 is null or o.at >= ?3)
          and (?4 is null or o.at < ?4)
          and (?5 is null or (o.at, 'other', o.id) < (?5, ?6, ?7))
        order by o.at desc, o.id desc
        limit ?8))
    order by at desc, source desc, id desc
    limit ?8";

/// Moves what operators did with calls that are about to be removed to where it is kept for ever.
pub const KEEP_ACTIONS: &str = "
    insert into audit (at, actor, action, call_id, note, detail)
    select at, actor, kind, call_id, note, 'the call is no longer kept'
    from actions
    where call_id = ?1
    order by id";

/// Every statement, for the test that prepares them.
pub const ALL: &[&str] = &[AUDIT, AUDIT_LOG, KEEP_ACTIONS];
