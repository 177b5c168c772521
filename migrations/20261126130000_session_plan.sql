-- Opening a session was planned anew each time, which took longer than what was planned: one person's sessions are few,
-- whoever it is.
alter function entraway.end_other_sessions(text, bytea, bytea[], integer, timestamptz, timestamptz)
    set plan_cache_mode = force_generic_plan;
