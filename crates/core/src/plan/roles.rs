//! A user's roles after a sign-in: in the user's row, and in managed organization memberships.

use std::collections::{BTreeMap, BTreeSet};

use super::Planner;
use super::types::{Current, CurrentUserRow, GrantedRoles, Note, Plan, RoleChange, RoleScope};
use crate::domain::{StoreKind, UserRole};
use crate::policy::Policy;

/// The roles of one sign-in.
pub(super) struct Roles {
    pub(super) granted: GrantedRoles,
    /// Role in the row afterwards. A text, because a role set by hand may be any.
    pub(super) row: String,
    /// Role in organizations: the granted one, otherwise the default. A role set by hand in the row does not count.
    pub(super) in_organizations: UserRole,
    /// Entra granted a role before and grants none now, and the row has another role that was set by hand.
    keeps_manual_role: bool,
}

impl Roles {
    pub(super) fn of(planner: &Planner<'_>, user: Option<&CurrentUserRow>) -> Self {
        let Planner { entra_user, policy, store, .. } = *planner;
        let granted = policy.granted_role(entra_user.identity, &entra_user.app_roles);
        let withheld = granted.filter(|role| user.is_some_and(|user| withholds(user, *role)));
        let role = if withheld.is_some() { policy.granted_role_below_operator(&entra_user.app_roles) } else { granted };
        let mut offered = Policy::offered_roles(&entra_user.app_roles);
        offered.extend(role);

        let default = policy.default_role();
        // The token may offer a role that does not count, such as another tenant's operator role. A row with such a
        // role was not set by hand.
        let offered_now = |text: &str| offered.iter().any(|role| role.as_str() == text);
        let manual = user.and_then(|user| {
            let text = user.role.as_ref().filter(|_| role.is_none() && !is_from_entra(user, store));
            text.filter(|text| !offered_now(text))
        });
        // Older versions wrote a default of `org_admin` unchanged into a LiteLLM row.
        let manual = manual.filter(|text| default.in_row(store) == default || *text != default.as_str());
        // A default that is an operator role does not raise an unconfirmed row either.
        let raised = user.is_some_and(|user| withholds(user, default));
        let fallback = if raised { UserRole::InternalUserViewer } else { default };
        let row = match manual {
            Some(text) => text.clone(),
            None => role.unwrap_or(fallback).in_row(store).to_string(),
        };
        Self {
            row,
            in_organizations: organization_role(role.unwrap_or(default)),
            keeps_manual_role: manual.is_some() && user.is_some_and(|user| user.sso_role.is_some()),
            granted: GrantedRoles { role, offered, withheld },
        }
    }

    /// Whether the stored roles of the row are up to date.
    pub(super) fn match_stored(&self, user: &CurrentUserRow) -> bool {
        let offered: BTreeSet<&str> = self.granted.offered.iter().map(|role| role.as_str()).collect();
        user.sso_role.as_deref() == self.granted.role.map(UserRole::as_str)
            && user.withheld_role.as_deref() == self.granted.withheld.map(UserRole::as_str)
            && stored_roles(user) == offered
    }

    /// Adds notes and changes of the user's own role to the plan.
    pub(super) fn note(&self, plan: &mut Plan, store: StoreKind, user: Option<&CurrentUserRow>) {
        if self.keeps_manual_role {
            plan.notes.push(Note::RoleSetByHandStays);
        }
        plan.notes.extend(self.granted.withheld.map(|role| Note::OperatorRoleWithheld { role }));
        let before = user.and_then(|user| effective_role(user.role.as_deref(), user.sso_role.as_deref(), store));
        let granted = self.granted.role.map(UserRole::as_str);
        let after = effective_role(Some(&self.row), granted, store).unwrap_or_default();
        if before != Some(after) {
            let (before, after) = (before.map(str::to_owned), after.to_owned());
            plan.role_changes.push(RoleChange { scope: RoleScope::Global, before, after });
        }
    }
}

/// Whether an operator role is withheld.
///
/// A row that another program created, perhaps with keys of other users, is not raised to an operator role until an
/// operator confirms it. A row that already has this rank is not raised.
fn withholds(user: &CurrentUserRow, role: UserRole) -> bool {
    let rank = user.role.as_deref().and_then(UserRole::parse);
    user.unconfirmed && role.is_operator() && rank.is_none_or(|rank| rank < role)
}

/// Whether the row's role came from Entra and was not set by hand: the role that the sync granted, or another one of
/// the same token, which LiteLLM's own sign-in writes if it is higher.
fn is_from_entra(user: &CurrentUserRow, store: StoreKind) -> bool {
    user.role.as_deref().is_some_and(|role| {
        let granted = user.sso_role.as_deref().and_then(UserRole::parse);
        stored_roles(user).contains(role) || granted.is_some_and(|granted| granted.in_row(store).as_str() == role)
    })
}

/// Stored roles of the last token.
fn stored_roles(user: &CurrentUserRow) -> BTreeSet<&str> {
    user.offered_roles.iter().chain(&user.sso_role).map(String::as_str).collect()
}

/// The role that results from a row and the granted role: a LiteLLM row cannot contain `org_admin`.
fn effective_role<'a>(row: Option<&'a str>, granted: Option<&'a str>, store: StoreKind) -> Option<&'a str> {
    let admin = UserRole::OrgAdmin;
    if row == Some(admin.in_row(store).as_str()) && granted == Some(admin.as_str()) { granted } else { row }
}

/// The role inside an organization. `org_admin` applies to organizations; other roles become one of the two that
/// LiteLLM knows there.
#[must_use]
pub fn organization_role(role: UserRole) -> UserRole {
    match role {
        UserRole::OrgAdmin => UserRole::OrgAdmin,
        UserRole::ProxyAdmin | UserRole::InternalUser => UserRole::InternalUser,
        UserRole::ProxyAdminViewer | UserRole::InternalUserViewer => UserRole::InternalUserViewer,
    }
}

/// Rule 13: lowers managed memberships everywhere, and raises them only in organizations of effective groups, which
/// requires both lists to be known.
///
/// `effective`: these organizations with the role in each. `role`: the role elsewhere. A role that was changed by hand
/// stays.
pub(super) fn plan_organization_roles(
    plan: &mut Plan,
    current: &Current,
    effective: &BTreeMap<String, UserRole>,
    role: UserRole,
) {
    for (organization, member) in &current.organization_members {
        if plan.remove_from_organizations.contains_key(organization) {
            continue;
        }
        let granted = effective.get(organization).copied();
        let role = granted.unwrap_or(role);
        let managed = member.sso_user_role.is_some() && member.sso_user_role == member.user_role;
        let Some(before) = member.user_role.as_ref().filter(|before| managed && *before != role.as_str()) else {
            continue;
        };
        // A text that is no valid role has no rank, so it is not lowered.
        let lower = UserRole::parse(before).is_some_and(|before| role < before);
        if lower || granted.is_some() {
            plan.organization_roles.insert(organization.clone(), role);
            plan.role_changes.push(RoleChange {
                scope: RoleScope::Organization(organization.clone()),
                before: Some(before.clone()),
                after: role.to_string(),
            });
        }
    }
}
