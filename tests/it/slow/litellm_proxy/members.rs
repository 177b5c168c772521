//! Memberships and budgets that the proxy and the service write for the same team.

use entra_simulator::{GroupId, ObjectId};
use serde_json::{Value, json};

use super::fixture::SETTINGS;
use super::{Scene, scene};
use crate::litellm::support::{json as value, places, take_text, take_time, team};
use crate::support::join_all;
use crate::support::scene::{assigned, person};

/// A membership row without the user ID, with the budget row instead of its ID.
async fn membership(scene: &Scene, user: ObjectId, team: GroupId) -> Value {
    let sql = r#"select to_jsonb(m) - 'user_id' || jsonb_build_object('budget', to_jsonb(b))
        from public."LiteLLM_TeamMembership" m left join public."LiteLLM_BudgetTable" b using (budget_id)
        where m.user_id = $1 and m.team_id = $2"#;
    value(&scene.world, sql, &[&user, &team]).await
}

async fn member_add(scene: &Scene, user: ObjectId, team: GroupId) {
    let member = json!({"user_id": user, "role": "user"});
    scene.proxy.admin("/team/member_add", json!({"team_id": team, "member": member})).await;
}

/// Two users of one group: the first signs in, the second is added through the proxy.
async fn two_members(scene: &Scene, name: &str) -> (GroupId, [ObjectId; 2]) {
    let [group] = assigned(&scene.world, [name]);
    let ours = person(&scene.world, &format!("{name} Ours"), &[group]);
    let theirs = person(&scene.world, &format!("{name} Theirs"), &[]);
    scene.sign_in(ours).await;
    scene.sign_in(theirs).await;
    member_add(scene, theirs, group).await;
    (group, [ours, theirs])
}

#[tokio::test]
async fn membership_equals_that_of_member_add() {
    let Some(scene) = scene(SETTINGS).await else { return };
    let (group, [ours, theirs]) = two_members(&scene, "Plain").await;

    assert_eq!(membership(&scene, ours, group).await, membership(&scene, theirs, group).await);
    assert_eq!([places(&scene.world, &ours, &group).await, places(&scene.world, &theirs, &group).await], [[1; 3]; 2]);
    let roster = team(&scene.world, &group).await["members_with_roles"].clone();
    let mut keys: Vec<Vec<String>> = Vec::new();
    for member in roster.as_array().unwrap() {
        assert_eq!(member["role"], "user", "{member}");
        keys.push(member.as_object().unwrap().keys().cloned().collect());
    }
    assert_eq!((keys.len(), &keys[0]), (2, &keys[1]), "keys of the roster entries");
}

#[tokio::test]
async fn shared_member_budget_is_that_of_member_add() {
    let settings =
        "  default_team_params: {models: [gpt-4], team_member_budget: 5, team_member_budget_duration: 30d}\n";
    let Some(scene) = scene(settings).await else { return };
    let (group, [ours, theirs]) = two_members(&scene, "Shared budget").await;

    let written = membership(&scene, ours, group).await;
    assert_eq!(written["budget"]["max_budget"], 5.0, "{written}");
    assert_eq!(written, membership(&scene, theirs, group).await, "one budget for all members");
}

#[tokio::test]
async fn own_member_budget_equals_that_of_member_add() {
    let settings =
        "  default_team_params: {models: [gpt-4], team_member_budget: 5, team_member_budget_duration: 30d}\n";
    let Some(scene) = scene(settings).await else { return };
    let [group] = assigned(&scene.world, ["Own budgets"]);
    let first = person(&scene.world, "Own Anna", &[group]);
    scene.sign_in(first).await;
    // With default member models, each member gets a separate budget row.
    let models = json!({"team_id": group, "default_team_member_models": ["gpt-4"]});
    scene.proxy.admin("/team/update", models).await;
    let ours = person(&scene.world, "Own Bela", &[group]);
    scene.sign_in(ours).await;
    let theirs = person(&scene.world, "Own Cleo", &[]);
    scene.sign_in(theirs).await;
    member_add(&scene, theirs, group).await;

    let [mut ours, mut theirs] = [membership(&scene, ours, group).await, membership(&scene, theirs, group).await];
    for row in [&mut ours, &mut theirs] {
        take_text(row, "budget_id");
        take_text(&mut row["budget"], "budget_id");
        for column in ["created_by", "updated_by"] {
            take_text(&mut row["budget"], column);
        }
        for column in ["created_at", "updated_at"] {
            take_time(&mut row["budget"], column);
        }
    }
    assert_eq!(ours["budget"]["allowed_models"], json!(["gpt-4"]), "{ours}");
    assert_eq!(ours, theirs);
}

#[tokio::test]
async fn concurrent_member_adds_and_signins_lose_nothing() {
    let Some(scene) = scene(SETTINGS).await else { return };
    let groups = assigned(&scene.world, ["Concurrent 1", "Concurrent 2", "Concurrent 3"]);
    let first = person(&scene.world, "Concurrent First", &groups);
    scene.sign_in(first).await;
    let signed_in: Vec<ObjectId> =
        (0..8).map(|n| person(&scene.world, &format!("Concurrent Signed {n}"), &groups)).collect();
    // The user rows are created first, so that only memberships are written concurrently.
    let mut added = Vec::new();
    for n in 0..8 {
        let user = person(&scene.world, &format!("Concurrent Added {n}"), &[]);
        scene.sign_in(user).await;
        added.push(user);
    }

    let sign_ins = join_all(signed_in.iter().map(|user| scene.sign_in(*user)));
    let adds = async {
        for user in &added {
            for group in groups {
                member_add(&scene, *user, group).await;
            }
        }
    };
    tokio::join!(sign_ins, adds);

    for user in signed_in.iter().chain(&added) {
        for group in groups {
            assert_eq!(places(&scene.world, user, &group).await, [1, 1, 1], "{user} in {group}");
        }
    }
    for group in groups {
        let roster = team(&scene.world, &group).await["members_with_roles"].as_array().unwrap().len();
        assert_eq!(roster, 17, "the first user and eight of each kind");
    }
}

