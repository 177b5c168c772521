//! Generated sign-ins against both real stores: applying a plan has the same result as in the model.

use std::collections::{BTreeMap, BTreeSet};

use entraway::db::Db;
use entraway::domain::StoreKind;
use entraway::plan::Current;
use entraway::policy::OrgTeamModels;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::generate::{Case, case, identity};
use super::model::apply_to;
use crate::support::World;

/// Organizations of every case: one created by hand, and the operator's default one.
const OTHERS: [&str; 2] = ["made-by-hand", "default-organization"];

const CASES: usize = 40;

/// The case without rows that this store cannot hold.
fn writable(mut case: Case, kind: StoreKind) -> Case {
    case.store = kind;
    let Current {
        user,
        organizations,
        organization_models,
        teams,
        team_models,
        member_budget_durations,
        organization_members,
        team_members,
        same_email,
        same_sso_user_id,
        ..
    } = &mut case.current;
    // `sso_user_id` is unique, and the user's own row has it.
    same_sso_user_id.clear();
    // Foreign keys. In a LiteLLM database, the read ignores memberships of missing rows.
    let is_there =
        |id: &str| OTHERS.contains(&id) || organizations.iter().any(|organization| organization.to_string() == id);
    for organization in teams.values_mut() {
        organization.take_if(|id| !is_there(id));
    }
    // An organization has one list of models; that of another organization than the group's is read with the team.
    for id in organizations.iter().filter(|id| !teams.contains_key(id)) {
        organization_models.entry(*id).or_default();
    }
    team_models.retain(|id, _| teams[id].is_some());
    let mut of_organizations: BTreeMap<String, Vec<String>> =
        organization_models.iter().map(|(id, models)| (id.to_string(), models.clone())).collect();
    for (id, team) in team_models.iter_mut() {
        let organization = teams[id].clone().unwrap_or_default();
        let models = of_organizations.entry(organization).or_insert_with(|| team.organization.clone());
        team.organization.clone_from(models);
    }
    team_models.retain(|_, team| team.models != team.organization);
    if kind == StoreKind::Native {
        organization_models.clear();
        team_models.clear();
        member_budget_durations.clear();
        case.policy.org_team_models = OrgTeamModels::Inherit;
    }
    organization_members.retain(|id, _| is_there(id));
    team_members.retain(|id| teams.contains_key(id));
    match (kind, user) {
        (_, None) => {
            organization_members.clear();
            team_members.clear();
        }
        // In this store the key is the object ID, the tenant is known, and e-mail addresses are not compared.
        (StoreKind::Native, Some(user)) => {
            user.user_id = identity().object_id.to_string().into();
            user.tenant_id = Some(identity().tenant_id);
            (user.unconfirmed, user.withheld_role) = (false, None);
        }
        // The role from Entra is stored together with the row's owner.
        (StoreKind::LiteLlm, Some(user)) => {
            if user.tenant_id.is_none() {
                (user.sso_role, user.withheld_role) = (None, None);
                user.offered_roles.clear();
            }
        }
    }
    if kind == StoreKind::Native || case.person.email.is_none() {
        same_email.clear();
    }
    case
}

/// The result of reading the case from the store, which reads only the directory's groups.
fn told(mut current: Current, case: &Case, kind: StoreKind) -> Current {
    let asked = case.directory.group_ids();
    current.organizations.retain(|id| asked.contains(id));
    current.teams.retain(|id, _| asked.contains(id));
    current.organization_models.retain(|id, _| asked.contains(id));
    current.team_models.retain(|id, _| asked.contains(id));
    let members = if kind == StoreKind::Native { asked } else { case.directory.effective_groups() };
    current.team_members.retain(|id| members.contains(id));
    current.member_budget_durations.retain(|id, _| members.contains(id));
    current.can_restore_keys = kind == StoreKind::Native;
    current.can_remove = kind == StoreKind::Native;
    if kind == StoreKind::Native {
        (current.organization_models, current.team_models) = ([].into(), [].into());
    }
    current
}

