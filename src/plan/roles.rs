//! Which role a user has after a sign-in: in their row, and in the organizations that the sync put them in.

use std::collections::{BTreeMap, BTreeSet};

use super::Planner;
use super::types::{Current, CurrentUserRow, GivenRoles, Note, Plan, RoleChange, RoleScope};
use crate::domain::{StoreKind, UserRole};
use crate::policy::Policy;

/// The roles of one sign-in.
pub(super) struct Roles {
    pub(super) given: GivenRoles,
    /// The row's role afterwards. Text: a role set by hand may be any.
    pub(super) row: String,
    /// The role in organizations: what Entra gives, else the default, whatever was set by hand in the row.
    pub(super) in_organizations: UserRole,
    /// Entra gave a role before, gives none now, and the row has another one that was set by hand.
    by_hand_stays: bool,
}

impl Roles {
    pub(super) fn of(planner: &Planner<'_>, user: Option<&CurrentUserRow>) -> Self {
        let Planner { person, policy, store, .. } = *planner;
        let granted = policy.granted_role(person.identity, &person.app_roles);
        let withheld = granted.filter(|role| user.is_some_and(|user| withholds(user, *role)));
        let role = if withheld.is_some() { policy.granted_role_below_operator(&person.app_roles) } else { granted };
        let mut offered = Policy::offered_roles(&person.app_roles);
        offered.extend(role);

        let default = policy.default_role();
        // The token may offer a role that does not count, such as another tenant's operator role. If the row says it, that
        // is the token's word as well.
        let now_offered = |text: &str| offered.iter().any(|role| role.as_str() == text);
        let by_hand = user.and_then(|user| {
            let text = user.role.as_ref().filter(|_| role.is_none() && !is_from_entra(user, store));
            text.filter(|text| !now_offered(text))
        });
        // Older versions wrote the default into a LiteLLM row also where it is `org_admin`.
        let by_hand = by_hand.filter(|text| default.in_row(store) == default || *text != default.as_str());
        // A default that is an operator's does not raise an unconfirmed row either.
        let raised = user.is_some_and(|user| withholds(user, default));
        let fallback = if raised { UserRole::InternalUserViewer } else { default };
        let row = match by_hand {
            Some(text) => text.clone(),
            None => role.unwrap_or(fallback).in_row(store).to_string(),
        };
        Self {
            row,
            in_organizations: organization_role(role.unwrap_or(default)),
            by_hand_stays: by_hand.is_some() && user.is_some_and(|user| user.sso_role.is_some()),
            given: GivenRoles { role, offered, withheld },
        }
    }

    /// Whether all of it is what is remembered of the row already.
    pub(super) fn are_remembered(&self, user: &CurrentUserRow) -> bool {
        let offered: BTreeSet<&str> = self.given.offered.iter().map(|role| role.as_str()).collect();
        user.sso_role.as_deref() == self.given.role.map(UserRole::as_str)
            && user.withheld_role.as_deref() == self.given.withheld.map(UserRole::as_str)
            && remembered(user) == offered
    }

    /// Notes what the record has to say about the user's own role.
    pub(super) fn note(&self, plan: &mut Plan, store: StoreKind, user: Option<&CurrentUserRow>) {
        if self.by_hand_stays {
            plan.notes.push(Note::RoleSetByHandStays);
        }
        plan.notes.extend(self.given.withheld.map(|role| Note::OperatorRoleWithheld { role }));
        let before = user.and_then(|user| effective_role(user.role.as_deref(), user.sso_role.as_deref(), store));
        let given = self.given.role.map(UserRole::as_str);
        let after = effective_role(Some(&self.row), given, store).unwrap_or_default();
        if before != Some(after) {
            let (before, after) = (before.map(str::to_owned), after.to_owned());
            plan.role_changes.push(RoleChange { scope: RoleScope::Global, before, after });
        }
    }
}

/// Whether a role is not given yet. A row that others made, perhaps with keys of theirs, is not raised to an operator's
/// before an operator has confirmed it; one that is an operator's of this rank already is no higher than it was.
fn withholds(user: &CurrentUserRow, role: UserRole) -> bool {
    let rank = user.role.as_deref().and_then(UserRole::parse);
    user.unconfirmed && role.is_operator() && rank.is_none_or(|rank| rank < role)
}

/// Whether the row's role is Entra's word, and not set by hand: the role that the sync gave, or another one that the
/// same token offered, which the proxy's own sign-in writes if it is higher.
fn is_from_entra(user: &CurrentUserRow, store: StoreKind) -> bool {
    user.role.as_deref().is_some_and(|role| {
        let given = user.sso_role.as_deref().and_then(UserRole::parse);
        remembered(user).contains(role) || given.is_some_and(|given| given.in_row(store).as_str() == role)
    })
}

/// The roles that the last token offered, as far as they are remembered.
fn remembered(user: &CurrentUserRow) -> BTreeSet<&str> {
    user.offered_roles.iter().chain(&user.sso_role).map(String::as_str).collect()
}

/// The role that a row and what is remembered of it mean: a LiteLLM row cannot say `org_admin` itself.
fn effective_role<'a>(row: Option<&'a str>, given: Option<&'a str>, store: StoreKind) -> Option<&'a str> {
    let admin = UserRole::OrgAdmin;
    if row == Some(admin.in_row(store).as_str()) && given == Some(admin.as_str()) { given } else { row }
}

/// What a role is inside an organization: `org_admin` is a right over particular organizations; the other rights end
/// at "may use" and "may look", which are the roles that LiteLLM knows there.
#[must_use]
pub fn organization_role(role: UserRole) -> UserRole {
    match role {
        UserRole::OrgAdmin => UserRole::OrgAdmin,
        UserRole::ProxyAdmin | UserRole::InternalUser => UserRole::InternalUser,
        UserRole::ProxyAdminViewer | UserRole::InternalUserViewer => UserRole::InternalUserViewer,
    }
}

/// Rule 13: a managed membership is lowered wherever it is, and raised only where the group is effective, which takes
/// both lists known. `effective`: the organizations of the effective groups, with the role in each; `role`: the one that
/// counts elsewhere. A role that was changed by hand stays.
pub(super) fn plan_organization_roles(
    plan: &mut Plan,
    current: &Current,
    effective: &BTreeMap<String, UserRole>,
    role: UserRole,
) {
    for (organization, member) in &current.organization_members {
        let given = effective.get(organization).copied();
        let role = given.unwrap_or(role);
        let managed = member.sso_user_role.is_some() && member.sso_user_role == member.user_role;
        let Some(before) = member.user_role.as_ref().filter(|before| managed && *before != role.as_str()) else {
            continue;
        };
        // A text that is no role has no rank: it is not lowered.
        let lower = UserRole::parse(before).is_some_and(|before| role < before);
        if lower || given.is_some() {
            plan.organization_roles.insert(organization.clone(), role);
            plan.role_changes.push(RoleChange {
                scope: RoleScope::Organization(organization.clone()),
                before: Some(before.clone()),
                after: role.to_string(),
            });
        }
    }
}
