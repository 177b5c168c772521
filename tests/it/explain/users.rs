//! The user: role, last sign-in, and whether the groups are known.

use entraway::explain::{Case, ListFacts, MembershipWhy, RoleWhy, SignIn, Verdict};
use serde_json::json;

use super::{ALICE, GROUP, NOW, OTHER, Scene, THEN, read, run, says};

#[test]
fn unknown_assigned_list_leaves_assignment_unknown() {
    let scene = Scene::with(|scene| {
        scene.groups("unknown", &json!({ GROUP: { "name": "Evals", "assigned": null } }));
        scene.facts.newest = Some(run(NOW, "signed_in", ["unknown", "known"]));
        scene.facts.complete = Some(run(THEN, "signed_in", ["known", "known"]));
        // The list was known once, but not together with the user's groups, so no groups are stored.
        scene.facts.assigned_groups = read(json!({ "as_of": THEN, "unknown_since": NOW }));
    });
    assert_eq!(scene.group().verdict, Verdict::AssignmentUnknown { in_team: true });
    says(&scene.group().message, &["nothing is created, added or removed", "still in its team"]);
    assert_eq!(scene.membership().why, MembershipWhy::GroupUnknown);
    let readings = scene.explain().readings;
    says(
        &readings.assigned_groups.message,
        &["unknown since 2026-11-26 10:00:00 UTC (Graph answered 503)", "They were never known"],
    );
    says(&readings.member_of.message, &["The user's groups are as of 2026-11-26 10:00:00 UTC.", "no remedy"]);
}

#[test]
fn known_assignment_survives_an_unknown_list() {
    let scene = Scene::with(|scene| {
        scene.facts.newest = Some(run(NOW, "signed_in", ["unknown", "known"]));
        scene.facts.assigned_groups = read(json!({ "as_of": THEN, "unknown_since": NOW }));
    });
    assert_eq!(scene.group().verdict, Verdict::Joined);
    says(&scene.explain().readings.assigned_groups.message, &["unknown since 2026-11-26", "as of 2026-11-20"]);
}

#[test]
fn unrecorded_groups_are_unknown() {
    let scene = Scene::with(|scene| {
        scene.facts.reading = None;
        scene.facts.team_members.clear();
    });
    says(&scene.explain().readings.member_of.message, &["are not stored"]);
    assert_eq!(scene.ask("Evals", &[(GROUP, "Evals")]).findings[0].case, Case::GroupsUnknown);
}

#[test]
fn role_of_user_without_signin_is_taken_from_the_row() {
    let scene = Scene::with(|scene| scene.facts.user.from_here = false);
    assert_eq!(scene.explain().role.why, RoleWhy::NotFromHere);
}

#[test]
fn unknown_member_of_keeps_the_older_list_with_its_date() {
    let scene = Scene::with(|scene| {
        scene.facts.newest = Some(run(NOW, "signed_in", ["known", "unknown"]));
        scene.facts.member_of = read(json!({ "as_of": THEN, "unknown_since": NOW }));
    });
    assert_eq!(scene.group().verdict, Verdict::Joined);
    says(
        &scene.explain().readings.member_of.message,
        &["Graph answered 429", "as of 2026-11-20", "nothing is added or removed"],
    );
    let answer = scene.ask("New", &[(OTHER, "New")]);
    assert_eq!(answer.findings[0].case, Case::NotAmongGroups);
    assert!(answer.notes[0].contains("unknown since 2026-11-26"), "{answer:#?}");
}

