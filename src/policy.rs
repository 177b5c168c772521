//! What the operator decided, checked: defaults, roles, who may enter. Pure; knows nobody but `domain`.

mod budget;

use std::collections::BTreeSet;

use crate::domain::{Email, Identity, TenantId, UserRole};

pub use budget::{BudgetDuration, BudgetDurationError};

/// The rules of the sync and of access, as the configuration gives them.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// `litellm_settings.entra_groups_also_create_orgs`: a group becomes an organization and a team inside it.
    pub also_create_orgs: bool,
    /// `litellm.org_team_models`; always `Inherit` with the native store.
    pub org_team_models: OrgTeamModels,
    /// `litellm_settings.default_team_params`; `None` where there are none: then no limits at all.
    pub team_params: Option<TeamParams>,
    /// `litellm_settings.default_internal_user_params`.
    pub user_params: UserParams,
    /// `sync.role_precedence`.
    pub role_precedence: RolePrecedence,
    /// `access.admin_user_ids` (and `PROXY_ADMIN_ID`): user ids of the home tenant that are always `proxy_admin`; in
    /// lower case.
    pub admin_user_ids: BTreeSet<String>,
    /// The only tenant whose operator roles count: `access.home_tenant`, or the one allowed tenant. `None` where
    /// `entra.tenant` names the tenant, so that no other one's users can sign in.
    pub home_tenant: Option<TenantId>,
    /// `access.require_group`: nobody gets in who is in no assigned group.
    pub require_group: bool,
    /// `access.allowed_email_domains` in lower case; empty: any.
    pub allowed_email_domains: BTreeSet<String>,
}

/// What a new team (and, with the flag, a new organization) may spend.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TeamParams {
    pub models: Vec<String>,
    pub limits: Limits,
    /// Where a team belongs that is not in an organization of its own; LiteLLM's default organization.
    pub organization_id: Option<String>,
    /// LiteLLM's access groups that a new team is attached to; in its store only.
    pub access_group_ids: Vec<String>,
    /// The management routes that a team's members may use, such as `/key/generate`.
    pub team_member_permissions: Option<Vec<String>>,
    /// What each member of a team may spend in it; `None` where no `team_member_…` limit is given.
    pub member_limits: Option<Limits>,
    /// A team's `metadata`; `tags` is a key in it, as in LiteLLM.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// Limits as LiteLLM names them. `None` is "no limit".
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// In US dollars a `budget_duration`.
    pub max_budget: Option<f64>,
    pub budget_duration: Option<BudgetDuration>,
    /// Tokens a minute.
    pub tpm_limit: Option<i64>,
    /// Requests a minute.
    pub rpm_limit: Option<i64>,
}

/// What a new person gets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserParams {
    /// For a person to whom Entra gives no app role; without it `internal_user_viewer`.
    pub user_role: Option<UserRole>,
    pub models: Vec<String>,
    /// The rates are for the LiteLLM store; the native one has no columns for a person's.
    pub limits: Limits,
}

/// The models of a team in an organization of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OrgTeamModels {
    /// The word `all-org-models`, which stands for the organization's models. LiteLLM 1.109 and 1.110 do not know it and
    /// refuse every call of such a team.
    #[default]
    Inherit,
    /// The organization's models themselves. They follow the organization as long as only the sync has written them.
    Expand,
}

impl OrgTeamModels {
    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inherit => "inherit",
            Self::Expand => "expand",
        }
    }
}

/// Which of several app roles wins. Entra does not promise an order of the `roles` claim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RolePrecedence {
    /// The first valid one in the claim.
    #[default]
    First,
    /// The one of the highest rank.
    Highest,
}

impl Policy {
    /// The role that Entra's app roles (or the operator's list of administrators) give this user; `None` where neither
    /// does. Unknown values of the claim are skipped, as LiteLLM does, and so are operator roles of another tenant.
    #[must_use]
    pub fn granted_role(&self, identity: Identity, app_roles: &[String]) -> Option<UserRole> {
        if self.lists_as_admin(identity) {
            return Some(UserRole::ProxyAdmin);
        }
        let home = self.is_home(identity.tenant_id);
        self.wins(valid_roles(app_roles).filter(|role| home || !role.is_operator()))
    }

    /// The same without operator roles: what a user gets whose operator role is withheld.
    #[must_use]
    pub fn granted_role_below_operator(&self, app_roles: &[String]) -> Option<UserRole> {
        self.wins(valid_roles(app_roles).filter(|role| !role.is_operator()))
    }

    /// Every valid role of the claim, also those that do not count here: a LiteLLM proxy's own sign-in reads the same
    /// claim and writes the highest of them.
    #[must_use]
    pub fn offered_roles(app_roles: &[String]) -> BTreeSet<UserRole> {
        valid_roles(app_roles).collect()
    }

    /// Whether `access.admin_user_ids` names this user. The object id of another tenant's user is that tenant's to choose.
    #[must_use]
    pub fn lists_as_admin(&self, identity: Identity) -> bool {
        self.is_home(identity.tenant_id) && self.admin_user_ids.contains(&identity.object_id.to_string())
    }

    /// Whether operator roles of this tenant's users count.
    #[must_use]
    pub fn is_home(&self, tenant: TenantId) -> bool {
        self.home_tenant.is_none_or(|home| home == tenant)
    }

    fn wins(&self, mut roles: impl Iterator<Item = UserRole>) -> Option<UserRole> {
        match self.role_precedence {
            RolePrecedence::First => roles.next(),
            RolePrecedence::Highest => roles.max(),
        }
    }

    /// The role of a person whom nobody gave one.
    #[must_use]
    pub fn default_role(&self) -> UserRole {
        self.user_params.user_role.unwrap_or(UserRole::InternalUserViewer)
    }

    /// Whether a user who signs in with this address may enter. With a list of domains, a user without an address may
    /// not (LiteLLM admits such a user), nor a guest whose own domain cannot be told. The `email` claim does not help: it
    /// is not verified.
    #[must_use]
    pub fn admits_email(&self, email: Option<&Email>) -> bool {
        let admits = |email: &Email| email.home_domain().is_some_and(|home| self.allowed_email_domains.contains(home));
        self.allowed_email_domains.is_empty() || email.is_some_and(admits)
    }
}

/// The values of the `roles` claim that are roles of ours, in the claim's order.
fn valid_roles(app_roles: &[String]) -> impl Iterator<Item = UserRole> {
    app_roles.iter().filter_map(|value| UserRole::from_app_role(value))
}
