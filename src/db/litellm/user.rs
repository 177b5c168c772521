//! A user's rows in a LiteLLM database: the account and all places of the memberships.

use sqlx::Row as _;
use sqlx::types::Json;

use super::PROXY_ADMIN;
use crate::db::DbError;
use crate::db::apply::{bind_user, written};
use crate::db::connection::DbConnection;
use crate::plan::{Applied, Plan, Planner, UserChange};

/// Writes the user's row, organizations and teams, in one statement. All its parts see the tables as they were before
/// it.
pub(super) async fn write(
    connection: &mut DbConnection,
    planner: &Planner<'_>,
    plan: &Plan,
    applied: &mut Applied,
) -> Result<(), DbError> {
    // Whether to store the granted roles; and, for a row that becomes this user's, whether another program created it.
    let (remembers_roles, premade) = match &plan.user {
        None => (false, None),
        Some(UserChange::Create(_)) => (true, Some(false)),
        Some(UserChange::Update(update)) => {
            (update.adopted || update.granted.is_some(), update.adopted.then_some(true))
        }
    };

    // `team` holds, for each team to join, which places already have the membership: the roster, the list in the user's
    // row, the membership table. Its budget for a new membership is an own one if the team limits its members' models,
    // else the shared one.
    //
    // A membership row left behind by a deleted team with the same ID gets that budget, too: the user is not on the
    // roster, and its budget is a default that no team names any more.
    //
    // The rows are locked so that no team is deleted meanwhile, which no foreign key would notice. The order of the IDs
    // is that of the proxy's spend writer, which takes no other lock.
    let query = sqlx::query(
        r#"with now as (
            select $2::timestamptz at time zone 'UTC' as now
        ), user_row as materialized (
            select teams, user_email, created_at from public."LiteLLM_UserTable" where user_id = $1
        ), team as materialized (
            select t.team_id, t.team_alias,
                   t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', $1::text)) as on_roster,
                   coalesce(t.team_id = any ((select teams from user_row)::text[]), false) as in_user_row,
                   m.user_id is not null as has_membership,
                   coalesce(m.budget_id ~ '^team-(.*-)?budget-[0-9a-f]{32}$', false)
                       and not t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', $1::text))
                       and not exists (select from public."LiteLLM_TeamTable" other
                                       where other.metadata ->> 'team_member_budget_id' = m.budget_id)
                       as has_former_budget,
                   case when cardinality(t.default_team_member_models) > 0 then gen_random_uuid()::text end as own_budget,
                   t.default_team_member_models as models,
                   b.budget_id as shared_budget
            from public."LiteLLM_TeamTable" t
                 left join public."LiteLLM_TeamMembership" m on m.team_id = t.team_id and m.user_id = $1
                 left join public."LiteLLM_BudgetTable" b on b.budget_id = t.metadata ->> 'team_member_budget_id'
            where t.team_id = any($9::text[])
            order by t.team_id collate "C"
            for no key update of t
        ), missing as (
            select array_agg(team_id order by team_id) as teams from team where not in_user_row
        ), made_user as (
            insert into public."LiteLLM_UserTable"
                   (user_id, sso_user_id, user_email, user_alias, user_role, models, max_budget, budget_duration,
                    budget_reset_at, tpm_limit, rpm_limit, teams, metadata, created_at, updated_at)
            select $1, case when not exists (select from public."LiteLLM_UserTable" where sso_user_id = $1) then $1 end,
                   n.user_email, n.user_alias, n.user_role, n.models, n.max_budget, n.budget_duration,
                   n.budget_reset_at, n.tpm_limit, n.rpm_limit, coalesce(missing.teams, '{}'),
                   '{"auth_provider": "microsoft"}', now, now
            from now, missing, jsonb_to_record($3) as n(user_email text, user_alias text, user_role text, models text[],
                max_budget double precision, budget_duration text, budget_reset_at timestamp, tpm_limit bigint,
                rpm_limit bigint)
            where $3 is not null
            returning 1
        ), changed_user as (
            update public."LiteLLM_UserTable" u
            set user_email = coalesce($4 ->> 'user_email', u.user_email),
                user_alias = coalesce($4 ->> 'user_alias', u.user_alias),
                user_role = coalesce($4 ->> 'user_role', u.user_role),
                teams = coalesce(u.teams, '{}') || coalesce(missing.teams, '{}'),
                updated_at = now
            from now, missing
            where u.user_id = $1 and $3 is null and (missing.teams is not null
                or coalesce($4 ->> 'user_email', $4 ->> 'user_alias', $4 ->> 'user_role') is not null)
            returning 1
        ), remembered_user as (
            insert into entraway.litellm_users as known
                   (object_id, tenant_id, user_id, row_created_at, sso_user_role, sso_user_roles, withheld_role,
                    premade)
            select $10, $11, $1, coalesce((select created_at from user_row), now), coalesce($3, $4) ->> 'sso_user_role',
                   array(select jsonb_array_elements_text(coalesce($3, $4) -> 'sso_user_roles')),
                   coalesce($3, $4) ->> 'withheld_role', coalesce($16, false)
            from now where $14
            on conflict (object_id) do update set user_id = excluded.user_id,
                row_created_at = excluded.row_created_at, sso_user_role = excluded.sso_user_role,
                sso_user_roles = excluded.sso_user_roles, withheld_role = excluded.withheld_role,
                premade = coalesce($16, known.premade)
        ), forgotten_users as (
            delete from entraway.litellm_users where user_id = $1 and object_id <> $10
        ), enrolled as (
            update public."LiteLLM_TeamTable" t
            set members_with_roles =
                    case when t.members_with_roles in ('{}', 'null') then '[]' else t.members_with_roles end
                    || jsonb_build_array(jsonb_build_object('user_id', $1::text, 'role', 'user', 'user_email',
                            coalesce($3 ->> 'user_email', $4 ->> 'user_email', (select user_email from user_row)))),
                updated_at = now
            from now, team
            where t.team_id = team.team_id and not team.on_roster
        ), own_budgets as (
            insert into public."LiteLLM_BudgetTable"
                   (budget_id, allowed_models, budget_duration, budget_reset_at,
                    created_by, updated_by, created_at, updated_at)
            select own_budget, models, $17 -> team_id ->> 'budget_duration',
                   ($17 -> team_id ->> 'budget_reset_at')::timestamptz at time zone 'UTC', $15, $15, now, now
            from now, team where own_budget is not null and (not has_membership or has_former_budget)
        ), memberships as (
            insert into public."LiteLLM_TeamMembership" (user_id, team_id, budget_id)
            select $1, team_id, coalesce(own_budget, shared_budget) from team where not has_membership
        ), renewed_memberships as (
            update public."LiteLLM_TeamMembership" m set budget_id = coalesce(team.own_budget, team.shared_budget)
            from team where m.user_id = $1 and m.team_id = team.team_id and team.has_former_budget
        ), gave_teams as (
            insert into entraway.litellm_team_members (user_id, team_id, sources, created_at)
            select $1, team_id, array[gave.source], $2
            from team join unnest($9::text[], $12::text[]) as gave(id, source) on gave.id = team_id
            where not (on_roster or in_user_row or has_membership)
            on conflict (user_id, team_id) do update set sources = excluded.sources, created_at = excluded.created_at
        ), changed_sources as (
            update entraway.litellm_team_members given set sources = array(select jsonb_array_elements_text(changed.value))
            from jsonb_each($13) as changed(team_id, value)
            where given.user_id = $1 and given.team_id = changed.team_id
        ), joined_organizations as (
            insert into public."LiteLLM_OrganizationMembership"
                   (user_id, organization_id, user_role, created_at, updated_at)
            select $1, m.id, m.role, now, now from now, unnest($5::text[], $6::text[]) as m(id, role)
            on conflict do nothing
            returning organization_id, user_role, created_at
        ), changed_roles as (
            update public."LiteLLM_OrganizationMembership" o
            set user_role = m.role, updated_at = now
            from now, unnest($7::text[], $8::text[]) as m(id, role)
            where o.user_id = $1 and o.organization_id = m.id
            returning o.organization_id, o.user_role
        ), gave_organizations as (
            insert into entraway.litellm_organization_members
                   (user_id, organization_id, row_created_at, sso_user_role, created_at)
            select $1, organization_id, joined.created_at, user_role, $2 from joined_organizations joined
            on conflict (user_id, organization_id) do update set row_created_at = excluded.row_created_at,
                sso_user_role = excluded.sso_user_role, created_at = excluded.created_at
        ), gave_roles as (
            update entraway.litellm_organization_members given set sso_user_role = changed.user_role
            from changed_roles changed
            where given.user_id = $1 and given.organization_id = changed.organization_id
        ), forgotten_teams as (
            delete from entraway.litellm_team_members
            where user_id = $1 and team_id <> all($9) and team_id = any($18)
        ), forgotten_organizations as (
            delete from entraway.litellm_organization_members given
            where user_id = $1 and organization_id <> all($5) and not exists (
                select from public."LiteLLM_OrganizationMembership" m
                where m.user_id = $1 and m.organization_id = given.organization_id)
        ), notified as materialized (
            -- LiteLLM's tables have no triggers that notify. A new user has no session yet.
            select entraway.tell_sessions(
                case when exists (select from made_user) then '{}' else array[$10::text] end)
        )
        select exists (select from made_user) as user_created,
               coalesce($4 ->> 'user_email', $4 ->> 'user_alias', $4 ->> 'user_role') is not null
                   or exists (select from changed_roles) as user_updated,
               (select coalesce(array_agg(organization_id), '{}') from joined_organizations) as organizations,
               (select coalesce(array_agg(team_id), '{}') from team) as teams,
               (select coalesce(json_object_agg(team_id, team_alias), '{}') from team) as aliases
        from notified"#,
    );
    let row = bind_user(query, planner, plan)
        .bind(remembers_roles)
        .bind(PROXY_ADMIN)
        .bind(premade)
        .bind(Json(&plan.member_budgets))
        .bind(plan.forget_teams.iter().collect::<Vec<_>>())
        .fetch_one(connection)
        .await?;
    written(&row, applied)?;
    Json(applied.aliases_joined) = row.try_get("aliases")?;
    if applied.teams_joined != plan.add_to_teams {
        // A team was deleted after it was read, without the proxy's lock.
        return Err(sqlx::Error::RowNotFound.into());
    }
    Ok(())
}
