//! A sign-in that is denied for a known reason ends the user's other sessions; any other denial ends none.

use entra_simulator::{Endpoint, EntraError, Fault, FaultRule, ObjectId, Signing, TenantId};
use entraway::config::Tenant;
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use crate::support::scene::until;
use crate::support::{Browser, LiteLlm, Native, Service, StoreKind, World, tenants};

async fn verify(browser: &mut Browser, service: &Service) -> u16 {
    browser.get(service.at("/auth/verify")).await.status.as_u16()
}

/// Waits until a replica caches sessions, and has it cache this one.
async fn remember(service: &Service, browser: &mut Browser) {
    until("sessions are remembered", async || service.app.sessions().is_caching()).await;
    assert_eq!(verify(browser, service).await, 200);
}

/// Checks that a session has ended on all replicas.
async fn ends(services: &[&Service], browser: &mut Browser, how: &str) {
    for service in services {
        until(how, async || verify(browser, service).await == 401).await;
    }
}

async fn refused(world: &World, service: &Service, user: ObjectId, code: &str) {
    let answer = world.try_sign_in(service, user).await;
    assert_eq!(answer.code(), code, "{answer:#?}");
}

#[rstest]
#[tokio::test]
async fn denial_for_missing_group_ends_sessions_everywhere(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, group) = world.alice();
    let bob = world.simulator.edit(|directory| {
        let bob = directory.person("Bob Baker", |_| {});
        directory.put(bob, group);
        bob
    });
    let members_only = async || world.service_with(|config| config.policy.require_group = true).await;
    let (here, elsewhere) = (members_only().await, members_only().await);
    let mut browsers = [world.sign_in(&here, alice).await, world.sign_in(&elsewhere, alice).await];
    let mut of_bob = world.sign_in(&here, bob).await;
    for service in [&here, &elsewhere] {
        for browser in browsers.iter_mut().chain([&mut of_bob]) {
            remember(service, browser).await;
        }
    }
    world.simulator.edit(|directory| directory.take_out(alice, group));
    refused(&world, &here, alice, "no_group").await;
    assert_eq!(verify(&mut browsers[0], &here).await, 401, "at once where the sign-in was refused");
    for browser in &mut browsers {
        ends(&[&here, &elsewhere], browser, "her sessions are over").await;
    }
    for service in [&here, &elsewhere] {
        assert_eq!(verify(&mut of_bob, service).await, 200, "another user's session goes on");
    }
    assert_eq!(world.last_run().await["outcome"], "no_group");
    let metric = "entraway_sessions_ended_total{why=\"sign_in_refused\"} 2";
    assert!(here.app.metrics().text().unwrap().contains(metric), "{}", here.app.metrics().text().unwrap());

    world.simulator.edit(|directory| directory.put(alice, group));
    let mut back = world.sign_in(&here, alice).await;
    assert_eq!(verify(&mut back, &elsewhere).await, 200, "who is let in again has a session again");
}

#[rstest]
#[tokio::test]
async fn denial_for_email_domain_ends_sessions(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let before = world.service().await;
    let mut browser = world.sign_in(&before, alice).await;
    remember(&before, &mut browser).await;
    let narrower =
        world.service_with(|config| config.policy.allowed_email_domains = ["fabrikam.example".to_owned()].into()).await;
    refused(&world, &narrower, alice, "email_domain_not_allowed").await;
    ends(&[&narrower, &before], &mut browser, "the session is over").await;
}

/// A tenant that is no longer allowed.
struct Partner {
    world: World,
    before: Service,
    now: Service,
    pat: ObjectId,
    tenant: TenantId,
    browser: Browser,
}

impl Partner {
    async fn new() -> Self {
        let world = World::new().await;
        let tenant = TenantId::from(Uuid::new_v4());
        let pat = world.simulator.edit(|directory| directory.person("Pat Partner", |pat| pat.tenant_id = Some(tenant)));
        let home = world.simulator.edit(|directory| directory.tenant_id);
        let of = async |allowed: &[TenantId]| {
            let allowed = tenants(allowed.iter().copied());
            world
                .service_with(|config| {
                    config.entra.tenant = Tenant::Organizations;
                    config.entra.allowed_tenants = allowed;
                })
                .await
        };
        let (before, now) = (of(&[home, tenant]).await, of(&[home]).await);
        let mut browser = world.sign_in(&before, pat).await;
        remember(&before, &mut browser).await;
        Self { world, before, now, pat, tenant, browser }
    }
}

