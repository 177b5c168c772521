-- Rosters, whoever came last first.
drop index entraway.organization_members_organization_id;
create index organization_members_by_age on entraway.organization_members (organization_id, created_at, user_id);
drop index entraway.team_members_team_id;
create index team_members_by_age on entraway.team_members (team_id, created_at, user_id);
