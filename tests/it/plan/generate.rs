//! Generated sign-ins with five groups: few enough for every combination to occur.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use entraway::domain::{Email, EntraUser, GroupId, Identity, ObjectId, StoreKind, TenantId, UserRole};
use entraway::plan::{
    Current, CurrentOrganizationMember, CurrentTeamModels, CurrentUserRow, Directory, GroupList, Groups, Plan,
    PlanScope, Planner, Unknown,
};
use entraway::policy::{Limits, MembershipSync, OrgTeamModels, Policy, RolePrecedence, TeamParams, UserParams};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::Config;
use uuid::Uuid;

/// Each property runs 256 cases, or more with `PROPTEST_CASES`. A failure prints its smallest case and writes no file.
pub(super) fn config() -> Config {
    let default = Config::default();
    Config { failure_persistence: None, cases: default.cases.max(256), ..default }
}

/// The input of one plan.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) current: Current,
    pub(super) directory: Directory,
    pub(super) person: EntraUser,
    pub(super) policy: Policy,
    pub(super) store: StoreKind,
    pub(super) now: DateTime<Utc>,
}

impl Case {
    pub(super) fn planner(&self) -> Planner<'_> {
        let Self { person, directory, policy, store, now, .. } = self;
        Planner {
            entra_user: person,
            directory,
            policy,
            store: *store,
            now: *now,
            run_id: Uuid::nil(),
            scope: PlanScope::SignIn,
        }
    }

    pub(super) fn plan(&self) -> Plan {
        self.planner().plan(&self.current)
    }

    pub(super) fn granted(&self) -> Option<UserRole> {
        self.policy.granted_role(self.person.identity, &self.person.app_roles)
    }

    /// The same sign-in with this list of assigned groups.
    pub(super) fn assigning(&self, assigned: Option<GroupList>) -> Self {
        Self { directory: Directory { assigned, ..self.directory.clone() }, ..self.clone() }
    }

    /// The same sign-in of a user in these groups.
    pub(super) fn being_in(&self, member_of: GroupList) -> Self {
        Self { directory: Directory { member_of, ..self.directory.clone() }, ..self.clone() }
    }
}

/// One of the five groups.
pub(super) fn group(n: u8) -> GroupId {
    GroupId::from(Uuid::from_u128(0x5000_0000_0000_4000_8000_0000_0000_0000 + u128::from(n)))
}

pub(super) fn identity() -> Identity {
    Identity { tenant_id: TenantId::from(Uuid::from_u128(0x1000)), object_id: ObjectId::from(Uuid::from_u128(0x4000)) }
}

/// A tenant whose users' operator roles do not count.
pub(super) fn another_tenant() -> TenantId {
    TenantId::from(Uuid::from_u128(0x2000))
}

pub(super) fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub(super) fn unknown() -> GroupList {
    GroupList::Unknown(Unknown { code: "graph_throttled".into(), message: "Graph throttled the request (429)".into() })
}

pub(super) fn any_group() -> impl Strategy<Value = GroupId> {
    (0..5u8).prop_map(group)
}

pub(super) fn groups() -> impl Strategy<Value = Groups> {
    let name = select(vec![None, Some("Data Science"), Some("Ops")]).prop_map(|name| name.map(str::to_owned));
    btree_map(any_group(), name, 0..=5)
}

fn reading() -> impl Strategy<Value = GroupList> {
    prop_oneof![5 => groups().prop_map(GroupList::Known), 1 => Just(unknown())]
}

fn directory() -> impl Strategy<Value = Directory> {
    (option::weighted(0.8, reading()), reading()).prop_map(|(assigned, member_of)| Directory { assigned, member_of })
}

/// A role column: one of our roles, or a text set by hand.
fn role_text() -> impl Strategy<Value = Option<String>> {
    let ours = UserRole::ALL.map(|role| Some(role.as_str()));
    let by_hand = [Some("Proxy_Admin"), Some("team"), Some(""), None];
    select([&ours[..], &by_hand[..]].concat()).prop_map(|text| text.map(str::to_owned))
}

/// A role and the one from the sync: equal half of the time.
fn roles() -> impl Strategy<Value = (Option<String>, Option<String>)> {
    let given = option::of(select(UserRole::ALL.to_vec()).prop_map(|role| role.as_str().to_owned()));
    prop_oneof![given.clone().prop_map(|role| (role.clone(), role)), (role_text(), given)]
}

fn email() -> impl Strategy<Value = Option<String>> {
    select(vec![None, Some("a@contoso.example"), Some("b@contoso.example")]).prop_map(|email| email.map(str::to_owned))
}

