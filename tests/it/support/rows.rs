//! The rows of the store.

use std::collections::BTreeMap;

use entra_simulator::ObjectId;
use entraway::domain::StoreKind;
use serde_json::Value;
use sqlx::PgPool;

use super::World;

/// The rows of all tables that a sync writes, without timestamps. LiteLLM's rows are converted to the native form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rows {
    pub(crate) organizations: BTreeMap<String, Value>,
    pub(crate) teams: BTreeMap<String, Value>,
    pub(crate) users: BTreeMap<String, Value>,
    /// Keyed by `user id / organization id`.
    pub(crate) organization_members: BTreeMap<String, Value>,
    /// Keyed by `user id / team id`.
    pub(crate) team_members: BTreeMap<String, Value>,
}

/// The models of a team in its own organization with these models. LiteLLM has no `all-org-models`.
pub(crate) fn models_of_team(store: StoreKind, organization: &[&str]) -> Value {
    match store {
        StoreKind::Native => serde_json::json!(["all-org-models"]),
        StoreKind::LiteLlm => serde_json::json!(organization),
    }
}

const NATIVE: &str = "
    select
    (select coalesce(jsonb_object_agg(organization_id, to_jsonb(t) - 'created_at' - 'updated_at'), '{}') from entraway.organizations t),
    (select coalesce(jsonb_object_agg(team_id, to_jsonb(t) - 'created_at' - 'updated_at'), '{}') from entraway.teams t),
    (select coalesce(jsonb_object_agg(user_id, to_jsonb(t) - 'created_at' - 'updated_at'), '{}') from entraway.users t),
    (select coalesce(jsonb_object_agg(user_id || '/' || organization_id, to_jsonb(t) - 'created_at' - 'updated_at'), '{}')
        from entraway.organization_members t),
    (select coalesce(jsonb_object_agg(user_id || '/' || team_id, to_jsonb(t) - 'created_at'), '{}') from entraway.team_members t)";

/// An organization's limits are in its budget's row. A team membership is in three columns: `half` lists those that
/// lack it or have it twice.
const LITELLM: &str = r#"
    with organizations as (
        select o.organization_id, o.organization_alias, o.models, b.max_budget, b.budget_duration,
               b.budget_reset_at at time zone 'UTC' as budget_reset_at, b.tpm_limit, b.rpm_limit, o.spend, o.metadata
        from public."LiteLLM_OrganizationTable" o join public."LiteLLM_BudgetTable" b using (budget_id)
    ), teams as (
        select team_id, team_alias, organization_id, models, max_budget, budget_duration,
               budget_reset_at at time zone 'UTC' as budget_reset_at, tpm_limit, rpm_limit, spend, blocked, metadata
        from public."LiteLLM_TeamTable"
    ), users as (
        select u.user_id, o.tenant_id, o.object_id, u.user_email, u.user_alias, u.user_role, o.sso_user_role,
               coalesce(o.sso_user_roles, '{}') as sso_user_roles, u.models, u.max_budget, u.budget_duration, u.budget_reset_at at time zone 'UTC' as budget_reset_at, u.spend, u.metadata
        from public."LiteLLM_UserTable" u left join entraway.litellm_users o using (user_id)
    ), organization_members as (
        select m.user_id, m.organization_id, m.user_role, given.sso_user_role,
               case when given.user_id is null then 'manual' else 'entra' end as source, m.spend
        from public."LiteLLM_OrganizationMembership" m
             left join entraway.litellm_organization_members given using (user_id, organization_id)
    ), roster as (
        select t.team_id, member ->> 'user_id' as user_id, member ->> 'role' as role
        from public."LiteLLM_TeamTable" t, jsonb_array_elements(t.members_with_roles) member
    ), list as (
        select u.user_id, listed.team_id from public."LiteLLM_UserTable" u, unnest(u.teams) as listed(team_id)
    ), team_members as (
        select user_id, team_id, roster.role, case when given.created_at is null then 'manual' else 'entra' end as source,
               m.spend,
               concat_ws(', ', case when roster.role is null then 'members_with_roles' end,
                               case when list.here is null then 'LiteLLM_UserTable.teams' end,
                               case when m.spend is null then 'LiteLLM_TeamMembership' end,
                               case when count(*) over (partition by user_id, team_id) > 1 then 'twice' end) as half
        from roster
             full join (select true as here, * from list) list using (user_id, team_id)
             full join public."LiteLLM_TeamMembership" m using (user_id, team_id)
             left join entraway.litellm_team_members given using (user_id, team_id)
    )
    select
    (select coalesce(jsonb_object_agg(organization_id, to_jsonb(t)), '{}') from organizations t),
    (select coalesce(jsonb_object_agg(team_id, to_jsonb(t)), '{}') from teams t),
    (select coalesce(jsonb_object_agg(user_id, to_jsonb(t)), '{}') from users t),
    (select coalesce(jsonb_object_agg(user_id || '/' || organization_id, to_jsonb(t)), '{}') from organization_members t),
    (select coalesce(jsonb_object_agg(user_id || '/' || team_id, to_jsonb(t)), '{}') from team_members t)"#;