#[test]
fn missing_or_denied_signin_is_explained() {
    let never = Scene::with(|scene| {
        scene.nothing_there();
        (scene.facts.reading, scene.facts.newest, scene.facts.complete) = (None, None, None);
        (scene.facts.member_of, scene.facts.assigned_groups) = (ListFacts::default(), ListFacts::default());
    });
    assert_eq!(never.explain().sign_in.state, SignIn::Never);
    says(&never.explain().readings.member_of.message, &["never read"]);
    assert_eq!(never.ask("Evals", &[(GROUP, "Evals")]).findings[0].case, Case::NeverSignedIn);

    for (outcome, part) in [
        ("no_group", "access.require_group"),
        ("groups_unknown", "access.require_group"),
        ("email_domain", "access.allowed_email_domains"),
        ("other_tenant", "another tenant"),
    ] {
        let refused = Scene::with(|scene| {
            scene.no_membership();
            scene.facts.newest = Some(run(NOW, outcome, ["known", "known"]));
            scene.facts.complete = Some(run(NOW, outcome, ["known", "known"]));
        });
        let explanation = refused.explain();
        says(&explanation.sign_in.message, &["Denied at 2026-11-26 10:00:00 UTC", part]);
        assert_eq!(refused.group().verdict, Verdict::UserDenied { at: NOW.parse().unwrap() });
        assert!(refused.ask("Evals", &[]).notes[0].contains("Denied"), "the answer notes the denial");
    }
}

#[test]
fn each_role_explains_its_source() {
    for (role, sso_role, listed, part) in [
        (Some("org_admin"), Some("org_admin"), false, "org_admin: an app role from Entra"),
        (Some("proxy_admin"), Some("proxy_admin"), true, "access.admin_user_ids lists this user"),
        (Some("internal_user"), None, true, "at the next sign-in"),
        (Some("internal_user"), Some("org_admin"), false, "by hand; the sync last granted org_admin"),
        (Some("internal_user_viewer"), None, false, "internal_user_viewer is the default of new users"),
        (Some("team"), None, false, "it was set by hand"),
        (None, None, false, "none: Entra grants this user no role"),
    ] {
        let scene = Scene::with(|scene| {
            scene.facts.user.role = role.map(str::to_owned);
            scene.facts.user.sso_role = sso_role.map(str::to_owned);
            scene.policy.admin_user_ids = listed.then(|| ALICE.to_owned()).into_iter().collect();
        });
        says(&scene.explain().role.message, &[part]);
    }
    let refused = Scene::with(|scene| scene.facts.user.has_row = false);
    assert_eq!(refused.explain().role.why, RoleWhy::NoRow);
}

#[test]
fn withheld_operator_role_is_explained_until_it_is_given() {
    let withheld = |role: &str, sso_role: Option<&str>| {
        let scene = Scene::with(|scene| {
            scene.facts.user.role = Some(role.to_owned());
            scene.facts.user.sso_role = sso_role.map(str::to_owned);
            scene.facts.user.withheld_role = Some("proxy_admin".to_owned());
        });
        scene.explain().role
    };
    for sso_role in [None, Some("internal_user")] {
        let role = withheld("internal_user", sso_role);
        assert_eq!(role.why, RoleWhy::OperatorRoleWithheld { withheld: "proxy_admin".to_owned() });
        says(&role.message, &["proxy_admin is withheld", "entraway users adopt"]);
    }
    assert_eq!(withheld("proxy_admin", Some("proxy_admin")).why, RoleWhy::AppRole);
}

#[test]
fn role_offered_beside_the_given_one_is_not_called_manual() {
    let scene = Scene::with(|scene| {
        scene.facts.user.role = Some("proxy_admin".to_owned());
        scene.facts.user.sso_role = Some("internal_user".to_owned());
        scene.facts.user.offered_roles = ["internal_user".to_owned(), "proxy_admin".to_owned()].into();
    });
    let role = scene.explain().role;
    assert_eq!(role.why, RoleWhy::AlsoOffered { given: "internal_user".to_owned() });
    says(&role.message, &["sync.role_precedence: highest"]);
}

#[test]
fn admin_user_ids_do_not_explain_role_of_another_tenant() {
    let scene = Scene::with(|scene| {
        scene.policy.admin_user_ids = [ALICE.to_owned()].into();
        scene.policy.home_tenant = Some("22222222-2222-4222-8222-222222222222".parse().unwrap());
    });
    assert_ne!(scene.explain().role.why, RoleWhy::AdminUserIdsPending);
}