/// A user row of ours or of another program: with another key, or without a known owner.
fn user() -> impl Strategy<Value = CurrentUserRow> {
    let alias = select(vec![None, Some(""), Some(" "), Some("Al"), Some("Alice")]);
    let key = prop_oneof![3 => Just(identity().object_id.to_string()), 1 => Just("made-by-hand".to_owned())];
    let known = prop::bool::weighted(0.8);
    let offered = btree_set(select(UserRole::ALL.to_vec()).prop_map(|role| role.as_str().to_owned()), 0..=2);
    let withheld = option::weighted(0.3, select(vec!["proxy_admin", "proxy_admin_viewer"]));
    (key, known, email(), alias, roles(), offered, any::<bool>(), withheld).prop_map(
        |(user_id, known, email, alias, (role, sso_role), offered_roles, unconfirmed, withheld)| CurrentUserRow {
            user_id: user_id.into(),
            tenant_id: known.then(|| identity().tenant_id),
            email: email.map(Into::into),
            alias: alias.map(str::to_owned),
            role,
            sso_role,
            offered_roles,
            unconfirmed,
            withheld_role: withheld.map(str::to_owned),
        },
    )
}

/// Models of teams and organizations: the native store's keyword, written by the sync, or set by an administrator.
fn team_models() -> impl Strategy<Value = BTreeMap<GroupId, CurrentTeamModels>> {
    let list = || {
        prop_oneof![
            2 => models(),
            1 => Just(vec!["all-org-models".to_owned()]),
            1 => Just(vec!["gpt-3.5-turbo".to_owned(), "gpt-4".to_owned()]),
        ]
    };
    let each =
        (list(), option::of(models()), models(), any::<bool>()).prop_map(|(models, expanded, organization, ours)| {
            let models = expanded.clone().filter(|_| ours).unwrap_or(models);
            CurrentTeamModels { models, expanded, organization }
        });
    btree_map(any_group(), each, 0..=4)
}

/// Values of teams and organizations that only LiteLLM's tables hold.
fn of_litellm() -> impl Strategy<Value = OfLiteLlm> {
    let durations = select(vec![None, Some("30d"), Some("1h"), Some("every now and then"), Some("")]);
    let durations = durations.prop_map(|text| text.map(str::to_owned));
    (btree_map(any_group(), models(), 0..=5), team_models(), btree_map(any_group(), durations, 0..=3))
}

type OfLiteLlm =
    (BTreeMap<GroupId, Vec<String>>, BTreeMap<GroupId, CurrentTeamModels>, BTreeMap<GroupId, Option<String>>);

/// Contents of the store, including inconsistent ones: a member of a missing team, or an organization created by hand
/// whose ID is no GUID.
fn current() -> impl Strategy<Value = Current> {
    let organization =
        || prop_oneof![4 => any_group().prop_map(|id| id.to_string()), 1 => Just("made-by-hand".to_owned())];
    let member = roles().prop_map(|(user_role, sso_user_role)| CurrentOrganizationMember { user_role, sso_user_role });
    (
        option::weighted(0.8, user()),
        btree_set(any_group(), 0..=4),
        btree_map(any_group(), option::of(organization()), 0..=4),
        btree_map(organization(), member, 0..=4),
        btree_set(any_group(), 0..=4),
        btree_set(select(vec!["another", "a-third"]).prop_map(|key| key.to_owned().into()), 0..=2),
        btree_set(Just("a-fourth").prop_map(|key| key.to_owned().into()), 0..=1),
        of_litellm(),
    )
        .prop_map(
            |(user, organizations, teams, organization_members, team_members, same_email, same_sso_user_id, more)| {
                let (mut organization_models, mut team_models, mut member_budget_durations) = more;
                organization_models.retain(|id, _| organizations.contains(id) && !teams.contains_key(id));
                team_models
                    .retain(|id, team| teams.get(id).is_some_and(Option::is_some) && team.models != team.organization);
                member_budget_durations.retain(|id, _| teams.contains_key(id));
                Current {
                    user,
                    same_email,
                    same_sso_user_id,
                    organizations,
                    organization_models,
                    teams,
                    team_models,
                    member_budget_durations,
                    organization_members,
                    team_members,
                    can_remove: true,
                    can_restore_keys: true,
                    ..Current::default()
                }
            },
        )
}

