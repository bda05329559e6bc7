//! Holds, and what is done with the calls of held endpoints. Twins of those in `postgres/sql/holds.rs`.

/// The columns that `HoldRow` reads.
macro_rules! hold_columns {
    () => {
        "endpoint, kind, since, actor, note, parks, phase, phase_since, until, worker"
    };
}

/// Every hold.
pub const HOLDS: &str = concat!("select ", hold_columns!(), " from holds order by endpoint");

/// Parks an endpoint. What an operator holds stays, and what is parked for longer.
pub const PARK: &str = concat!(
    "insert into holds (endpoint, kind, since, note, parks, phase, phase_since, until)
     values (?1, ?2, ?6, ?3, ?4, 'parked', ?6, ?5)
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
     values (?1, 'paused', ?4, ?2, ?3, 0, 'parked', ?4)
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
    "update holds set phase = 'ramping', phase_since = ?3, until = ?2, worker = null
     where endpoint = ?1 and phase <> 'ramping'
     returning ",
    hold_columns!()
);

/// Lets one worker probe.
pub const TAKE_PROBE: &str = concat!(
    "update holds set phase = 'probing', phase_since = ?4, until = ?3, worker = ?2
     where endpoint = ?1 and phase in ('parked', 'probing') and until <= ?4
     returning ",
    hold_columns!()
);

/// Lets calls out again after a good probe.
pub const PROBE_SUCCEEDED: &str = concat!(
    "update holds set phase = 'ramping', phase_since = ?4, until = ?3, worker = null
     where endpoint = ?1 and phase = 'probing' and worker = ?2
     returning ",
    hold_columns!()
);

/// Lets another worker probe.
pub const PROBE_UNUSED: &str = concat!(
    "update holds set phase = 'parked', phase_since = ?3, until = ?3, worker = null
     where endpoint = ?1 and phase = 'probing' and worker = ?2
     returning ",
    hold_columns!()
);

/// Forgets a hold that is over.
pub const FORGET_HOLD: &str = concat!(
    "delete from holds
     where endpoint = ?1 and phase = 'ramping' and until <= ?2
     returning ",
    hold_columns!()
);

/// Puts a call off. One that is due later anyway stays so.
pub const POSTPONE: &str = "
    update calls set
      due_at = max(due_at, ?3),
      wake_at = min(max(due_at, ?3), deadline)
    where id = ?1 and status = 'scheduled' and attempts_made = ?2 - 1 and deadline > ?4
    returning wake_at";

/// Gives back a rung.
pub const GIVE_BACK_RUNGS: &str = "
    update calls set rung = ?3
    where id = ?1 and status = 'scheduled' and attempts_made = ?2 - 1 and rung = ?3 + 1";

/// Scheduled calls of an endpoint whose deadline has passed.
pub const EXPIRED: &str = "
    select id, attempts_made, endpoint, wake_at, 1 as expired
    from calls
    where status = 'scheduled' and endpoint = ?1 and wake_at <= ?3 and deadline <= ?3
    order by wake_at, id
    limit ?2";

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
