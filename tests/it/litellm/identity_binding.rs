//! Which user a row belongs to if two could claim it. The proxy's sign-in and its administrators write `sso_user_id`,
//! which must never give access to another user's row.

use entra_simulator::{ObjectId, TenantId};
use entraway::config::Tenant;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::{
    WRITTEN, assigned, by_hand, give_roles, json as query, person, places, plain, user, user_by_hand, user_version,
    versions, world,
};
use crate::support::{Service, World, tenants};

const REBIND: &str = r#"update public."LiteLLM_UserTable" set sso_user_id = $2 where user_id = $1"#;

/// All stored bindings as `object id -> key of the row`, ordered by object ID.
async fn remembered(world: &World) -> Value {
    let sql = "select jsonb_object_agg(object_id, user_id) from entraway.litellm_users";
    query(world, sql, &[]).await
}

/// Signs Bob in. He must not get Alice's row, whose key is `key` and whose `sso_user_id` names him.
async fn bob_gets_his_own(world: &World, service: &Service, key: &dyn ToString, bob: ObjectId) {
    let (row, memory) = (user_version(world, key).await, remembered(world).await);
    let mut browser = world.sign_in(service, bob).await;
    assert_eq!(user_version(world, key).await, row, "Alice's row was written: src/db/litellm.rs, read");
    let me = browser.me(service).await.json();
    assert_eq!(me["user"]["user_id"], json!(bob), "Bob is shown another row than his own: {me:#}");
    let own = user(world, &bob).await;
    assert_eq!(own["sso_user_id"], Value::Null, "the column is unique and taken: src/db/litellm/user.rs, made_user");
    assert_ne!(own["user_role"], "proxy_admin", "Alice's role is not inherited: {own:#}");
    let mut expected = memory;
    expected[bob.to_string()] = json!(bob);
    assert_eq!(remembered(world).await, expected, "Alice's binding stays, and Bob's is added");
    let note = json!({ "note": "same_sso_user_id", "own": bob, "user_ids": [key.to_string()] });
    assert_eq!(world.last_run().await["notes"][0], note, "the record notes it for the operator");

    let before = world.versions().await;
    world.sign_in(service, bob).await;
    assert_eq!(world.versions().await, before, "Bob's repeated sign-in has nothing to write");
    assert_eq!(world.last_run().await["notes"][0], note, "the record notes it again");
}

#[tokio::test]
async fn row_keyed_by_object_id_is_not_rebound_by_sso_user_id() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let (alice, bob) = (person(&world, "Alice Arden", &[group]), person(&world, "Bob Birch", &[group]));
    give_roles(&world, alice, &["proxy_admin"]);
    let service = plain(&world, true).await;
    let mut browser = world.sign_in(&service, alice).await;
    by_hand(&world, REBIND, &[&alice, &bob]).await;

    bob_gets_his_own(&world, &service, &alice, bob).await;

    assert_eq!(places(&world, &bob, &group).await, [1, 1, 1], "Bob is in his team under his own key");
    let me = browser.me(&service).await.json();
    assert_eq!(me["user"]["user_id"], json!(alice), "Alice's session still shows Alice: {me:#}");
    let before = versions(&world, &WRITTEN).await;
    world.sign_in(&service, alice).await;
    assert_eq!(versions(&world, &WRITTEN).await, before, "her next sign-in has nothing to write");
}

#[tokio::test]
async fn row_bound_by_sso_user_id_is_not_rebound() {
    let world = world().await;
    let (alice, bob) = (person(&world, "Alice Arden", &[]), person(&world, "Bob Birch", &[]));
    user_by_hand(&world, &"key", ", sso_user_id, user_role", &format!(", '{alice}', 'proxy_admin'")).await;
    let service = plain(&world, true).await;
    let mut browser = world.sign_in(&service, alice).await;
    assert_eq!(browser.me(&service).await.json()["user"]["user_id"], "key", "the scene: Alice's row is the proxy's");
    by_hand(&world, REBIND, &[&"key", &bob]).await;

    bob_gets_his_own(&world, &service, &"key", bob).await;

    assert_eq!(browser.me(&service).await.status, 401, "the row no longer names Alice: src/db/session_details.rs");
    let mut browser = world.sign_in(&service, alice).await;
    assert_eq!(browser.me(&service).await.json()["user"]["user_id"], json!(alice), "she gets her own row");
}

#[tokio::test]
async fn row_is_not_rebound_to_user_of_another_tenant() {
    let world = world().await;
    let alice = person(&world, "Alice Arden", &[]);
    let partner = TenantId::from(Uuid::new_v4());
    let bob = world.simulator.edit(|directory| directory.person("Bob Birch", |bob| bob.tenant_id = Some(partner)));
    let mut config = world.config_of("  entra_groups_also_create_orgs: false\n");
    config.entra.tenant = Tenant::Organizations;
    config.entra.allowed_tenants = tenants([world.simulator.edit(|directory| directory.tenant_id), partner]);
    let service = world.service_of(config).await;
    world.sign_in(&service, alice).await;
    by_hand(&world, REBIND, &[&alice, &bob]).await;
    bob_gets_his_own(&world, &service, &alice, bob).await;
}

