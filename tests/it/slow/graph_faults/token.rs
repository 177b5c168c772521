//! The app token: failures to get one, and how often it is requested.

use chrono::TimeDelta;
use entra_simulator::{Endpoint, EntraError, Fault, FaultRule, TokenKind};
use rstest::rstest;

use super::Scene;
use crate::support::sql_fixtures::DELETE_ALL_GROUPS;
use crate::support::{LiteLlm, Native, StoreKind, World};

#[rstest]
#[tokio::test]
async fn assignments_are_unknown_without_an_app_token(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    let invalid = EntraError::new("invalid_client", 7_000_222, "The provided client secret keys are expired.");
    for (how, said, fault) in [
        ("an expired secret", "Entra refused: invalid_client", Fault::Entra(invalid)),
        ("503 in JSON", "Entra refused: temporarily_unavailable", Fault::status(503)),
        ("429 in JSON", "Entra refused: temporarily_unavailable", Fault::throttled(60)),
        ("HTML", "token response cannot be parsed", Fault::Html),
        ("truncated JSON", "token response cannot be parsed", Fault::MalformedJson),
        ("a broken connection", "token endpoint could not be reached", Fault::CutBody),
    ] {
        // A new service has no app token yet.
        let service = scene.world.service().await;
        scene.world.simulator.fault(FaultRule::on(Endpoint::Token, fault).token(TokenKind::AppOnly));
        let mut browser = scene.world.sign_in(&service, scene.alice).await;
        let run = scene.world.last_run().await;
        assert_eq!(run["assigned_groups"], "unknown", "{how}: {run:#}");
        assert!(super::text(&run, "assigned_groups_why").contains(said), "{how}: {run:#}");
        assert_eq!(run["member_of"], "known", "{how}: the user's own list does not need an app token");
        scene.is_told(&mut browser, "which groups are assigned", how).await;
        scene.world.simulator.clear_faults();
    }
    scene.recovers().await;
}

#[tokio::test]
async fn app_token_is_reused_until_shortly_before_expiry() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let asked = || {
        let seen = world.simulator.requests_to(Endpoint::Token);
        seen.iter().filter(|seen| seen.token == Some(TokenKind::AppOnly)).count()
    };
    for (minutes, expected) in [(0, 1), (10, 1), (40, 1), (7, 2), (1, 2)] {
        world.clock.advance(TimeDelta::minutes(minutes));
        world.sign_in(&service, alice).await;
        assert_eq!(asked(), expected, "after {minutes} minutes more");
        assert_eq!(world.last_run().await["assigned_groups"], "known", "after {minutes} minutes more");
    }
}

#[rstest]
#[tokio::test]
async fn app_token_refused_by_graph_is_not_reused(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    let new_tokens = || {
        let seen = scene.world.simulator.requests_to(Endpoint::Token);
        seen.iter().filter(|seen| seen.token == Some(TokenKind::AppOnly)).count()
    };
    scene.world.simulator.revoke_tokens();
    scene.recovers().await;
    assert_eq!(new_tokens(), 1, "a new token replaces the revoked one");

    // A token keeps the permissions from its issue time. After an administrator's consent a new token is needed.
    scene.world.simulator.edit(|directory| directory.app_permissions.application_read = false);
    scene.signs_in("without consent").await;
    assert_eq!(scene.world.last_run().await["assigned_groups"], "unknown");
    assert_eq!(new_tokens(), 2, "a new token is tried before the list is unknown");
    scene.world.simulator.edit(|directory| directory.app_permissions.application_read = true);
    scene.recovers().await;
    let so_far = new_tokens();
    scene.recovers().await;
    assert_eq!(new_tokens(), so_far, "a working token is reused");
}

#[rstest]
#[tokio::test]
async fn revoked_app_token_is_replaced_within_the_signin(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, group) = world.alice();
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.sql(DELETE_ALL_GROUPS).await;
    world.simulator.revoke_tokens();

    world.sign_in(&service, alice).await;

    assert_eq!(world.rows().await.teams_of(alice), [group.to_string()], "the sign-in continued with a new token");
    assert_eq!(world.last_run().await["assigned_groups"], "known");
}

#[rstest]
#[tokio::test]
async fn transient_token_endpoint_error_is_not_cached(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, group) = world.alice();
    let hour = std::time::Duration::from_hours(1);
    let service = world.service_with(|config| config.sync.assigned_groups_ttl = hour).await;
    let busy = Fault::Entra(EntraError::new("temporarily_unavailable", 90033, "A transient error has occurred."));
    world.simulator.fault(FaultRule::on(Endpoint::Token, busy).token(TokenKind::AppOnly).times(1));

    world.sign_in(&service, alice).await;
    assert_eq!(world.last_run().await["assigned_groups"], "unknown");
    world.sign_in(&service, alice).await;

    assert_eq!(world.rows().await.teams_of(alice), [group.to_string()], "the next sign-in requested a token again");
}

#[rstest]
#[tokio::test]
async fn permission_denial_is_cached_for_at_most_a_minute(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, group) = world.alice();
    let hour = std::time::Duration::from_hours(1);
    let service = world.service_with(|config| config.sync.assigned_groups_ttl = hour).await;
    world.simulator.edit(|directory| directory.app_permissions.application_read = false);
    world.sign_in(&service, alice).await;
    assert_eq!(world.last_run().await["assigned_groups"], "unknown");

    world.simulator.edit(|directory| directory.app_permissions.application_read = true);
    world.clock.advance(chrono::TimeDelta::seconds(61));
    world.sign_in(&service, alice).await;

    assert_eq!(world.rows().await.teams_of(alice), [group.to_string()]);
}
