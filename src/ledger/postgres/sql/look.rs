//! Statements that look at many calls: lists and groups, and what their filters have in common.

/// The conditions of a filter on the alias `c`, parameters `$1` to `$14`. With its plan made for the values at hand, what is null falls
/// away and the partial indexes serve. Tags are looked up first, because they pick few.
macro_rules! filter {
    () => {
        "($1::text[] is null or c.status = any ($1))
       and ($2::text is null or c.endpoint = $2)
       and ($3::text is null or c.publisher = $3)
       and ($4::text is null or c.review_reason = $4)
       and ($5::timestamptz is null or c.created_at >= $5)
       and ($6::timestamptz is null or c.created_at < $6)
       and ($7::text[] is null or c.id = any (array(
         select t.call_id
         from unnest($7, $8::text[]) as f(key, value)
         join call_tags t on t.key = f.key and t.value = f.value
         group by t.call_id
         having count(*) = cardinality($7))))
       and ($9::text is null
         or c.idempotency_key ilike $9
         or c.path ilike $9
         or c.last_error ilike $9
         or ($10::text is not null and replace(c.id::text, '-', '') like $10)
         or exists (select from json_array_elements(c.tags::json) as tag where tag ->> 1 ilike $9))
       and ($11::text is null or coalesce(c.error_group, '') = $11)
       and ($12::uuid[] is null or c.id = any ($12))
       and ($13::text is null or c.provider = $13)
       and ($14::boolean is null or c.dry_run = $14)"
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
       and ($15::uuid is null or c.id < $15)
     order by c.id desc
     limit $16"
);

/// Groups of calls that pass a filter, the largest first. Ids are compared as text: there is no greatest uuid before PostgreSQL 18.
pub const GROUPS: &str = concat!(
    "select
       c.endpoint,
       c.review_reason,
       c.error_group,
       count(*) as calls,
       min(c.updated_at) as first_at,
       max(c.updated_at) as last_at,
       max(c.id::text)::uuid as example
     from calls c
     where ",
    filter!(),
    "
     group by c.endpoint, c.review_reason, c.error_group
     order by count(*) desc, max(c.updated_at) desc
     limit $15"
);

/// Writes the groups of errors that calls went to review with, where the statement that moved them could not.
pub const SET_ERROR_GROUPS: &str = "
    update calls c set error_group = g.error_group
    from unnest($1::uuid[], $2::text[]) as g(id, error_group)
    where c.id = g.id";

/// Every statement, for the test that prepares them.
pub const ALL: &[&str] = &[LIST, GROUPS, SET_ERROR_GROUPS];
