//! Properties of removals, over generated managed and manual memberships.

use std::collections::{BTreeMap, BTreeSet};

use entraway::domain::{EntraUser, GroupId, StoreKind};
use entraway::plan::{
    Current, CurrentOrganizationMember, CurrentUserRow, Directory, GroupList, ManagedOrganization, ManagedTeam, Note,
    Plan, PlanScope, source,
};
use entraway::policy::{MembershipSync, Policy};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::generate::{Case, any_group, config, group, identity, time, unknown};

const OWN: &str = "own-installation";

/// One of the five groups, or no group.
fn list() -> impl Strategy<Value = GroupList> {
    let known = btree_set(any_group(), 0..=5)
        .prop_map(|groups| GroupList::Known(groups.into_iter().map(|group| (group, None)).collect()));
    prop_oneof![6 => known, 1 => Just(unknown())]
}

/// A membership that the sync gave: by this installation, another one, both, or a version without sources.
fn managed(team: GroupId) -> impl Strategy<Value = ManagedTeam> {
    let own = source(OWN, team);
    let other = source("another-installation", team);
    let sources = select(vec![vec![], vec![own.clone()], vec![other.clone()], vec![own, other]]);
    let organization = option::weighted(0.7, any_group().prop_map(|id| id.to_string()));
    (sources, organization, any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.9)).prop_map(
        |(sources, organization_id, admin, last_admin, present)| ManagedTeam {
            team_alias: None,
            organization_id,
            sources: sources.into_iter().collect(),
            role: if admin { "admin" } else { "user" }.to_owned(),
            last_admin: admin && last_admin,
            present,
        },
    )
}

fn current() -> impl Strategy<Value = Current> {
    let teams = vec(option::weighted(0.6, any::<()>()), 5).prop_flat_map(|present| {
        let chosen = present.iter().zip(0..).filter_map(|(team, n)| team.map(|()| group(n)));
        chosen.map(|id| managed(id).prop_map(move |managed| (id.to_string(), managed))).collect::<Vec<_>>()
    });
    let manual = select(vec!["manual-team".to_owned(), group(0).to_string()]);
    let organization = (btree_set(manual, 0..=1), prop::bool::weighted(0.2))
        .prop_map(|(teams, last_admin)| ManagedOrganization { organization_alias: None, teams, last_admin });
    let organizations = btree_map(any_group().prop_map(|id| id.to_string()), organization, 0..=4);
    (teams, organizations, btree_set(any_group(), 0..=2), prop::bool::weighted(0.9), prop::bool::weighted(0.1))
        .prop_map(|(teams, mut organizations, blocked_keys, can_remove, superseded)| {
            let managed_teams: BTreeMap<String, ManagedTeam> = teams.into_iter().collect();
            for (id, team) in managed_teams.iter().filter(|(_, team)| team.present) {
                if let Some(organization) = team.organization_id.as_ref().and_then(|id| organizations.get_mut(id)) {
                    organization.teams.insert(id.clone());
                }
            }
            let groups = |team: &String| team.parse::<GroupId>().unwrap();
            let member = CurrentOrganizationMember {
                user_role: Some("internal_user".to_owned()),
                sso_user_role: Some("internal_user".to_owned()),
            };
            Current {
                user: Some(CurrentUserRow {
                    user_id: identity().object_id.to_string().into(),
                    tenant_id: Some(identity().tenant_id),
                    email: None,
                    alias: Some("Alice".to_owned()),
                    role: Some("internal_user_viewer".to_owned()),
                    sso_role: None,
                    offered_roles: BTreeSet::new(),
                    unconfirmed: false,
                    withheld_role: None,
                }),
                teams: managed_teams.iter().map(|(id, team)| (groups(id), team.organization_id.clone())).collect(),
                team_members: managed_teams.iter().filter(|(_, team)| team.present).map(|(id, _)| groups(id)).collect(),
                organization_members: organizations.keys().map(|id| (id.clone(), member.clone())).collect(),
                managed_teams,
                managed_organizations: organizations,
                blocked_keys,
                can_remove,
                superseded,
                ..Current::default()
            }
        })
}

fn case() -> impl Strategy<Value = Case> {
    let assigned = prop_oneof![4 => list().prop_map(Some), 1 => Just(None)];
    let memberships = prop_oneof![6 => Just(MembershipSync::Follow), 1 => Just(MembershipSync::Additive)];
    (current(), assigned, list(), memberships, prop::bool::weighted(0.1)).prop_map(
        |(current, assigned, member_of, memberships, admin)| Case {
            current,
            directory: Directory { assigned, member_of },
            person: EntraUser {
                identity: identity(),
                email: None,
                sign_in_address: None,
                name: None,
                app_roles: vec![],
            },
            policy: Policy {
                memberships,
                client_id: OWN.to_owned(),
                admin_user_ids: admin.then(|| identity().object_id.to_string()).into_iter().collect(),
                ..Policy::default()
            },
            store: StoreKind::LiteLlm,
            now: time("2026-11-21T03:03:20Z"),
        },
    )
}

