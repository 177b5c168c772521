//! Effect of our role assignments in the proxy.

use entra_simulator::ObjectId;
use reqwest::Method;
use serde_json::{Value, json};

use super::fixture::SETTINGS;
use super::{Scene, key_of, scene};
use crate::litellm::support::{change, give_roles, user};
use crate::support::scene::{assigned, person, until};

/// Creates a key for this user without a team, as the proxy's administrator.
async fn own_key(scene: &Scene, user: ObjectId) -> String {
    key_of(&scene.proxy.admin("/key/generate", json!({"user_id": user})).await)
}

async fn post(scene: &Scene, key: &str, path: &str, body: Value) -> super::proxy::Answer {
    scene.proxy.call(key, Method::POST, path, Some(body)).await
}

#[tokio::test]
async fn org_admin_creates_keys_and_teams_in_own_organization() {
    let Some(scene) = scene(SETTINGS).await else { return };
    let [group] = assigned(&scene.world, ["Administered"]);
    let admin = person(&scene.world, "Roles Anna", &[group]);
    give_roles(&scene.world, admin, &["org_admin"]);
    scene.sign_in(admin).await;

    assert_eq!(user(&scene.world, &admin).await["user_role"], "internal_user");
    let role: String = sqlx::query_scalar(
        r#"select user_role from public."LiteLLM_OrganizationMembership" where user_id = $1 and organization_id = $2"#,
    )
    .bind(admin.to_string())
    .bind(group.to_string())
    .fetch_one(&scene.world.pool)
    .await
    .unwrap();
    assert_eq!(role, "org_admin");

    let key = own_key(&scene, admin).await;
    let made = post(&scene, &key, "/key/generate", json!({"user_id": admin})).await;
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!(scene.proxy.ask(&key_of(&made.body), "gpt-4").await.status, 200);
    let team = json!({"team_alias": "Made by an org admin", "organization_id": group, "models": ["gpt-4"]});
    let made = post(&scene, &key, "/team/new", team).await;
    assert_eq!((made.status, &made.body["organization_id"]), (200, &json!(group)), "{}", made.body);
}

#[tokio::test]
async fn plain_member_cannot_create_team_in_organization() {
    let Some(scene) = scene(SETTINGS).await else { return };
    let [group] = assigned(&scene.world, ["Not administered"]);
    let member = person(&scene.world, "Roles Bela", &[group]);
    give_roles(&scene.world, member, &["internal_user"]);
    scene.sign_in(member).await;

    let key = own_key(&scene, member).await;
    let team = json!({"team_alias": "Made by a member", "organization_id": group, "models": ["gpt-4"]});
    let refused = post(&scene, &key, "/team/new", team).await;
    assert!([401, 403].contains(&refused.status), "{} {}", refused.status, refused.body);
}

#[tokio::test]
async fn changed_app_role_takes_effect_in_proxy_at_once() {
    let Some(scene) = scene(SETTINGS).await else { return };
    let [group] = assigned(&scene.world, ["Role changes"]);
    let member = person(&scene.world, "Roles Cleo", &[group]);
    give_roles(&scene.world, member, &["internal_user_viewer"]);
    scene.sign_in(member).await;
    let key = own_key(&scene, member).await;
    let refused = post(&scene, &key, "/key/generate", json!({"user_id": member})).await;
    assert!([401, 403].contains(&refused.status), "a viewer cannot create keys: {} {}", refused.status, refused.body);

    give_roles(&scene.world, member, &["internal_user"]);
    scene.sign_in(member).await;

    // Without cache invalidation through Redis this would take up to 60 s.
    let begin = std::time::Instant::now();
    until("the proxy sees the new role", async || {
        post(&scene, &key, "/key/generate", json!({"user_id": member})).await.status == 200
    })
    .await;
    assert!(begin.elapsed().as_secs() < 30, "after {:?}", begin.elapsed());
}

#[tokio::test]
async fn admin_role_written_by_proxy_sso_is_lowered() {
    let Some(scene) = scene(SETTINGS).await else { return };
    let [group] = assigned(&scene.world, ["Both sign-ins"]);
    let admin = person(&scene.world, "Roles Dora", &[group]);
    give_roles(&scene.world, admin, &["internal_user", "proxy_admin"]);
    scene.sign_in(admin).await;
    assert_eq!(user(&scene.world, &admin).await["user_role"], "internal_user", "the first role in the token");
    let key = own_key(&scene, admin).await;
    // The proxy's own SSO writes the highest role of the token since 1.110.
    scene.proxy.admin("/user/update", json!({"user_id": admin, "user_role": "proxy_admin"})).await;
    scene.sign_in(admin).await;

    give_roles(&scene.world, admin, &["internal_user"]);
    scene.sign_in(admin).await;

    assert_eq!(user(&scene.world, &admin).await["user_role"], "internal_user");
    until("the proxy sees that the user is not an administrator", async || {
        let listed = scene.proxy.call(&key, Method::GET, "/user/list", None).await;
        [401, 403].contains(&listed.status)
    })
    .await;
}

#[tokio::test]
async fn premade_user_is_not_raised_to_admin() {
    let Some(scene) = scene(SETTINGS).await else { return };
    let [group] = assigned(&scene.world, ["Made in advance"]);
    let admin = person(&scene.world, "Roles Emil", &[group]);
    give_roles(&scene.world, admin, &["proxy_admin"]);
    // Another administrator creates the row with the object ID and keeps its key.
    let made = scene.proxy.admin("/user/new", json!({"user_id": admin, "user_role": "internal_user"})).await;
    let key = key_of(&made);

    scene.sign_in(admin).await;

    assert_eq!(user(&scene.world, &admin).await["user_role"], "internal_user");
    let listed = scene.proxy.call(&key, Method::GET, "/user/list", None).await;
    assert!([401, 403].contains(&listed.status), "{} {}", listed.status, listed.body);
}

#[tokio::test]
async fn proxy_reads_changed_email_and_teams() {
    let Some(scene) = scene(SETTINGS).await else { return };
    let [group] = assigned(&scene.world, ["Renamed"]);
    let member = person(&scene.world, "Roles Finn", &[group]);
    scene.sign_in(member).await;
    change(&scene.world, member, |person| person.upn = "finn.renamed@example.com".to_owned());
    scene.sign_in(member).await;

    let key = own_key(&scene, member).await;
    let info = scene.proxy.call(&key, Method::GET, &format!("/user/info?user_id={member}"), None).await;
    assert_eq!(info.status, 200, "{}", info.body);
    assert_eq!(info.body["user_info"]["user_email"], "finn.renamed@example.com");
    assert_eq!(info.body["user_info"]["teams"], json!([group]));
}
