//! A LiteLLM proxy's own tables, written as the proxy writes them, so that it can go on beside us: its locks in its
//! order, all three places of a team membership, no column that it does not have. Observed of LiteLLM 1.109.1.

mod columns;
mod leftovers;
mod team_models;
mod user;

use serde_json::json;
use sqlx::Row as _;
use uuid::Uuid;

use super::StoreError;
use super::apply::{Locks, NewRow, Tables, current, put_limits, uuids};
use super::connection::DbConnection;
use crate::domain::{Email, EntraUser, GroupId, TenantId};
use crate::plan::{Applied, Budget, Current, Directory, NewOrganization, NewTeam, Plan, Planner};
use crate::util::random;

pub use leftovers::Leftovers;

pub(super) use columns::check;

/// `created_by` of rows that nobody in particular made: the name that the proxy itself writes there.
const PROXY_ADMIN: &str = "default_user_id";

/// Who joins more teams than this at once waits for others who do. Postgres has room for some thousands of locks, and
/// where it is full the proxy suffers as well.
const MANY_TEAMS: usize = 100;

pub(super) struct LiteLlm;

impl Tables for LiteLlm {
    const ORGANIZATIONS: &'static str = r#"public."LiteLLM_OrganizationTable""#;
    const TEAMS: &'static str = r#"public."LiteLLM_TeamTable""#;

