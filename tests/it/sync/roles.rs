//! A user's role: from Entra's app roles, the list of administrators, set by hand, or the default.

use std::collections::BTreeSet;

use entra_simulator::ObjectId;
use entraway::policy::RolePrecedence;
use rstest::rstest;
use serde_json::{Value, json};

use super::support::{assigned, give_roles, person};
use crate::support::{LiteLlm, Native, Service, StoreKind, World};

/// The user's role, and the role from Entra.
async fn role(world: &World, person: ObjectId) -> (Value, Value) {
    let user = world.rows().await.users[&person.to_string()].clone();
    (user["user_role"].clone(), user["sso_user_role"].clone())
}

fn given(role: &str) -> (Value, Value) {
    (json!(role), json!(role))
}

/// The same in this store: LiteLLM rejects `org_admin` as a global role, so its row has `internal_user`.
fn given_in(store: StoreKind, role: &str) -> (Value, Value) {
    let row = if store == LiteLlm && role == "org_admin" { "internal_user" } else { role };
    (json!(row), json!(role))
}

fn by_default(role: &str) -> (Value, Value) {
    (json!(role), Value::Null)
}

async fn with_administrators(world: &World, ids: &[ObjectId]) -> Service {
    let ids: BTreeSet<String> = ids.iter().map(ToString::to_string).collect();
    world.service_with(|config| config.policy.admin_user_ids = ids).await
}

#[rstest]
#[tokio::test]
async fn app_role_precedence_is_first_or_highest_as_configured(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let first = world.service().await;
    let highest = world.service_with(|config| config.policy.role_precedence = RolePrecedence::Highest).await;
    for (roles, expect_first, expect_highest) in [
        (&["internal_user", "proxy_admin"][..], "internal_user", "proxy_admin"),
        (&["proxy_admin", "internal_user"], "proxy_admin", "proxy_admin"),
        (&["internal_user_viewer", "org_admin", "internal_user"], "internal_user_viewer", "org_admin"),
        (&["org_admin", "proxy_admin_viewer"], "org_admin", "proxy_admin_viewer"),
        (&["Customer", "Org_Admin", "PROXY_ADMIN_VIEWER"], "org_admin", "proxy_admin_viewer"),
        (&["proxy admin", "proxy_admin2", "INTERNAL_USER_VIEWER"], "internal_user_viewer", "internal_user_viewer"),
        (&["pRoXy_AdMiN"], "proxy_admin", "proxy_admin"),
    ] {
        for (service, expected) in [(&first, expect_first), (&highest, expect_highest)] {
            let alice = person(&world, "Alice Arden", &[]);
            give_roles(&world, alice, roles);
            world.sign_in(service, alice).await;
            assert_eq!(role(&world, alice).await, given_in(store, expected), "of the app roles {roles:?}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn unknown_app_roles_fall_back_to_default(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = person(&world, "Alice Arden", &[]);
    give_roles(&world, alice, &["Customer", "admin", "team"]);
    world.sign_in(&world.service().await, alice).await;
    assert_eq!(role(&world, alice).await, by_default("internal_user"));

    let bob = person(&world, "Bob Birch", &[]);
    give_roles(&world, bob, &["Customer"]);
    world.sign_in(&world.service_of(world.config_of("  {}\n")).await, bob).await;
    assert_eq!(role(&world, bob).await, by_default("internal_user_viewer"), "without a configured default");
}

#[rstest]
#[tokio::test]
async fn role_follows_entra_at_every_signin(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = person(&world, "Alice Arden", &[]);
    let service = world.service().await;
    for (roles, expected) in [
        (&["proxy_admin"][..], given("proxy_admin")),
        (&["org_admin"], given_in(store, "org_admin")),
        (&["internal_user"], given("internal_user")),
        (&[], by_default("internal_user")),
        (&["proxy_admin"], given("proxy_admin")),
        (&["Customer"], by_default("internal_user")),
    ] {
        give_roles(&world, alice, roles);
        let mut browser = world.sign_in(&service, alice).await;
        assert_eq!(role(&world, alice).await, expected, "with the app roles {roles:?}");
        let told = if expected.1.is_null() { &expected.0 } else { &expected.1 };
        assert_eq!(&browser.me(&service).await.json()["user"]["user_role"], told, "the role that the user sees");
    }
}

#[rstest]
#[tokio::test]
async fn role_from_group_is_removed_with_the_group(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Administrators"]);
    world.simulator.edit(|directory| directory.assign_role(group, "proxy_admin"));
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, alice).await, given("proxy_admin"));

    world.simulator.edit(|directory| directory.take_out(alice, group));
    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, alice).await, by_default("internal_user"));
}

