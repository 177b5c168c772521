//! If the app may not read assignments, the user's delegated token may.

use entra_simulator::{Endpoint, EntraError, Fault, FaultRule, TokenKind};
use rstest::rstest;
use serde_json::json;

use super::Scene;
use crate::support::{LiteLlm, Native, StoreKind, World};

/// Token kinds of the requests for assignments.
fn tokens(scene: &Scene) -> Vec<TokenKind> {
    scene.world.simulator.requests_to(Endpoint::AssignedTo).iter().filter_map(|seen| seen.token).collect()
}

async fn finds_all(scene: &Scene, how: &str) {
    scene.signs_in(how).await;
    let run = scene.world.last_run().await;
    assert_eq!((&run["assigned_groups"], &run["assigned_groups_read"]), (&json!("known"), &json!(3)), "{how}: {run:#}");
    assert!(scene.world.rows().await.teams_of(scene.alice).contains(&scene.new.to_string()), "{how}");
}

#[rstest]
#[tokio::test]
async fn delegated_token_is_used_when_the_app_is_forbidden(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    scene.world.simulator.edit(|directory| {
        directory.app_permissions.application_read = false;
        directory.app_permissions.delegated_application_read = true;
    });
    finds_all(&scene, "403 as the app, 200 as the user").await;
    let asked = [TokenKind::AppOnly, TokenKind::AppOnly, TokenKind::Delegated];
    assert_eq!(tokens(&scene), asked, "as the app, again with a new token, then as the user");
}

/// Users' tokens may see different lists.
#[tokio::test]
async fn delegated_list_is_used_only_for_its_own_user() {
    let world = World::new().await;
    let (alice, group) = world.alice();
    let bob = world.simulator.edit(|directory| {
        directory.app_permissions.application_read = false;
        directory.app_permissions.delegated_application_read = true;
        let bob = directory.person("Bob Baker", |_| {});
        directory.put(bob, group);
        bob
    });
    let service =
        world.service_with(|config| config.sync.assigned_groups_ttl = std::time::Duration::from_mins(1)).await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.last_run().await["assigned_groups"], "known");
    world.simulator.clear_requests();
    world.simulator.edit(|directory| directory.app_permissions.delegated_application_read = false);
    world.sign_in(&service, bob).await;
    let run = world.last_run().await;
    assert_eq!(
        run["assigned_groups"], "unknown",
        "Bob's token may not read assignments; Alice's list must not be used: {run:#}"
    );
    world.simulator.edit(|directory| directory.app_permissions.delegated_application_read = true);
    world.sign_in(&service, bob).await;
    assert_eq!(world.last_run().await["assigned_groups"], "known", "Bob's own list is used");
    let kinds: Vec<_> =
        world.simulator.requests_to(Endpoint::AssignedTo).iter().filter_map(|seen| seen.token).collect();
    assert_eq!(kinds, [TokenKind::Delegated; 2], "the app's denial is cached for a minute");
}

#[rstest]
#[tokio::test]
async fn delegated_token_is_used_when_app_token_is_rejected(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    scene.world.simulator.edit(|directory| directory.app_permissions.delegated_application_read = true);
    let refused = FaultRule::on(Endpoint::AssignedTo, Fault::status(401)).token(TokenKind::AppOnly);
    scene.world.simulator.fault(refused);
    finds_all(&scene, "401 as the app, 200 as the user").await;
    let asked = [TokenKind::AppOnly, TokenKind::AppOnly, TokenKind::Delegated];
    assert_eq!(tokens(&scene), asked, "as the app, again with a new token, then as the user");
}

#[rstest]
#[tokio::test]
async fn delegated_token_is_used_without_an_app_token(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    let scene = Scene { service: scene.world.service().await, ..scene };
    scene.world.simulator.edit(|directory| directory.app_permissions.delegated_application_read = true);
    let error = EntraError::new("unauthorized_client", 700_016, "The application was not found in the directory.");
    scene.world.simulator.fault(FaultRule::on(Endpoint::Token, Fault::Entra(error)).token(TokenKind::AppOnly));
    finds_all(&scene, "no token for the app").await;
    assert_eq!(tokens(&scene), [TokenKind::Delegated]);
}

#[rstest]
#[tokio::test]
async fn list_is_unknown_when_app_and_user_are_forbidden(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    scene.world.simulator.edit(|directory| directory.app_permissions.application_read = false);
    scene.finds_assigned_unknown("as the app: Graph denied access (403)", "403 for both").await;
    let run = scene.world.last_run().await;
    let why = run["assigned_groups_why"].as_str().unwrap();
    assert!(why.contains("as the user: Graph denied access (403)"), "{why}");
    let asked = [TokenKind::AppOnly, TokenKind::AppOnly, TokenKind::Delegated];
    assert_eq!(tokens(&scene), asked, "as the app, again with a new token, then as the user");
    scene.world.simulator.edit(|directory| directory.app_permissions.application_read = true);
    scene.recovers().await;
}

#[rstest]
#[tokio::test]
async fn graph_failure_does_not_fall_back_to_delegated_token(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    scene.world.simulator.edit(|directory| directory.app_permissions.delegated_application_read = true);
    for fault in [Fault::throttled(60), Fault::Html, Fault::status(404), Fault::LoopingNextLink] {
        scene.world.simulator.clear_requests();
        scene.world.simulator.fault(FaultRule::on(Endpoint::AssignedTo, fault.clone()).token(TokenKind::AppOnly));
        scene.finds_assigned_unknown("Graph", &format!("{fault:?} as the app")).await;
        assert!(tokens(&scene).iter().all(|kind| *kind == TokenKind::AppOnly), "{fault:?}: {:?}", tokens(&scene));
        scene.world.simulator.clear_faults();
    }
    scene.recovers().await;
}

#[rstest]
#[tokio::test]
async fn delegated_failure_does_not_hide_the_app_denial(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    scene.world.simulator.edit(|directory| directory.app_permissions.application_read = false);
    let broken = FaultRule::on(Endpoint::AssignedTo, Fault::Html).token(TokenKind::Delegated);
    scene.world.simulator.fault(broken);
    let said = "(403): a permission or its admin consent is missing; as the user: Graph's response is invalid";
    scene.finds_assigned_unknown(said, "403 as the app, HTML as the user").await;
}

#[rstest]
#[tokio::test]
async fn group_names_hidden_from_user_come_from_assignments(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    scene.world.simulator.edit(|directory| directory.app_permissions.delegated_group_member_read = false);
    finds_all(&scene, "memberOf with ids only").await;
    assert_eq!(
        scene.world.rows().await.teams[&scene.new.to_string()]["team_alias"],
        "New",
        "the name comes from the assignment"
    );
}
