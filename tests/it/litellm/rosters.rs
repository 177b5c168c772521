//! List columns without a list, as left by the proxy's own defaults and by administrators.

use serde_json::{Value, json};

use super::support::{
    ALICE, WRITTEN, assigned, by_hand, person, places, plain, team, team_by_hand, user, user_by_hand, versions, world,
};

#[tokio::test]
async fn empty_object_or_null_roster_becomes_a_list() {
    let world = world().await;
    let service = plain(&world, false).await;
    for empty in ["{}", "null", "[]"] {
        let [group] = assigned(&world, ["Evals"]);
        let alice = person(&world, "Alice Arden", &[group]);
        team_by_hand(&world, &group, "", "").await;
        set_roster(&world, &group, &empty).await;
        world.sign_in(&service, alice).await;
        assert_eq!(
            team(&world, &group).await["members_with_roles"],
            json!([{ "user_id": alice, "user_email": ALICE, "role": "user" }]),
            "after the roster was {empty}"
        );
        assert_eq!(places(&world, &alice, &group).await, [1, 1, 1]);
    }
}

#[tokio::test]
async fn non_list_roster_content_is_kept_as_an_entry() {
    let world = world().await;
    let service = plain(&world, false).await;
    for content in [r#"{"user_id": "bob", "role": "admin"}"#, r#""text""#, "7", r#"{"user_id": "$"}"#] {
        let [group] = assigned(&world, ["Evals"]);
        let alice = person(&world, "Alice Arden", &[group]);
        let content = content.replace('$', &alice.to_string());
        team_by_hand(&world, &group, "", "").await;
        set_roster(&world, &group, &content).await;
        world.sign_in(&service, alice).await;
        let was: Value = serde_json::from_str(&content).unwrap();
        assert_eq!(
            team(&world, &group).await["members_with_roles"],
            json!([was, { "user_id": alice, "user_email": ALICE, "role": "user" }]),
            "src/db/litellm/user.rs, enrolled"
        );
        let before = versions(&world, &WRITTEN).await;
        world.sign_in(&service, alice).await;
        assert_eq!(
            versions(&world, &WRITTEN).await,
            before,
            "{content}: it is a roster now, and nothing is left to do"
        );
    }
}

#[tokio::test]
async fn null_team_list_of_user_is_created_on_join() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    user_by_hand(&world, &alice, ", teams, models", ", null, null").await;
    let service = plain(&world, true).await;
    let mut browser = world.sign_in(&service, alice).await;
    assert_eq!(user(&world, &alice).await["teams"], json!([group]));
    assert_eq!(places(&world, &alice, &group).await, [1, 1, 1]);
    assert_eq!(browser.me(&service).await.json()["teams"][0]["team_id"], json!(group));
}

#[tokio::test]
async fn team_list_with_nulls_and_duplicates_only_grows() {
    let world = world().await;
    let [group, other] = assigned(&world, ["Evals", "Other"]);
    let alice = person(&world, "Alice Arden", &[group, other]);
    user_by_hand(&world, &alice, ", teams", &format!(", array[null, 'gone', '{group}', null, '{group}', 'o''dd \"']"))
        .await;
    let service = plain(&world, true).await;
    let mut browser = world.sign_in(&service, alice).await;
    let teams = json!([null, "gone", group, null, group, "o'dd \"", other]);
    assert_eq!(user(&world, &alice).await["teams"], teams, "existing entries stay, in order");
    assert_eq!(browser.me(&service).await.json()["teams"].as_array().unwrap().len(), 2, "each team once on the page");
    let before = versions(&world, &WRITTEN).await;
    world.sign_in(&service, alice).await;
    assert_eq!(versions(&world, &WRITTEN).await, before, "nothing is left to do");
}

#[tokio::test]
async fn duplicate_roster_entry_counts_as_one_membership() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    team_by_hand(&world, &group, "", "").await;
    let twice = json!([{ "user_id": alice, "role": "user" }, { "user_id": alice, "role": "admin" }]);
    set_roster(&world, &group, &twice.to_string()).await;
    let service = plain(&world, false).await;
    let mut browser = world.sign_in(&service, alice).await;
    assert_eq!(team(&world, &group).await["members_with_roles"], twice);
    assert_eq!(places(&world, &alice, &group).await, [2, 1, 1]);
    let me = browser.me(&service).await.json();
    assert_eq!((me["teams"].as_array().unwrap().len(), &me["teams"][0]["role"]), (1, &json!("admin")), "{me:#}");
}

#[tokio::test]
async fn later_team_roster_gets_email_from_user_row() {
    let world = world().await;
    let [group, later] = assigned(&world, ["Evals", "Later"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = plain(&world, true).await;
    world.sign_in(&service, alice).await;
    let before = user(&world, &alice).await["user_email"].clone();
    assert_eq!(before, ALICE, "the scene: her address is in her row, and does not change");

    world.simulator.edit(|directory| directory.put(alice, later));
    world.sign_in(&service, alice).await;

    assert_eq!(
        team(&world, &later).await["members_with_roles"],
        json!([{ "user_id": alice, "user_email": ALICE, "role": "user" }]),
        "src/db/litellm/user.rs, enrolled: the address of the row, if none is written"
    );
}

async fn set_roster(world: &crate::support::World, group: &dyn ToString, roster: &dyn ToString) {
    let sql = r#"update public."LiteLLM_TeamTable" set members_with_roles = $2::jsonb where team_id = $1"#;
    by_hand(world, sql, &[group, roster]).await;
}
