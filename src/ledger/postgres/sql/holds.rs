//! Holds, and what is done with the calls of held endpoints. Twins of those in `sqlite/sql/holds.rs`.

/// The columns that `HoldRow` reads, of the table itself.
macro_rules! hold_columns {
    () => {
        "holds.endpoint, holds.kind, holds.since, holds.actor, holds.note, holds.parks, holds.phase, holds.phase_since,
         holds.until, holds.worker"
    };
}

/// Every hold.
pub const HOLDS: &str = concat!("select ", hold_columns!(), " from holds order by endpoint");

/// Parks an endpoint. What an operator holds stays, and what is parked for longer.
pub const PARK: &str = concat!(
    "insert into holds (endpoint, kind, since, note, parks, phase, phase_since, until)
     values ($1, $2, now(), $3, $4, 'parked', now(), now() + $5 * interval '1 microsecond')
     on conflict (endpoint) do update set
       kind = excluded.kind,
       since = case when holds.phase = 'ramping' then excluded.since else holds.since end,
       actor = null,
       note = excluded.note,
       parks = excluded.parks,
       phase = 'parked',
       phase_since = excluded.phase_since,
       until = excluded.until,
       worker = null
     where holds.phase <> 'parked' or holds.until < excluded.until
     returning ",
    hold_columns!()
);

/// Holds an endpoint for an operator.
pub const PAUSE: &str = concat!(
    "insert into holds (endpoint, kind, since, actor, note, parks, phase, phase_since)
     values ($1, 'paused', now(), $2, $3, 0, 'parked', now())
     on conflict (endpoint) do update set
       kind = 'paused',
       since = case when holds.until is null then holds.since else excluded.since end,
       actor = excluded.actor,
       note = excluded.note,
       parks = 0,
       phase = 'parked',
       phase_since = excluded.phase_since,
       until = null,
       worker = null
     returning ",
    hold_columns!()
);

/// Lets calls out again, whatever held them.
pub const RESUME: &str = concat!(
    "update holds set
       phase = 'ramping',
       phase_since = now(),
       until = now() + $2 * interval '1 microsecond',
       worker = null
     where endpoint = $1 and phase <> 'ramping'
     returning ",
    hold_columns!()
);

/// Lets one worker probe.
pub const TAKE_PROBE: &str = concat!(
    "update holds set
       phase = 'probing',
       phase_since = now(),
       until = now() + $3 * interval '1 microsecond',
       worker = $2
     where endpoint = $1 and phase in ('parked', 'probing') and until <= now()
     returning ",
    hold_columns!()
);

/// Lets calls out again after a good probe.
pub const PROBE_SUCCEEDED: &str = concat!(
    "update holds set
       phase = 'ramping',
       phase_since = now(),
       until = now() + $3 * interval '1 microsecond',
       worker = null
     where endpoint = $1 and phase = 'probing' and worker = $2
     returning ",
    hold_columns!()
);

/// Lets another worker probe.
pub const PROBE_UNUSED: &str = concat!(
    "update holds set
       phase = 'parked',
       phase_since = now(),
       until = now(),
       worker = null
     where endpoint = $1 and phase = 'probing' and worker = $2
     returning ",
    hold_columns!()
);

/// Forgets a hold that is over.
pub const FORGET_HOLD: &str = concat!(
    "delete from holds
     where endpoint = $1 and phase = 'ramping' and until <= now()
     returning ",
    hold_columns!()
);

/// Puts calls off. One that is due later anyway stays so.
pub const POSTPONE: &str = "
    update calls c set
      due_at = greatest(c.due_at, now() + $3 * interval '1 microsecond'),
      wake_at = least(greatest(c.due_at, now() + $3 * interval '1 microsecond'), c.deadline)
    from unnest($1::uuid[], $2::integer[]) as t(id, attempt)
    where c.id = t.id
      and case when c.status = 'scheduled'
        then c.attempts_made = t.attempt - 1 and c.deadline > now()
        else false end
    returning c.id, c.attempts_made, (extract(epoch from c.wake_at - now()) * 1000000)::bigint as wait_us";

/// Gives back rungs.
pub const GIVE_BACK_RUNGS: &str = "
    update calls c set rung = t.rung
    from unnest($1::uuid[], $2::integer[], $3::integer[]) as t(id, attempt, rung)
    where c.id = t.id
      and case when c.status = 'scheduled'
        then c.attempts_made = t.attempt - 1 and c.rung = t.rung + 1
        else false end";

/// Scheduled calls of an endpoint whose deadline has passed.
pub const EXPIRED: &str = "
    select id, attempts_made, endpoint, wake_at, true as expired
    from calls
    where status = 'scheduled' and endpoint = $1 and wake_at <= now() and deadline <= now()
    order by wake_at, id
    limit $2";

/// Every statement, for the test that prepares them.
pub const ALL: &[&str] = &[
    HOLDS,
    PARK,
    PAUSE,
    RESUME,
    TAKE_PROBE,
    PROBE_SUCCEEDED,
    PROBE_UNUSED,
    FORGET_HOLD,
    POSTPONE,
    GIVE_BACK_RUNGS,
    EXPIRED,
];
