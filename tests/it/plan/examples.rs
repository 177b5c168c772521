//! The same rules, one example each.

use entraway::domain::{EntraUser, StoreKind, UserRole};
use entraway::plan::{
    Current, CurrentTeamModels, Directory, GroupList, Groups, ModelsChange, Note, UserChange, organization_role,
};
use entraway::policy::{Limits, OrgTeamModels, Policy, TeamParams};

use super::generate::{Case, group, identity, time, unknown};
use super::model::apply_to;

fn list(groups: &[(u8, Option<&str>)]) -> GroupList {
    let groups: Groups = groups.iter().map(|(n, name)| (group(*n), name.map(str::to_owned))).collect();
    GroupList::Known(groups)
}

/// Alice is in groups 1 and 3; groups 1 ("Evals") and 2 ("Ops") are assigned; the store is empty; the flag is on.
fn alice() -> Case {
    let limits = Limits { max_budget: Some(100.0), budget_duration: Some("30d".parse().unwrap()), ..Limits::default() };
    Case {
        current: Current::default(),
        directory: Directory {
            assigned: Some(list(&[(1, Some("Evals")), (2, Some("Ops"))])),
            member_of: list(&[(1, Some("Evals")), (3, Some("Not Assigned"))]),
        },
        person: EntraUser {
            identity: identity(),
            email: None,
            sign_in_address: None,
            name: Some("Alice".into()),
            app_roles: Vec::new(),
        },
        policy: Policy {
            also_create_orgs: true,
            team_params: Some(TeamParams { models: vec!["gpt-4".into()], limits, ..TeamParams::default() }),
            ..Policy::default()
        },
        store: StoreKind::Native,
        now: time("2026-11-21T03:03:20Z"),
    }
}

#[test]
fn assigned_groups_become_organizations_and_teams() {
    let plan = alice().plan();
    assert!(plan.organizations.keys().eq(&[group(1), group(2)]), "{plan:#?}");
    assert!(plan.teams.keys().eq(&[group(1), group(2)]), "{plan:#?}");
    assert_eq!(plan.add_to_teams, [group(1)].into(), "not Ops, which she is not in, nor 3, which is not assigned");
    assert_eq!(plan.add_to_organizations, [(group(1).to_string(), UserRole::InternalUserViewer)].into());
    let (organization, team) = (&plan.organizations[&group(1)], &plan.teams[&group(1)]);
    assert_eq!((organization.alias.as_str(), team.alias.as_str()), ("Evals", "Evals"));
    assert_eq!(organization.models, ["gpt-4"]);
    assert_eq!(team.models, ["all-org-models"], "the team may use what its organization may");
    assert_eq!(team.limits, organization.limits);
    assert_eq!(team.budget_reset_at, Some(time("2026-12-01T00:00:00Z")));
    assert_eq!(plan.notes, []);
}

#[test]
fn teams_are_standalone_with_default_models_when_orgs_off() {
    let mut alice = alice();
    alice.policy.also_create_orgs = false;
    let plan = alice.plan();
    assert!(plan.organizations.is_empty() && plan.add_to_organizations.is_empty(), "{plan:#?}");
    let team = &plan.teams[&group(1)];
    assert!(team.organization_id.is_none(), "{team:?}");
    assert_eq!((&team.models[..], team.limits.max_budget), (&["gpt-4".to_owned()][..], Some(100.0)));
}

#[test]
fn standalone_team_stays_when_its_organization_is_created() {
    let mut alice = alice();
    alice.current.teams.insert(group(1), None);
    let plan = alice.plan();
    assert!(!plan.teams.contains_key(&group(1)), "an existing team is not planned: {plan:#?}");
    assert!(plan.organizations.contains_key(&group(1)));
    assert!(
        plan.add_to_teams.contains(&group(1)) && plan.add_to_organizations.contains_key(&group(1).to_string()),
        "{plan:#?}"
    );
    assert_eq!(plan.notes, [Note::TeamStaysStandalone { team: group(1) }]);
}

#[test]
fn new_team_gets_models_of_new_organization() {
    let mut alice = alice();
    alice.policy.org_team_models = OrgTeamModels::Expand;
    let team = &alice.plan().teams[&group(1)];
    assert_eq!((&team.models[..], team.follows_organization), (&["gpt-4".to_owned()][..], true));
}

#[test]
fn new_team_gets_models_of_existing_organization() {
    let mut alice = alice();
    alice.policy.org_team_models = OrgTeamModels::Expand;
    alice.current.organizations = [group(1), group(2)].into();
    alice.current.organization_models = [(group(1), vec!["claude".into(), "gpt-5".into()])].into();
    let plan = alice.plan();
    assert_eq!(plan.teams[&group(1)].models, ["claude", "gpt-5"]);
    // Unreadable models are not "all models".
    let unreadable = &plan.teams[&group(2)];
    assert_eq!((&unreadable.models[..], unreadable.follows_organization), (&["all-org-models".to_owned()][..], false));
}

