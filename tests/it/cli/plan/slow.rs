//! A large store: 1,000 groups with 100 members each.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use entraway::db::Db;
use entraway::domain::{GroupId, StoreKind, TenantId};
use entraway::entra_facts::MemberList;
use entraway::plan::GroupList;
use entraway::policy::{KeysOnRemoval, Policy};
use entraway::reconciliation::{Gate, Reconciler, ServicePrincipalState, Snapshot, TenantSnapshot};
use rstest::rstest;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::world;
use crate::support::{LiteLlm, Native};

/// The time for reading and planning, in a build without optimization on a busy machine.
const MOST: Duration = Duration::from_secs(20);

/// 10,000 users, each in ten of 1,000 teams and in their organizations.
const MEMBERS: &str = "
    create temporary table u as select n, 'a0000000-0000-4000-8000-' || lpad(n::text, 12, '0') as id from generate_series(0, 9999) n;
    create temporary table g as select n, 'b0000000-0000-4000-8000-' || lpad(n::text, 12, '0') as id from generate_series(0, 999) n;
    create temporary table m as select u.id as user_id, g.id as team_id from u join g on g.n % 100 = u.n % 100;";

const NATIVE: &str = "
    insert into entraway.organizations (organization_id, organization_alias) select id, 'Organization' from g;
    insert into entraway.teams (team_id, team_alias, organization_id) select id, 'Team', id from g;
    insert into entraway.users (user_id, object_id, tenant_id, user_alias)
        select id, id::uuid, '11111111-0000-4000-8000-000000000000', 'User' from u;
    insert into entraway.team_members (user_id, team_id, source) select user_id, team_id, 'entra' from m;
    insert into entraway.organization_members (user_id, organization_id, source) select user_id, team_id, 'entra' from m;";

const LITELLM: &str = r#"
    insert into public."LiteLLM_BudgetTable" (budget_id, created_by, updated_by) values ('b', 'x', 'x');
    insert into public."LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, models, created_by, updated_by)
        select id, 'Organization', 'b', '{}', 'x', 'x' from g;
    insert into public."LiteLLM_TeamTable" (team_id, team_alias, organization_id, admins, members, members_with_roles, models)
        select id, 'Team', id, '{}', '{}', roster, '{}'
        from g join (select team_id, jsonb_agg(jsonb_build_object('user_id', user_id, 'role', 'user')) as roster
                     from m group by team_id) r on r.team_id = g.id;
    insert into public."LiteLLM_UserTable" (user_id, user_alias, models, teams)
        select id, 'User', '{}', teams
        from u join (select user_id, array_agg(team_id) as teams from m group by user_id) t on t.user_id = u.id;
    insert into public."LiteLLM_TeamMembership" (user_id, team_id) select user_id, team_id from m;
    insert into public."LiteLLM_OrganizationMembership" (user_id, organization_id) select user_id, team_id from m;
    insert into entraway.litellm_users (object_id, tenant_id, user_id, row_created_at)
        select user_id, '11111111-0000-4000-8000-000000000000', user_id, created_at from public."LiteLLM_UserTable";
    insert into entraway.litellm_team_members (user_id, team_id, created_at) select user_id, team_id, now() from m;
    insert into entraway.litellm_organization_members (user_id, organization_id, row_created_at, created_at)
        select user_id, organization_id, created_at, now() from public."LiteLLM_OrganizationMembership";"#;

#[rstest]
#[tokio::test]
async fn plan_of_100_000_memberships_takes_seconds(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let tables = if store == Native { NATIVE } else { LITELLM };
    sqlx::raw_sql(AssertSqlSafe(format!("{MEMBERS}{tables} analyze"))).execute(&world.pool).await.unwrap();
    let db = Db::new(store, &world.database.clone().into(), 1).unwrap();

    let begin = Instant::now();
    let stored = db.managed_memberships(KeysOnRemoval::Keep).await.unwrap();
    let read = begin.elapsed();
    let group = |id: &String| -> GroupId { id.parse().unwrap() };
    let members = stored.teams.iter().map(|(id, team)| {
        let users: Vec<_> = team.members.iter().map(|member| member.user).collect();
        (group(id), MemberList::Complete(users.into()))
    });
    let facts = TenantSnapshot {
        service_principal: ServicePrincipalState::Exists,
        assigned: GroupList::Known(stored.teams.keys().map(|id| (group(id), None)).collect()),
        groups: BTreeMap::new(),
        members: members.collect(),
        accounts: BTreeMap::new(),
    };
    let tenant: TenantId = Uuid::parse_str("11111111-0000-4000-8000-000000000000").unwrap().into();
    let snapshot = Snapshot::from([(tenant, facts)]);
    let policy = Policy::default();
    let begin = Instant::now();
    let plan = Reconciler { snapshot: &snapshot, stored: &stored, policy: &policy, gate: &Gate::default() }.plan();
    let planned = begin.elapsed();

    println!("{store:?}: read {read:?}, planned {planned:?}");
    assert_eq!((plan.compared, plan.changes.len(), plan.incomplete.len()), (100_000, 0, 0));
    assert_eq!(stored.organizations.values().map(|organization| organization.members.len()).sum::<usize>(), 100_000);
    assert!(read + planned < MOST, "read {read:?}, planned {planned:?}");
}
