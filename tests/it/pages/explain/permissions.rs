//! Access to the explanation: the user and operators.

use entraway::domain::StoreKind;
use rstest::rstest;

use super::{Scene, with_team};
use crate::support::scene::{assigned, person};
use crate::support::{LiteLlm, Native};

#[rstest]
#[tokio::test]
async fn explain_is_visible_to_the_user_and_operators_only(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut scene = Scene::new(store).await;
    let [evals] = assigned(&scene.world, ["Evals"]);
    let alice = person(&scene.world, "Alice Arden", &[evals]);
    let erin = person(&scene.world, "Erin", &[evals]);
    let change = |erin: &mut entra_simulator::User| erin.app_roles = vec!["org_admin".to_owned()];
    scene.world.simulator.edit(|directory| directory.change_person(erin, change)).unwrap();
    let mut alice_at = scene.world.sign_in(&scene.service, alice).await;
    let mut erin_at = scene.world.sign_in(&scene.service, erin).await;

    let mut stranger = crate::support::Browser::new();
    for path in ["/people/{}/explain", "/api/people/{}/explain"] {
        let of = |id: &dyn ToString| scene.service.at(&path.replace("{}", &id.to_string()));
        let hers = alice_at.get_json(of(&alice)).await;
        assert_eq!(hers.status, 200, "Alice's own: {hers:#?}");
        let operators = scene.operator.get_json(of(&alice)).await;
        assert_eq!(operators.status, 200, "an operator: {operators:#?}");
        let erins = erin_at.get_json(of(&alice)).await;
        assert_eq!(erins.status, 404, "an administrator of Alice's organization: {erins:#?}");
        let hers = alice_at.get_json(of(&erin)).await;
        assert_eq!(hers.status, 404, "Alice of Erin: {hers:#?}");
        let missing = alice_at.get_json(of(&"00000000-0000-0000-0000-000000000001")).await;
        assert_eq!((missing.status, missing.code()), (hers.status, hers.code()), "an unknown user: {missing:#?}");
        for unknown in ["00000000-0000-0000-0000-000000000001", "a%00b", "%20", "x"] {
            let missing = scene.operator.get_json(of(&unknown)).await;
            assert_eq!(missing.status, 404, "{unknown}: {missing:#?}");
        }
        let signed_out = stranger.get_json(of(&alice)).await;
        assert_eq!(signed_out.status, 401, "{signed_out:#?}");
        let twice = format!("{}?team=a&team=b", of(&alice));
        assert_eq!(scene.operator.get_json(twice.parse().unwrap()).await.status, 400);
        let odd = format!("{}?team=%00", of(&alice));
        assert_eq!(scene.operator.get_json(odd.parse().unwrap()).await.status, 400);
    }
}

#[rstest]
#[tokio::test]
async fn explain_does_not_reveal_team_existence_to_users(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    let [secret] = assigned(&scene.world, ["Secret Project"]);
    let alice = person(&scene.world, "Alice Arden", &[]);
    let mut browser = scene.world.sign_in(&scene.service, alice).await;
    assert!(scene.world.rows().await.teams.contains_key(&secret.to_string()), "the scene: the team is there");

    let url = scene.service.at(&format!("/api/people/{alice}/explain"));
    let mut findings = Vec::new();
    for team in ["Secret Project", "No Project", &secret.to_string()] {
        let answer = browser.get_json(with_team(url.clone(), team)).await.json();
        findings.push(answer["answer"]["findings"].clone());
    }
    assert_eq!((&findings[0], &findings[2]), (&findings[1], &findings[1]), "the answers reveal an existing team");
    assert_eq!(findings[0][0]["case"], "not_among_groups");
}
