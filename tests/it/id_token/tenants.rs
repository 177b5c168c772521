//! Whose people may come: one tenant by its id or its domain, or several by `organizations` and `common`.

use entraway::config::Tenant;
use entraway::domain::{ObjectId, TenantId};
use entraway::fake::Signing;
use serde_json::json;
use uuid::Uuid;

use super::{is_empty, refuses};
use crate::support::{Service, World};

/// An instance for both `organizations` and `common`, which people of the named tenants may use.
async fn open(world: &World, tenant: Tenant, allowed: &[TenantId]) -> Service {
    world
        .service_with(|config| {
            config.entra.tenant = tenant;
            config.entra.allowed_tenants = allowed.iter().copied().collect();
        })
        .await
}

/// A person of another company.
fn stranger(world: &World) -> (ObjectId, TenantId) {
    let tenant = TenantId::from(Uuid::new_v4());
    let person = world.fake.edit(|directory| directory.person("Pat Partner", |person| person.tenant_id = Some(tenant)));
    (person, tenant)
}

#[tokio::test]
async fn with_an_open_endpoint_people_of_allowed_tenants_enter_and_others_do_not() {
    for tenant in [Tenant::Organizations, Tenant::Common] {
        let world = World::new().await;
        let (alice, _) = world.alice();
        let (pat, partner) = stranger(&world);
        let (eve, _) = stranger(&world);
        let home = world.fake.edit(|directory| directory.tenant_id);
        let service = open(&world, tenant.clone(), &[home, partner]).await;

        refuses(&world, &service, eve, "a tenant that is not allowed", "tenant_not_allowed").await;
        is_empty(&world).await;
        let answer = world.try_sign_in(&service, eve).await;
        assert_eq!(answer.status, 403, "{tenant:?}: {answer:#?}");

        for (person, tenant) in [(alice, home), (pat, partner)] {
            let mut browser = world.sign_in(&service, person).await;
            assert_eq!(browser.me(&service).await.json()["user"]["tenant_id"], json!(tenant));
        }
    }
}

#[tokio::test]
async fn with_an_open_endpoint_a_token_of_one_tenant_is_no_proof_for_another() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let (_, partner) = stranger(&world);
    let home = world.fake.edit(|directory| directory.tenant_id);
    let service = open(&world, Tenant::Common, &[home, partner]).await;
    world.fake.next_id_token(move |token| {
        token.claims.insert("tid".into(), json!(partner));
    });
    refuses(&world, &service, alice, "one tenant's id and another's issuer", "id_token_issuer").await;
    let authority = world.fake.authority_url();
    world.fake.next_id_token(move |token| {
        token.claims.insert("iss".into(), json!(format!("{authority}{{tenantid}}/v2.0")));
    });
    refuses(&world, &service, alice, "the template as its issuer", "id_token_issuer").await;
    is_empty(&world).await;
}

#[tokio::test]
async fn the_key_of_personal_accounts_vouches_for_no_tenant() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let home = world.fake.edit(|directory| directory.tenant_id);
    let service = open(&world, Tenant::Common, &[home]).await;
    world.fake.next_id_token(|token| token.signing = Signing::PersonalAccountsKey);
    refuses(&world, &service, alice, "the key of personal accounts", "id_token_unknown_key").await;

    // Not even with their own tenant's name: that one is not allowed.
    let authority = world.fake.authority_url();
    world.fake.next_id_token(move |token| {
        let consumers = "9188040d-6c67-4c5b-b112-36a304b66dad";
        token.signing = Signing::PersonalAccountsKey;
        token.claims.insert("tid".into(), json!(consumers));
        token.claims.insert("iss".into(), json!(format!("{authority}{consumers}/v2.0")));
    });
    refuses(&world, &service, alice, "a personal account", "tenant_not_allowed").await;
    is_empty(&world).await;
    world.fake.clear_faults();
    world.sign_in(&service, alice).await;
}

#[tokio::test]
async fn a_tenant_may_be_named_by_its_domain() {
    let world = World::new().await;
    let (alice, group) = world.alice();
    let service = world.service_with(|config| config.entra.tenant = Tenant::Domain("contoso-sim.example".into())).await;
    let mut browser = world.sign_in(&service, alice).await;
    let me = browser.me(&service).await.json();
    assert_eq!(me["user"]["tenant_id"], json!(world.fake.edit(|directory| directory.tenant_id)));
    assert_eq!(me["teams"][0]["team_id"], json!(group));

    let authority = world.fake.authority_url();
    world.fake.next_id_token(move |token| {
        let other = Uuid::new_v4();
        token.claims.insert("tid".into(), json!(other));
        token.claims.insert("iss".into(), json!(format!("{authority}{other}/v2.0")));
    });
    refuses(&world, &service, alice, "another tenant than the domain's", "tenant_not_allowed").await;
}

#[tokio::test]
async fn where_several_tenants_may_come_the_app_is_found_in_each_by_its_client_id() {
    let world = World::new().await;
    let (alice, group) = world.alice();
    let (_, partner) = stranger(&world);
    let home = world.fake.edit(|directory| directory.tenant_id);
    let service = world
        .service_with(|config| {
            config.entra.tenant = Tenant::Organizations;
            config.entra.allowed_tenants = [home, partner].into();
            config.entra.service_principal_id = Some(Uuid::new_v4().to_string());
        })
        .await;

    world.sign_in(&service, alice).await;

    assert_eq!(world.rows().await.teams_of(alice), [group.to_string()], "the configured object id is another tenant's");
}

#[tokio::test]
async fn an_allowed_domain_is_that_of_the_sign_in_name_and_not_of_the_mail_somebody_entered() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    world.fake.edit(|directory| {
        directory.change_person(alice, |person| {
            person.upn = "alice.arden".to_owned();
            person.email = Some("alice@contoso-sim.example".to_owned());
        })
    });
    let service = world
        .service_with(|config| config.policy.allowed_email_domains = ["contoso-sim.example".to_owned()].into())
        .await;
    let answer = world.try_sign_in(&service, alice).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "email_domain_not_allowed"));
}
