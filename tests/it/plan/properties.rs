//! Properties of every sign-in: groups, teams, organizations and memberships.

use std::collections::BTreeSet;

use entraway::domain::GroupId;
use entraway::plan::{Budget, Current, GroupList, Groups, Note, Plan, RoleScope, UserChange};
use entraway::policy::{BudgetDuration, OrgTeamModels};
use proptest::prelude::*;

use super::generate::{Case, any_group, case, config, identity, shuffled};
use super::model::apply_to;

/// The groups of a list, if it was read.
fn known(reading: &GroupList) -> BTreeSet<GroupId> {
    match reading {
        GroupList::Known(groups) => groups.keys().copied().collect(),
        GroupList::Unknown(_) => BTreeSet::new(),
    }
}

/// The case after its plan was applied.
fn afterwards(case: &Case, plan: &Plan) -> Case {
    Case { current: apply_to(&case.current, plan, identity().tenant_id), ..case.clone() }
}

/// The organization of a group's team, if it is not the group's own.
fn elsewhere(current: &Current, group: GroupId) -> Option<&String> {
    current.teams.get(&group)?.as_ref().filter(|id| **id != group.to_string())
}

/// The organization of a group.
fn organization_of(current: &Current, group: GroupId) -> String {
    elsewhere(current, group).cloned().unwrap_or_else(|| group.to_string())
}

/// Models as a set.
fn set(models: &[String]) -> BTreeSet<&String> {
    models.iter().collect()
}