const EMPTY_NATIVE: &str =
    "truncate entraway.organizations, entraway.teams, entraway.users, entraway.organization_members,
                                     entraway.team_members, entraway.audit_events";
const NATIVE: &str = "with organizations as (
        insert into entraway.organizations (organization_id, organization_alias)
        select id, 'By hand' from jsonb_array_elements_text($1 -> 'organizations') id
    ), teams as (
        insert into entraway.teams (team_id, team_alias, organization_id)
        select key, 'By hand', value from jsonb_each_text($1 -> 'teams')
    ), users as (
        insert into entraway.users
               (user_id, tenant_id, object_id, user_email, user_alias, user_role, sso_user_role, sso_user_roles)
        select u ->> 'user_id', ($1 ->> 'tenant_id')::uuid, (u ->> 'user_id')::uuid, u ->> 'email', u ->> 'alias',
               u ->> 'role', u ->> 'sso_role', array(select jsonb_array_elements_text(u -> 'offered_roles'))
        from jsonb_array_elements($1 -> 'users') u
    ), organization_members as (
        insert into entraway.organization_members (user_id, organization_id, user_role, sso_user_role)
        select $1 #>> '{users,0,user_id}', key, value ->> 0, value ->> 1 from jsonb_each($1 -> 'organization_members')
    )
    insert into entraway.team_members (user_id, team_id)
    select $1 #>> '{users,0,user_id}', id from jsonb_array_elements_text($1 -> 'team_members') id";

const EMPTY_LITELLM: &str = r#"truncate "LiteLLM_BudgetTable", "LiteLLM_OrganizationTable", "LiteLLM_TeamTable",
        "LiteLLM_UserTable", "LiteLLM_OrganizationMembership", "LiteLLM_TeamMembership", entraway.litellm_users,
        entraway.litellm_organization_members, entraway.litellm_team_members, entraway.litellm_adopted_rows,
        entraway.made_teams, entraway.audit_events cascade"#;