#[rstest]
#[tokio::test]
async fn manual_role_survives_signins(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = person(&world, "Alice Arden", &[]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.by_hand("update {users} set user_role = 'proxy_admin_viewer' where user_id = $1", &[&alice]).await;
    for _ in 0..2 {
        world.sign_in(&service, alice).await;
        assert_eq!(role(&world, alice).await, by_default("proxy_admin_viewer"));
    }
}

#[rstest]
#[tokio::test]
async fn manual_role_survives_removed_app_role(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = person(&world, "Alice Arden", &[]);
    give_roles(&world, alice, &["internal_user_viewer"]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.by_hand("update {users} set user_role = 'proxy_admin' where user_id = $1", &[&alice]).await;

    give_roles(&world, alice, &[]);
    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, alice).await, by_default("proxy_admin"));
    assert_eq!(
        world.last_run().await["notes"],
        json!([{ "note": "role_set_by_hand_stays" }]),
        "the record notes it for the operator"
    );

    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, alice).await, by_default("proxy_admin"), "and it stays");
}

#[rstest]
#[tokio::test]
async fn app_role_overrides_manual_role(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = person(&world, "Alice Arden", &[]);
    give_roles(&world, alice, &["internal_user_viewer"]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.by_hand("update {users} set user_role = 'proxy_admin' where user_id = $1", &[&alice]).await;

    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, alice).await, given("internal_user_viewer"));
}

#[rstest]
#[tokio::test]
async fn empty_role_gets_the_default(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = person(&world, "Alice Arden", &[]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.by_hand("update {users} set user_role = null where user_id = $1", &[&alice]).await;
    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, alice).await, by_default("internal_user"));
}

#[rstest]
#[tokio::test]
async fn changed_default_role_applies_to_new_users_only(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, bob) = (person(&world, "Alice Arden", &[]), person(&world, "Bob Birch", &[]));
    world.sign_in(&world.service().await, alice).await;
    let other = world.config_of("  default_internal_user_params: {user_role: internal_user_viewer}\n");
    let service = world.service_of(other).await;
    world.sign_in(&service, alice).await;
    world.sign_in(&service, bob).await;
    assert_eq!(role(&world, alice).await, by_default("internal_user"));
    assert_eq!(role(&world, bob).await, by_default("internal_user_viewer"));
}

#[rstest]
#[tokio::test]
async fn listed_admin_is_admin_until_removed_from_the_list(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, bob) = (person(&world, "Alice Arden", &[]), person(&world, "Bob Birch", &[]));
    give_roles(&world, bob, &["internal_user_viewer"]);
    let listed = with_administrators(&world, &[alice, bob]).await;
    for who in [alice, bob] {
        world.sign_in(&listed, who).await;
        assert_eq!(role(&world, who).await, given("proxy_admin"));
    }

    let not_listed = with_administrators(&world, &[]).await;
    world.sign_in(&not_listed, alice).await;
    world.sign_in(&not_listed, bob).await;
    assert_eq!(role(&world, alice).await, by_default("internal_user"));
    assert_eq!(role(&world, bob).await, given("internal_user_viewer"), "his app role applies again");
}

#[rstest]
#[tokio::test]
async fn listed_admin_regains_manually_removed_role(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = person(&world, "Alice Arden", &[]);
    let service = with_administrators(&world, &[alice]).await;
    world.sign_in(&service, alice).await;
    world.by_hand("update {users} set user_role = 'internal_user_viewer' where user_id = $1", &[&alice]).await;
    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, alice).await, given("proxy_admin"));
}
