//! Users who are denied, and the instructions they get.

use entra_simulator::{Endpoint, EntraError, Fault, FaultRule, TenantId};
use entraway::config::Tenant;
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use super::{comes_back, comes_back_from, shown};
use crate::callback::parameter;
use crate::support::{LiteLlm, Native, RowCounts, StoreKind, World};

#[rstest]
#[tokio::test]
async fn canceled_signin_is_distinguished_from_missing_consent(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let before = world.traces().await;
    let page = shown(&world, (403, "consent_declined"), async || {
        comes_back_from(&service, |entra| world.simulator.refuse_url(entra)).await
    })
    .await;
    assert!(page.body.contains("<h1>You canceled the sign-in</h1>"), "{}", page.body);
    assert!(!page.body.contains("administrator"), "no action of an administrator: {}", page.body);
    world.simulator.edit(|directory| directory.change_person(alice, |person| person.consents = false));
    shown(&world, (403, "consent_declined"), async || comes_back(&world, &service, alice).await).await;
    // Entra sends no number for personal accounts and federated identity providers.
    for query in ["error=access_denied&error_subcode=cancel", "error=access_denied", "error=x&error_subcode=cancel"] {
        let page = shown(&world, (403, "canceled"), async || {
            let (browser, callback) = comes_back_from(&service, |entra| world.simulator.refuse_url(entra)).await;
            let state = parameter(&callback, "state");
            (browser, service.at(&format!("/sso/callback?state={state}&{query}")))
        })
        .await;
        assert!(page.body.contains("<h1>You canceled the sign-in</h1>"), "{}", page.body);
    }
    let cancel = |error| EntraError { suberror: Some("cancel".to_owned()), ..error };
    for error in [
        EntraError::new("consent_required", 65001, "The user or administrator has not consented."),
        EntraError::new("access_denied", 90094, "Admin consent is required."),
        EntraError::new("invalid_request", 90094, "Admin consent is required."),
        cancel(EntraError::new("access_denied", 90095, "Admin consent is required.")),
    ] {
        world.simulator.clear_faults();
        world.simulator.fault(FaultRule::on(Endpoint::Authorize, Fault::Entra(error)));
        let page = shown(&world, (403, "consent_required"), async || comes_back(&world, &service, alice).await).await;
        assert!(page.body.contains("administrator to grant consent"), "{}", page.body);
    }
    assert_eq!(world.traces().await, before, "nothing is written");
}

#[rstest]
#[tokio::test]
async fn signin_of_unassigned_user_is_denied(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let bob = world.simulator.edit(|directory| {
        directory.assignment_required = true;
        directory.person("Bob Baker", |_| {})
    });
    let service = world.service().await;
    let before = world.traces().await;
    let page = shown(&world, (403, "not_assigned"), async || comes_back(&world, &service, bob).await).await;
    assert!(page.body.contains("Ask your administrator to assign you"), "{}", page.body);
    assert_eq!(world.traces().await, before, "nothing is written");
    world.sign_in(&service, alice).await;
}

#[rstest]
#[tokio::test]
async fn signin_from_other_tenant_offers_another_account(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let home = world.simulator.edit(|directory| directory.tenant_id);
    let tenant = TenantId::from(Uuid::new_v4());
    let eve = world.simulator.edit(|directory| directory.person("Eve Evers", |person| person.tenant_id = Some(tenant)));
    let service = world
        .service_with(|config| {
            config.entra.tenant = Tenant::Organizations;
            config.entra.allowed_tenants.insert(home.as_uuid().into());
        })
        .await;
    let before = world.traces().await;
    let page = shown(&world, (403, "tenant_not_allowed"), async || comes_back(&world, &service, eve).await).await;
    assert!(page.body.contains("prompt=select_account"), "a link to another account: {}", page.body);
    assert_eq!(world.traces().await, before, "nothing is written");
}

#[rstest]
#[tokio::test]
async fn signin_with_other_email_domain_is_denied(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let (eve, nameless, similar) = world.simulator.edit(|directory| {
        let eve = directory.person("Eve Evers", |person| person.upn = "eve@evil.example".into());
        let nameless = directory.person("Nemo", |person| (person.upn, person.email) = ("nemo".into(), None));
        let similar = directory.person("Sim", |person| person.upn = "sim@x.contoso-sim.example".into());
        (eve, nameless, similar)
    });
    let service = world
        .service_with(|config| config.policy.allowed_email_domains = ["contoso-sim.example".to_owned()].into())
        .await;
    let before = world.traces().await;
    for person in [eve, nameless, similar] {
        shown(&world, (403, "email_domain_not_allowed"), async || comes_back(&world, &service, person).await).await;
    }
    let recorded = (0..6).fold(before, |before, _| before.and_refused("email_domain"));
    assert_eq!(world.traces().await, recorded, "only the denials are recorded, two for each user");
    world.sign_in(&service, alice).await;
}

#[rstest]
#[tokio::test]
async fn signin_without_group_is_denied_with_a_remedy(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    world.alice();
    let bob = world.simulator.edit(|directory| directory.person("Bob Baker", |_| {}));
    let service = world.service_with(|config| config.policy.require_group = true).await;
    let before = world.traces().await;
    let page = shown(&world, (403, "no_group"), async || comes_back(&world, &service, bob).await).await;
    assert!(page.body.contains("Ask your administrator to add you to a group"), "{}", page.body);
    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::Html));
    shown(&world, (503, "groups_unknown"), async || comes_back(&world, &service, bob).await).await;
    let outcomes = ["no_group", "no_group", "groups_unknown", "groups_unknown"];
    let recorded = outcomes.into_iter().fold(before, RowCounts::and_refused);
    let mut after = world.traces().await;
    assert_eq!(after.take_groups(bob), Some(json!({})), "the last known list has no groups");
    assert_eq!(after, recorded, "only the denials are recorded");
}

#[rstest]
#[tokio::test]
async fn signin_is_denied_when_object_id_is_of_other_tenant(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.sql("update {identities} set tenant_id = gen_random_uuid()").await;
    let before = world.traces().await;
    shown(&world, (403, "other_tenant"), async || comes_back(&world, &service, alice).await).await;
    let mut recorded = before.and_refused("other_tenant").and_refused("other_tenant");
    // The denial revokes the user's session.
    recorded.sessions = 0;
    assert_eq!(world.traces().await, recorded, "only the denials are recorded");
}

#[tokio::test]
async fn other_entra_errors_are_shown_as_entra_refused() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    for error in [
        EntraError::new("access_denied", 53003, "Access has been blocked by Conditional Access policies."),
        EntraError::new("invalid_request", 900_144, "The request body must contain the following parameter."),
        EntraError::new("access_denied", 999_999, "Something that is not known yet."),
        EntraError::new("unheard_of", 1, "User alice.arden@contoso-sim.example is unheard of."),
    ] {
        world.simulator.clear_faults();
        world.simulator.fault(FaultRule::on(Endpoint::Authorize, Fault::Entra(error)));
        let page = shown(&world, (403, "entra_refused"), async || comes_back(&world, &service, alice).await).await;
        assert!(page.body.contains("ontact your administrator with the request ID"), "{}", page.body);
    }
}