/// Bob is in a row whose key is Alice's object ID, with his role from Entra. Alice never signed in.
async fn bob_in_her_row(world: &World, service: &Service) -> (ObjectId, ObjectId, crate::support::Browser) {
    let (alice, bob) = (person(world, "Alice Arden", &[]), person(world, "Bob Birch", &[]));
    user_by_hand(world, &alice, ", sso_user_id", &format!(", '{bob}'")).await;
    let sql = r#"insert into entraway.litellm_adopted_rows (object_id, user_id, row_created_at, adopted_at)
                 select $2, user_id, created_at, now() from public."LiteLLM_UserTable" where user_id = $1"#;
    by_hand(world, sql, &[&alice, &bob]).await;
    give_roles(world, bob, &["proxy_admin"]);
    let mut browser = world.sign_in(service, bob).await;
    let me = browser.me(service).await.json();
    assert_eq!(
        (&me["user"]["user_id"], &me["user"]["user_role"]),
        (&json!(alice), &json!("proxy_admin")),
        "the scene: {me:#}"
    );
    (alice, bob, browser)
}

#[tokio::test]
async fn object_id_key_wins_over_earlier_sso_user_id_binding() {
    let world = world().await;
    let service = plain(&world, true).await;
    let (alice, bob, mut bobs) = bob_in_her_row(&world, &service).await;

    let mut browser = world.sign_in(&service, alice).await;

    let me = browser.me(&service).await.json();
    assert_eq!(me["user"]["user_id"], json!(alice), "the key wins: src/db/litellm.rs, read: {me:#}");
    assert_eq!(me["user"]["user_role"], "internal_user_viewer", "Bob's role came from Entra for Bob: {me:#}");
    assert_eq!(
        remembered(&world).await,
        json!({ alice.to_string(): alice }),
        "src/db/litellm/user.rs, forgotten_users"
    );
    assert_eq!(bobs.me(&service).await.status, 401, "Bob's session shows her row: src/db/session_details.rs");
    bob_gets_his_own_role_and_row(&world, &service, alice, bob).await;
}

async fn bob_gets_his_own_role_and_row(world: &World, service: &Service, alice: ObjectId, bob: ObjectId) {
    let row = user_version(world, &alice).await;
    let mut bobs = world.sign_in(service, bob).await;
    let me = bobs.me(service).await.json();
    assert_eq!(
        (&me["user"]["user_id"], &me["user"]["user_role"]),
        (&json!(bob), &json!("proxy_admin")),
        "Bob's next sign-in gives him his own row: {me:#}"
    );
    assert_eq!(user_version(world, &alice).await, row, "her row is unchanged");
}

/// The role in the row and the role from Entra are the same before and after. Only the row's owner changes.
#[tokio::test]
async fn rebound_row_loses_role_when_entra_no_longer_gives_it() {
    let world = world().await;
    let service = plain(&world, true).await;
    let (alice, ..) = bob_in_her_row(&world, &service).await;
    give_roles(&world, alice, &["proxy_admin"]);
    world.sign_in(&service, alice).await;
    assert_eq!(user(&world, &alice).await["user_role"], "proxy_admin");
    give_roles(&world, alice, &[]);
    world.sign_in(&service, alice).await;
    assert_eq!(
        user(&world, &alice).await["user_role"],
        "internal_user_viewer",
        "core, plan_user: the binding must also store her role from Entra"
    );
}

#[tokio::test]
async fn session_ends_when_sso_user_id_of_row_changes() {
    for (other, why) in [("null", "reset"), ("'somebody'", "somebody else's")] {
        let world = world().await;
        let bob = person(&world, "Bob Birch", &[]);
        user_by_hand(&world, &"key", ", sso_user_id", &format!(", '{bob}'")).await;
        let service = plain(&world, true).await;
        let mut browser = world.sign_in(&service, bob).await;
        assert_eq!(browser.me(&service).await.json()["user"]["user_id"], "key", "the scene");
        let sql = format!(r#"update public."LiteLLM_UserTable" set sso_user_id = {other} where user_id = 'key'"#);
        by_hand(&world, &sql, &[]).await;
        assert_eq!(browser.me(&service).await.status, 401, "sso_user_id is {why}: src/db/session_details.rs");
    }
}

#[tokio::test]
async fn session_of_another_tenant_with_same_object_id_is_rejected() {
    let world = world().await;
    let alice = person(&world, "Alice Arden", &[]);
    let service = plain(&world, true).await;
    let mut browser = world.sign_in(&service, alice).await;
    assert_eq!(browser.me(&service).await.status, 200);
    by_hand(&world, "update entraway.sessions set tenant_id = $1::uuid", &[&Uuid::new_v4()]).await;
    assert_eq!(
        browser.me(&service).await.status,
        401,
        "src/db/session_details.rs, LITELLM_SESSION: the tenant counts, too"
    );
}

#[tokio::test]
async fn manually_recreated_row_belongs_to_new_sso_user_id() {
    let world = world().await;
    let (alice, bob) = (person(&world, "Alice Arden", &[]), person(&world, "Bob Birch", &[]));
    user_by_hand(&world, &"key", ", sso_user_id, created_at", &format!(", '{alice}', '2026-01-01'")).await;
    let service = plain(&world, true).await;
    let mut browser = world.sign_in(&service, alice).await;
    assert_eq!(browser.me(&service).await.json()["user"]["user_id"], "key", "she has the row by its sso_user_id");

    by_hand(&world, r#"delete from public."LiteLLM_UserTable" where user_id = $1"#, &[&"key"]).await;
    user_by_hand(&world, &"key", ", sso_user_id, created_at", &format!(", '{bob}', '2026-11-11'")).await;
    let mut browser_of_bob = world.sign_in(&service, bob).await;
    assert_eq!(browser_of_bob.me(&service).await.json()["user"]["user_id"], "key", "it is another row, which is his");
    assert_eq!(browser.me(&service).await.status, 401, "the row of Alice's session is gone");
    world.sign_in(&service, alice).await;
    assert_eq!(remembered(&world).await, json!({ alice.to_string(): alice, bob.to_string(): "key" }));
}
