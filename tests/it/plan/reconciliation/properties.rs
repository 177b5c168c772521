//! Properties of plans, over generated stores and answers of Entra.

use std::collections::{BTreeMap, BTreeSet};

use entraway::domain::{GroupId, Identity, ObjectId};
use entraway::entra_facts::{AccountState, GroupState, MemberList, Members};
use entraway::plan::{GroupList, source};
use entraway::reconciliation::{
    Cause, Change, Gate, Limits, ServicePrincipalState, SettingsState, StoredMember, StoredOrganization, StoredTeam,
    StoredUser,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::super::generate::config;
use super::{OTHER, OWN, Scene, failed, group, tenant, user};

const USERS: u8 = 6;
const GROUPS: u8 = 4;

fn any_user() -> impl Strategy<Value = u8> {
    0..USERS
}

fn principal() -> impl Strategy<Value = ServicePrincipalState> {
    prop_oneof![
        12 => Just(ServicePrincipalState::Exists),
        2 => Just(ServicePrincipalState::NotConfigured),
        1 => Just(ServicePrincipalState::Missing),
        1 => Just(ServicePrincipalState::NoToken(failed("app_token"))),
        1 => Just(ServicePrincipalState::Unknown(failed("graph_timeout"))),
    ]
}

fn assigned() -> impl Strategy<Value = GroupList> {
    let known = btree_set(0..GROUPS, 0..=usize::from(GROUPS))
        .prop_map(|groups| GroupList::Known(groups.into_iter().map(|n| (group(n), None)).collect()));
    prop_oneof![8 => known, 1 => Just(GroupList::Unknown(failed("graph_forbidden")))]
}

fn list() -> impl Strategy<Value = Option<MemberList>> {
    let complete = btree_set(any_user(), 0..=usize::from(USERS)).prop_map(|users| {
        let users: Vec<ObjectId> = users.into_iter().map(user).collect();
        Some(MemberList::Complete(Members::from(users)))
    });
    let other =
        select(vec![None, Some(MemberList::Gone), Some(MemberList::Unknown(failed("graph_hidden_membership")))]);
    prop_oneof![6 => complete, 1 => other]
}

fn state() -> impl Strategy<Value = Option<GroupState>> {
    select(vec![
        None,
        Some(GroupState::Exists { name: None, hidden_membership: false }),
        Some(GroupState::Gone),
        Some(GroupState::Unknown(failed("graph_throttled"))),
    ])
}

fn account() -> impl Strategy<Value = Option<AccountState>> {
    let other = select(vec![
        None,
        Some(AccountState::Disabled),
        Some(AccountState::SoftDeleted),
        Some(AccountState::Deleted),
        Some(AccountState::Unknown(failed("graph_forbidden"))),
    ]);
    prop_oneof![3 => Just(Some(AccountState::Enabled)), 1 => other]
}

fn members(number: u8) -> impl Strategy<Value = StoredTeam> {
    let (own, other) = (source(OWN, group(number)), source(OTHER, group(number)));
    let sources = select(vec![vec![], vec![own.clone()], vec![own.clone()], vec![other.clone()], vec![own, other]]);
    let member = (any_user(), prop::bool::weighted(0.3), sources).prop_map(|(n, is_admin, sources)| StoredMember {
        user: user(n),
        is_admin,
        sources,
        teams: vec![],
    });
    (vec(member, 0..=5), btree_set(any_user(), 0..=1)).prop_map(|(members, manual_admins)| {
        let members: BTreeMap<ObjectId, StoredMember> = members.into_iter().map(|one| (one.user, one)).collect();
        let leading = members.values().filter(|member| member.is_admin).map(|member| member.user);
        // A manual administrator is no managed member.
        let manual = manual_admins.into_iter().map(user).filter(|user| !members.contains_key(user));
        let admins = leading.chain(manual).collect();
        StoredTeam { name: None, admins, members: members.into_values().collect() }
    })
}

fn gate() -> impl Strategy<Value = Gate> {
    let settings =
        select(vec![SettingsState::Accepted, SettingsState::Accepted, SettingsState::First, SettingsState::Changed]);
    let limits = prop_oneof![
        Just(Limits::default()),
        Just(Limits {
            group_percent: 30,
            group_minimum: 1,
            emptied_minimum: 1,
            run_percent: 50,
            run_minimum: 2,
            day_percent: 10
        }),
    ];
    (settings, limits, 0..4_usize).prop_map(|(settings, limits, removed_last_day)| Gate {
        limits,
        settings,
        removed_last_day,
        ..Gate::default()
    })
}

pub(super) fn scene() -> impl Strategy<Value = Scene> {
    let groups = usize::from(GROUPS);
    let lists = (vec(list(), groups), vec(state(), groups), vec(account(), usize::from(USERS)));
    let teams: Vec<_> = (0..GROUPS).map(members).collect();
    let organizations = vec((0..GROUPS, any_user(), prop::bool::weighted(0.2)), 0..=5);
    (principal(), assigned(), lists, teams, organizations, prop::bool::weighted(0.9), gate()).prop_map(
        |(service_principal, assigned, (lists, states, accounts), teams, organizations, can_remove, gate)| {
            let mut scene = Scene { gate, ..Scene::new() };
            scene.facts.service_principal = service_principal;
            scene.facts.assigned = assigned;
            scene.facts.members = numbered(lists);
            scene.facts.groups = numbered(states);
            let accounts = accounts.into_iter().zip(0..).filter_map(|(state, n)| Some((user(n), state?)));
            scene.facts.accounts = accounts.collect();
            for n in 0..USERS {
                let identity = Identity { tenant_id: tenant(), object_id: user(n) };
                scene.stored.users.insert(user(n), StoredUser { identity, name: None });
            }
            scene.stored.teams = teams.into_iter().zip(0..).map(|(team, n)| (group(n).to_string(), team)).collect();
            for (number, n, manual_team) in organizations {
                // The organization of the groups has the group's own team.
                let id = group(number).to_string();
                let own = scene.stored.teams[&id].members.iter().any(|member| member.user == user(n));
                let teams = [own.then(|| id.clone()), manual_team.then(|| "manual".to_owned())];
                let teams = teams.into_iter().flatten().collect();
                let member = StoredMember { user: user(n), is_admin: false, sources: vec![], teams };
                let organization: &mut StoredOrganization = scene.stored.organizations.entry(id).or_default();
                if organization.members.iter().all(|other| other.user != member.user) {
                    organization.members.push(member);
                }
            }
            if !can_remove {
                scene.stored.missing_privileges.push("DELETE".to_owned());
            }
            scene
        },
    )
}

fn numbered<T>(items: Vec<Option<T>>) -> BTreeMap<GroupId, T> {
    items.into_iter().zip(0..).filter_map(|(item, n)| Some((group(n), item?))).collect()
}

/// Whether Entra's answers prove the cause, written independently of the planner.
fn is_proven(scene: &Scene, change: &Change) -> bool {
    let facts = &scene.facts;
    let GroupList::Known(assigned) = &facts.assigned else { return false };
    let all = facts.service_principal == ServicePrincipalState::NotConfigured;
    if !all && facts.service_principal != ServicePrincipalState::Exists {
        return false;
    }
    let counts = all || assigned.contains_key(&change.group);
    let absent =
        matches!(facts.members.get(&change.group), Some(MemberList::Complete(list)) if !list.contains(change.user));
    let account = facts.accounts.get(&change.user);
    match change.cause {
        Cause::LeftGroup => counts && absent && matches!(account, Some(AccountState::Enabled | AccountState::Disabled)),
        Cause::AccountDeleted => counts && absent && account == Some(&AccountState::Deleted),
        Cause::GroupUnassigned => !counts && matches!(facts.groups.get(&change.group), Some(GroupState::Exists { .. })),
        Cause::GroupDeleted => !counts && facts.groups.get(&change.group) == Some(&GroupState::Gone),
        Cause::LastTeamLeft => change.target.kind == "organization",
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn unknown_never_removes(scene in scene()) {
        for change in scene.plan().changes {
            prop_assert!(is_proven(&scene, &change), "{change:#?}");
        }
    }

    #[test]
    fn only_managed_memberships_of_this_installation_end(scene in scene()) {
        let plan = scene.plan();
        for change in plan.changes.iter().filter(|change| change.target.kind == "team") {
            let team = &scene.stored.teams[&change.target.id];
            let member = team.members.iter().find(|member| member.user == change.user);
            let own = |sources: &[String]| sources.iter().all(|text| text.starts_with(OWN));
            prop_assert!(member.is_some_and(|member| own(&member.sources)), "a manual or another row: {change:#?}");
        }
        let left: BTreeSet<_> = plan.changes.iter().map(|change| (change.user, change.target.id.as_str())).collect();
        for change in plan.changes.iter().filter(|change| change.target.kind == "organization") {
            let organization = &scene.stored.organizations[&change.target.id];
            let member = organization.members.iter().find(|member| member.user == change.user).unwrap();
            let all_left = member.teams.iter().all(|team| left.contains(&(change.user, team.as_str())));
            prop_assert!(all_left, "the user has another team in the organization: {change:#?}");
        }
    }

    #[test]
    fn every_compared_membership_is_removed_kept_or_listed(scene in scene()) {
        let plan = scene.plan();
        let GroupList::Known(assigned) = &scene.facts.assigned else { return Ok(()) };
        prop_assume!(scene.facts.service_principal == ServicePrincipalState::Exists);
        for (id, team) in &scene.stored.teams {
            let group: GroupId = id.parse().unwrap();
            let Some(MemberList::Complete(list)) = scene.facts.members.get(&group) else { continue };
            for member in &team.members {
                let own = member.sources.is_empty() || member.sources.contains(&source(OWN, group));
                let known = scene.facts.accounts.contains_key(&member.user);
                if !own || !known || !assigned.contains_key(&group) || list.contains(member.user) {
                    continue;
                }
                let here = |target: &str, user| target == id && user == member.user;
                let removed = plan.changes.iter().any(|change| here(&change.target.id, change.user) && change.target.kind == "team");
                let kept = plan.kept.iter().any(|kept| here(&kept.target.id, kept.user) && kept.target.kind == "team");
                prop_assert!(removed != kept, "neither or both for {member:?} in {id}: {plan:#?}");
            }
        }
    }

    #[test]
    fn team_never_loses_its_last_enabled_admin(scene in scene()) {
        let plan = scene.plan();
        let enabled = |user: &ObjectId| scene.facts.accounts.get(user) == Some(&AccountState::Enabled);
        for (id, team) in &scene.stored.teams {
            let removed: BTreeSet<ObjectId> = plan
                .changes
                .iter()
                .filter(|change| change.target.kind == "team" && change.target.id == *id)
                .map(|change| change.user)
                .collect();
            let had = team.admins.iter().any(enabled);
            let has = team.admins.iter().any(|user| enabled(user) && !removed.contains(user));
            prop_assert!(!had || has, "{id} has no administrator left: {plan:#?}");
        }
    }

    #[test]
    fn store_in_step_has_an_empty_plan(scene in scene()) {
        let mut scene = scene;
        let GroupList::Known(assigned) = &scene.facts.assigned else { return Ok(()) };
        let counts = |group: &GroupId| {
            assigned.contains_key(group) || scene.facts.service_principal == ServicePrincipalState::NotConfigured
        };
        let lists = scene.facts.members.clone();
        let listed = |id: &str, user: ObjectId| {
            let group: GroupId = id.parse().unwrap();
            counts(&group) && matches!(lists.get(&group), Some(MemberList::Complete(list)) if list.contains(user))
        };
        for (id, team) in &mut scene.stored.teams {
            team.members.retain(|member| listed(id, member.user));
        }
        for (id, organization) in &mut scene.stored.organizations {
            organization.members.retain(|member| listed(id, member.user));
        }
        let plan = scene.plan();
        prop_assert!(plan.changes.is_empty() && plan.kept.is_empty() && plan.tripped.is_empty(), "{plan:#?}");
    }

    #[test]
    fn applied_plan_leaves_nothing_to_remove(scene in scene()) {
        let plan = scene.plan();
        let mut after = scene.clone();
        for change in &plan.changes {
            let user = change.user;
            if change.target.kind == "team" {
                let team = after.stored.teams.get_mut(&change.target.id).unwrap();
                team.members.retain(|member| member.user != user);
                team.admins.remove(&user);
                for organization in after.stored.organizations.values_mut() {
                    for member in organization.members.iter_mut().filter(|member| member.user == user) {
                        member.teams.retain(|team| *team != change.target.id);
                    }
                }
            } else {
                let organization = after.stored.organizations.get_mut(&change.target.id).unwrap();
                organization.members.retain(|member| member.user != user);
            }
        }
        let again = after.plan();
        prop_assert!(again.changes.is_empty(), "after {plan:#?}\nagain {again:#?}");
    }
}
