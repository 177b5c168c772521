-- What pages show beside the rows of the store: how a sign-in went in more detail, what Entra last said of a person's
-- groups, how a team came to be.

-- Every sign-in writes to this table: better to fail and be started again than to have them all wait behind us.
set local lock_timeout = '3s';

alter table entraway.sync_runs
    -- Or why a person whom Entra had vouched for was refused.
    add column outcome text not null default 'signed_in'
        check (outcome in ('signed_in', 'no_group', 'groups_unknown', 'email_domain', 'other_tenant')),
    -- Null: an older version did not measure it.
    add column entra_ms double precision,
    add column plan_ms double precision,
    -- The groups whose organization or team was created, joined, refused or noted.
    add column touched text[] not null default '{}',
    -- Whoever is refused for their address is not asked about.
    drop constraint sync_runs_assigned_groups_check,
    add check (assigned_groups in ('known', 'unknown', 'not_configured', 'not_read')),
    drop constraint sync_runs_member_of_check,
    add check (member_of in ('known', 'unknown', 'not_read'));

-- A person's own groups, as Entra last told all of them: an object of {"name", "assigned"} by id. An assignment is null
-- where that list was never known together with this one. Written where it differs from what is there.
create table entraway.person_groups (
    user_id         text primary key,
    tenant_id       uuid not null,
    assigned_groups text not null check (assigned_groups in ('known', 'unknown', 'not_configured')),
    groups          jsonb not null,
    since           timestamptz not null,
    -- When Entra last said so again; written once a day at most.
    confirmed_at    timestamptz not null
);
create index person_groups_confirmed_at on entraway.person_groups (confirmed_at);

-- What is known of somebody's groups after Entra told all of them, but perhaps not which are assigned: then what was known
-- of that before still counts, for the same person. And whether that differs from what is there.
create function entraway.what_is_known(old entraway.person_groups, new entraway.person_groups)
returns table (assigned_groups text, groups jsonb, differs boolean)
language plpgsql immutable parallel safe as $$
begin
    assigned_groups := new.assigned_groups;
    groups := new.groups;
    if new.assigned_groups = 'unknown' and old.assigned_groups = 'known' and new.tenant_id = old.tenant_id then
        assigned_groups := 'known';
        select coalesce(jsonb_object_agg(
                   key, value || jsonb_build_object('assigned', old.groups #> array[key, 'assigned'])), '{}')
        into groups from jsonb_each(new.groups);
    end if;
    differs := (old.tenant_id, old.assigned_groups, old.groups)
               is distinct from (new.tenant_id, what_is_known.assigned_groups, what_is_known.groups);
    return next;
end
$$;

-- How each team that the sync made came to be.
create table entraway.made_teams (
    team_id              text primary key,
    made_at              timestamptz not null,
    organizations_on     boolean not null,
    -- Why its organization could not be made then.
    organization_refused text
);

-- The words of a name, an address or several texts, so that a search finds the beginning of each.
create function entraway.words(given text) returns tsvector
language sql immutable strict parallel safe as $$
    select pg_catalog.to_tsvector('pg_catalog.simple'::pg_catalog.regconfig, pg_catalog.translate(given,
        '.,:;-_+~@#%&/|!?*=<>()[]{}''"`^$', '                               '))
$$;