#[test]
fn team_with_expanded_models_follows_its_organization() {
    let list = |models: &[&str]| models.iter().copied().map(str::to_owned).collect::<Vec<_>>();
    let mut alice = alice();
    alice.policy.org_team_models = OrgTeamModels::Expand;
    alice.current.organizations = [group(1), group(2)].into();
    alice.current.teams = [1, 2].map(|n| (group(n), Some(group(n).to_string()))).into();
    for (models, expanded, follows) in [
        (list(&["a", "b"]), Some(list(&["a", "b"])), true),
        (list(&["b", "a"]), Some(list(&["a", "b"])), true),
        (list(&["a"]), Some(list(&["a", "b"])), false),
        (list(&["a"]), None, false),
        (list(&[]), Some(list(&["a"])), false),
        (list(&[]), Some(list(&[])), true),
        (list(&["all-org-models"]), None, true),
        (list(&["all-org-models"]), Some(list(&["a"])), true),
        (list(&["all-org-models", "a"]), None, false),
    ] {
        let organization = list(&["c"]);
        let team = CurrentTeamModels { models: models.clone(), expanded, organization: organization.clone() };
        alice.current.team_models = [(group(2), team.clone())].into();
        let change = ModelsChange { from: models, to: organization };
        let expected = follows.then_some((group(2), change)).into_iter().collect();
        assert_eq!(alice.plan().team_models, expected, "{team:?}");
    }
    alice.policy.org_team_models = OrgTeamModels::Inherit;
    assert_eq!(alice.plan().team_models, [].into(), "inherit changes no team");
}

#[test]
fn team_in_another_organization_is_joined_there() {
    let mut alice = alice();
    alice.current.teams = [(group(1), Some("sales".to_owned())), (group(2), Some("sales".to_owned()))].into();
    let plan = alice.plan();
    assert!(plan.organizations.is_empty(), "{plan:#?}");
    assert!(plan.add_to_organizations.keys().eq(&["sales"]), "{plan:#?}");
    alice.current.organizations = [group(1)].into();
    assert!(alice.plan().add_to_organizations.keys().eq(&["sales"]), "the group's own organization is left alone");
    alice.person.app_roles = vec!["org_admin".to_owned()];
    let role = alice.plan().add_to_organizations["sales"];
    assert_eq!(role, UserRole::InternalUser, "it has other teams, which a member of one team does not administer");
    alice.policy.also_create_orgs = false;
    assert_eq!(alice.plan().add_to_organizations, [].into(), "without organizations she is added to none");
}

#[test]
fn turning_orgs_off_removes_nothing() {
    let alice = alice();
    let mut later = Case { current: apply_to(&alice.current, &alice.plan(), identity().tenant_id), ..alice };
    later.policy.also_create_orgs = false;
    assert!(later.plan().is_empty(), "{:#?}", later.plan());
}

#[test]
fn plan_without_service_principal_only_joins_existing() {
    let mut alice = alice().assigning(None);
    alice.current.teams.insert(group(3), None);
    alice.current.organizations.insert(group(3));
    let plan = alice.plan();
    assert!(!plan.creates(), "{plan:#?}");
    assert_eq!(plan.add_to_teams, [group(3)].into());
    assert!(plan.add_to_organizations.keys().eq(&[group(3).to_string()]));
}

#[test]
fn unknown_assigned_groups_plan_only_the_user_row() {
    let plan = alice().assigning(Some(unknown())).plan();
    assert!(!plan.creates() && plan.add_to_teams.is_empty() && plan.add_to_organizations.is_empty(), "{plan:#?}");
    assert!(matches!(plan.user, Some(UserChange::Create(_))), "{plan:#?}");
    assert_eq!(plan.notes, [Note::AssignedGroupsUnknown { code: "graph_throttled".into() }]);
}

#[test]
fn group_name_prefers_assignment_then_member_list_then_id() {
    let mut alice = alice();
    alice.directory = Directory {
        assigned: Some(list(&[(1, Some("Evals")), (2, None), (3, None)])),
        member_of: list(&[(1, Some("Renamed")), (2, Some("Ops"))]),
    };
    let plan = alice.plan();
    let aliases: Vec<&str> = plan.teams.values().map(|team| team.alias.as_str()).collect();
    assert_eq!(aliases, ["Evals", "Ops", &group(3).to_string()]);
}

#[test]
fn planned_team_is_standalone_if_organization_is_rejected() {
    let alice = alice();
    let plan = alice.planner().without_organizations(alice.plan(), &[group(1)].into());
    assert!(plan.organizations.keys().eq(&[group(2)]), "{plan:#?}");
    assert!(
        plan.teams[&group(1)].organization_id.is_none() && plan.teams[&group(2)].organization_id.is_some(),
        "{plan:#?}"
    );
    assert_eq!(plan.teams[&group(1)].models, ["gpt-4"]);
    assert!(plan.add_to_teams.contains(&group(1)) && plan.add_to_organizations.is_empty(), "{plan:#?}");
}

#[test]
fn missing_team_or_organization_membership_is_planned() {
    let mut alice = alice();
    let done = apply_to(&alice.current, &alice.plan(), identity().tenant_id);
    alice.current = Current { team_members: [].into(), ..done.clone() };
    let plan = alice.plan();
    assert_eq!((plan.add_to_teams, plan.add_to_organizations.len()), ([group(1)].into(), 0));
    alice.current = Current { organization_members: [].into(), ..done };
    let plan = alice.plan();
    assert_eq!((plan.add_to_teams.len(), plan.add_to_organizations.len()), (0, 1));
}

#[test]
fn global_admin_role_is_not_org_admin_in_organizations() {
    let of = |role| organization_role(role).as_str();
    assert_eq!(of(UserRole::ProxyAdmin), "internal_user");
    assert_eq!(of(UserRole::ProxyAdminViewer), "internal_user_viewer");
    assert_eq!(of(UserRole::OrgAdmin), "org_admin");
    assert_eq!(of(UserRole::InternalUser), "internal_user");
    assert_eq!(of(UserRole::InternalUserViewer), "internal_user_viewer");
}