/// A partial membership is in one or two of the three columns, in rotation.
const LITELLM: &str = r#"with budget as (
        insert into "LiteLLM_BudgetTable" (budget_id, budget_duration, created_by, updated_by)
        values ('by-hand', null, 'a', 'a')
        union all select 'of ' || key, value, 'a', 'a' from jsonb_each_text($1 -> 'member_budget_durations')
    ), organizations as (
        insert into "LiteLLM_OrganizationTable"
               (organization_id, organization_alias, budget_id, created_by, updated_by, models)
        select id, 'By hand', 'by-hand', 'a', 'a',
               array(select jsonb_array_elements_text($1 -> 'organization_models' -> id))
        from jsonb_array_elements_text($1 -> 'organizations') id
    ), member as (
        select team_id, $1 #>> '{users,0,user_id}' as user_id, place
        from jsonb_each_text($1 -> 'places') p (team_id, places), regexp_split_to_table(places, '') place
        where $1 #>> '{users,0,user_id}' is not null
    ), teams as (
        insert into "LiteLLM_TeamTable" (team_id, team_alias, organization_id, members_with_roles, created_at, models,
                                         default_team_member_models, metadata)
        select key, 'By hand', value,
               coalesce((select jsonb_build_array(jsonb_build_object('user_id', user_id, 'role', 'admin', 'more', 1))
                         from member where team_id = key and place = 'r'), '{}'), '2026-11-01 07:00',
               array(select jsonb_array_elements_text(coalesce(
                   $1 -> 'team_models' -> key -> 'models', $1 -> 'organization_models' -> value))),
               case when $1 -> 'member_budget_durations' ? key then array['gpt-4'] else '{}' end,
               jsonb_build_object('team_member_budget_id', 'of ' || key)
        from jsonb_each_text($1 -> 'teams')
    ), made_teams as (
        insert into entraway.made_teams (team_id, made_at, organizations_on, expanded_models)
        select key, '2026-11-01 07:00Z', true,
               case when value -> 'expanded' <> 'null' then array(select jsonb_array_elements_text(value -> 'expanded')) end
        from jsonb_each($1 -> 'team_models')
    ), users as (
        insert into "LiteLLM_UserTable" (user_id, sso_user_id, user_email, user_alias, user_role, created_at, teams)
        select u ->> 'user_id', $1 ->> 'object_id', u ->> 'email', u ->> 'alias', u ->> 'role', '2026-11-01 08:00',
               (select coalesce(array_agg(team_id), '{}') from member where place = 'u')
        from jsonb_array_elements($1 -> 'users') u
    ), others as (
        insert into "LiteLLM_UserTable" (user_id, user_email)
        select id, upper($1 ->> 'same_email') from jsonb_array_elements_text($1 -> 'others') id
    ), memberships as (
        insert into "LiteLLM_TeamMembership" (user_id, team_id) select user_id, team_id from member where place = 'm'
    ), organization_members as (
        insert into "LiteLLM_OrganizationMembership" (user_id, organization_id, user_role, created_at)
        select $1 #>> '{users,0,user_id}', key, value ->> 0, '2026-11-01 09:00'
        from jsonb_each($1 -> 'organization_members')
    ), known as (
        insert into entraway.litellm_users
               (object_id, tenant_id, user_id, row_created_at, sso_user_role, sso_user_roles, premade, withheld_role)
        select $1 ->> 'object_id', (u ->> 'tenant_id')::uuid, u ->> 'user_id', '2026-11-01 08:00', u ->> 'sso_role',
               array(select jsonb_array_elements_text(u -> 'offered_roles')), (u -> 'unconfirmed')::boolean,
               u ->> 'withheld_role'
        from jsonb_array_elements($1 -> 'users') u where u ->> 'tenant_id' is not null
    ), adopted as (
        insert into entraway.litellm_adopted_rows (object_id, user_id, row_created_at, adopted_at)
        select $1 ->> 'object_id', u ->> 'user_id', '2026-11-01 08:00', now()
        from jsonb_array_elements($1 -> 'users') u
        where u ->> 'tenant_id' is null and not (u -> 'unconfirmed')::boolean
    )
    insert into entraway.litellm_organization_members (user_id, organization_id, row_created_at, sso_user_role, created_at)
    select $1 #>> '{users,0,user_id}', key, '2026-11-01 09:00', value ->> 1, now()
    from jsonb_each($1 -> 'organization_members') where value ->> 1 is not null"#;

/// Replaces the store's rows with those of the case.
async fn write(world: &World, case: &Case) {
    let current = &case.current;
    let user = |user: &entraway::plan::CurrentUserRow| {
        json!({
            "user_id": user.user_id, "tenant_id": user.tenant_id, "email": user.email, "alias": user.alias,
            "role": user.role, "sso_role": user.sso_role, "offered_roles": user.offered_roles,
            "unconfirmed": user.unconfirmed, "withheld_role": user.withheld_role,
        })
    };
    let organizations: BTreeSet<String> =
        current.organizations.iter().map(ToString::to_string).chain(OTHERS.map(str::to_owned)).collect();
    let of_teams =
        current.team_models.iter().filter_map(|(id, team)| Some((current.teams[id].clone()?, &team.organization)));
    let organization_models: BTreeMap<String, &Vec<String>> =
        current.organization_models.iter().map(|(id, models)| (id.to_string(), models)).chain(of_teams).collect();
    let members = current.organization_members.iter();
    let members = members.map(|(id, member)| (id.clone(), json!([member.user_role, member.sso_user_role])));
    // Roster, user, membership.
    let halves = ["", "r", "u", "m", "ru", "um", "rm"];
    let places = current.teams.keys().enumerate().map(|(n, id)| {
        let half = halves[(n + current.team_members.len()) % halves.len()];
        (id.to_string(), json!(if current.team_members.contains(id) { "rum" } else { half }))
    });
    let all = json!({
        "tenant_id": identity().tenant_id,
        "object_id": identity().object_id,
        "users": current.user.iter().map(user).collect::<Vec<_>>(),
        "organizations": organizations,
        "organization_models": organization_models,
        "teams": current.teams,
        "team_models": current.team_models.iter().map(|(id, team)| {
            (id.to_string(), json!({ "models": team.models, "expanded": team.expanded }))
        }).collect::<serde_json::Map<_, _>>(),
        "member_budget_durations": current.member_budget_durations,
        "organization_members": Value::Object(members.collect()),
        "team_members": current.team_members,
        "places": Value::Object(places.collect()),
        "same_email": case.person.email.as_ref().map(|email| email.as_str().to_owned()),
        "others": current.same_email,
    });
    let (empty, fill) = match world.kind {
        StoreKind::Native => (EMPTY_NATIVE, NATIVE),
        StoreKind::LiteLlm => (EMPTY_LITELLM, LITELLM),
    };
    world.sql(empty).await;
    sqlx::query(fill).bind(all).execute(&world.pool).await.unwrap();
}