/// The state after the removals of a plan, for a user who is in no effective group.
fn after(current: &Current, plan: &Plan) -> Current {
    let mut after = current.clone();
    for team in plan.remove_from_teams.keys().chain(&plan.forget_teams) {
        after.managed_teams.remove(team);
    }
    for team in plan.remove_from_teams.keys() {
        for organization in after.managed_organizations.values_mut() {
            organization.teams.remove(team);
        }
    }
    for team in plan.remove_from_teams.keys() {
        after.team_members.remove(&team.parse().unwrap());
    }
    for (team, sources) in &plan.sources {
        after.managed_teams.get_mut(team).unwrap().sources.clone_from(sources);
    }
    for organization in plan.remove_from_organizations.keys() {
        after.managed_organizations.remove(organization);
        after.organization_members.remove(organization);
    }
    after
}

fn removes_nothing(plan: &Plan) -> bool {
    plan.remove_from_teams.is_empty() && plan.remove_from_organizations.is_empty() && plan.sources.is_empty()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn only_managed_memberships_of_left_groups_end(case in case()) {
        let plan = case.plan();
        for team in plan.remove_from_teams.keys() {
            let managed = &case.current.managed_teams[team];
            let group: GroupId = team.parse().unwrap();
            prop_assert!(case.directory.has_left(group), "the user has not left {team}: {plan:#?}");
            let others = managed.sources.iter().any(|text| *text != source(OWN, group));
            prop_assert!(!others, "another installation still gives {team}: {plan:#?}");
            prop_assert!(managed.present && !managed.last_admin, "{plan:#?}");
        }
        for organization in plan.remove_from_organizations.keys() {
            let managed = &case.current.managed_organizations[organization];
            let rest = managed.teams.iter().filter(|team| !plan.remove_from_teams.contains_key(*team)).count();
            prop_assert_eq!(rest, 0, "another team in {} is left: {:#?}", organization, plan);
            prop_assert!(!managed.last_admin, "{plan:#?}");
        }
    }

    #[test]
    fn every_left_group_is_removed_or_the_reason_is_noted(case in case()) {
        let plan = case.plan();
        prop_assume!(case.policy.memberships == MembershipSync::Follow && !case.current.superseded);
        prop_assume!(case.directory.unknown().is_none());
        for (team, managed) in &case.current.managed_teams {
            let group: GroupId = team.parse().unwrap();
            let own = managed.sources.is_empty() || managed.sources.contains(&source(OWN, group));
            if !(managed.present && own && case.directory.has_left(group)) {
                continue;
            }
            let noted = plan.notes.iter().any(|note| matches!(note, Note::RemovalKept { kind: "team", id, .. } if id == team));
            let removed = plan.remove_from_teams.contains_key(team) || plan.sources.contains_key(team);
            prop_assert!(removed != noted, "{team} is neither removed nor noted, or both: {plan:#?}");
        }
    }

    #[test]
    fn unknown_lists_and_additive_mode_remove_nothing(case in case()) {
        let additive = case.policy.memberships == MembershipSync::Additive;
        if additive || case.directory.unknown().is_some() || case.current.superseded {
            let plan = case.plan();
            prop_assert!(removes_nothing(&plan), "{plan:#?}");
        }
    }

    #[test]
    fn listed_admins_and_missing_privileges_keep_everything(case in case()) {
        if !case.policy.admin_user_ids.is_empty() || !case.current.can_remove {
            let plan = case.plan();
            prop_assert!(plan.remove_from_teams.is_empty() && plan.remove_from_organizations.is_empty(), "{plan:#?}");
        }
    }

    #[test]
    fn denied_signin_only_removes(case in case()) {
        let mut planner = case.planner();
        planner.scope = PlanScope::DeniedSignIn;
        let plan = planner.plan(&case.current);
        prop_assert!(!case.current.superseded || removes_nothing(&plan), "{plan:#?}");
        prop_assert!(!plan.creates() && plan.user.is_none() && plan.add_to_teams.is_empty(), "{plan:#?}");
        prop_assert!(plan.add_to_organizations.is_empty() && plan.organization_roles.is_empty(), "{plan:#?}");
    }

    #[test]
    fn applied_removals_leave_nothing_to_remove(case in case()) {
        // Without effective groups, so that only removals are left.
        let GroupList::Known(_) = case.directory.member_of else { return Ok(()) };
        let case = case.being_in(GroupList::Known(BTreeMap::new()));
        let plan = case.plan();
        let again = Case { current: after(&case.current, &plan), ..case.clone() }.plan();
        prop_assert!(removes_nothing(&again) && again.forget_teams.is_empty(), "after {plan:#?}\nagain {again:#?}");
    }
}
