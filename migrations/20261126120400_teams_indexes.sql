-- As for organizations; and the teams of one.
create index teams_by_name on entraway.teams (lower(team_alias), team_id);
create index teams_by_age on entraway.teams (created_at, team_id);
create index teams_words on entraway.teams using gin (entraway.words(team_alias));
drop index entraway.teams_organization_id;
create index teams_of_organization on entraway.teams (organization_id, created_at, team_id);
