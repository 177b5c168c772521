//! Configuration mistakes and bugs: the page refers the user to an administrator; details are only in the log.

use entra_simulator::{Endpoint, EntraError, Fault, FaultRule, TokenKind};
use entraway::config::ClientAuth;
use rstest::rstest;

use super::{comes_back, shown};
use crate::support::{LiteLlm, Native, StoreKind, World};

#[rstest]
#[tokio::test]
async fn wrong_client_secret_is_app_refused(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let wrong = "wrong~a-secret-nobody-may-see-12345";
    let service = world
        .service_with(|config| {
            config.entra.client_auth = ClientAuth::Secrets { primary: wrong.into(), secondary: None }
        })
        .await;
    let before = world.traces().await;
    let page = shown(&world, (503, "app_refused"), async || comes_back(&world, &service, alice).await).await;
    assert!(!page.body.contains(wrong), "{}", page.body);
    assert!(page.body.contains("ontact your administrator with the request ID"), "{}", page.body);
    assert_eq!(world.traces().await, before, "nothing is written");
}

#[rstest]
#[tokio::test]
async fn missing_credential_file_is_credential_unusable(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let gone = std::path::PathBuf::from("/nowhere/a-place-nobody-need-know");
    for way in [ClientAuth::Certificate(gone.clone()), ClientAuth::FederatedToken(gone)] {
        let service = world.service_with(|config| config.entra.client_auth = way).await;
        let before = world.traces().await;
        let expected = (503, "credential_unusable");
        let page = shown(&world, expected, async || comes_back(&world, &service, alice).await).await;
        assert!(!page.body.contains("nowhere"), "{}", page.body);
        assert!(page.body.contains("ontact your administrator with the request ID"), "{}", page.body);
        assert_eq!(world.traces().await, before, "nothing is written");
    }
}

#[tokio::test]
async fn app_unknown_to_entra_is_app_refused() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    for (error, code) in [
        ("unauthorized_client", 700_016),
        ("invalid_client", 7_000_222),
        ("invalid_scope", 70011),
        ("invalid_resource", 500_011),
    ] {
        world.simulator.clear_faults();
        let error = EntraError::new(error, code, "Ask alice.arden@contoso-sim.example about it.");
        world.simulator.fault(FaultRule::on(Endpoint::Token, Fault::Entra(error)).token(TokenKind::Delegated));
        shown(&world, (503, "app_refused"), async || comes_back(&world, &service, alice).await).await;
    }
}

#[rstest]
#[tokio::test]
async fn missing_table_is_an_internal_error_without_its_name(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;
    world.sql("alter table entraway.sync_runs rename to elsewhere").await;
    shown(&world, (500, "internal"), async || comes_back(&world, &service, alice).await).await;
    let answer = browser.me(&service).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (500, "internal"));
    super::tells_nothing(&world, &answer);
    world.sql("alter table entraway.elsewhere rename to sync_runs").await;
    assert_eq!(browser.me(&service).await.status, 200, "the previous session is still valid");
    world.sign_in(&service, alice).await;
}