/// Number of duplicates in rosters and in lists of teams. The native store has none.
async fn doubles(world: &World) -> i64 {
    sqlx::query_scalar(match world.kind {
        StoreKind::Native => "select 0::bigint",
        StoreKind::LiteLlm => {
            r#"select (select count(*) from "LiteLLM_UserTable"
                       where cardinality(teams) > (select count(distinct one) from unnest(teams) one))
                    + (select count(*) from "LiteLLM_TeamTable" where members_with_roles -> 1 is not null)"#
        }
    })
    .fetch_one(&world.pool)
    .await
    .unwrap()
}

/// The current state, without what only removals need: they have a generator of their own.
async fn read(store: &Db, case: &Case) -> Current {
    let current = store.read(&case.planner()).await.unwrap();
    Current { managed_teams: BTreeMap::new(), managed_organizations: BTreeMap::new(), ..current }
}

async fn check(kind: StoreKind) {
    let world = World::of(kind).await;
    let store = Db::new(kind, &world.database.as_str().into(), 2).unwrap();
    // The same cases in every run, regardless of the environment.
    let mut runner = TestRunner::deterministic();
    let mut written = 0;
    for n in 0..CASES {
        let case = writable(case().new_tree(&mut runner).unwrap().current(), kind);
        write(&world, &case).await;
        let before = read(&store, &case).await;
        assert_eq!(before, told(case.current.clone(), &case, kind), "the rows that are read in case {n}: {case:#?}");

        let plan = case.planner().plan(&before);
        if !plan.is_empty() {
            written += 1;
            let applied = store.apply(&case.planner(), &plan).await.unwrap();
            let said = format!("the reported changes of case {n}: {case:#?}\n{applied:#?}");
            assert_eq!(applied.failures, [], "{said}");
            assert_eq!(applied.retries, 0, "{said}");
            assert_eq!(applied.user_id, plan.user_id, "{said}");
            assert_eq!(applied.organizations_created, plan.organizations.keys().copied().collect(), "{said}");
            assert_eq!(applied.teams_created, plan.teams.keys().copied().collect(), "{said}");
            assert_eq!(applied.organizations_joined, plan.add_to_organizations.keys().cloned().collect(), "{said}");
            assert_eq!(applied.teams_joined, plan.add_to_teams, "{said}");
            assert_eq!(applied.role_changes, plan.role_changes, "{said}");
            assert!(applied.team_models_updated.keys().eq(plan.team_models.keys()), "{said}");
        }
        let after = read(&store, &case).await;
        assert_eq!(
            after,
            told(apply_to(&case.current, &plan, identity().tenant_id), &case, kind),
            "left: the {kind:?} store, right: the model, after case {n}: {case:#?}\n{plan:#?}"
        );
        assert_eq!(doubles(&world).await, 0, "duplicate members after case {n}: {case:#?}\n{plan:#?}");
        let again = case.planner().plan(&after);
        assert!(again.is_empty(), "a second sign-in still plans, after case {n}: {case:#?}\n{again:#?}");
    }
    assert!(written > CASES / 2, "only {written} of {CASES} cases had anything to write");
    store.close().await;
}

#[tokio::test]
async fn native_store_matches_model_after_generated_signins() {
    check(StoreKind::Native).await;
}

#[tokio::test]
async fn litellm_store_matches_model_after_generated_signins() {
    check(StoreKind::LiteLlm).await;
}
