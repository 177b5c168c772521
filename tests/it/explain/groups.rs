//! The outcome of each group, and the reason for each membership.

use entraway::domain::StoreKind;
use entraway::explain::{Case, Kind, MembershipWhy, OrganizationVerdict, Places, Source, Standalone, Verdict};
use serde_json::json;

use super::{GROUP, NOW, Scene, TENANT, THEN, read, run, says, team};

#[test]
fn unassigned_group_is_ignored_and_remedy_is_named() {
    let scene = Scene::with(|scene| {
        scene.groups("known", &json!({ GROUP: { "name": "All Staff", "assigned": false } }));
        scene.nothing_there();
    });
    let group = scene.group();
    assert_eq!((group.verdict, group.organization), (Verdict::NotAssigned { in_team: false }, None));
    says(&group.message, &["not assigned", "Enterprise apps → your app → Users and groups"]);

    let group =
        Scene::with(|scene| scene.groups("known", &json!({ GROUP: { "name": null, "assigned": false } }))).group();
    assert_eq!(group.verdict, Verdict::NotAssigned { in_team: true });
    says(&group.message, &["still in its team from an earlier sign-in"]);
}

#[test]
fn effective_group_explains_team_and_organization() {
    let group = Scene::new().group();
    assert_eq!((&group.verdict, &group.organization), (&Verdict::Joined, &Some(OrganizationVerdict::Joined)));
    assert_eq!(group.standalone, None);
    says(&group.message, &["in its team", "also in its organization", "no remedy"]);
}

#[test]
fn organizations_off_expects_no_organization() {
    let group = Scene::with(|scene| {
        scene.policy.also_create_orgs = false;
        scene.standalone(None);
    })
    .group();
    assert_eq!((group.organization, group.standalone), (None, Some(Standalone::OrganizationsOff)));
    says(&group.message, &["entra_groups_also_create_orgs is off", "no remedy"]);
}

#[test]
fn removed_member_is_added_again_at_next_signin() {
    let group = Scene::with(Scene::no_membership).group();
    assert_eq!((&group.verdict, &group.organization), (&Verdict::NotInTeam, &Some(OrganizationVerdict::NotInIt)));
    says(&group.message, &["the user was removed", "are added to its team at the next sign-in", "Sign in again."]);
}

#[test]
fn removal_by_newer_run_counts_more_than_older_list() {
    let removal = |actor: &str, at: &str| {
        read(json!({ "kind": "team", "id": GROUP, "name": null, "at": at, "cause": "left_group", "actor": actor,
                     "run_id": TENANT }))
    };
    let group = |actor, at| {
        Scene::with(|scene| {
            scene.no_membership();
            scene.facts.removals = vec![removal(actor, at)];
        })
        .group()
    };
    let by_run = group("job", "2027-01-01T00:00:00Z");
    says(&by_run.message, &["Removed from the team by the reconciliation of 2027-01-01", "no longer in the group"]);
    assert!(!by_run.message.what.contains("next sign-in"), "{:?}", by_run.message);
    for older in [group("job", "2020-01-01T00:00:00Z"), group("sign_in", "2027-01-01T00:00:00Z")] {
        says(&older.message, &["are added to its team at the next sign-in"]);
    }
}

#[test]
fn partial_membership_does_not_count_and_names_places() {
    let places = Places { roster: true, person: false, membership: false };
    let scene = Scene::with(|scene| {
        scene.store = StoreKind::LiteLlm;
        scene.facts.team_members[0].places = Some(places);
    });
    assert_eq!(scene.group().verdict, Verdict::PartialMembership { places });
    says(&scene.group().message, &["the user's own teams and LiteLLM_TeamMembership", "Sign in again."]);
    assert_eq!(scene.membership().why, MembershipWhy::Partial { places });
    says(&scene.membership().message, &["does not count", "the user's own teams and LiteLLM_TeamMembership"]);
    assert_eq!(scene.ask("evals", &[]).findings[0].case, Case::Blocked);

    let scene = Scene::with(|scene| {
        scene.store = StoreKind::LiteLlm;
        scene.facts.team_members[0].places = Some(Places { roster: true, person: true, membership: true });
    });
    assert_eq!(scene.group().verdict, Verdict::Joined);
}

#[test]
fn database_error_of_organization_is_for_operators_only() {
    let mut scene = Scene::with(|scene| {
        scene.failure("organization");
        scene.standalone(Some(&json!({
            "made_at": THEN, "organizations_on": true, "organization_refused": "P0001: not billable then",
        })));
        scene.facts.organizations.clear();
        scene.facts.organization_members.clear();
    });
    let group = scene.group();
    assert_eq!(group.verdict, Verdict::Joined);
    let at = NOW.parse().unwrap();
    let why = Some("P0001: not billable".to_owned());
    assert_eq!(group.organization, Some(OrganizationVerdict::Refused { at, why }));
    says(
        &group.message,
        &[
            "rejected its organization at 2026-11-26 10:00:00 UTC: “P0001: not billable”.",
            "created at 2026-11-20 10:00:00 UTC, its organization could not be created: “P0001: not billable then”.",
            "Remove the cause in the database",
        ],
    );
    scene.for_operator = false;
    let text = serde_json::to_string(&scene.explain()).unwrap();
    assert!(!text.contains("billable"), "the database's message is for operators: {text}");
    says(&scene.group().message, &["an operator finds the reason in the sync record"]);
}