const NATIVE_VERSIONS: &str = "
    select 'organization ' || organization_id || ' ' || ctid || ' ' || xmin from entraway.organizations
    union all select 'team ' || team_id || ' ' || ctid || ' ' || xmin from entraway.teams
    union all select 'user ' || user_id || ' ' || ctid || ' ' || xmin from entraway.users
    union all select 'organization member ' || user_id || organization_id || ' ' || ctid || ' ' || xmin
              from entraway.organization_members
    union all select 'team member ' || user_id || team_id || ' ' || ctid || ' ' || xmin from entraway.team_members
    union all select 'made team ' || team_id || ' ' || ctid || ' ' || xmin from entraway.made_teams
    order by 1";

/// The roster is part of the team's row.
const LITELLM_VERSIONS: &str = r#"
    select 'organization ' || organization_id || ' ' || ctid || ' ' || xmin from public."LiteLLM_OrganizationTable"
    union all select 'budget ' || budget_id || ' ' || ctid || ' ' || xmin from public."LiteLLM_BudgetTable"
    union all select 'team ' || team_id || ' ' || ctid || ' ' || xmin from public."LiteLLM_TeamTable"
    union all select 'user ' || user_id || ' ' || ctid || ' ' || xmin from public."LiteLLM_UserTable"
    union all select 'organization member ' || user_id || organization_id || ' ' || ctid || ' ' || xmin
              from public."LiteLLM_OrganizationMembership"
    union all select 'team member ' || user_id || team_id || ' ' || ctid || ' ' || xmin
              from public."LiteLLM_TeamMembership"
    union all select 'remembered user ' || object_id || ' ' || ctid || ' ' || xmin from entraway.litellm_users
    union all select 'remembered organization member ' || user_id || organization_id || ' ' || ctid || ' ' || xmin
              from entraway.litellm_organization_members
    union all select 'remembered team member ' || user_id || team_id || ' ' || ctid || ' ' || xmin
              from entraway.litellm_team_members
    union all select 'made team ' || team_id || ' ' || ctid || ' ' || xmin from entraway.made_teams
    order by 1"#;

impl Rows {
    pub(crate) async fn read(pool: &PgPool, kind: StoreKind) -> Self {
        let sql = match kind {
            StoreKind::Native => NATIVE,
            StoreKind::LiteLlm => LITELLM,
        };
        let (organizations, teams, users, organization_members, team_members): (Value, Value, Value, Value, Value) =
            sqlx::query_as(sql).fetch_one(pool).await.unwrap();
        let map = |value: Value| serde_json::from_value(value).unwrap();
        Self {
            organizations: map(organizations),
            teams: map(teams),
            users: map(users),
            organization_members: map(organization_members),
            team_members: whole(map(team_members)),
        }
    }

    /// Location and version of every row. Any insert, update or delete changes them, even one of the same values.
    pub(crate) async fn versions(pool: &PgPool, kind: StoreKind) -> Vec<String> {
        let sql = match kind {
            StoreKind::Native => NATIVE_VERSIONS,
            StoreKind::LiteLlm => LITELLM_VERSIONS,
        };
        sqlx::query_scalar(sql).fetch_all(pool).await.unwrap()
    }

    /// The IDs of the user's teams.
    pub(crate) fn teams_of(&self, user: ObjectId) -> Vec<String> {
        members_of(&self.team_members, &user.to_string())
    }

    /// The IDs of the user's organizations.
    pub(crate) fn organizations_of(&self, user: ObjectId) -> Vec<String> {
        members_of(&self.organization_members, &user.to_string())
    }
}

/// Asserts that no membership is partial.
fn whole(mut members: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    for (id, member) in &mut members {
        let missing = member.as_object_mut().unwrap().remove("half");
        let missing = missing.as_ref().and_then(Value::as_str).unwrap_or_default();
        assert_eq!(missing, "", "a partial team membership in LiteLLM, user/team {id}; left: where it is missing");
    }
    members
}

fn members_of(rows: &BTreeMap<String, Value>, user: &str) -> Vec<String> {
    rows.keys()
        .filter_map(|key| key.split_once('/'))
        .filter(|(id, _)| *id == user)
        .map(|(_, id)| id.to_owned())
        .collect()
}

/// The rows after Alice was added to a team in LiteLLM and this SQL was run.
async fn after(sql: &'static str) -> Rows {
    let world = World::of(StoreKind::LiteLlm).await;
    let (alice, _) = world.alice();
    world.sign_in(&world.service().await, alice).await;
    world.sql(sql).await;
    world.rows().await
}

/// These tests check the check itself.
#[tokio::test]
#[should_panic(expected = "LiteLLM_UserTable.teams")]
async fn membership_check_fails_when_user_row_lacks_team() {
    after("update {users} set teams = '{}'").await;
}

#[tokio::test]
#[should_panic(expected = "members_with_roles, LiteLLM_UserTable.teams")]
async fn membership_check_fails_for_membership_row_alone() {
    after("update {users} set teams = '{}'; update {teams} set members_with_roles = '[]'").await;
}

#[tokio::test]
#[should_panic(expected = "twice")]
async fn membership_check_fails_for_duplicate_roster_entry() {
    after("update {teams} set members_with_roles = members_with_roles || members_with_roles").await;
}
