//! Role rules beyond one sign-in: other roles that the token offered, the home tenant, when a role in an organization
//! may rise, and recorded changes.

use entra_simulator::{Endpoint, Fault, FaultRule, GroupId, ObjectId, TenantId};
use entraway::config::Tenant;
use entraway::policy::MembershipSync;
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::{assert_refused, assigned, give_roles, ids, person};
use crate::support::{LiteLlm, Native, Service, StoreKind, World, tenants};

async fn role(world: &World, user: ObjectId) -> Value {
    world.rows().await.users[&user.to_string()]["user_role"].clone()
}

async fn role_in(world: &World, user: ObjectId, organization: GroupId) -> Value {
    world.rows().await.organization_members[&format!("{user}/{organization}")]["user_role"].clone()
}

async fn set_by_hand(world: &World, user: ObjectId, role: &str) {
    world.by_hand("update {users} set user_role = $2 where user_id = $1", &[&user, &role]).await;
}

#[rstest]
#[tokio::test]
async fn role_offered_by_token_is_not_treated_as_manual(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = person(&world, "Alice Arden", &[]);
    give_roles(&world, alice, &["internal_user", "proxy_admin"]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, alice).await, "internal_user", "the first one of the token");
    // The proxy's own sign-in uses the highest role.
    set_by_hand(&world, alice, "proxy_admin").await;

    give_roles(&world, alice, &[]);
    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, alice).await, "internal_user", "the default: Entra no longer gives a role");
    assert_eq!(world.last_run().await["notes"], json!([]));

    // A role that the last token did not offer counts as set by hand.
    set_by_hand(&world, alice, "proxy_admin").await;
    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, alice).await, "proxy_admin");
}

#[rstest]
#[tokio::test]
async fn offered_roles_are_stored_when_only_they_change(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = person(&world, "Alice Arden", &[]);
    let service = world.service().await;
    give_roles(&world, alice, &["internal_user"]);
    world.sign_in(&service, alice).await;
    give_roles(&world, alice, &["internal_user", "proxy_admin"]);
    world.sign_in(&service, alice).await;
    let before = world.versions().await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.versions().await, before, "a repeated sign-in has nothing to write");
    set_by_hand(&world, alice, "proxy_admin").await;
    give_roles(&world, alice, &[]);
    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, alice).await, "internal_user");
}

#[tokio::test]
async fn litellm_row_has_internal_user_for_org_admin() {
    let world = World::of(LiteLlm).await;
    let [group] = assigned(&world, ["Research"]);
    let alice = person(&world, "Alice Arden", &[group]);
    give_roles(&world, alice, &["org_admin"]);
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;
    assert_eq!(role(&world, alice).await, "internal_user", "LiteLLM rejects org_admin as a global role");
    assert_eq!(role_in(&world, alice, group).await, "org_admin");

    // The page shows the role from Entra.
    let me = browser.me(&service).await.json();
    assert_eq!(me["user"]["user_role"], "org_admin", "{me:#}");
    let answer = browser.get(service.at("/auth/verify?role=org_admin")).await;
    assert_eq!(answer.status, 200, "{answer:#?}");
    assert_eq!(browser.get(service.at("/auth/verify?role=internal_user")).await.status, 403);
    let page = browser.get(service.at("/")).await.body;
    assert!(page.contains("org_admin: an app role from Entra"), "{page}");
    let shown = browser.get(service.at(&format!("/api/people/{alice}"))).await.json();
    assert_eq!(shown["user_role"], "org_admin", "{shown:#}");

    // A different role in the row counts as set by hand.
    set_by_hand(&world, alice, "internal_user_viewer").await;
    give_roles(&world, alice, &[]);
    let mut browser = world.sign_in(&service, alice).await;
    assert_eq!(browser.me(&service).await.json()["user"]["user_role"], "internal_user_viewer");
    assert_eq!(role_in(&world, alice, group).await, "internal_user", "the default");
}

