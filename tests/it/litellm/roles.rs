//! Roles in the proxy's rows: roles from Entra follow Entra, roles set by hand stay.

use serde_json::{Value, json};

use super::support::{assigned, by_hand, give_roles, person, plain, user, user_by_hand, world};
use crate::support::World;

async fn role(world: &World, person: &dyn ToString) -> Value {
    user(world, person).await["user_role"].clone()
}

async fn organization_role(world: &World, person: &dyn ToString) -> Value {
    let sql = r#"select jsonb_agg(user_role) from public."LiteLLM_OrganizationMembership" where user_id = $1"#;
    super::support::json(world, sql, &[person]).await
}

#[tokio::test]
async fn role_is_removed_when_entra_no_longer_gives_it() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = plain(&world, true).await;
    for (given, expected, in_organization) in [
        (&["proxy_admin"][..], "proxy_admin", "internal_user"),
        (&["proxy_admin_viewer"], "proxy_admin_viewer", "internal_user_viewer"),
        (&["org_admin"], "internal_user", "org_admin"),
        (&["unknown", "internal_user"], "internal_user", "internal_user"),
        (&["unknown"], "internal_user_viewer", "internal_user_viewer"),
    ] {
        give_roles(&world, alice, given);
        world.sign_in(&service, alice).await;
        assert_eq!(role(&world, &alice).await, expected, "with {given:?}");
        assert_eq!(organization_role(&world, &alice).await, json!([in_organization]), "with {given:?}");
    }
}

#[tokio::test]
async fn manual_roles_stay_until_entra_gives_one() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    give_roles(&world, alice, &["internal_user"]);
    let service = plain(&world, true).await;
    world.sign_in(&service, alice).await;
    by_hand(&world, r#"update public."LiteLLM_UserTable" set user_role = 'proxy_admin' where user_id = $1"#, &[&alice])
        .await;
    let sql = r#"update public."LiteLLM_OrganizationMembership" set user_role = 'org_admin' where user_id = $1"#;
    by_hand(&world, sql, &[&alice]).await;
    give_roles(&world, alice, &[]);
    for _ in 0..2 {
        world.sign_in(&service, alice).await;
        assert_eq!(
            role(&world, &alice).await,
            "proxy_admin",
            "the role from Entra is gone already; this one was set by hand"
        );
        assert_eq!(organization_role(&world, &alice).await, json!(["org_admin"]));
    }
    give_roles(&world, alice, &["internal_user_viewer"]);
    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, &alice).await, "internal_user_viewer", "Entra's current role applies");
    assert_eq!(
        organization_role(&world, &alice).await,
        json!(["org_admin"]),
        "but does not replace the one set by hand"
    );
}

#[tokio::test]
async fn proxy_row_keeps_its_role_until_entra_gives_one() {
    let world = world().await;
    let service = plain(&world, true).await;
    for (there, expected) in [
        ("'proxy_admin'", "proxy_admin"),
        ("'internal_user'", "internal_user"),
        ("'customer'", "customer"),
        ("''", ""),
        ("null", "internal_user_viewer"),
    ] {
        let alice = person(&world, "Alice Arden", &[]);
        user_by_hand(&world, &alice, ", user_role, user_alias", &format!(", {there}, 'Alice'")).await;
        for _ in 0..2 {
            world.sign_in(&service, alice).await;
            assert_eq!(role(&world, &alice).await, expected, "after {there}");
        }
        give_roles(&world, alice, &["internal_user_viewer"]);
        world.sign_in(&service, alice).await;
        assert_eq!(role(&world, &alice).await, "internal_user_viewer", "Entra's role applies, after {there}");
        give_roles(&world, alice, &[]);
        world.sign_in(&service, alice).await;
        assert_eq!(role(&world, &alice).await, "internal_user_viewer", "without it the default applies, after {there}");
    }
}

#[tokio::test]
async fn org_membership_created_by_proxy_keeps_its_role() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let bob = person(&world, "Bob Birch", &[group]);
    let service = plain(&world, true).await;
    world.sign_in(&service, bob).await;
    user_by_hand(&world, &alice, "", "").await;
    for role in ["org_admin", "internal_user"] {
        let sql = r#"insert into public."LiteLLM_OrganizationMembership"
            (user_id, organization_id, user_role, updated_at) values ($1, $2, $3, '2026-01-01')
            on conflict (user_id, organization_id) do update set user_role = excluded.user_role"#;
        by_hand(&world, sql, &[&alice, &group, &role]).await;
        for given in [&["proxy_admin"][..], &[]] {
            give_roles(&world, alice, given);
            world.sign_in(&service, alice).await;
            assert_eq!(organization_role(&world, &alice).await, json!([role]), "with {given:?}");
        }
    }
}

#[tokio::test]
async fn manually_recreated_org_membership_keeps_its_role() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    give_roles(&world, alice, &["org_admin"]);
    let service = plain(&world, true).await;
    world.sign_in(&service, alice).await;
    assert_eq!(organization_role(&world, &alice).await, json!(["org_admin"]), "the scene");
    by_hand(&world, r#"delete from public."LiteLLM_OrganizationMembership" where user_id = $1"#, &[&alice]).await;
    let sql = r#"insert into public."LiteLLM_OrganizationMembership"
        (user_id, organization_id, user_role, created_at, updated_at)
        values ($1, $2, 'org_admin', localtimestamp + interval '1 s', '2026-01-01')"#;
    by_hand(&world, sql, &[&alice, &group]).await;
    for given in [&["internal_user"][..], &[]] {
        give_roles(&world, alice, given);
        world.sign_in(&service, alice).await;
        assert_eq!(
            organization_role(&world, &alice).await,
            json!(["org_admin"]),
            "it is not the row that the sync created: src/db/litellm.rs, read, row_created_at; with {given:?}"
        );
    }
}

#[tokio::test]
async fn manually_recreated_user_row_keeps_its_role() {
    let world = world().await;
    let alice = person(&world, "Alice Arden", &[]);
    give_roles(&world, alice, &["proxy_admin"]);
    let service = plain(&world, true).await;
    world.sign_in(&service, alice).await;
    by_hand(&world, r#"delete from public."LiteLLM_UserTable" where user_id = $1"#, &[&alice]).await;
    let columns = ", user_role, created_at";
    user_by_hand(&world, &alice, columns, ", 'proxy_admin', localtimestamp + interval '1 s'").await;
    give_roles(&world, alice, &[]);
    for _ in 0..2 {
        world.sign_in(&service, alice).await;
        let why = "an administrator's word, not Entra's: src/db/litellm.rs, read, row_created_at";
        assert_eq!(role(&world, &alice).await, "proxy_admin", "{why}");
    }
}
