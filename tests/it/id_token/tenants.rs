//! Tenants that may sign in: one by its ID or its domain, or several with `organizations` or `common`.

use entra_simulator::{ObjectId, TenantId};
use entraway::config::Tenant;
use serde_json::json;
use uuid::Uuid;

use crate::support::{World, tenants};

/// A user of another tenant.
pub(crate) fn stranger(world: &World) -> (ObjectId, TenantId) {
    let tenant = TenantId::from(Uuid::new_v4());
    let person =
        world.simulator.edit(|directory| directory.person("Pat Partner", |person| person.tenant_id = Some(tenant)));
    (person, tenant)
}

#[tokio::test]
async fn open_endpoint_admits_users_of_allowed_tenants() {
    for tenant in [Tenant::Organizations, Tenant::Common] {
        let world = World::new().await;
        let (alice, _) = world.alice();
        let (pat, partner) = stranger(&world);
        let home = world.simulator.edit(|directory| directory.tenant_id);
        let service = world
            .service_with(|config| {
                config.entra.tenant = tenant;
                config.entra.allowed_tenants = tenants([home, partner]);
            })
            .await;
        for (person, tenant) in [(alice, home), (pat, partner)] {
            let mut browser = world.sign_in(&service, person).await;
            assert_eq!(browser.me(&service).await.json()["user"]["tenant_id"], json!(tenant));
        }
    }
}

#[tokio::test]
async fn tenant_can_be_configured_by_domain() {
    let world = World::new().await;
    let (alice, group) = world.alice();
    let service = world.service_with(|config| config.entra.tenant = Tenant::Domain("contoso-sim.example".into())).await;
    let mut browser = world.sign_in(&service, alice).await;
    let me = browser.me(&service).await.json();
    assert_eq!(me["user"]["tenant_id"], json!(world.simulator.edit(|directory| directory.tenant_id)));
    assert_eq!(me["teams"][0]["team_id"], json!(group));
}

#[tokio::test]
async fn open_endpoint_finds_the_app_by_client_id_per_tenant() {
    let world = World::new().await;
    let (alice, group) = world.alice();
    let (_, partner) = stranger(&world);
    let home = world.simulator.edit(|directory| directory.tenant_id);
    let service = world
        .service_with(|config| {
            config.entra.tenant = Tenant::Organizations;
            config.entra.allowed_tenants = tenants([home, partner]);
            config.entra.service_principal_id = Some(Uuid::new_v4().to_string());
        })
        .await;

    world.sign_in(&service, alice).await;

    assert_eq!(world.rows().await.teams_of(alice), [group.to_string()], "the configured object id is another tenant's");
}
