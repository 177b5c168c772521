-- The rights that Entraway needs in a LiteLLM proxy's database to remove memberships, to block the keys that a user has in a
-- team that the user was removed from, and to block users whose accounts are disabled. Without them, memberships are only
-- added, and keys of disabled users stay valid. Run it after litellm-grants.sql, in the same database and as the same user:
--
--   psql -v ON_ERROR_STOP=1 "$DATABASE_URL" -f docs/litellm-grants-removal.sql
--
-- Entraway reads only the hash, the user and the team of a key, whether it is blocked, and its metadata. It cannot create or
-- delete keys, users, teams or organizations. With `litellm.keys_on_removal: keep` the grant on "LiteLLM_VerificationToken" is not necessary.

begin;

grant delete on public."LiteLLM_TeamMembership", public."LiteLLM_OrganizationMembership" to entraway;

-- metadata.scim_active of users whose accounts are disabled.
grant select (metadata), update (metadata) on public."LiteLLM_UserTable" to entraway;

grant select (token, user_id, team_id, blocked, metadata),
      update (blocked, metadata, updated_at)
   on public."LiteLLM_VerificationToken" to entraway;

-- Names of teams and organizations follow those of their groups, unless they were changed by hand. Without this, they
-- keep their first name.
grant update (team_alias) on public."LiteLLM_TeamTable" to entraway;
grant update (organization_alias, updated_at) on public."LiteLLM_OrganizationTable" to entraway;

commit;