#[tokio::test]
async fn member_added_in_the_proxy_stays_a_member() {
    let Some(scene) = scene(SETTINGS).await else { return };
    let (group, [_, theirs]) = two_members(&scene, "Stays").await;

    scene.sign_in(theirs).await;

    assert_eq!(places(&scene.world, &theirs, &group).await, [1, 1, 1], "the user is not in the group in Entra");
    let key = scene.key(theirs, group).await;
    assert_eq!(scene.proxy.ask(&key, "gpt-4").await.status, 200);
}

#[tokio::test]
async fn deleted_team_is_created_again_with_its_members() {
    let settings =
        "  entra_groups_also_create_orgs: true\n  default_team_params: {models: [gpt-4], team_member_budget: 5}\n";
    let Some(scene) = scene(settings).await else { return };
    let [group] = assigned(&scene.world, ["Deleted"]);
    let user = person(&scene.world, "Deleted Anna", &[group]);
    scene.sign_in(user).await;
    let key = scene.key(user, group).await;
    let old_budget = team(&scene.world, &group).await["metadata"]["team_member_budget_id"].as_str().unwrap().to_owned();
    scene.proxy.admin("/team/delete", json!({"team_ids": [group]})).await;
    let left = value(
        &scene.world,
        r#"select jsonb_build_object(
            'teams', (select teams from public."LiteLLM_UserTable" where user_id = $1),
            'memberships', (select count(*) from public."LiteLLM_TeamMembership" where team_id = $2),
            'budgets', (select count(*) from public."LiteLLM_BudgetTable" where budget_id = $3),
            'organizations', (select count(*) from public."LiteLLM_OrganizationTable" where organization_id = $2))"#,
        &[&user, &group, &old_budget],
    )
    .await;
    let expected = json!({"teams": [], "memberships": 0, "budgets": 1, "organizations": 1});
    assert_eq!(left, expected, "rows left by /team/delete");
    assert_eq!(scene.proxy.ask(&key, "gpt-4").await.status, 401, "the team's keys are deleted with it");

    scene.sign_in(user).await;

    assert_eq!(places(&scene.world, &user, &group).await, [1, 1, 1]);
    let again = team(&scene.world, &group).await;
    assert_eq!(again["organization_id"], json!(group));
    assert_ne!(again["metadata"]["team_member_budget_id"], json!(old_budget));
    assert_eq!(membership(&scene, user, group).await["budget_id"], again["metadata"]["team_member_budget_id"]);
    let key = scene.key(user, group).await;
    assert_eq!(scene.proxy.ask(&key, "gpt-4").await.status, 200);
}

#[tokio::test]
async fn member_removed_in_the_proxy_is_added_again() {
    let Some(scene) = scene(SETTINGS).await else { return };
    let [group] = assigned(&scene.world, ["Removed member"]);
    let user = person(&scene.world, "Removed Cora", &[group]);
    scene.sign_in(user).await;
    let key = scene.key(user, group).await;
    scene.proxy.admin("/team/member_delete", json!({"team_id": group, "user_id": user})).await;
    assert_eq!(places(&scene.world, &user, &group).await, [0, 0, 0], "rows left by /team/member_delete");
    let left = r#"select to_jsonb(count(*)) from public."LiteLLM_OrganizationMembership" where user_id = $1"#;
    assert_eq!(value(&scene.world, left, &[&user]).await, 1);

    scene.sign_in(user).await;

    assert_eq!(places(&scene.world, &user, &group).await, [1, 1, 1]);
    assert_eq!(scene.proxy.ask(&key, "gpt-4").await.status, 401, "the user's keys for the team are deleted");
}

#[tokio::test]
async fn deleted_user_is_created_again_in_their_teams() {
    let Some(scene) = scene(SETTINGS).await else { return };
    let [group] = assigned(&scene.world, ["Deleted user"]);
    let user = person(&scene.world, "Deleted Bela", &[group]);
    scene.sign_in(user).await;
    scene.proxy.admin("/user/delete", json!({"user_ids": [user]})).await;
    assert_eq!(places(&scene.world, &user, &group).await, [0, 0, 0], "rows left by /user/delete");
    let left = r#"select to_jsonb(count(*)) from public."LiteLLM_OrganizationMembership" where user_id = $1"#;
    assert_eq!(value(&scene.world, left, &[&user]).await, 0);

    scene.sign_in(user).await;

    assert_eq!(places(&scene.world, &user, &group).await, [1, 1, 1]);
    let key = scene.key(user, group).await;
    assert_eq!(scene.proxy.ask(&key, "gpt-4").await.status, 200);
}

#[tokio::test]
async fn organization_routes_need_a_license() {
    let Some(scene) = scene(SETTINGS).await else { return };
    for (path, body) in [
        ("/organization/new", json!({"organization_alias": "x"})),
        ("/organization/member_add", json!({"organization_id": "x", "member": {"user_id": "y", "role": "org_admin"}})),
    ] {
        let refused = scene.proxy.try_admin(path, body).await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.body);
    }
}
