//! Test scene: a private tenant, and a service on the proxy's database.

use entra_simulator::{GroupId, ObjectId};
use entraway::domain::StoreKind;
use serde_json::{Value, json};

use super::Proxy;
use crate::support::{Browser, Service, World, as_entraway};

/// Settings with organizations and two of the proxy's three models.
pub(super) const SETTINGS: &str =
    "  entra_groups_also_create_orgs: true\n  default_team_params: {models: [gpt-4, gpt-3.5-turbo]}\n";

pub(super) struct Scene {
    pub(super) proxy: &'static Proxy,
    /// Its pool has full access to a database shared by all tests of this module: query only the IDs of this test.
    pub(super) world: World,
    pub(super) service: Service,
}

/// An empty tenant and a service with these `litellm_settings`. `None` if no proxy is installed.
pub(super) async fn scene(settings: &str) -> Option<Scene> {
    let proxy = super::proxy().await?;
    let (url, name) = (&proxy.database, super::proxy::DATABASE.to_owned());
    let world = World::on(StoreKind::LiteLlm, as_entraway(url), url, name).await;
    // The proxy rejects email addresses at special-use domains, such as the simulator's default.
    world.simulator.edit(|directory| "example.com".clone_into(&mut directory.tenant_domain));
    let service = service(proxy, &world, settings).await;
    Some(Scene { proxy, world, service })
}

/// Like `scene`, with a service that sends the proxy no messages.
pub(super) async fn scene_without_redis(settings: &str) -> Option<Scene> {
    let mut scene = scene(settings).await?;
    scene.service = scene.world.service_of(scene.world.config_of(settings)).await;
    Some(scene)
}

async fn service(proxy: &Proxy, world: &World, settings: &str) -> Service {
    let mut config = world.config_of(settings);
    config.litellm.redis_url = Some(proxy.redis_url.clone().into());
    world.service_of(config).await
}

impl Scene {
    /// Starts another service on the same tenant, as after a configuration change.
    pub(super) async fn restart(&mut self, settings: &str) {
        self.service = service(self.proxy, &self.world, settings).await;
    }

    pub(super) async fn sign_in(&self, person: ObjectId) -> Browser {
        self.world.sign_in(&self.service, person).await
    }

    /// Creates a key for this user and team as the proxy's administrator.
    pub(super) async fn key(&self, user: ObjectId, team: GroupId) -> String {
        key_of(&self.proxy.admin("/key/generate", json!({"user_id": user, "team_id": team})).await)
    }
}

/// The key in a response of `/key/generate`.
pub(super) fn key_of(answer: &Value) -> String {
    answer["key"].as_str().unwrap_or_else(|| panic!("no key in {answer}")).to_owned()
}