    /// A person is found by their object id, as `user_id` or else as `sso_user_id`, and never by e-mail. A row that is
    /// remembered as somebody else's stays theirs whatever its `sso_user_id` says: the proxy's own sign-in writes
    /// another person there who has the same e-mail. A membership of a team counts when all three places say so. Of teams'
    /// models only those are read that are not their organization's, and whose team is still the one that the sync made.
    async fn read(link: &mut DbConnection, person: &EntraUser, directory: &Directory) -> Result<Current, StoreError> {
        let row = sqlx::query(
            r#"with person as materialized (
                select user_id, user_email, user_alias, user_role, teams, created_at from public."LiteLLM_UserTable" u
                where user_id = $1 or sso_user_id = $1 and not exists (
                    select from entraway.litellm_users other
                    where other.user_id = u.user_id and other.object_id <> $1
                      and other.row_created_at is not distinct from u.created_at)
                order by user_id = $1 desc limit 1
            ), given as materialized (
                select object_id, tenant_id, o.sso_user_role, o.sso_user_roles, o.premade, o.withheld_role
                from person join entraway.litellm_users o using (user_id)
                where o.row_created_at is not distinct from person.created_at
                order by object_id = $1 desc limit 1
            )
            select (select tenant_id from entraway.litellm_users where object_id = $1) as tenant_id,
                (select json_build_object('user_id', p.user_id, 'email', p.user_email, 'alias', p.user_alias,
                            'role', p.user_role, 'sso_role', given.sso_user_role,
                            'offered_roles', coalesce(given.sso_user_roles, '{}'), 'withheld_role', given.withheld_role,
                            'tenant_id', case when given.object_id = $1 then given.tenant_id end,
                            'unconfirmed', (given.object_id is distinct from $1 or given.premade) and not exists (
                                select from entraway.litellm_adopted_rows a
                                where a.object_id = $1 and a.user_id = p.user_id
                                  and a.row_created_at is not distinct from p.created_at))
                 from person p left join given on true) as person,
                (select coalesce(array_agg(team_id::uuid), '{}')
                 from (select unnest($3::uuid[])::text as team_id intersect select unnest(person.teams) from person) listed
                      join public."LiteLLM_TeamMembership" m using (team_id)
                 -- A roster may be very long: only those are looked into that are left.
                 where m.user_id = (select user_id from person) and (
                     select t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', p.user_id))
                     from person p, public."LiteLLM_TeamTable" t where t.team_id = listed.team_id)
                ) as team_members,
                (select coalesce(array_agg(user_id), '{}')
                 from (select user_id from public."LiteLLM_UserTable"
                       where lower(user_email) = lower($4) and user_id is distinct from (select user_id from person)
                       order by user_id limit 5) others) as same_email,
                (select coalesce(array_agg(user_id), '{}') from public."LiteLLM_UserTable"
                 where sso_user_id = $1 and user_id is distinct from (select user_id from person)) as same_sso_user_id,
                asked.*, member.member_organizations, member.member_roles, member.member_sso_roles
            from (select coalesce(array_agg(wanted.id) filter (where own.organization_id is not null), '{}') as organizations,
                         json_object_agg(wanted.id, coalesce(own.models, '{}'))
                             filter (where own.organization_id is not null and t.team_id is null) as organization_models,
                         coalesce(array_agg(wanted.id) filter (where t.team_id is not null), '{}') as teams,
                         coalesce(array_agg(home.id) filter (where t.team_id is not null), '{}') as team_organizations,
                         json_object_agg(wanted.id, json_build_object(
                                 'models', coalesce(t.models, '{}'), 'organization', coalesce(home.models, '{}'),
                                 'expanded', (select expanded_models from entraway.made_teams where team_id = t.team_id)))
                             filter (where home.id is not null and coalesce(t.models, '{}') <> coalesce(home.models, '{}')
                                 and exists (
                                     select from entraway.made_teams made
                                     where made.team_id = t.team_id
                                       and (made.organizations_on or made.expanded_models is not null)
                                       -- A team that was created again by hand is left alone. Rounding differs.
                                       and t.created_at at time zone 'UTC'
                                           between made.made_at - interval '1 s' and made.made_at + interval '1 s'))
                             as team_models,
                         json_object_agg(wanted.id, (
                                 select budget_duration from public."LiteLLM_BudgetTable"
                                 where budget_id = t.metadata ->> 'team_member_budget_id'))
                             filter (where cardinality(t.default_team_member_models) > 0 and wanted.id = any($3))
                             as member_budget_durations
                  from unnest($2::uuid[]) wanted (id)
                       left join public."LiteLLM_OrganizationTable" own on own.organization_id = wanted.id::text
                       left join public."LiteLLM_TeamTable" t on t.team_id = wanted.id::text
                       -- Looked up only where it is not the group's own.
                       left join public."LiteLLM_OrganizationTable" other
                           on other.organization_id = nullif(t.organization_id, own.organization_id)
                       cross join lateral (
                           select case when t.organization_id = own.organization_id then own.organization_id
                                       else other.organization_id end as id,
                                  case when t.organization_id = own.organization_id then own.models
                                       else other.models end as models
                       ) home) asked,
                 (select coalesce(array_agg(m.organization_id), '{}') as member_organizations,
                         coalesce(array_agg(m.user_role), '{}') as member_roles,
                         coalesce(array_agg(given.sso_user_role), '{}') as member_sso_roles
                  from person join public."LiteLLM_OrganizationMembership" m using (user_id)
                       left join entraway.litellm_organization_members given
                       on given.user_id = m.user_id and given.organization_id = m.organization_id
                          and given.row_created_at is not distinct from m.created_at) member"#,
        )
        .bind(person.identity.object_id.to_string())
        .bind(uuids(directory.group_ids()))
        .bind(uuids(directory.effective_groups()))
        .bind(person.email.as_ref().map(Email::as_str))
        .fetch_one(link)
        .await?;

