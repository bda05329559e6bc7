//! Statements that look at many calls: lists and groups, and what their filters have in common.

/// The conditions of a filter on the alias `c`, parameters `?1` to `?13`. Lists come as JSON, ids in it as hexadecimal digits.
macro_rules! filter {
    () => {
        r"(?1 is null or c.status in (select value from json_each(?1)))
       and (?2 is null or c.endpoint = ?2)
       and (?3 is null or c.publisher = ?3)
       and (?4 is null or c.review_reason = ?4)
       and (?5 is null or c.created_at >= ?5)
       and (?6 is null or c.created_at < ?6)
       and (?7 is null or not exists (
         select 1
         from json_each(?7) f
         where not exists (
           select 1
           from call_tags t
           where t.key = f.value ->> 0 and t.value = f.value ->> 1 and t.call_id = c.id)))
       and (?8 is null
         or c.idempotency_key like ?8 escape '\'
         or c.path like ?8 escape '\'
         or c.last_error like ?8 escape '\'
         or (?9 is not null and hex(c.id) like ?9)
         or exists (select 1 from json_each(c.tags) tag where tag.value ->> 1 like ?8 escape '\'))
       and (?10 is null or coalesce(c.error_group, '') = ?10)
       and (?11 is null or c.id in (select unhex(value) from json_each(?11)))
       and (?12 is null or c.provider = ?12)
       and (?13 is null or c.dry_run = ?13)"
    };
}
pub(super) use filter;

/// Calls that pass a filter, newest first.
pub const LIST: &str = concat!(
    "select ",
    call_columns!(),
    " from calls c
     where ",
    filter!(),
    "
       and (?14 is null or c.id < ?14)
     order by c.id desc
     limit ?15"
);

/// Groups of calls that pass a filter, the largest first.
pub const GROUPS: &str = concat!(
    "select
       c.endpoint,
       c.review_reason,
       c.error_group,
       count(*) as calls,
       min(c.updated_at) as first_at,
       max(c.updated_at) as last_at,
       max(c.id) as example
     from calls c
     where ",
    filter!(),
    "
     group by c.endpoint, c.review_reason, c.error_group
     order by count(*) desc, max(c.updated_at) desc
     limit ?14"
);

/// Writes the group of the error that a call went to review with, where the statement that moved it could not.
pub const SET_ERROR_GROUPS: &str = "update calls set error_group = ?2 where id = ?1";

/// Every statement, for the test that prepares them.
pub const ALL: &[&str] = &[LIST, GROUPS, SET_ERROR_GROUPS];