#[tokio::test]
async fn litellm_row_of_older_version_is_corrected() {
    let world = World::of(LiteLlm).await;
    let alice = person(&world, "Alice Arden", &[]);
    give_roles(&world, alice, &["org_admin"]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    // Written by an older version, which stored no offered roles.
    set_by_hand(&world, alice, "org_admin").await;
    world.sql("update entraway.litellm_users set sso_user_roles = '{}'").await;
    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, alice).await, "internal_user", "corrected while Entra gives it");
    assert_eq!(world.last_run().await["role_changes"], json!([]), "the user is org_admin as before");

    set_by_hand(&world, alice, "org_admin").await;
    world.sql("update entraway.litellm_users set sso_user_roles = '{}'").await;
    give_roles(&world, alice, &[]);
    world.sign_in(&service, alice).await;
    assert_eq!(role(&world, alice).await, "internal_user", "the default, when Entra no longer gives it");
}

/// A service of two tenants, of which the first is the home tenant, and a user of the other one.
async fn of_two_tenants(world: &World, admins: &[ObjectId]) -> (Service, ObjectId) {
    let partner = TenantId::from(Uuid::new_v4());
    let pat = world.simulator.edit(|directory| directory.person("Pat Partner", |pat| pat.tenant_id = Some(partner)));
    let home = world.simulator.edit(|directory| directory.tenant_id);
    let admins = admins.iter().chain([&pat]).map(ToString::to_string).collect();
    let service = world
        .service_with(|config| {
            config.entra.tenant = Tenant::Organizations;
            config.entra.allowed_tenants = tenants([home, partner]);
            config.policy.home_tenant = Some(home.as_uuid().into());
            config.policy.admin_user_ids = admins;
        })
        .await;
    (service, pat)
}

#[rstest]
#[tokio::test]
async fn foreign_operator_role_does_not_count(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, bob) = (person(&world, "Alice Arden", &[]), person(&world, "Bob Birch", &[]));
    let (service, pat) = of_two_tenants(&world, &[bob]).await;
    for (roles, expected) in [
        (&["proxy_admin"][..], "internal_user"),
        (&["proxy_admin", "proxy_admin_viewer", "internal_user_viewer"], "internal_user_viewer"),
        (&["proxy_admin_viewer"], "internal_user"),
        (&[], "internal_user"),
    ] {
        give_roles(&world, pat, roles);
        let mut browser = world.sign_in(&service, pat).await;
        assert_eq!(role(&world, pat).await, expected, "of another tenant, listed as administrator, with {roles:?}");
        assert_eq!(browser.get(service.at("/settings")).await.status, 404, "with {roles:?}");
    }
    // The proxy's own sign-in has no home tenant.
    give_roles(&world, pat, &["proxy_admin"]);
    world.sign_in(&service, pat).await;
    set_by_hand(&world, pat, "proxy_admin").await;
    world.sign_in(&service, pat).await;
    assert_eq!(role(&world, pat).await, "internal_user", "a role that the token offered does not count as set by hand");

    give_roles(&world, alice, &["proxy_admin"]);
    for user in [alice, bob] {
        world.sign_in(&service, user).await;
        assert_eq!(role(&world, user).await, "proxy_admin", "of the home tenant");
    }
}

#[rstest]
#[tokio::test]
async fn org_admin_does_not_reach_organizations_user_has_left(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [stays, left, unassigned] = assigned(&world, ["Stays", "Left", "Unassigned"]);
    let alice = person(&world, "Alice Arden", &[stays, left, unassigned]);
    let service = world.service_with(|config| config.policy.memberships = MembershipSync::Additive).await;
    world.sign_in(&service, alice).await;
    world.simulator.edit(|directory| {
        directory.take_out(alice, left);
        directory.unassign(unassigned);
    });

    give_roles(&world, alice, &["org_admin"]);
    world.sign_in(&service, alice).await;

    assert_eq!(role_in(&world, alice, stays).await, "org_admin");
    assert_eq!(role_in(&world, alice, left).await, "internal_user", "she has left the group");
    assert_eq!(role_in(&world, alice, unassigned).await, "internal_user", "the group is not assigned");
    assert_eq!(world.rows().await.organizations_of(alice), ids(&[stays, left, unassigned]));

    give_roles(&world, alice, &["internal_user_viewer"]);
    world.sign_in(&service, alice).await;
    for group in [stays, left, unassigned] {
        assert_eq!(role_in(&world, alice, group).await, "internal_user_viewer", "it is lowered everywhere");
    }
}

