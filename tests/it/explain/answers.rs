//! "Why am I not in team X?"

use entraway::explain::{Case, KnownTeam, explain_team};
use serde_json::json;

use super::{GROUP, OTHER, Scene, read, says, team};

#[test]
fn explain_answers_the_team_question_in_each_case() {
    let mut scene = Scene::with(|scene| {
        let groups = json!({
            GROUP: { "name": "Evals", "assigned": true }, OTHER: { "name": "All Staff", "assigned": false },
        });
        scene.groups("known", &groups);
    });
    for wanted in ["Evals", " evals ", GROUP, &GROUP.to_uppercase()] {
        let answer = scene.ask(wanted, &[(GROUP, "Evals")]);
        assert_eq!(answer.findings.len(), 1, "{answer:#?}");
        assert_eq!(answer.findings[0].case, Case::InIt, "{wanted:?}: {answer:#?}");
        says(&answer.findings[0].message, &["The user is in the team."]);
        assert_eq!(answer.heading(), format!("Member of “{}”", wanted.trim()));
    }
    let twins = scene.ask("Evals", &[(GROUP, "Evals"), ("p1", "Evals")]);
    assert_eq!(twins.heading(), "Member of one team named “Evals”, but not of another");
    let answer = scene.ask("all staff", &[]);
    assert_eq!((answer.findings[0].case, &*answer.heading()), (Case::NotAssigned, "Why not in “all staff”?"));
    says(&answer.findings[0].message, &["Users and groups"]);

    let answer = scene.ask("Platform", &[("p1", "Platform"), ("p2", "Platform")]);
    assert_eq!(answer.findings.len(), 2, "two teams of the same name give two findings: {answer:#?}");
    assert_eq!(answer.findings[0].case, Case::NotAmongGroups);
    says(
        &answer.findings[0].message,
        &["not one of the user's groups", "Only direct members count", "sync.nested_groups"],
    );

    let answer = scene.ask("Nobody's", &[]);
    assert_eq!(answer.findings[0].case, Case::NotKnown);
    says(&answer.findings[0].message, &["no team with it is known", "Check the name", "Users and groups"]);

    scene.for_operator = false;
    let (there, absent) = (scene.ask("Platform", &[("p1", "Platform")]), scene.ask("Nobody's", &[]));
    assert_eq!(
        there.findings[0].message, absent.findings[0].message,
        "a user without access to other teams does not learn that they exist"
    );
    assert!(!there.findings[0].message.what.contains("no team with it"), "{there:#?}");

    let scene = Scene::with(|scene| scene.facts.teams = read(json!([team(GROUP, Some(GROUP), None)])));
    let explanation = scene.explain();
    let answer = explain_team(
        &explanation,
        "Platform",
        Some(&[KnownTeam { id: "p".to_owned(), name: Some("Platform".to_owned()) }]),
        true,
    );
    says(&answer.findings[0].message, &["sync.nested_groups is on"]);
}
