//! Postgres is stopped and crashes during many concurrent sign-ins.

use entra_simulator::GroupId;
use reqwest::Method;

use super::cluster::{Cluster, Stop};
use super::storm::{
    Storm, Try, all_refusals_are_for_want_of_the_database, any_number, everybody_gets_in_now, everybodys_group,
    nothing_is_half, until,
};
use crate::support::{Answer, Browser, LiteLlm, Native, Service, World};

struct Part {
    world: World,
    service: Service,
    group: GroupId,
    known: Browser,
}

impl Part {
    /// Starts a service in its own world with one cached session.
    async fn new(world: World) -> Self {
        let group = everybodys_group(&world);
        let service = world.service_with(any_number).await;
        let mut known = Try::of_new_user(&world.simulator, &service.at("/"), group).await.browser;
        until("sessions are remembered", async || service.app.sessions().is_caching()).await;
        assert_eq!(verify(&mut known, &service).await.status, 200);
        Self { world, service, group, known }
    }

    fn storm(&self) -> Storm {
        Storm::at(&self.world, &self.service, self.group)
    }

    /// Asserts that the service notices the outage and then serves nothing from the cache.
    async fn is_without_a_database(&mut self) {
        let Self { service, known, .. } = self;
        until("forward auth returns 503", async || {
            let answer = verify(known, service).await;
            assert!([200, 503].contains(&answer.status.as_u16()), "an outage never signs a user out: {answer:#?}");
            answer.status == 503
        })
        .await;
        assert!(!service.app.sessions().is_caching(), "the cache is off without a listener");
        for path in ["/auth/verify", "/api/me", "/", "/teams"] {
            let answer = known.get(service.at(path)).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "database_unavailable"), "{path}");
            assert!(answer.headers.contains_key("retry-after"), "{path}: {answer:#?}");
        }
        assert_eq!(Browser::new().get(service.at("/healthz")).await.status, 200, "liveness");
        // A readiness result is reused for a second.
        until("the service is not ready", async || Browser::new().get(service.at("/readyz")).await.status == 503).await;
    }

    async fn is_well_again(&mut self) {
        let Self { service, known, .. } = self;
        until("forward auth works again", async || verify(known, service).await.status == 200).await;
        until("sessions are remembered", async || service.app.sessions().is_caching()).await;
        until("the service is ready", async || Browser::new().get(service.at("/readyz")).await.status == 200).await;
    }
}

async fn verify(browser: &mut Browser, service: &Service) -> Answer {
    browser.send(browser.request(Method::GET, service.at("/auth/verify"))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_restart_under_load_leaves_no_partial_signin() {
    let mut cluster = Cluster::start().await;
    let mut parts = Vec::new();
    for kind in [Native, LiteLlm] {
        parts.push(Part::new(cluster.world(kind).await).await);
    }
    for how in [Stop::Orderly, Stop::Crash] {
        let storms: Vec<Storm> = parts.iter().map(Part::storm).collect();
        for storm in &storms {
            storm.until_more_are_in(10).await;
        }
        cluster.stop(how).await;
        for (part, storm) in parts.iter_mut().zip(&storms) {
            part.is_without_a_database().await;
            storm.until_more_are_refused(6).await;
        }
        cluster.start_again().await;
        let mut all = Vec::new();
        for (part, storm) in parts.iter_mut().zip(storms) {
            part.is_well_again().await;
            storm.until_more_are_in(10).await;
            all.push(storm.end().await);
        }
        for (part, mut tries) in parts.iter().zip(all) {
            all_refusals_are_for_want_of_the_database(&tries);
            let when = format!("{:?}, {how:?}", part.world.kind);
            nothing_is_half(&part.world, &tries, &when).await;
            everybody_gets_in_now(&part.world, &part.service.at("/"), &mut tries).await;
            for one in &mut tries {
                assert_eq!(verify(&mut one.browser, &part.service).await.status, 200, "{when}: {}", one.person);
            }
        }
    }
}
