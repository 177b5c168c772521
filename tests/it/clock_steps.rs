//! The wall clock is stepped, as by NTP after a start with a wrong date. Ages and expiry are unaffected.

use std::time::Duration;

use chrono::TimeDelta;
use entra_simulator::{Endpoint, Fault, FaultRule};

use crate::support::scene::until;
use crate::support::{Browser, Service, World};

async fn verify(browser: &mut Browser, service: &Service) -> u16 {
    browser.get(service.at("/auth/verify")).await.status.as_u16()
}

#[tokio::test]
async fn signin_works_after_each_step_of_the_wall_clock() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service_with(|config| config.sync.assigned_groups_ttl = Duration::from_mins(5)).await;
    world.sign_in(&service, alice).await;
    for step in [TimeDelta::hours(-1), TimeDelta::days(-1), TimeDelta::hours(1), TimeDelta::days(2)] {
        world.clock.step_wall_clock(step);
        let mut browser = world.sign_in(&service, alice).await;
        assert_eq!(browser.me(&service).await.status, 200, "after {step}");
        assert_eq!(world.last_run_of(alice).await["assigned_groups"], "known", "after {step}");
    }
}

/// The machine started with tomorrow's date, and Entra could not be read then.
#[tokio::test]
async fn failed_discovery_is_retried_after_wall_clock_steps_back() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    world.clock.step_wall_clock(TimeDelta::days(1));
    let service = world.service().await;
    world.simulator.fault(FaultRule::on(Endpoint::Discovery, Fault::status(503)));
    assert_eq!(Browser::new().get(service.at("/sso/login")).await.status, 503);
    world.clock.step_wall_clock(TimeDelta::days(-1));
    world.simulator.clear_faults();
    world.sign_in(&service, alice).await;
}

#[tokio::test]
async fn signing_keys_are_refreshed_by_elapsed_time_only() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let readings = || world.simulator.requests_to(Endpoint::Keys).len();
    world.sign_in(&service, alice).await;
    world.clock.step_wall_clock(TimeDelta::days(2));
    world.sign_in(&service, alice).await;
    assert_eq!(readings(), 1, "the wall clock suggests an age of two days, which is wrong");
    world.clock.step_wall_clock(TimeDelta::days(-3));
    world.clock.advance(TimeDelta::hours(25));
    world.sign_in(&service, alice).await;
    assert_eq!(readings(), 2, "a day has passed, regardless of the wall clock");
}

/// A session that was deleted without a notification may stay cached for one minute.
#[tokio::test]
async fn revoked_session_is_refused_after_wall_clock_steps_back() {
    for step in [TimeDelta::hours(-1), TimeDelta::days(-1)] {
        let world = World::new().await;
        let (alice, _) = world.alice();
        let service = world.service().await;
        let mut browser = world.sign_in(&service, alice).await;
        until("sessions are remembered", async || service.app.sessions().is_caching()).await;
        assert_eq!(verify(&mut browser, &service).await, 200);
        sqlx::query("delete from entraway.sessions").execute(&world.pool).await.unwrap();
        world.clock.step_wall_clock(step);
        world.clock.advance(TimeDelta::seconds(61));
        assert_eq!(verify(&mut browser, &service).await, 401, "after a minute it is read again, after {step}");
    }
}

#[tokio::test]
async fn revocation_takes_effect_after_wall_clock_steps() {
    for step in [TimeDelta::days(-1), TimeDelta::minutes(30)] {
        let world = World::new().await;
        let (alice, _) = world.alice();
        let (here, elsewhere) = (world.service().await, world.service().await);
        let mut browser = world.sign_in(&here, alice).await;
        for service in [&here, &elsewhere] {
            until("sessions are remembered", async || service.app.sessions().is_caching()).await;
            assert_eq!(verify(&mut browser, service).await, 200);
        }
        world.clock.step_wall_clock(step);
        let mut copy = browser.clone();
        assert_eq!(verify(&mut copy, &here).await, 200, "after {step}");
        browser.post(here.at("/sso/logout")).await;
        assert_eq!(verify(&mut copy, &here).await, 401, "after {step}");
        until("the other replica knows", async || verify(&mut copy, &elsewhere).await == 401).await;
    }
}