#[rstest]
#[tokio::test]
async fn unknown_list_lowers_organization_role_but_raises_none(
    #[values(Native, LiteLlm)] store: StoreKind,
    #[values(Endpoint::AssignedTo, Endpoint::MemberOf)] endpoint: Endpoint,
) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;

    world.simulator.fault(FaultRule::on(endpoint, Fault::status(403)));
    give_roles(&world, alice, &["org_admin"]);
    world.sign_in(&service, alice).await;
    assert_eq!(role_in(&world, alice, group).await, "internal_user", "not raised while a list is unknown");
    give_roles(&world, alice, &["internal_user_viewer"]);
    world.sign_in(&service, alice).await;
    assert_eq!(role_in(&world, alice, group).await, "internal_user_viewer", "still lowered");
}

#[rstest]
#[tokio::test]
async fn manual_global_role_leaves_organization_roles(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group, later] = assigned(&world, ["Research", "Later"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    for by_hand in ["internal_user_viewer", "org_admin", "proxy_admin_viewer"] {
        set_by_hand(&world, alice, by_hand).await;
        world.sign_in(&service, alice).await;
        assert_eq!(role(&world, alice).await, by_hand);
        assert_eq!(role_in(&world, alice, group).await, "internal_user", "with {by_hand} set by hand");
    }
    world.simulator.edit(|directory| directory.put(alice, later));
    world.sign_in(&service, alice).await;
    assert_eq!(role_in(&world, alice, later).await, "internal_user", "a new membership does not give it either");
}

#[rstest]
#[tokio::test]
async fn role_changes_are_recorded_with_before_and_after(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    let change =
        |scope: &str, before: Option<&str>, after: &str| json!({ "scope": scope, "before": before, "after": after });
    let group = group.to_string();
    assert_eq!(world.last_run().await["role_changes"], json!([change("global", None, "internal_user")]));

    give_roles(&world, alice, &["org_admin"]);
    let mut browser = world.sign_in(&service, alice).await;
    let run = world.last_run().await;
    let expected = json!([
        change("global", Some("internal_user"), "org_admin"),
        change(&group, Some("internal_user"), "org_admin")
    ]);
    assert_eq!((&run["role_changes"], &run["touched"]), (&expected, &json!([group])), "{run:#}");
    let page = browser.get(service.at("/syncs")).await.body;
    for said in ["role: internal_user → org_admin", "role in Research: internal_user → org_admin"] {
        assert!(page.contains(said), "the page does not contain {said:?}: {page}");
    }
    let told = browser.get(service.at("/api/syncs")).await.json();
    assert_eq!(told["syncs"][0]["role_changes"], expected, "{told:#}");

    world.sign_in(&service, alice).await;
    assert_eq!(world.last_run().await["role_changes"], json!([]), "nothing changed");
}

#[rstest]
#[tokio::test]
async fn app_role_with_whitespace_is_ignored(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = person(&world, "Alice Arden", &[]);
    give_roles(&world, alice, &[" proxy_admin", "proxy_admin ", "\u{a0}org_admin", "INTERNAL_USER_VIEWER"]);
    world.sign_in(&world.service().await, alice).await;
    assert_eq!(role(&world, alice).await, "internal_user_viewer");
}

#[rstest]
#[tokio::test]
async fn guest_is_admitted_by_own_domain_only(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let domains = ["contoso.onmicrosoft.com".to_owned(), "fabrikam.com".to_owned()];
    let service = world.service_with(|config| config.policy.allowed_email_domains = domains.into()).await;
    let guest = |name: &str, upn: &str| {
        world.simulator.edit(|directory| directory.person(name, |guest| upn.clone_into(&mut guest.upn)))
    };
    for upn in [
        "x_evil.example#EXT#@contoso.onmicrosoft.com",
        "contoso.onmicrosoft.com#EXT#@contoso.onmicrosoft.com",
        "x_contoso.onmicrosoft.com_evil.example#EXT#@contoso.onmicrosoft.com",
    ] {
        let answer = world.try_sign_in(&service, guest("Eve Evil", upn)).await;
        assert_refused(&answer, 403, "email_domain_not_allowed");
    }
    for upn in ["gus_fabrikam.com#EXT#@contoso.onmicrosoft.com", "alice@contoso.onmicrosoft.com"] {
        world.sign_in(&service, guest("Gus Guest", upn)).await;
    }
}
