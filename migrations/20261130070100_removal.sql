-- Removal of memberships that the sync gave.

-- Every sign-in uses these tables: fail and be started again rather than hold them up.
set local lock_timeout = '3s';

-- What gave a managed membership: '<client ID of the enterprise app>:<group ID>'. It ends with its last source. Rows of
-- earlier versions have none; their source is the group with the team's ID.
alter table entraway.team_members add column sources text[] not null default '{}';
alter table entraway.litellm_team_members add column sources text[] not null default '{}';

-- Keys that the sync blocked, by user and team. The keys are also marked in their metadata.
create table entraway.litellm_blocked_keys (
    user_id    text not null,
    team_id    text not null,
    -- Hashes of the keys, by which LiteLLM identifies them.
    tokens     text[] not null,
    blocked_at timestamptz not null,
    primary key (user_id, team_id)
);

-- What a sign-in removed.
alter table entraway.sync_runs
    add column removed_from_teams text[] not null default '{}',
    add column removed_from_organizations text[] not null default '{}',
    add column keys_blocked integer not null default 0;
