-- The rights that Entraway needs in a LiteLLM proxy's database, and no more. Set your own password below. Run it in that
-- database as a superuser, or as the owner of the database and of LiteLLM's tables with the right to create roles. Run it
-- again when a newer Entraway reports a missing right at startup:
--
--   psql -v ON_ERROR_STOP=1 "$DATABASE_URL" -f docs/litellm-grants.sql
--
-- Rights are granted per column: Entraway cannot read passwords, the proxy's keys or spend, and cannot delete. Its own data
-- is in the schema "entraway", which it owns.

begin;

do $$ begin
    if not exists (select from pg_roles where rolname = 'entraway') then
        create role entraway login password 'change-me';
    end if;
end $$;
-- Without superuser rights, a schema can be created only for a role of which the current user is a member.
grant entraway to current_user;
create schema if not exists entraway authorization entraway;
grant usage on schema public to entraway;

grant select (budget_id, max_budget, budget_duration, budget_reset_at, tpm_limit, rpm_limit),
      insert (budget_id, max_budget, budget_duration, budget_reset_at, tpm_limit, rpm_limit, allowed_models,
              created_at, created_by, updated_at, updated_by)
   on public."LiteLLM_BudgetTable" to entraway;

grant select (organization_id, organization_alias, budget_id, models, created_at),
      insert (organization_id, organization_alias, budget_id, models, created_at, created_by, updated_at, updated_by)
   on public."LiteLLM_OrganizationTable" to entraway;

grant select (team_id, team_alias, organization_id, members_with_roles, metadata, default_team_member_models, models,
              max_budget, budget_duration, budget_reset_at, tpm_limit, rpm_limit, created_at),
      insert (team_id, team_alias, organization_id, admins, members, members_with_roles, metadata, max_budget, models,
              tpm_limit, rpm_limit, budget_duration, budget_reset_at, team_member_permissions, access_group_ids, created_at,
              updated_at),
      update (members_with_roles, models, updated_at)
   on public."LiteLLM_TeamTable" to entraway;

grant select (user_id, sso_user_id, user_email, user_alias, user_role, teams, models, max_budget, budget_duration,
              budget_reset_at, tpm_limit, rpm_limit, created_at),
      insert (user_id, sso_user_id, user_email, user_alias, user_role, teams, models, max_budget, budget_duration,
              budget_reset_at, tpm_limit, rpm_limit, metadata, created_at, updated_at),
      update (user_email, user_alias, user_role, teams, updated_at)
   on public."LiteLLM_UserTable" to entraway;

grant select (user_id, organization_id, user_role, created_at),
      insert (user_id, organization_id, user_role, created_at, updated_at),
      update (user_role, updated_at)
   on public."LiteLLM_OrganizationMembership" to entraway;

grant select (user_id, team_id, budget_id),
      insert (user_id, team_id, budget_id),
      update (budget_id)
   on public."LiteLLM_TeamMembership" to entraway;

commit;
