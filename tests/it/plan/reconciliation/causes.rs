//! The cause of each removal, and its evidence.

use entraway::entra_facts::{AccountState, GroupState};
use entraway::plan::source;
use entraway::reconciliation::{Cause, Evidence, KeptBecause, ServicePrincipalState};
use serde_json::json;

use super::{OTHER, OWN, Scene, failed, group, user};

fn exists() -> GroupState {
    GroupState::Exists { name: None, hidden_membership: false }
}

#[test]
fn member_who_is_not_listed_left_the_group() {
    let scene = Scene::new().with_group(1, &[1, 2], &[2, 3]);
    let plan = scene.plan();
    assert_eq!(scene.removals(), [("team", group(1).to_string(), user(1), Cause::LeftGroup)]);
    assert_eq!((plan.changes[0].group, plan.changes[0].evidence), (group(1), Evidence::MemberList { members: 2 }));
    assert_eq!((plan.compared, plan.is_held(), plan.is_unknown()), (2, false, false));
}

#[test]
fn unassigned_and_deleted_groups_differ_by_their_state() {
    for (state, cause) in [(exists(), Cause::GroupUnassigned), (GroupState::Gone, Cause::GroupDeleted)] {
        let mut scene = Scene::new().with_group(1, &[1], &[1]).with_group(2, &[2], &[2]);
        scene.unassign(group(1));
        scene.facts.groups.insert(group(1), state);
        assert_eq!(scene.removals(), [("team", group(1).to_string(), user(1), cause)]);
        assert_eq!(scene.plan().changes[0].evidence, Evidence::Assignments { assigned: 1 });
    }
}

#[test]
fn deleted_account_is_the_cause() {
    let mut scene = Scene::new().with_group(1, &[1, 2], &[2]);
    scene.facts.accounts.insert(user(1), AccountState::Deleted);
    assert_eq!(scene.removals(), [("team", group(1).to_string(), user(1), Cause::AccountDeleted)]);
}

#[test]
fn disabled_account_keeps_memberships_that_are_listed() {
    let mut scene = Scene::new().with_group(1, &[1, 2], &[1]);
    for n in [1, 2] {
        scene.facts.accounts.insert(user(n), AccountState::Disabled);
    }
    assert_eq!(scene.removals(), [("team", group(1).to_string(), user(2), Cause::LeftGroup)]);
}

#[test]
fn soft_deleted_or_unknown_account_keeps_its_memberships() {
    let mut scene = Scene::new().with_group(1, &[1, 2], &[]);
    scene.facts.accounts.insert(user(1), AccountState::SoftDeleted);
    scene.facts.accounts.insert(user(2), AccountState::Unknown(failed("graph_forbidden")));
    assert_eq!(scene.removals(), []);
    let unknown = KeptBecause::AccountUnknown(failed("graph_forbidden"));
    assert_eq!(scene.kept(), [(user(1), KeptBecause::AccountSoftDeleted), (user(2), unknown)]);
}

#[test]
fn only_sources_of_this_installation_are_compared() {
    let mut scene = Scene::new().with_group(1, &[], &[]);
    let team = group(1).to_string();
    scene.put(&team, 1, vec![source(OTHER, group(1))]);
    scene.put(&team, 2, vec![source(OTHER, group(1)), source(OWN, group(1))]);
    scene.put(&team, 3, vec![]);
    assert_eq!(scene.removals(), [("team", team, user(3), Cause::LeftGroup)], "a version without sources gave it");
    assert_eq!(scene.kept(), [(user(2), KeptBecause::OtherInstallation)]);
    assert_eq!(scene.plan().compared, 2);
}

#[test]
fn organization_membership_ends_with_the_last_team() {
    let mut scene = Scene::new().with_group(1, &[1, 2, 3], &[3]);
    let (own, teams) = (group(1).to_string(), [group(1).to_string(), "manual".to_owned()]);
    scene.put_in_organization(&own, 1, &teams[..1]);
    scene.put_in_organization(&own, 2, &teams);
    scene.put_in_organization(&own, 3, &teams[..1]);
    let removals = scene.removals();
    assert_eq!(removals[2..], [("organization", own, user(1), Cause::LastTeamLeft)], "{removals:?}");
}

