-- The lists of sync records. Writing waits while an index is made, so there is a file for the tables that belong together.
drop index entraway.sync_runs_started_at;
drop index entraway.sync_runs_user_id;
create index sync_runs_newest on entraway.sync_runs (started_at, run_id);
create index sync_runs_of_person on entraway.sync_runs (user_id, started_at, run_id);
create index sync_runs_of_group on entraway.sync_runs using gin (touched) where touched <> '{}';
create index sync_runs_in_trouble on entraway.sync_runs (started_at, run_id)
    where outcome <> 'signed_in' or assigned_groups = 'unknown' or member_of = 'unknown' or failures <> '[]';