        let tenant: Option<Uuid> = row.try_get("tenant_id")?;
        if tenant.is_some_and(|tenant| TenantId::from(tenant) != person.identity.tenant_id) {
            return Err(StoreError::OtherTenant);
        }
        current(&row)
    }

    /// Ours first; then the proxy's lock of each team whose roster changes, in the order of the ids; then the person's
    /// row. That is the proxy's own order, of member-add and of its spend writer. It never takes row locks on teams
    /// before, so neither do we: those come last, with the writing.
    async fn lock(link: &mut DbConnection, person: &EntraUser, locks: &Locks) -> Result<(), StoreError> {
        let object_id = person.identity.object_id.to_string();
        sqlx::query(
            "select case when $1 then pg_advisory_xact_lock(hashtext('entraway.create'), 0) end,
                    case when $3 then pg_advisory_xact_lock(hashtext('entraway.many'), 0) end,
                    pg_advisory_xact_lock(hashtext('entraway.person'), hashtext($2))",
        )
        .bind(locks.creates)
        .bind(&object_id)
        .bind(locks.teams.len() > MANY_TEAMS)
        .execute(&mut *link)
        .await?;
        if !locks.teams.is_empty() {
            let teams: Vec<String> = locks.teams.iter().map(ToString::to_string).collect();
            sqlx::query("select pg_advisory_xact_lock(hashtext(team_id)) from unnest($1::text[]) as team_id")
                .bind(teams)
                .execute(&mut *link)
                .await?;
        }
        sqlx::query(
            r#"select user_id from public."LiteLLM_UserTable" where user_id = $1 or sso_user_id = $1
               order by user_id collate "C" for update"#,
        )
        .bind(&object_id)
        .execute(link)
        .await?;
        Ok(())
    }

    /// The limits of an organization are its budget's.
    fn organization(id: GroupId, new: &NewOrganization, planner: &Planner<'_>) -> NewRow {
        let budget_id = random::uuid().to_string();
        let row = json!({
            "organization_id": id, "organization_alias": new.alias, "budget_id": budget_id, "models": new.models,
            "created_by": PROXY_ADMIN, "updated_by": PROXY_ADMIN,
            "created_at": planner.now, "updated_at": planner.now,
        });
        let budget = Budget { limits: new.limits.clone(), reset_at: new.budget_reset_at };
        NewRow { row, budget: Some(budget_row(&budget_id, &budget, planner)) }
    }

    /// The members' budget, if any, is found through the team's metadata.
    fn team(id: GroupId, new: &NewTeam, planner: &Planner<'_>) -> NewRow {
        let mut metadata = new.metadata.clone();
        let budget = new.member_budget.as_ref().map(|budget| {
            let budget_id = format!("team-{}-budget-{}", new.alias.replace(' ', "-"), random::uuid().simple());
            metadata.insert("team_member_budget_id".to_owned(), json!(budget_id));
            budget_row(&budget_id, budget, planner)
        });
        let mut row = json!({
            "team_id": id, "team_alias": new.alias, "organization_id": new.organization_id,
            "admins": [], "members": [], "members_with_roles": [], "metadata": metadata,
            "models": new.models, "access_group_ids": new.access_group_ids,
            "team_member_permissions": new.team_member_permissions.as_deref().unwrap_or_default(),
            "budget_reset_at": new.budget_reset_at, "created_at": planner.now, "updated_at": planner.now,
        });
        put_limits(&mut row, &new.limits);
        NewRow { row, budget }
    }

    async fn write_team_models(
        link: &mut DbConnection,
        planner: &Planner<'_>,
        plan: &Plan,
        applied: &mut Applied,
    ) -> Result<(), StoreError> {
        team_models::write(link, planner, plan, applied).await
    }

    async fn write_person(
        link: &mut DbConnection,
        planner: &Planner<'_>,
        plan: &Plan,
        applied: &mut Applied,
    ) -> Result<(), StoreError> {
        user::write(link, planner, plan, applied).await
    }
}

fn budget_row(budget_id: &str, budget: &Budget, planner: &Planner<'_>) -> serde_json::Value {
    let mut row = json!({
        "budget_id": budget_id, "budget_reset_at": budget.reset_at,
        "created_by": PROXY_ADMIN, "updated_by": PROXY_ADMIN, "created_at": planner.now, "updated_at": planner.now,
    });
    put_limits(&mut row, &budget.limits);
    row
}
