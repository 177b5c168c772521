//! Unknown is never empty: each reason why nothing is removed from a group.

use std::collections::BTreeMap;

use entraway::entra_facts::{GroupState, MemberList};
use entraway::plan::GroupList;
use entraway::reconciliation::ServicePrincipalState;
use rstest::rstest;

use super::{Scene, failed, group, tenant, user};

const APPLICATION: &str = "Application.Read.All";
const GROUP_MEMBER: &str = "GroupMember.Read.All";

#[rstest]
#[case::principal_missing(|scene: &mut Scene| scene.facts.service_principal = ServicePrincipalState::Missing,
    "service_principal_missing", "entra.service_principal_id")]
#[case::principal_denied(
    |scene: &mut Scene| scene.facts.service_principal = ServicePrincipalState::Unknown(failed("graph_forbidden")),
    "graph_forbidden", APPLICATION)]
#[case::no_token(|scene: &mut Scene| scene.facts.service_principal = ServicePrincipalState::NoToken(failed("app_token")),
    "app_token", "entraway check")]
#[case::assigned_unknown(|scene: &mut Scene| scene.facts.assigned = GroupList::Unknown(failed("graph_forbidden")),
    "graph_forbidden", APPLICATION)]
#[case::assigned_throttled(|scene: &mut Scene| scene.facts.assigned = GroupList::Unknown(failed("graph_throttled")),
    "graph_throttled", "again in a few minutes")]
#[case::members_denied(|scene: &mut Scene| members(scene, MemberList::Unknown(failed("graph_forbidden"))),
    "graph_forbidden", GROUP_MEMBER)]
#[case::hidden_membership(|scene: &mut Scene| members(scene, MemberList::Unknown(failed("graph_hidden_membership"))),
    "graph_hidden_membership", "visibility")]
#[case::assigned_but_deleted(|scene: &mut Scene| members(scene, MemberList::Gone), "assigned_but_deleted", "again")]
#[case::deleted_without_service_principal(
    deleted_without_service_principal,
    "deleted_without_service_principal",
    "Set entra.service_principal_id"
)]
#[case::members_not_read(|scene: &mut Scene| scene.facts.members.clear(), "not_read", "again")]
#[case::account_not_read(|scene: &mut Scene| scene.facts.accounts.clear(), "not_read", "again")]
#[case::unassigned_state_unknown(|scene: &mut Scene| unassigned(scene, Some(GroupState::Unknown(failed("graph_forbidden")))),
    "graph_forbidden", GROUP_MEMBER)]
#[case::unassigned_state_not_read(|scene: &mut Scene| unassigned(scene, None), "not_read", "again")]
fn incomplete_group_removes_nothing(#[case] change: fn(&mut Scene), #[case] code: &str, #[case] fix: &str) {
    let mut scene = Scene::new().with_group(1, &[1, 2], &[2]);
    let team = group(1).to_string();
    scene.put_in_organization(&team, 1, std::slice::from_ref(&team));
    assert_eq!(scene.plan().changes.len(), 2);
    change(&mut scene);
    let plan = scene.plan();
    assert!(plan.changes.is_empty() && plan.kept.is_empty(), "{plan:#?}");
    let [incomplete] = &plan.incomplete[..] else { panic!("{plan:#?}") };
    assert_eq!((incomplete.group, incomplete.reason.code()), (group(1), code));
    assert!(incomplete.reason.fix().contains(fix), "{}", incomplete.reason.fix());
}

fn members(scene: &mut Scene, list: MemberList) {
    scene.facts.members.insert(group(1), list);
}

/// All groups count as assigned, so a deleted one cannot be told from one that is still assigned.
fn deleted_without_service_principal(scene: &mut Scene) {
    scene.facts.service_principal = ServicePrincipalState::NotConfigured;
    members(scene, MemberList::Gone);
}

fn unassigned(scene: &mut Scene, state: Option<GroupState>) {
    scene.unassign(group(1));
    scene.facts.groups = state.into_iter().map(|state| (group(1), state)).collect();
}

#[rstest]
#[case::members_denied(|scene: &mut Scene| members(scene, MemberList::Unknown(failed("graph_forbidden"))))]
#[case::members_not_read(|scene: &mut Scene| scene.facts.members.clear())]
#[case::account_not_read(|scene: &mut Scene| scene.facts.accounts.clear())]
#[case::assigned_unknown(|scene: &mut Scene| scene.facts.assigned = GroupList::Unknown(failed("graph_forbidden")))]
#[case::principal_missing(|scene: &mut Scene| scene.facts.service_principal = ServicePrincipalState::Missing)]
fn group_with_organization_members_only_is_incomplete(#[case] change: fn(&mut Scene)) {
    let mut scene = Scene::new().with_group(1, &[], &[]);
    scene.know(1);
    let id = group(1).to_string();
    scene.put_in_organization(&id, 1, &[]);
    scene.stored.organizations.get_mut(&id).unwrap().name = Some("Evals".to_owned());
    assert_eq!(scene.plan().changes.len(), 1);
    change(&mut scene);
    let plan = scene.plan();
    assert!(plan.changes.is_empty() && plan.is_unknown(), "{plan:#?}");
    let [incomplete] = &plan.incomplete[..] else { panic!("{plan:#?}") };
    assert_eq!((incomplete.group, incomplete.name.as_deref()), (group(1), Some("Evals")));
    assert!(incomplete.users.contains(&user(1)) && incomplete.targets.contains(&id), "{incomplete:#?}");
}

#[test]
fn complete_group_beside_an_incomplete_one_is_compared() {
    let mut scene = Scene::new().with_group(1, &[1], &[]).with_group(2, &[2, 3], &[3]);
    members(&mut scene, MemberList::Unknown(failed("graph_timeout")));
    let plan = scene.plan();
    assert_eq!(plan.changes.iter().map(|change| change.user).collect::<Vec<_>>(), [user(2)]);
    assert_eq!((plan.compared, plan.is_unknown()), (2, false), "the base has complete groups only");
}

#[test]
fn users_of_an_unconfigured_tenant_are_kept() {
    let mut scene = Scene::new().with_group(1, &[1], &[]);
    let stranger = scene.stored.users.get_mut(&user(1)).unwrap();
    stranger.identity.tenant_id = uuid::Uuid::from_u128(0x9999).into();
    assert_ne!(stranger.identity.tenant_id, tenant());
    let plan = scene.plan();
    assert_eq!(plan.incomplete[0].reason.code(), "tenant_not_configured");
    assert!(plan.changes.is_empty() && plan.is_unknown(), "{plan:#?}");
}

#[test]
fn empty_assigned_list_holds_every_removal() {
    let mut scene = Scene::new().with_group(1, &[1], &[1]);
    scene.facts.assigned = GroupList::Known(BTreeMap::new());
    let exists = GroupState::Exists { name: None, hidden_membership: false };
    scene.facts.groups.insert(group(1), exists);
    let plan = scene.plan();
    assert!(plan.changes.len() == 1 && plan.changes[0].held, "{plan:#?}");
}
