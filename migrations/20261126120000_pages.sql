-- What pages show beside the rows of the store: how a sign-in went in more detail, what Entra last said of a person's
-- groups, how a team came to be; and the indexes that keep lists fast.

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

update entraway.sync_runs r
set touched = array(
    select unnest(organizations_created || teams_created || organizations_joined || teams_joined)
    union select failure ->> 'id' from jsonb_array_elements(r.failures) failure
    union select note ->> 'team' from jsonb_array_elements(r.notes) note where note ? 'team')
where cardinality(organizations_created || teams_created || organizations_joined || teams_joined) > 0
   or failures <> '[]' or notes <> '[]';

drop index entraway.sync_runs_started_at;
drop index entraway.sync_runs_user_id;
create index sync_runs_newest on entraway.sync_runs (started_at, run_id);
create index sync_runs_of_person on entraway.sync_runs (user_id, started_at, run_id);
create index sync_runs_of_group on entraway.sync_runs using gin (touched) where touched <> '{}';
create index sync_runs_in_trouble on entraway.sync_runs (started_at, run_id)
    where outcome <> 'signed_in' or assigned_groups = 'unknown' or member_of = 'unknown' or failures <> '[]';

-- A person's own groups, as Entra last told all of them: an object of {"name", "assigned"} by id. An assignment is null
-- where that list was not known. Written where it differs from what is there.
create table entraway.person_groups (
    user_id         text primary key,
    tenant_id       uuid not null,
    assigned_groups text not null check (assigned_groups in ('known', 'unknown', 'not_configured')),
    groups          jsonb not null,
    since           timestamptz not null
);

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

-- Lists go by name or by age, and on from the last row of the page before.
create index organizations_by_name on entraway.organizations (lower(organization_alias), organization_id);
create index organizations_by_age on entraway.organizations (created_at, organization_id);
create index organizations_words on entraway.organizations using gin (entraway.words(organization_alias));

create index teams_by_name on entraway.teams (lower(team_alias), team_id);
create index teams_by_age on entraway.teams (created_at, team_id);
create index teams_words on entraway.teams using gin (entraway.words(team_alias));
drop index entraway.teams_organization_id;
create index teams_of_organization on entraway.teams (organization_id, created_at, team_id);

create index users_by_name on entraway.users (lower(coalesce(nullif(user_alias, ''), user_email, user_id)), user_id);
create index users_by_age on entraway.users (created_at, user_id);
create index users_words on entraway.users
    using gin (entraway.words(coalesce(user_alias, '') || ' ' || coalesce(user_email, '')));

drop index entraway.organization_members_organization_id;
create index organization_members_by_age on entraway.organization_members (organization_id, created_at, user_id);
drop index entraway.team_members_team_id;
create index team_members_by_age on entraway.team_members (team_id, created_at, user_id);
