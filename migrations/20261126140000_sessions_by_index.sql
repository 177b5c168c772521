-- Opening a session looked through everybody's sessions where the plan had been made while there were few, as it is in a new
-- database until Postgres first counts its rows. Each step here has one condition, which one index serves, and no other
-- plan is taken, whatever was known about the table when it was made. Whose sessions are ended, and in which order rows
-- are locked, is as before.
create or replace function entraway.end_other_sessions(
    person text, keep bytea, replaced bytea[], most integer, now timestamptz, idle_since timestamptz
) returns text[] language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    over bytea[];
    ended text[] := '{}';
begin
    perform pg_advisory_xact_lock(hashtextextended('entraway sessions of ' || person, 0));
    over := replaced || array(
        select token_hash from (
            select token_hash, alive, row_number() over (partition by alive order by created_at desc, token_hash) as place
            from (
                select token_hash, created_at, expires_at > now and last_seen_at > idle_since as alive
                from entraway.sessions
                where user_id = person and token_hash <> keep and token_hash <> all(replaced)
            ) others
        ) placed
        where not alive or place >= most);
    if over <> '{}' then
        over := array(select token_hash from entraway.sessions where token_hash = any(over) order by token_hash for update);
        with gone as (delete from entraway.sessions where token_hash = any(over) returning user_id)
        select coalesce(array_agg(distinct user_id), '{}') into ended from gone;
    end if;
    return ended;
end
$$;