#[tokio::test]
async fn denial_of_tenant_ends_sessions_of_that_identity() {
    let Partner { world, before, now, pat, mut browser, .. } = Partner::new().await;
    let records = world.sessions_and_runs().await.1;
    refused(&world, &now, pat, "tenant_not_allowed").await;
    ends(&[&now, &before], &mut browser, "the session is over").await;
    assert_eq!(world.sessions_and_runs().await, (0, records), "strangers leave no records");
}

#[tokio::test]
async fn unverified_token_of_a_tenant_ends_no_session() {
    let Partner { world, now, pat, tenant, mut browser, .. } = Partner::new().await;
    let (alice, _) = world.alice();
    let issuer = format!("{}{tenant}/v2.0", world.simulator.authority_url());
    for signing in [Signing::UnknownKey, Signing::WrongKey, Signing::None] {
        let (issuer, tenant) = (issuer.clone(), tenant.to_string());
        world.simulator.next_id_token(move |token| {
            token.signing = signing.clone();
            for (claim, value) in [("oid", pat.to_string()), ("tid", tenant.clone()), ("iss", issuer.clone())] {
                token.claims.insert(claim.to_owned(), json!(value));
            }
        });
        refused(&world, &now, alice, "tenant_not_allowed").await;
        assert_eq!(verify(&mut browser, &now).await, 200, "anybody can write such a token");
        world.simulator.clear_faults();
    }
}

#[rstest]
#[tokio::test]
async fn denial_spares_same_object_id_of_another_tenant(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let partner = TenantId::from(Uuid::new_v4());
    let pat = world.simulator.edit(|directory| directory.person("Pat Partner", |pat| pat.tenant_id = Some(partner)));
    let home = world.simulator.edit(|directory| directory.tenant_id);
    let open = |domains: &[&str]| {
        let domains = domains.iter().copied().map(str::to_owned).collect();
        world.service_with(move |config| {
            config.entra.tenant = Tenant::Organizations;
            config.entra.allowed_tenants = tenants([home, partner]);
            config.policy.allowed_email_domains = domains;
        })
    };
    let (service, narrower) = (open(&[]).await, open(&["fabrikam.example"]).await);
    let mut browser = world.sign_in(&service, alice).await;
    remember(&service, &mut browser).await;
    // The administrator of a tenant can choose any object ID for a user there.
    world.simulator.next_id_token(move |token| _ = token.claims.insert("oid".into(), json!(alice)));
    refused(&world, &service, pat, "other_tenant").await;
    refused(&world, &narrower, pat, "email_domain_not_allowed").await;
    for service in [&service, &narrower] {
        assert_eq!(verify(&mut browser, service).await, 200, "Alice's session is another identity's");
    }
}

#[rstest]
#[tokio::test]
async fn failure_without_proven_denial_ends_no_session(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let service = world.service_with(|config| config.policy.require_group = true).await;
    let mut browser = world.sign_in(&service, alice).await;
    remember(&service, &mut browser).await;
    for (endpoint, fault, code) in [
        (Endpoint::MemberOf, Fault::status(403), "groups_unknown"),
        (Endpoint::AssignedTo, Fault::Html, "groups_unknown"),
        (Endpoint::Token, Fault::status(503), "entra_unavailable"),
        (Endpoint::Token, Fault::Entra(EntraError::new("invalid_grant", 53003, "Blocked.")), "entra_refused"),
    ] {
        world.simulator.fault(FaultRule::on(endpoint, fault));
        refused(&world, &service, alice, code).await;
        world.simulator.clear_faults();
        assert_eq!(verify(&mut browser, &service).await, 200, "{code}: nothing is known against her");
    }
}

/// Entra's "not assigned" does not identify the user, so only the browser's own session ends.
#[tokio::test]
async fn missing_assignment_ends_session_of_that_browser_only() {
    let world = World::new().await;
    let (alice, group) = world.alice();
    let service = world.service().await;
    let mut own = world.sign_in(&service, alice).await;
    let mut other = world.sign_in(&service, alice).await;
    for browser in [&mut own, &mut other] {
        remember(&service, browser).await;
    }
    let entra = own.begin(&service).await;
    let back = Browser::new().get(world.simulator.refuse_url(&entra)).await.location();
    assert_eq!(own.get(service.here(&back)).await.code(), "consent_declined");
    assert_eq!(verify(&mut own, &service).await, 200, "to cancel ends nothing");

    world.simulator.edit(|directory| {
        directory.assignment_required = true;
        directory.take_out(alice, group);
    });
    let answer = own.sign_in(&world.simulator, &service, alice).await;
    assert_eq!(answer.code(), "not_assigned", "{answer:#?}");
    assert_eq!(verify(&mut own, &service).await, 401, "the session of the browser that Entra turned away");
    assert_eq!(verify(&mut other, &service).await, 200, "Entra does not say whose sign-in that was");
}