#[test]
fn refused_and_missing_teams_are_explained() {
    let group = Scene::with(|scene| {
        scene.nothing_there();
        scene.failure("team");
    })
    .group();
    assert_eq!(
        group.verdict,
        Verdict::TeamRefused { at: NOW.parse().unwrap(), why: Some("P0001: not billable".to_owned()) }
    );
    says(&group.message, &["The database rejected the team at 2026-11-26 10:00:00 UTC: “P0001: not billable”."]);

    let group = Scene::with(Scene::nothing_there).group();
    assert_eq!((&group.verdict, &group.organization), (&Verdict::NoTeam, &Some(OrganizationVerdict::NotMade)));
    says(&group.message, &["Each assigned group gets a team at the next sign-in."]);
}

#[test]
fn standalone_team_explains_missing_organization() {
    let made = |on: bool| json!({ "made_at": THEN, "organizations_on": on, "organization_refused": null });
    for (made, words) in [
        (Some(made(false)), "created at 2026-11-20 10:00:00 UTC, when organizations were off"),
        (Some(made(true)), "it was removed from the organization"),
        (None, "it was created by hand"),
    ] {
        let group = Scene::with(|scene| scene.standalone(made.as_ref())).group();
        says(&group.message, &[words, "a standalone team stays standalone"]);
    }
    let group = Scene::with(|scene| scene.facts.teams = read(json!([team(GROUP, Some("billing"), None)]))).group();
    assert_eq!(group.standalone, None);
    says(&group.message, &["in another organization, Evals."]);
}

#[test]
fn group_organization_is_that_of_its_existing_team() {
    let mut scene = Scene::with(|scene| {
        scene.facts.teams = read(json!([team(GROUP, Some("billing"), None)]));
        scene.facts.organization_members =
            read(json!([{ "organization_id": "billing", "role": null, "source": "entra" }]));
    });
    assert_eq!(scene.group().organization, Some(OrganizationVerdict::Joined));
    let membership = |scene: &Scene| {
        let memberships = scene.explain().memberships;
        memberships.into_iter().find(|one| one.kind == Kind::Organization).unwrap().why
    };
    assert_eq!(membership(&scene), MembershipWhy::FromEntra, "the group maps to it");
    scene.facts.organization_members.clear();
    scene.facts.organizations.clear();
    assert_eq!(
        scene.group().organization,
        Some(OrganizationVerdict::NotInIt),
        "no organization is created for the group"
    );
}

#[test]
fn no_service_principal_allows_only_existing_teams() {
    let scene = Scene::with(|scene| {
        scene.groups("not_configured", &json!({ GROUP: { "name": "Evals", "assigned": null } }));
        scene.facts.newest = Some(run(NOW, "signed_in", ["not_configured", "known"]));
    });
    assert_eq!((scene.group().verdict, scene.membership().why), (Verdict::Joined, MembershipWhy::FromEntra));
    says(&scene.explain().readings.assigned_groups.message, &["no service principal", "entra.service_principal_id"]);

    let scene = Scene::with(|scene| {
        scene.groups("not_configured", &json!({ GROUP: { "name": "Evals", "assigned": null } }));
        scene.nothing_there();
    });
    assert_eq!((scene.group().verdict, scene.group().organization), (Verdict::NoServicePrincipal, None));
}

#[test]
fn each_membership_explains_its_source() {
    for (source, groups, why, part) in [
        (
            "entra",
            json!({ GROUP: { "name": null, "assigned": true } }),
            MembershipWhy::FromEntra,
            "and the group counts",
        ),
        ("entra", json!({}), MembershipWhy::GroupLeft, "no longer in. It stays."),
        (
            "entra",
            json!({ GROUP: { "name": null, "assigned": false } }),
            MembershipWhy::GroupNotAssigned,
            "no longer assigned to the app. It stays.",
        ),
        ("manual", json!({}), MembershipWhy::ByHand { of_their_group: false }, "Added by hand, not by Entraway."),
        (
            "manual",
            json!({ GROUP: { "name": null, "assigned": true } }),
            MembershipWhy::ByHand { of_their_group: true },
            "also in the group with this ID",
        ),
    ] {
        let scene = Scene::with(|scene| {
            scene.groups("known", &groups);
            scene.facts.team_members[0].source = read(json!(source));
        });
        assert_eq!(scene.membership().why, why);
        says(&scene.membership().message, &[part]);
    }
    let scene = Scene::with(|scene| {
        scene.store = StoreKind::LiteLlm;
        scene.facts.team_members[0].source = Source::Manual;
    });
    says(&scene.membership().message, &["by LiteLLM itself"]);
    let scene = Scene::with(|scene| scene.facts.reading = None);
    assert_eq!(scene.membership().why, MembershipWhy::GroupUnknown);
}