/// The plan without one group.
fn leaving_out(mut plan: Plan, group: GroupId, current: &Current) -> Plan {
    plan.organizations.remove(&group);
    plan.teams.remove(&group);
    plan.team_models.remove(&group);
    plan.add_to_teams.remove(&group);
    plan.member_budgets.remove(&group);
    // Another role in its organizations is possible, since another group's team may have been moved there.
    for id in [group.to_string(), organization_of(current, group)] {
        plan.add_to_organizations.remove(&id);
        plan.organization_roles.remove(&id);
        plan.role_changes.retain(|change| change.scope != RoleScope::Organization(id.clone()));
    }
    plan.notes.retain(|note| *note != Note::TeamStaysStandalone { team: group });
    plan
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn applied_plan_leaves_nothing_to_do(case in case()) {
        let plan = case.plan();
        let again = afterwards(&case, &plan).plan();
        prop_assert!(again.is_empty(), "after {plan:#?}\na second sign-in still plans {again:#?}");
    }

    #[test]
    fn plan_is_empty_iff_it_changes_nothing(case in case()) {
        // The whole plan, and each part alone: a plan with only one membership is rare and easily missed.
        let whole = case.plan();
        let parts = [
            Plan { organizations: whole.organizations.clone(), ..Plan::default() },
            Plan { teams: whole.teams.clone(), ..Plan::default() },
            Plan { user: whole.user.clone(), ..Plan::default() },
            Plan { team_models: whole.team_models.clone(), ..Plan::default() },
            Plan { add_to_organizations: whole.add_to_organizations.clone(), ..Plan::default() },
            Plan { organization_roles: whole.organization_roles.clone(), ..Plan::default() },
            Plan { add_to_teams: whole.add_to_teams.clone(), ..Plan::default() },
            Plan { notes: whole.notes.clone(), ..Plan::default() },
            Plan { role_changes: whole.role_changes.clone(), ..Plan::default() },
            whole,
        ];
        for plan in parts {
            let changes = afterwards(&case, &plan).current != case.current;
            prop_assert_eq!(plan.is_empty(), !changes, "the sync writes plans that are not empty: {:#?}", plan);
            let nothing = !plan.creates() && plan.team_models.is_empty() && !plan.writes_user();
            prop_assert_eq!(plan.is_empty(), nothing, "{:#?}", plan);
        }
    }

    #[test]
    fn plan_contains_no_existing_rows(case in case()) {
        let (plan, current) = (case.plan(), &case.current);
        for id in plan.organizations.keys() {
            prop_assert!(!current.organizations.contains(id), "organization {id} exists and is planned: {plan:#?}");
        }
        for id in plan.teams.keys() {
            prop_assert!(!current.teams.contains_key(id), "team {id} exists and is planned: {plan:#?}");
        }
        for id in plan.add_to_organizations.keys() {
            let member = current.organization_members.contains_key(id);
            prop_assert!(!member, "the user is in organization {id} already: {plan:#?}");
        }
        for id in &plan.add_to_teams {
            prop_assert!(!current.team_members.contains(id), "the user is in team {id} already: {plan:#?}");
        }
        let created = matches!(plan.user, Some(UserChange::Create(_)));
        prop_assert_eq!(created, current.user.is_none(), "exactly a missing user is created: {:#?}", plan);
    }

    #[test]
    fn assigned_group_ends_as_team_and_organization(case in case()) {
        let plan = case.plan();
        let after = afterwards(&case, &plan).current;
        for id in case.directory.assigned.as_ref().map(known).unwrap_or_default() {
            prop_assert!(after.teams.contains_key(&id), "no team for the assigned group {id}: {plan:#?}");
            if let Some(other) = elsewhere(&case.current, id) {
                let none = !plan.organizations.contains_key(&id);
                prop_assert!(none, "the team is in {other}, and an organization is created for {id}: {plan:#?}");
            } else {
                let organization = after.organizations.contains(&id) || !case.policy.also_create_orgs;
                prop_assert!(organization, "no organization for the assigned group {id}: {plan:#?}");
            }
        }
    }

    #[test]
    fn user_ends_in_all_effective_groups(case in case()) {
        let plan = case.plan();
        let after = afterwards(&case, &plan).current;
        // Without a service principal: in existing teams with the IDs of their groups.
        let effective_groups = match &case.directory.assigned {
            None => known(&case.directory.member_of),
            Some(assigned) => known(assigned).intersection(&known(&case.directory.member_of)).copied().collect(),
        };
        for id in effective_groups {
            let in_team = after.team_members.contains(&id) || !after.teams.contains_key(&id);
            prop_assert!(in_team, "the user was not added to team {id}: {plan:#?}");
            let nothing_to_join = elsewhere(&case.current, id).is_none() && !after.organizations.contains(&id);
            let in_organization = after.organization_members.contains_key(&organization_of(&case.current, id))
                || nothing_to_join
                || !case.policy.also_create_orgs;
            prop_assert!(in_organization, "the user was not added to organization {id}: {plan:#?}");
        }
    }

    #[test]
    fn user_joins_only_effective_groups(case in case()) {
        let plan = case.plan();
        let member_of = known(&case.directory.member_of);
        let counts = |id: &GroupId| {
            member_of.contains(id) && case.directory.assigned.as_ref().is_none_or(|assigned| known(assigned).contains(id))
        };
        for id in &plan.add_to_teams {
            prop_assert!(counts(id), "added, although the user is not in group {id} or it is not assigned: {plan:#?}");
        }
        let leads: BTreeSet<String> =
            member_of.iter().filter(|id| counts(id)).map(|id| organization_of(&case.current, *id)).collect();
        for id in plan.add_to_organizations.keys() {
            prop_assert!(leads.contains(id), "no effective group has organization {id}: {plan:#?}");
        }
    }

    #[test]
    fn only_assigned_groups_are_created(case in case()) {
        let plan = case.plan();
        let assigned = case.directory.assigned.as_ref().map(known).unwrap_or_default();
        for id in plan.teams.keys().chain(plan.organizations.keys()) {
            prop_assert!(assigned.contains(id), "group {id} is not assigned but created: {plan:#?}");
        }
    }

    #[test]
    fn joined_and_referenced_rows_exist_or_are_planned(case in case()) {
        let plan = case.plan();
        let after = afterwards(&case, &plan).current;
        for id in &plan.add_to_teams {
            prop_assert!(after.teams.contains_key(id), "adds to team {id}, which does not exist: {plan:#?}");
        }
        let mut there: BTreeSet<String> = after.organizations.iter().map(ToString::to_string).collect();
        there.extend(case.current.teams.values().flatten().cloned());
        for id in plan.add_to_organizations.keys() {
            prop_assert!(there.contains(id), "adds to organization {id}, which does not exist: {plan:#?}");
        }
        for (id, team) in &plan.teams {
            let default = case.policy.team_params.as_ref().and_then(|params| params.organization_id.clone());
            let organization = if case.policy.also_create_orgs { Some(id.to_string()) } else { default };
            prop_assert_eq!(&team.organization_id, &organization, "team {} by the flag: {:#?}", id, plan);
            let sound = !case.policy.also_create_orgs || after.organizations.contains(id);
            prop_assert!(sound, "team {id} is in an organization that does not exist: {plan:#?}");
        }
        for id in plan.organization_roles.keys() {
            let member = case.current.organization_members.contains_key(id);
            prop_assert!(member, "the role in {id} changes without a membership: {plan:#?}");
        }
    }

    #[test]
    fn plan_has_no_organizations_when_orgs_off(mut case in case()) {
        case.policy.also_create_orgs = false;
        let plan = case.plan();
        prop_assert_eq!(plan.organizations.len(), 0, "the flag is off: {:#?}", plan);
        prop_assert_eq!(plan.add_to_organizations.len(), 0, "the flag is off: {:#?}", plan);
        prop_assert!(plan.teams.iter().all(|(id, team)| team.organization_id != Some(id.to_string())), "the flag is off: {plan:#?}");
    }

    #[test]
    fn created_rows_have_default_params_and_a_name(case in case()) {
        let plan = case.plan();
        let params = case.policy.team_params.clone().unwrap_or_default();
        let reset = params.limits.budget_duration.as_ref().map(|duration| duration.next_reset(case.now));
        for (id, new) in &plan.organizations {
            prop_assert_eq!(&new.models, &params.models, "organization {}", id);
            prop_assert_eq!((&new.limits, new.budget_reset_at), (&params.limits, reset), "organization {}", id);
            prop_assert_eq!(&new.alias, &plan.teams.get(id).map_or(new.alias.clone(), |team| team.alias.clone()));
            prop_assert!(!new.alias.is_empty(), "organization {id} has no alias");
        }
        for (id, new) in &plan.teams {
            let own = new.organization_id == Some(id.to_string());
            let organization = plan.organizations.get(id).map(|new| &new.models);
            let organization = organization.or(case.current.organization_models.get(id));
            let expanded = organization.filter(|_| own && case.policy.org_team_models == OrgTeamModels::Expand);
            let inherited = vec!["all-org-models".to_owned()];
            let models = expanded.unwrap_or(if own { &inherited } else { &params.models });
            prop_assert_eq!(&new.models, models, "team {}", id);
            prop_assert_eq!(new.follows_organization, expanded.is_some(), "team {}", id);
            prop_assert_eq!((&new.limits, new.budget_reset_at), (&params.limits, reset), "team {}", id);
            prop_assert_eq!(&new.access_group_ids, &params.access_group_ids, "team {}", id);
            prop_assert_eq!(&new.team_member_permissions, &params.team_member_permissions, "team {}", id);
            prop_assert_eq!(&new.metadata, &params.metadata, "team {}", id);
            let budget = params.member_limits.clone().map(|limits| Budget {
                reset_at: limits.budget_duration.as_ref().map(|duration| duration.next_reset(case.now)),
                limits,
            });
            prop_assert_eq!(&new.member_budget, &budget, "team {}", id);
            prop_assert!(!new.alias.is_empty(), "team {id} has no alias");
        }
    }

    #[test]
    fn team_models_follow_only_if_the_sync_wrote_them(case in case()) {
        let plan = case.plan();
        let asked = case.directory.group_ids();
        let expands = case.policy.org_team_models == OrgTeamModels::Expand;
        for (id, team) in &case.current.team_models {
            let inherits = team.models == ["all-org-models"];
            let ours = inherits || team.expanded.as_ref().is_some_and(|ours| set(ours) == set(&team.models));
            let due = expands && asked.contains(id) && ours && set(&team.models) != set(&team.organization);
            let change = plan.team_models.get(id).map(|change| (&change.from, &change.to));
            prop_assert_eq!(change, due.then_some((&team.models, &team.organization)), "team {}: {:?}", id, team);
        }
        prop_assert!(plan.team_models.keys().all(|id| case.current.team_models.contains_key(id)), "{plan:#?}");
    }

    #[test]
    fn member_budgets_take_duration_of_their_team(case in case()) {
        let plan = case.plan();
        for id in &plan.add_to_teams {
            let duration = case.current.member_budget_durations.get(id).cloned().flatten().filter(|text| !text.is_empty());
            let reset = plan.member_budgets.get(id);
            prop_assert_eq!(reset.map(|reset| &reset.budget_duration), duration.as_ref(), "team {}", id);
            let next = duration.and_then(|text| text.parse::<BudgetDuration>().ok()).map(|text| text.next_reset(case.now));
            prop_assert_eq!(reset.and_then(|reset| reset.budget_reset_at), next, "team {}", id);
        }
        prop_assert!(plan.member_budgets.keys().all(|id| plan.add_to_teams.contains(id)), "{plan:#?}");
    }

    #[test]
    fn plan_is_independent_of_input_order(case in case(), seed in any::<u64>()) {
        let plan = case.plan();
        prop_assert_eq!(&plan, &case.plan(), "the same input twice");
        prop_assert_eq!(&plan, &shuffled(&case, seed).plan(), "the same input in another order");
    }

    #[test]
    fn extra_group_does_not_affect_other_groups(
        case in case(),
        group in any_group(),
        (assigned, joined) in prop::sample::select(vec![(true, false), (false, true), (true, true)]),
    ) {
        let current = case.current.clone();
        let (mut without, mut with) = (case.clone(), case);
        let change = |case: &mut Case, change: &dyn Fn(&mut Groups)| {
            if let Some(GroupList::Known(groups)) = case.directory.assigned.as_mut().filter(|_| assigned) {
                change(groups);
            }
            if let (true, GroupList::Known(groups)) = (joined, &mut case.directory.member_of) {
                change(groups);
            }
        };
        change(&mut without, &|groups| _ = groups.remove(&group));
        change(&mut with, &|groups| _ = groups.insert(group, Some("One More".to_owned())));
        let (without, with) = (without.plan(), with.plan());
        let [without, with] = [without, with].map(|plan| leaving_out(plan, group, &current));
        prop_assert_eq!(without, with, "without and with group {}", group);
    }

    #[test]
    fn plan_ignores_stored_groups_not_in_directory(case in case()) {
        let asked = case.directory.group_ids();
        let mut narrow = case.clone();
        narrow.current.organizations.retain(|id| asked.contains(id));
        narrow.current.teams.retain(|id, _| asked.contains(id));
        narrow.current.team_members.retain(|id| asked.contains(id));
        narrow.current.organization_models.retain(|id, _| asked.contains(id));
        narrow.current.team_models.retain(|id, _| asked.contains(id));
        narrow.current.member_budget_durations.retain(|id, _| asked.contains(id));
        prop_assert_eq!(case.plan(), narrow.plan(), "the store is read only for {:?}", asked);
    }

    #[test]
    fn failed_organization_affects_only_its_own_group(
        mut case in case(),
        choice in prop::collection::vec(any::<bool>(), 5),
    ) {
        case.policy.also_create_orgs = true;
        let plan = case.plan();
        let chosen = plan.organizations.keys().zip(choice).filter(|(_, fails)| *fails);
        let failed: BTreeSet<GroupId> = chosen.map(|(id, _)| *id).collect();
        let left = case.planner().without_organizations(plan.clone(), &failed);

        let refers = |id: &GroupId| {
            left.organizations.contains_key(id)
                || left.add_to_organizations.contains_key(&id.to_string())
                || left.teams.get(id).is_some_and(|team| team.organization_id == Some(id.to_string()))
        };
        prop_assert!(!failed.iter().any(refers), "{failed:?} could not be created, but the plan is {left:#?}");
        let models = case.policy.team_params.clone().unwrap_or_default().models;
        for (id, team) in left.teams.iter().filter(|(id, _)| failed.contains(id)) {
            prop_assert_eq!(&team.models, &models, "team {} has no organization to take its models from", id);
        }
        prop_assert_eq!(plan.teams.keys().collect::<Vec<_>>(), left.teams.keys().collect::<Vec<_>>());
        prop_assert_eq!(&plan.add_to_teams, &left.add_to_teams, "team memberships are still added");
        let others = |plan: Plan| failed.iter().fold(plan, |plan, id| leaving_out(plan, *id, &case.current));
        prop_assert_eq!(others(plan), others(left.clone()), "other groups than {:?}", failed);

        let again = afterwards(&case, &left).plan();
        let failed_ids: BTreeSet<String> = failed.iter().map(ToString::to_string).collect();
        let joins = again.add_to_organizations.keys().all(|id| failed_ids.contains(id));
        prop_assert!(joins && again.organizations.keys().all(|id| failed.contains(id)), "the next sign-in plans {again:#?}");
        prop_assert!(failed.iter().all(|id| again.organizations.contains_key(id)), "not tried again: {again:#?}");
        let rest = again.user.is_none() && again.teams.is_empty() && again.add_to_teams.is_empty();
        prop_assert!(rest && again.organization_roles.is_empty(), "more than {failed:?} is left to do: {again:#?}");
    }

    #[test]
    fn failed_team_is_not_joined_and_affects_no_other_group(
        case in case(),
        choice in prop::collection::vec(any::<bool>(), 5),
    ) {
        let plan = case.plan();
        let chosen = plan.teams.keys().zip(choice).filter(|(_, fails)| *fails);
        let failed: BTreeSet<GroupId> = chosen.map(|(id, _)| *id).collect();
        let left = case.planner().without_teams(plan.clone(), &failed);
        let refers = |id: &GroupId| left.teams.contains_key(id) || left.add_to_teams.contains(id);
        prop_assert!(!failed.iter().any(refers), "{failed:?} could not be created, but the plan is {left:#?}");
        prop_assert_eq!((&plan.organizations, &plan.add_to_organizations), (&left.organizations, &left.add_to_organizations));
        let others = |plan: Plan| failed.iter().fold(plan, |plan, id| leaving_out(plan, *id, &case.current));
        prop_assert_eq!(others(plan), others(left), "other groups than {:?}", failed);
    }
}
