//! Models that keys of a synced team can use.

use serde_json::{Value, json};

use super::fixture::SETTINGS;
use super::{Scene, scene};
use crate::litellm::support::{by_hand, team};
use crate::support::scene::{assigned, person, until};

/// Status codes of a call to each model with this key.
async fn statuses<const N: usize>(scene: &Scene, key: &str, models: [&str; N]) -> [u16; N] {
    let mut statuses = [0; N];
    for (status, model) in statuses.iter_mut().zip(models) {
        *status = scene.proxy.ask(key, model).await.status;
    }
    statuses
}

#[tokio::test]
async fn team_key_calls_only_models_of_the_organization() {
    let Some(scene) = scene(SETTINGS).await else { return };
    let [group] = assigned(&scene.world, ["Data Science"]);
    let user = person(&scene.world, "Models Anna", &[group]);
    scene.sign_in(user).await;

    let key = scene.key(user, group).await;
    let allowed = scene.proxy.ask(&key, "gpt-4").await;
    assert_eq!(allowed.status, 200, "{}", allowed.body);
    assert_eq!(allowed.body["choices"][0]["message"]["content"], "an answer of gpt-4");
    assert_eq!(statuses(&scene, &key, ["gpt-3.5-turbo", "gpt-4o"]).await, [200, 403]);

    let listed = scene.proxy.call(&key, reqwest::Method::GET, "/v1/models", None).await.body;
    let mut listed: Vec<&str> = listed["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    listed.sort_unstable();
    assert_eq!(listed, ["gpt-3.5-turbo", "gpt-4"]);
}

#[tokio::test]
async fn team_follows_changed_models_of_the_organization() {
    let Some(scene) = scene(SETTINGS).await else { return };
    let [followed, edited] = assigned(&scene.world, ["Follows", "Edited"]);
    let user = person(&scene.world, "Models Bela", &[followed, edited]);
    scene.sign_in(user).await;
    let keys = [scene.key(user, followed).await, scene.key(user, edited).await];
    assert_eq!(statuses(&scene, &keys[0], ["gpt-4", "gpt-4o"]).await, [200, 403]);
    // An administrator restricts one of the teams in the proxy.
    scene.proxy.admin("/team/update", json!({"team_id": edited, "models": ["gpt-4"]})).await;
    // Changing an organization through the proxy needs a license, so it is done in its table.
    let sql =
        r#"update public."LiteLLM_OrganizationTable" set models = '{gpt-4o,gpt-3.5-turbo}' where organization_id = $1"#;
    for group in [followed, edited] {
        by_hand(&scene.world, sql, &[&group]).await;
    }

    scene.sign_in(user).await;

    assert_eq!(team(&scene.world, &followed).await["models"], json!(["gpt-4o", "gpt-3.5-turbo"]));
    assert_eq!(team(&scene.world, &edited).await["models"], json!(["gpt-4"]), "a manual change is kept");
    until("the proxy sees the team's new models", async || {
        statuses(&scene, &keys[0], ["gpt-4", "gpt-4o"]).await == [403, 200]
    })
    .await;
    assert_eq!(statuses(&scene, &keys[1], ["gpt-4", "gpt-4o"]).await, [200, 403]);
}

#[tokio::test]
async fn standalone_team_key_calls_only_its_own_models() {
    let Some(scene) = scene("  default_team_params: {models: [gpt-4]}\n").await else { return };
    let [group] = assigned(&scene.world, ["Standalone"]);
    let user = person(&scene.world, "Models Cleo", &[group]);
    scene.sign_in(user).await;

    assert_eq!(team(&scene.world, &group).await["organization_id"], Value::Null);
    let key = scene.key(user, group).await;
    assert_eq!(statuses(&scene, &key, ["gpt-4", "gpt-4o"]).await, [200, 403]);
}

#[tokio::test]
async fn default_access_groups_add_their_models() {
    let Some(mut scene) = scene(SETTINGS).await else { return };
    let name = format!("access-{}", scene.world.simulator.edit(|directory| directory.tenant_id));
    let body = json!({"access_group_name": name, "access_model_names": ["gpt-4o"]});
    let made = scene.proxy.try_admin("/v1/access_group", body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.body["access_group_id"].as_str().unwrap().to_owned();
    scene.restart(&format!("  default_team_params: {{models: [gpt-4], access_group_ids: [{id}]}}\n")).await;
    let [group] = assigned(&scene.world, ["With an access group"]);
    let user = person(&scene.world, "Models Dana", &[group]);
    scene.sign_in(user).await;

    assert_eq!(team(&scene.world, &group).await["access_group_ids"], json!([id]));
    let key = scene.key(user, group).await;
    assert_eq!(statuses(&scene, &key, ["gpt-4", "gpt-4o", "gpt-3.5-turbo"]).await, [200, 200, 403]);
    // The proxy derives its list from the teams; the service does not write it.
    let shown = scene.proxy.get(&format!("/v1/access_group/{id}")).await;
    assert_eq!(shown.body["assigned_team_ids"], json!([group]), "{}", shown.body);
}
