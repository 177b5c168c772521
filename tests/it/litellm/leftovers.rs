//! Leftover rows of deleted teams and organizations: repaired at a sign-in, left alone, or only counted.

use entra_simulator::{GroupId, ObjectId};
use entraway::db::{Db, Leftovers};
use entraway::domain::StoreKind;
use serde_json::{Value, json};

use super::support::{
    assigned, by_hand, json as query, person, places, team, team_by_hand, user_by_hand, with_team_params, world,
};
use crate::support::{Service, World};

/// Does what LiteLLM 1.110.2's `/organization/delete` does: deletes teams, organization memberships and the
/// organization, but not team memberships, the list in the user's row, or budgets.
async fn delete_organization(world: &World, id: &dyn ToString) {
    for table in ["LiteLLM_TeamTable", "LiteLLM_OrganizationMembership", "LiteLLM_OrganizationTable"] {
        by_hand(world, &format!(r#"delete from public."{table}" where organization_id = $1"#), &[id]).await;
    }
}

async fn budget_of(world: &World, person: &dyn ToString, team: &dyn ToString) -> Value {
    let sql = r#"select to_jsonb(budget_id) from public."LiteLLM_TeamMembership" where user_id = $1 and team_id = $2"#;
    query(world, sql, &[person, team]).await
}

async fn shared_budget(world: &World, id: &dyn ToString) -> Value {
    team(world, id).await["metadata"]["team_member_budget_id"].clone()
}

async fn leftovers(world: &World) -> Leftovers {
    let store = Db::new(StoreKind::LiteLlm, &world.database.as_str().into(), 1).unwrap();
    let found = store.leftovers().await.unwrap().unwrap();
    store.close().await;
    found
}

/// A team with a member budget, of which Alice is a member.
async fn scene() -> (World, Service, GroupId, ObjectId) {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = with_team_params(&world, true, "team_member_budget: 3, team_member_budget_duration: 1d").await;
    world.sign_in(&service, alice).await;
    (world, service, group, alice)
}

#[tokio::test]
async fn member_of_recreated_team_gets_its_budget() {
    let (world, service, group, alice) = scene().await;
    let old = shared_budget(&world, &group).await;
    assert_eq!(budget_of(&world, &alice, &group).await, old);
    by_hand(&world, r#"update public."LiteLLM_TeamMembership" set spend = 2"#, &[]).await;
    delete_organization(&world, &group).await;
    assert_eq!(places(&world, &alice, &group).await, [0, 1, 1], "what the proxy leaves");
    assert_eq!(leftovers(&world).await, Leftovers { team_memberships: 1, ..Leftovers::default() });

    world.sign_in(&service, alice).await;

    let new = shared_budget(&world, &group).await;
    assert!(new.is_string() && new != old, "the new team has its own budget: {new}");
    assert_eq!(budget_of(&world, &alice, &group).await, new);
    assert_eq!(places(&world, &alice, &group).await, [1, 1, 1]);
    let spend = r#"select to_jsonb(spend) from public."LiteLLM_TeamMembership" where user_id = $1"#;
    assert_eq!(query(&world, spend, &[&alice]).await, json!(2), "spend is the proxy's");
    assert_eq!(leftovers(&world).await, Leftovers::default());
    let before = world.versions().await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.versions().await, before, "a repeated sign-in writes");
}

#[tokio::test]
async fn leftover_membership_gets_own_budget_where_team_limits_models() {
    let (world, service, group, alice) = scene().await;
    let old = shared_budget(&world, &group).await;
    delete_organization(&world, &group).await;
    team_by_hand(&world, &group, ", default_team_member_models", ", '{gpt-4}'").await;
    world.sign_in(&service, alice).await;
    let own = budget_of(&world, &alice, &group).await;
    assert_ne!(own, old);
    let sql = r#"select to_jsonb(allowed_models) from public."LiteLLM_BudgetTable" where budget_id = $1"#;
    assert_eq!(query(&world, sql, &[&own.as_str().unwrap()]).await, json!(["gpt-4"]));
}

#[tokio::test]
async fn manual_budget_survives_recreated_team() {
    let (world, service, group, alice) = scene().await;
    let digits = "0123456789abcdef0123456789abcdef";
    for budget in ["vip".to_owned(), "6f1e0f6e-0d0a-4a35-8f0e-0d0a4a358f0e".to_owned(), format!("team-budget-{digits}")]
    {
        let sql = r#"with budget as (insert into public."LiteLLM_BudgetTable" (budget_id, created_by, updated_by)
                                     values ($2, 'bob', 'bob'))
                     update public."LiteLLM_TeamMembership" set budget_id = $2 where user_id = $1"#;
        if budget.starts_with("team-") {
            // The default member budget of an existing team.
            let metadata = format!(", '{{\"team_member_budget_id\": \"{budget}\"}}'");
            team_by_hand(&world, &"another", ", metadata", &metadata).await;
        }
        by_hand(&world, sql, &[&alice, &budget]).await;
        delete_organization(&world, &group).await;
        world.sign_in(&service, alice).await;
        assert_eq!(budget_of(&world, &alice, &group).await, json!(budget));
        assert_eq!(places(&world, &alice, &group).await, [1, 1, 1]);
    }
}

#[tokio::test]
async fn roster_member_keeps_former_budget_and_is_counted() {
    let (world, service, group, alice) = scene().await;
    let sql = r#"update public."LiteLLM_TeamTable" set metadata = '{}' where team_id = $1"#;
    by_hand(&world, sql, &[&group]).await;
    let old = budget_of(&world, &alice, &group).await;
    // A partial membership of a user that an administrator put on the roster.
    by_hand(&world, r#"update public."LiteLLM_UserTable" set teams = '{}' where user_id = $1"#, &[&alice]).await;
    world.sign_in(&service, alice).await;
    assert_eq!(budget_of(&world, &alice, &group).await, old);
    assert_eq!(leftovers(&world).await, Leftovers { former_budgets: 1, ..Leftovers::default() });
}

#[tokio::test]
async fn organization_membership_without_organization_is_counted() {
    let world = world().await;
    world.sql(r#"alter table public."LiteLLM_OrganizationMembership" drop constraint "LiteLLM_OrganizationMembership_organization_id_fkey""#).await;
    user_by_hand(&world, &"carol", "", "").await;
    let sql =
        r#"insert into public."LiteLLM_OrganizationMembership" (user_id, organization_id) values ('carol', 'gone')"#;
    by_hand(&world, sql, &[]).await;
    assert_eq!(leftovers(&world).await, Leftovers { organization_memberships: 1, ..Leftovers::default() });
}

#[tokio::test]
async fn provenance_of_deleted_membership_is_deleted() {
    let (world, service, group, alice) = scene().await;
    let sql = "select jsonb_agg(organization_id) from entraway.litellm_organization_members where user_id = $1";
    assert_eq!(query(&world, sql, &[&alice]).await, json!([group]));
    delete_organization(&world, &group).await;
    let [other] = assigned(&world, ["Other"]);
    world.simulator.edit(|directory| {
        directory.unassign(group);
        directory.put(alice, other);
    });
    world.sign_in(&service, alice).await;
    assert_eq!(query(&world, sql, &[&alice]).await, json!([other]), "a deleted row is not reported");
}
