//! Rows that existed before the user's first sign-in. Another program created them, possibly with keys, so an operator
//! role is withheld until an operator confirms the row.

use entra_simulator::ObjectId;
use entraway::db::{AdoptionState, Db};
use entraway::domain::StoreKind;
use entraway::util::clock::Clock;
use rstest::rstest;
use serde_json::{Value, json};

use super::support::{assigned, by_hand, give_roles, person, plain, user, user_by_hand, world};
use crate::support::World;

async fn role(world: &World, key: &dyn ToString) -> Value {
    user(world, key).await["user_role"].clone()
}

/// Confirms a user's row as `entraway users adopt` does.
async fn adopt(world: &World, user: ObjectId) -> Option<AdoptionState> {
    let store = Db::new(StoreKind::LiteLlm, &world.database.as_str().into(), 1).unwrap();
    let adoption = store.adopt(user.as_uuid().into(), Clock::system().now()).await.unwrap();
    store.close().await;
    adoption.map(|adoption| adoption.state)
}

fn withheld(role: &str) -> Value {
    json!({ "note": "operator_role_withheld", "role": role })
}

async fn notes(world: &World) -> Vec<Value> {
    world.last_run().await["notes"].as_array().unwrap().clone()
}

#[rstest]
#[tokio::test]
async fn premade_row_gets_operator_role_after_adopt_only(
    #[values("proxy_admin", "proxy_admin_viewer")] operator: &str,
    #[values(false, true)] by_sso_user_id: bool,
) {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let key = if by_sso_user_id { "key".to_owned() } else { alice.to_string() };
    let sso_user_id = if by_sso_user_id { format!("'{alice}'") } else { "null".to_owned() };
    user_by_hand(&world, &key, ", user_role, sso_user_id", &format!(", 'internal_user_viewer', {sso_user_id}")).await;
    give_roles(&world, alice, &[operator, "internal_user"]);
    let service = plain(&world, true).await;

    // The binding stored at the first sign-in must not confirm the row at the second.
    for n in 0..2 {
        let mut browser = world.sign_in(&service, alice).await;
        assert_eq!(role(&world, &key).await, "internal_user", "the next valid role, at sign-in {n}");
        assert!(notes(&world).await.contains(&withheld(operator)), "the record notes it at sign-in {n}");
        let me = browser.me(&service).await.json();
        assert_eq!((&me["user"]["user_id"], &me["user"]["user_role"]), (&json!(key), &json!("internal_user")));
        assert_eq!(browser.get(service.at("/settings")).await.status, 404, "no operator's page");
        let page = browser.get(service.at("/")).await.body;
        assert!(page.contains(&format!("the role {operator} is withheld until an operator confirms")), "{page}");
    }
    let before = world.versions().await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.versions().await, before, "a repeated sign-in has nothing to write");

    assert_eq!(adopt(&world, alice).await, Some(AdoptionState::Confirmed));
    assert_eq!(role(&world, &key).await, "internal_user", "the confirmation itself changes no role");
    let mut browser = world.sign_in(&service, alice).await;
    assert_eq!(role(&world, &key).await, operator);
    assert_eq!(browser.get(service.at("/settings")).await.status, 200);
    assert!(!notes(&world).await.contains(&withheld(operator)));
    let page = browser.get(service.at("/")).await.body;
    assert!(!page.contains("is withheld until an operator confirms"), "{page}");
    assert!(matches!(adopt(&world, alice).await, Some(AdoptionState::AlreadyConfirmed(_))));

    give_roles(&world, alice, &[]);
    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, &key).await, "internal_user_viewer", "it is removed with the app role");
}

#[tokio::test]
async fn premade_row_withholds_admin_user_ids_and_later_roles() {
    let world = world().await;
    let (alice, bob) = (person(&world, "Alice Arden", &[]), person(&world, "Bob Birch", &[]));
    for user in [alice, bob] {
        user_by_hand(&world, &user, ", user_role", ", 'internal_user'").await;
    }
    let service = world.service_with(|config| config.policy.admin_user_ids = [alice.to_string()].into()).await;
    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, &alice).await, "internal_user", "access.admin_user_ids names her");
    assert_eq!(notes(&world).await, [withheld("proxy_admin")]);

    world.sign_in(&service, bob).await;
    assert_eq!(notes(&world).await, [] as [Value; 0], "no role is withheld if Entra gives no operator role");
    give_roles(&world, bob, &["proxy_admin"]);
    world.sign_in(&service, bob).await;
    assert_eq!(role(&world, &bob).await, "internal_user", "the row still predates the sign-in");
    assert_eq!(notes(&world).await, [withheld("proxy_admin")]);
}

