-- Teams whose models follow their organization's. Read-write compatible with the version before: it leaves both columns
-- alone.

-- Every sign-in writes to sync_runs: fail and be started again rather than hold them up.
set local lock_timeout = '3s';

-- What the sync last wrote as the models of a team in place of all-org-models; null: it wrote no list of models.
alter table entraway.made_teams add column expanded_models text[];

-- The teams whose models a sign-in brought in step with their organization's.
alter table entraway.sync_runs add column team_models_updated text[] not null default '{}';