#[test]
fn organization_of_another_installation_is_not_judged() {
    let mut scene = Scene::new().with_group(1, &[1], &[1]);
    scene.know(2);
    scene.facts.groups.insert(group(2), exists());
    scene.put_in_organization(&group(2).to_string(), 2, &[]);
    assert_eq!(scene.removals(), []);
}

#[test]
fn organization_membership_without_team_follows_its_group() {
    let mut scene = Scene::new().with_group(1, &[], &[9]);
    let id = group(1).to_string();
    for n in [1, 2] {
        scene.know(n);
        scene.put_in_organization(&id, n, &[]);
    }
    let unknown = AccountState::Unknown(failed("graph_forbidden"));
    scene.facts.accounts.insert(user(2), unknown);
    assert_eq!(scene.removals(), [("organization", id, user(1), Cause::LastTeamLeft)]);
    assert_eq!(scene.kept(), [(user(2), KeptBecause::AccountUnknown(failed("graph_forbidden")))]);
    let plan = scene.plan();
    assert_eq!((plan.compared, plan.compared_without_team), (0, 2));
}

#[test]
fn membership_of_two_groups_ends_with_the_last() {
    let mut scene = Scene::new().with_group(1, &[], &[]).with_group(2, &[], &[1]).with_group(3, &[], &[]);
    let team = group(1).to_string();
    scene.put(&team, 1, vec![source(OWN, group(1)), source(OWN, group(2))]);
    scene.put(&team, 2, vec![source(OWN, group(1)), source(OWN, group(3))]);
    assert_eq!(scene.removals(), [("team", team.clone(), user(2), Cause::LeftGroup)]);
    // Of a group that is no longer assigned, the account need not be known; of the other one, it must be.
    scene.unassign(group(1));
    scene.facts.groups.insert(group(1), exists());
    scene.facts.accounts.insert(user(2), AccountState::Unknown(failed("graph_forbidden")));
    assert_eq!(scene.removals(), []);
    assert_eq!(scene.kept(), [(user(2), KeptBecause::AccountUnknown(failed("graph_forbidden")))]);
}

#[test]
fn organization_whose_group_lists_the_user_is_kept() {
    let mut scene = Scene::new().with_group(1, &[1], &[]).with_group(2, &[], &[1]);
    scene.put_in_organization(&group(2).to_string(), 1, &[group(1).to_string()]);
    assert_eq!(scene.removals(), [("team", group(1).to_string(), user(1), Cause::LeftGroup)]);
}

#[test]
fn all_groups_count_as_assigned_without_service_principal() {
    let mut scene = Scene::new().with_group(1, &[1, 2], &[2]);
    let members = scene.facts.members.clone();
    scene.unassign(group(1));
    scene.facts.members = members;
    scene.facts.service_principal = ServicePrincipalState::NotConfigured;
    assert_eq!(scene.removals(), [("team", group(1).to_string(), user(1), Cause::LeftGroup)]);
    assert!(!scene.plan().is_held(), "{:#?}", scene.plan());
}

#[test]
fn json_names_cause_evidence_and_reason() {
    let mut scene = Scene::new().with_group(1, &[1, 2, 3], &[3]);
    scene.facts.accounts.insert(user(2), AccountState::SoftDeleted);
    let team = group(1);
    assert_eq!(
        json!(scene.plan()),
        json!({
            "changes": [{
                "kind": "team", "id": team, "name": null, "user": user(1), "user_name": null, "is_admin": false,
                "cause": "left_group", "group": team, "evidence": { "what": "member_list", "members": 1 }, "held": false,
            }],
            "kept": [{
                "kind": "team", "id": team, "name": null, "user": user(2), "user_name": null,
                "reason": "account_soft_deleted", "group": team, "cause": null,
            }],
            "incomplete": [], "tripped": [], "compared": 3, "compared_without_team": 0,
            "limits": {
                "group_percent": 50, "group_minimum": 5, "emptied_minimum": 3, "run_percent": 20, "run_minimum": 10,
                "day_percent": 30,
            },
            "hash": null, "approved": null, "max_removals": null, "accounts": [], "additions": [],
        })
    );
}