#[tokio::test]
async fn premade_operator_row_is_kept_but_not_raised() {
    let world = world().await;
    let service = plain(&world, true).await;
    for (there, given, expected, noted) in [
        ("proxy_admin", "proxy_admin", "proxy_admin", false),
        ("proxy_admin", "proxy_admin_viewer", "proxy_admin_viewer", false),
        ("proxy_admin_viewer", "proxy_admin", "proxy_admin_viewer", true),
        ("org_admin", "proxy_admin_viewer", "org_admin", true),
    ] {
        let alice = person(&world, "Alice Arden", &[]);
        user_by_hand(&world, &alice, ", user_role", &format!(", '{there}'")).await;
        give_roles(&world, alice, &[given]);
        world.sign_in(&service, alice).await;
        assert_eq!(role(&world, &alice).await, expected, "{there} in the row, {given} from Entra");
        let is_noted = notes(&world).await.contains(&withheld(given));
        assert_eq!(is_noted, noted, "{there} in the row, {given} from Entra");
    }
}

#[tokio::test]
async fn recreated_row_needs_another_confirmation() {
    let world = world().await;
    let alice = person(&world, "Alice Arden", &[]);
    let service = plain(&world, true).await;
    assert_eq!(adopt(&world, alice).await, None, "there is no row yet");
    give_roles(&world, alice, &["proxy_admin"]);
    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, &alice).await, "proxy_admin", "the service created this row");
    assert_eq!(adopt(&world, alice).await, Some(AdoptionState::NotNeeded));

    let delete = r#"delete from public."LiteLLM_UserTable" where user_id = $1"#;
    for day in ["2026-01-01", "2026-01-02"] {
        by_hand(&world, delete, &[&alice]).await;
        user_by_hand(&world, &alice, ", user_role, created_at", &format!(", 'internal_user', '{day}'")).await;
        world.sign_in(&service, alice).await;
        assert_eq!(role(&world, &alice).await, "internal_user", "another program created the row of {day}");
        assert_eq!(adopt(&world, alice).await, Some(AdoptionState::Confirmed), "of {day}");
        world.sign_in(&service, alice).await;
        assert_eq!(role(&world, &alice).await, "proxy_admin", "the row of {day} is confirmed");
    }
    by_hand(&world, delete, &[&alice]).await;
    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, &alice).await, "proxy_admin", "a row that the service creates needs no confirmation");
}

#[tokio::test]
async fn row_adopted_by_older_version_needs_no_confirmation() {
    let world = world().await;
    let alice = person(&world, "Alice Arden", &[]);
    user_by_hand(&world, &alice, ", user_role, created_at", ", 'internal_user', '2026-01-01'").await;
    let sql = "insert into entraway.litellm_users (object_id, tenant_id, user_id, row_created_at)
               values ($1, $2::uuid, $1, '2026-01-01')";
    let tenant = world.simulator.edit(|directory| directory.tenant_id);
    by_hand(&world, sql, &[&alice, &tenant]).await;
    give_roles(&world, alice, &["proxy_admin"]);
    world.sign_in(&plain(&world, true).await, alice).await;
    assert_eq!(role(&world, &alice).await, "proxy_admin");
    assert_eq!(adopt(&world, alice).await, Some(AdoptionState::NotNeeded));
}

#[tokio::test]
async fn confirmation_applies_only_to_the_confirmed_user() {
    let world = world().await;
    let (alice, bob) = (person(&world, "Alice Arden", &[]), person(&world, "Bob Birch", &[]));
    user_by_hand(&world, &"key", ", user_role, sso_user_id", &format!(", 'internal_user', '{alice}'")).await;
    assert_eq!(adopt(&world, alice).await, Some(AdoptionState::Confirmed));
    for user in [alice, bob] {
        give_roles(&world, user, &["proxy_admin"]);
    }
    by_hand(&world, r#"update public."LiteLLM_UserTable" set sso_user_id = $1 where user_id = 'key'"#, &[&bob]).await;
    let service = plain(&world, true).await;
    world.sign_in(&service, bob).await;
    assert_eq!(role(&world, &"key").await, "internal_user", "the row was confirmed as Alice's, not as Bob's");
}
