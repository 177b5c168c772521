-- Indexes that keep Entraway's lists fast in a large LiteLLM database, with more than ten thousand teams or users. Without
-- them, pages are slower. They are on the proxy's tables, so the owner of those tables creates them, after Entraway has
-- started once, and outside of a transaction:
--
--   psql -v ON_ERROR_STOP=1 "$DATABASE_URL" -f docs/litellm-indexes.sql
--
-- An upgrade of LiteLLM can drop them: then run this again. Dropping the schema "entraway" drops those named _words.

create index concurrently if not exists entraway_teams_by_name
    on public."LiteLLM_TeamTable" (lower(coalesce(team_alias, team_id)), team_id);
create index concurrently if not exists entraway_teams_by_age
    on public."LiteLLM_TeamTable" (created_at, team_id);
create index concurrently if not exists entraway_teams_of_organization
    on public."LiteLLM_TeamTable" (organization_id, created_at, team_id);
create index concurrently if not exists entraway_teams_words
    on public."LiteLLM_TeamTable" using gin (entraway.words(coalesce(team_alias, team_id)));

create index concurrently if not exists entraway_organizations_by_name
    on public."LiteLLM_OrganizationTable" (lower(organization_alias), organization_id);
create index concurrently if not exists entraway_organizations_by_age
    on public."LiteLLM_OrganizationTable" (created_at, organization_id);
create index concurrently if not exists entraway_organizations_words
    on public."LiteLLM_OrganizationTable" using gin (entraway.words(organization_alias));

create index concurrently if not exists entraway_users_by_name
    on public."LiteLLM_UserTable" (lower(coalesce(nullif(user_alias, ''), user_email, user_id)), user_id);
create index concurrently if not exists entraway_users_by_age
    on public."LiteLLM_UserTable" (coalesce(created_at, 'epoch'), user_id);
create index concurrently if not exists entraway_users_words
    on public."LiteLLM_UserTable"
    using gin (entraway.words(coalesce(user_alias, '') || ' ' || coalesce(user_email, '')));

create index concurrently if not exists entraway_members_of_organization
    on public."LiteLLM_OrganizationMembership" (organization_id, created_at, user_id);
create index concurrently if not exists entraway_members_of_team
    on public."LiteLLM_TeamMembership" (team_id, user_id);

-- Postgres collects statistics of expression indexes with ANALYZE only.
analyze public."LiteLLM_TeamTable";
analyze public."LiteLLM_OrganizationTable";
analyze public."LiteLLM_UserTable";
