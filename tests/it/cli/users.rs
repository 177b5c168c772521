//! `entraway users adopt`: an operator confirms a row that another program created.

use entra_simulator::ObjectId;
use entraway::domain::StoreKind;
use serde_json::json;

use super::program::{CONFIG, Folder, environment, run};
use crate::support::World;

#[tokio::test]
async fn users_adopt_reports_its_result_and_is_idempotent() {
    let world = World::of(StoreKind::LiteLlm).await;
    let person = |name: &str| world.simulator.edit(|directory| directory.person(name, |_| {}));
    let (alice, bob, carol) = (person("Alice Arden"), person("Bob Birch"), person("Carol Cole"));
    let sql = r#"insert into public."LiteLLM_UserTable" (user_id, user_role, user_email, created_at)
                 values ($1, 'internal_user', 'alice@contoso-sim.example', '2026-01-02 03:04:05')"#;
    sqlx::query(sql).bind(alice.to_string()).execute(&world.pool).await.unwrap();
    let service = world.service_with(|config| config.policy.admin_user_ids = [alice.to_string()].into()).await;
    world.sign_in(&service, alice).await;
    world.sign_in(&service, bob).await;
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", &format!("{CONFIG}store: litellm\n"));
    let env = environment(&world);
    let adopt = async |user: ObjectId| {
        let user = user.to_string().to_uppercase();
        run(&folder, &["users", "adopt", "--config", &config, "--user", &user], &env).await
    };

    let told = adopt(alice).await;
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    let expected = format!("user {alice}: confirmed row {alice} (role internal_user, created 2026-01-02T03:04:05Z)\n");
    assert!(told.stdout.starts_with(&expected), "{told:?}");
    assert!(!told.stdout.contains('@'), "no address is printed: {told:?}");
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.users[&alice.to_string()]["user_role"], "proxy_admin");

    let told = adopt(alice).await;
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.stdout.starts_with(&format!("user {alice}: row {alice} was already confirmed at 20")), "{told:?}");
    let event = json!({ "actor": "command", "action": "account_confirmed", "user_id": alice, "object_id": alice,
                        "target_kind": "account", "result": "applied" });
    assert_eq!(world.audit_events(&["account_confirmed"]).await, [event], "only the first confirmation is an event");
    let told = adopt(bob).await;
    assert_eq!((told.code, told.stdout), (0, format!("user {bob}: row {bob} needs no confirmation\n")));

    let told = adopt(carol).await;
    assert_eq!((told.code, told.stdout.as_str()), (1, ""), "{told:?}");
    let expected = format!("entraway: user {carol}: LiteLLM's user table has no row with this id");
    assert!(told.stderr.starts_with(&expected), "{told:?}");
}

#[tokio::test]
async fn users_adopt_rejects_native_store_and_invalid_arguments() {
    let world = World::of(StoreKind::Native).await;
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", CONFIG);
    let env = environment(&world);
    let id = "00000000-0000-0000-0000-000000000001";
    let told = run(&folder, &["users", "adopt", "--config", &config, "--user", id], &env).await;
    assert_eq!((told.code, told.stdout.as_str()), (1, ""), "{told:?}");
    assert!(told.stderr.starts_with("entraway: store: native has no user rows of other programs"), "{told:?}");
    for words in [&["users"][..], &["users", "adopt"], &["users", "adopt", "--user", "alice@example.com"]] {
        let told = run(&folder, words, &env).await;
        assert_eq!(told.code, 2, "{words:?}: {told:?}");
    }
}
