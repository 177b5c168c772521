-- Who is signed in, and as what, is remembered by every replica for a while. Whatever changes that says so on the
-- channel entraway_sessions, with the user id, or with * for everybody.

-- Entra's front-channel sign-out names its own session, not ours.
create index sessions_sid on entraway.sessions (sid) where sid is not null;

-- Very many people at once are told as everybody: a replica then reads anew whoever comes.
create function entraway.tell_sessions(user_ids text[]) returns void language plpgsql as $$
declare
    told text[] := array(select distinct unnest(user_ids));
begin
    if cardinality(told) > 100 then
        told := array['*'];
    end if;
    perform pg_notify('entraway_sessions', user_id) from unnest(told) as user_id;
end
$$;

-- For a session `keep` that was opened just now: ends those that it replaces, and what the person has beyond the newest
-- ones. Gives whose sessions ended. The lock is why this is a function: each of its statements sees what others have
-- committed when it begins, so of two sessions opened at once the second counts the first. Rows are locked after it, and
-- in one order, so that two who want the same ones wait for each other and not in a circle.
create function entraway.end_other_sessions(
    person text, keep bytea, replaced bytea[], most integer, now timestamptz, idle_since timestamptz
) returns text[] language plpgsql as $$
declare
    ended text[];
begin
    perform pg_advisory_xact_lock(hashtextextended('entraway sessions of ' || person, 0));
    with over as materialized (
        select token_hash from entraway.sessions
        where token_hash = any(replaced) or (
            user_id = person and token_hash <> keep and token_hash not in (
                select token_hash from entraway.sessions
                where user_id = person and token_hash <> keep and token_hash <> all(replaced)
                  and expires_at > now and last_seen_at > idle_since
                order by created_at desc, token_hash limit most - 1))
        order by token_hash for update
    ), gone as (
        delete from entraway.sessions where token_hash in (select token_hash from over) returning user_id
    )
    select coalesce(array_agg(distinct user_id), '{}') into ended from gone;
    return ended;
end
$$;

-- The native store's rows may be changed by hand or by other programs, too.
create function entraway.members_changed() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        perform entraway.tell_sessions(array(select user_id from new_rows));
    else
        perform entraway.tell_sessions(array(select user_id from old_rows));
    end if;
    return null;
end
$$;
create trigger members_added after insert on entraway.team_members
    referencing new table as new_rows for each statement execute function entraway.members_changed();
create trigger members_removed after delete on entraway.team_members
    referencing old table as old_rows for each statement execute function entraway.members_changed();
create trigger members_added after insert on entraway.organization_members
    referencing new table as new_rows for each statement execute function entraway.members_changed();
create trigger members_removed after delete on entraway.organization_members
    referencing old table as old_rows for each statement execute function entraway.members_changed();

-- What moves to another person or group. Spend, which changes all the time, is nothing that sessions show.
create function entraway.team_members_moved() returns trigger language plpgsql as $$
begin
    perform entraway.tell_sessions(array(
        (select user_id from (select user_id, team_id from old_rows except select user_id, team_id from new_rows) gone)
        union
        (select user_id from (select user_id, team_id from new_rows except select user_id, team_id from old_rows) come)
    ));
    return null;
end
$$;
create trigger members_moved after update on entraway.team_members
    referencing old table as old_rows new table as new_rows
    for each statement execute function entraway.team_members_moved();

create function entraway.organization_members_moved() returns trigger language plpgsql as $$
begin
    perform entraway.tell_sessions(array(
        (select user_id from (
            select user_id, organization_id from old_rows except select user_id, organization_id from new_rows) gone)
        union
        (select user_id from (
            select user_id, organization_id from new_rows except select user_id, organization_id from old_rows) come)
    ));
    return null;
end
$$;
create trigger members_moved after update on entraway.organization_members
    referencing old table as old_rows new table as new_rows
    for each statement execute function entraway.organization_members_moved();

create function entraway.users_changed() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        perform entraway.tell_sessions(array(select user_id from old_rows));
    else
        perform entraway.tell_sessions(array(
            select user_id from (
                select user_id, tenant_id, user_email, user_alias, user_role from old_rows
                except select user_id, tenant_id, user_email, user_alias, user_role from new_rows) changed));
    end if;
    return null;
end
$$;
create trigger users_changed after update on entraway.users
    referencing old table as old_rows new table as new_rows
    for each statement execute function entraway.users_changed();
create trigger users_removed after delete on entraway.users
    referencing old table as old_rows for each statement execute function entraway.users_changed();

-- Of a whole table at once nobody says who was in it.
create function entraway.anybody_changed() returns trigger language plpgsql as $$
begin
    perform entraway.tell_sessions(array['*']);
    return null;
end
$$;
create trigger all_removed after truncate on entraway.users
    for each statement execute function entraway.anybody_changed();
create trigger all_removed after truncate on entraway.team_members
    for each statement execute function entraway.anybody_changed();
create trigger all_removed after truncate on entraway.organization_members
    for each statement execute function entraway.anybody_changed();
create trigger all_removed after truncate on entraway.sessions
    for each statement execute function entraway.anybody_changed();

-- The keys that sign identity assertions: PKCS#8. The newest that every replica has had time to publish signs.
create table entraway.assertion_keys (
    kid         text primary key,
    private_key bytea not null,
    created_at  timestamptz not null
);