fn person() -> impl Strategy<Value = EntraUser> {
    let app_roles =
        select(vec!["proxy_admin", "PROXY_ADMIN_VIEWER", "org_admin", "internal_user", "Task.Write", "", " org_admin"]);
    let name = select(vec![None, Some("Alice"), Some("Alice Arden")]);
    (email(), name, vec(app_roles, 0..4)).prop_map(|(email, name, app_roles)| EntraUser {
        identity: identity(),
        email: email.as_deref().and_then(Email::parse),
        sign_in_address: None,
        name: name.map(str::to_owned),
        app_roles: app_roles.into_iter().map(str::to_owned).collect(),
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    let duration = select(vec!["30d", "1mo", "1h", "7d"]).prop_map(|text| text.parse().unwrap());
    (option::of(select(vec![0.0, 10.0, 100.5])), option::of(duration), option::of(0..3_i64), option::of(0..3_i64))
        .prop_map(|(max_budget, budget_duration, tpm_limit, rpm_limit)| Limits {
            max_budget,
            budget_duration,
            tpm_limit,
            rpm_limit,
        })
}

fn models() -> impl Strategy<Value = Vec<String>> {
    select(vec![vec![], vec!["gpt-4"], vec!["gpt-4", "gpt-3.5-turbo"]])
        .prop_map(|models| models.into_iter().map(str::to_owned).collect())
}

fn policy() -> impl Strategy<Value = Policy> {
    let organization_id = option::weighted(0.3, Just("default-organization".to_owned()));
    let permissions = option::weighted(0.3, Just(vec!["/key/generate".to_owned()]));
    let team_params = (models(), limits(), organization_id, permissions, option::weighted(0.3, limits())).prop_map(
        |(models, limits, organization_id, team_member_permissions, member_limits)| TeamParams {
            models,
            limits,
            organization_id,
            access_group_ids: team_member_permissions.iter().map(|_| "access-group".to_owned()).collect(),
            team_member_permissions,
            member_limits,
            metadata: [("tags".to_owned(), serde_json::json!(["sso"]))].into_iter().collect(),
        },
    );
    let user_params = (option::of(select(UserRole::ALL.to_vec())), models(), limits())
        .prop_map(|(user_role, models, limits)| UserParams { user_role, models, limits });
    let precedence = select(vec![RolePrecedence::First, RolePrecedence::Highest]);
    let home = option::of(prop_oneof![3 => Just(identity().tenant_id), 1 => Just(another_tenant())]);
    let org_team_models = select(vec![OrgTeamModels::Inherit, OrgTeamModels::Expand, OrgTeamModels::Expand]);
    let flags = (any::<bool>(), org_team_models);
    (flags, option::of(team_params), user_params, precedence, prop::bool::weighted(0.1), home).prop_map(
        |((also_create_orgs, org_team_models), team_params, user_params, role_precedence, admin, home_tenant)| Policy {
            also_create_orgs,
            org_team_models,
            team_params,
            user_params,
            role_precedence,
            home_tenant,
            admin_user_ids: admin.then(|| identity().object_id.to_string()).into_iter().collect(),
            // Removals have a generator of their own.
            memberships: MembershipSync::Additive,
            ..Policy::default()
        },
    )
}

/// Any sign-in.
pub(super) fn case() -> impl Strategy<Value = Case> {
    let now = select(vec!["2026-11-21T03:03:20Z", "2026-12-31T23:59:59Z", "2028-02-29T00:00:00Z"]);
    let store = select(vec![StoreKind::Native, StoreKind::LiteLlm]);
    (current(), directory(), person(), policy(), store, now).prop_map(
        |(current, directory, person, policy, store, now)| Case {
            current,
            directory,
            person,
            policy,
            store,
            now: time(now),
        },
    )
}

/// The same case with its maps and sets built in another order. The order of app roles is kept unless rank decides.
pub(super) fn shuffled(case: &Case, seed: u64) -> Case {
    let mut dice = seed | 1;
    let mut case = case.clone();
    for list in [case.directory.assigned.as_mut(), Some(&mut case.directory.member_of)].into_iter().flatten() {
        if let GroupList::Known(groups) = list {
            *groups = shuffle(std::mem::take(groups).into_iter().collect(), &mut dice).into_iter().collect();
        }
    }
    let Current {
        organizations,
        organization_models: _,
        teams,
        team_models: _,
        member_budget_durations: _,
        organization_members,
        team_members,
        user: _,
        same_email: _,
        same_sso_user_id: _,
        ..
    } = &mut case.current;
    let set = |set: &mut BTreeSet<GroupId>, dice: &mut u64| {
        *set = shuffle(std::mem::take(set).into_iter().collect(), dice).into_iter().collect();
    };
    set(organizations, &mut dice);
    set(team_members, &mut dice);
    *teams = shuffle(std::mem::take(teams).into_iter().collect(), &mut dice).into_iter().collect();
    let members: Vec<_> = std::mem::take(organization_members).into_iter().collect();
    *organization_members = shuffle(members, &mut dice).into_iter().collect::<BTreeMap<_, _>>();
    if case.policy.role_precedence == RolePrecedence::Highest {
        case.person.app_roles = shuffle(case.person.app_roles, &mut dice);
    }
    case
}

fn shuffle<T>(mut items: Vec<T>, dice: &mut u64) -> Vec<T> {
    for last in (1..items.len()).rev() {
        *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(last, usize::try_from(*dice >> 33).unwrap() % (last + 1));
    }
    items
}
