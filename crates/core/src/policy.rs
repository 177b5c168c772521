//! The operator's decisions: defaults, roles, access. Pure; depends only on `domain`.

mod budget;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::domain::{Email, Identity, TenantId, UserRole};

pub use budget::{BudgetDuration, BudgetDurationError};

/// Rules of the sync and of access, from the configuration.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// `litellm_settings.entra_groups_also_create_orgs`: a group becomes an organization with a team in it.
    pub also_create_orgs: bool,
    /// `litellm.org_team_models`; always `Inherit` with the native store.
    pub org_team_models: OrgTeamModels,
    /// `litellm_settings.default_team_params`; `None` means no limits.
    pub team_params: Option<TeamParams>,
    /// `litellm_settings.default_internal_user_params`.
    pub user_params: UserParams,
    /// `sync.memberships`.
    pub memberships: MembershipSync,
    /// `litellm.keys_on_removal`; always `Keep` with the native store, which has no keys.
    pub keys_on_removal: KeysOnRemoval,
    /// `entra.client_id`: the installation, in the provenance of memberships.
    pub client_id: String,
    /// `sync.role_precedence`.
    pub role_precedence: RolePrecedence,
    /// `access.admin_user_ids` and `PROXY_ADMIN_ID`: users of the home tenant who are always `proxy_admin`. Lower case.
    pub admin_user_ids: BTreeSet<String>,
    /// The only tenant whose operator roles count: `access.home_tenant`, or the only allowed tenant. `None` if
    /// `entra.tenant` names the tenant, because then no other tenant's users can sign in.
    pub home_tenant: Option<TenantId>,
    /// `access.require_group`: only members of assigned groups may sign in.
    pub require_group: bool,
    /// `access.allowed_email_domains` in lower case; empty allows any.
    pub allowed_email_domains: BTreeSet<String>,
}

/// Defaults of a new team and, with `also_create_orgs`, of a new organization.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TeamParams {
    pub models: Vec<String>,
    pub limits: Limits,
    /// Organization of a team without an organization of its own; LiteLLM's default organization.
    pub organization_id: Option<String>,
    /// LiteLLM access groups of a new team; LiteLLM store only.
    pub access_group_ids: Vec<String>,
    /// Management routes that team members may use, such as `/key/generate`.
    pub team_member_permissions: Option<Vec<String>>,
    /// Limits of each member in a team; `None` if no `team_member_…` limit is configured.
    pub member_limits: Option<Limits>,
    /// The team's `metadata`. As in LiteLLM, `tags` is a key in it.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// Limits, named as in LiteLLM. `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// US dollars per `budget_duration`.
    pub max_budget: Option<f64>,
    pub budget_duration: Option<BudgetDuration>,
    /// Tokens per minute.
    pub tpm_limit: Option<i64>,
    /// Requests per minute.
    pub rpm_limit: Option<i64>,
}

impl Limits {
    /// Next reset of a budget that starts at `now`; `None` if the budget has no period.
    #[must_use]
    pub fn next_reset(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        Some(self.budget_duration.as_ref()?.next_reset(now))
    }
}

/// Defaults of a new user.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserParams {
    /// Role without an app role in Entra; the default is `internal_user_viewer`.
    pub user_role: Option<UserRole>,
    pub models: Vec<String>,
    /// Rate limits apply to the LiteLLM store only; the native one has no columns for them.
    pub limits: Limits,
}

/// Models of a team in an organization of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OrgTeamModels {
    /// `all-org-models`, meaning the organization's models. LiteLLM 1.109 and 1.110 do not know it and reject every
    /// call of such a team.
    #[default]
    Inherit,
    /// A copy of the organization's models, updated as long as only the sync has written it.
    Expand,
}

impl OrgTeamModels {
    /// Value in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inherit => "inherit",
            Self::Expand => "expand",
        }
    }
}

/// Whether a membership ends when the user leaves the group that gave it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MembershipSync {
    /// Adds memberships, and removes those that the sync added.
    #[default]
    Follow,
    /// Only adds memberships.
    Additive,
}

/// What happens to a user's LiteLLM keys of a team when the sync removes the user from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum KeysOnRemoval {
    /// They are blocked, and unblocked if the user returns.
    Block,
    /// They stay valid: LiteLLM checks the membership only when a key is created.
    #[default]
    Keep,
}

/// Which of several app roles wins. Entra does not guarantee the order of the `roles` claim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RolePrecedence {
    /// The first valid one.
    #[default]
    First,
    /// The highest one.
    Highest,
}

impl Policy {
    /// The role granted by Entra's app roles or by `access.admin_user_ids`; `None` if neither grants one.
    ///
    /// Ignores unknown values, as LiteLLM does, and operator roles of other tenants.
    #[must_use]
    pub fn granted_role(&self, identity: Identity, app_roles: &[String]) -> Option<UserRole> {
        if self.is_listed_admin(identity) {
            return Some(UserRole::ProxyAdmin);
        }
        let home = self.is_home_tenant(identity.tenant_id);
        self.select(valid_roles(app_roles).filter(|role| home || !role.is_operator()))
    }

    /// The granted role without operator roles; for a user whose operator role is withheld.
    #[must_use]
    pub fn granted_role_below_operator(&self, app_roles: &[String]) -> Option<UserRole> {
        self.select(valid_roles(app_roles).filter(|role| !role.is_operator()))
    }

    /// All valid roles of the claim, including those that do not count here: LiteLLM's own sign-in reads the same claim
    /// and writes the highest one.
    #[must_use]
    pub fn offered_roles(app_roles: &[String]) -> BTreeSet<UserRole> {
        valid_roles(app_roles).collect()
    }

    /// Whether `access.admin_user_ids` lists this user. Only in the home tenant: other tenants choose their object IDs.
    #[must_use]
    pub fn is_listed_admin(&self, identity: Identity) -> bool {
        self.is_home_tenant(identity.tenant_id) && self.admin_user_ids.contains(&identity.object_id.to_string())
    }

    /// Whether operator roles of this tenant's users count.
    #[must_use]
    pub fn is_home_tenant(&self, tenant: TenantId) -> bool {
        self.home_tenant.is_none_or(|home| home == tenant)
    }

    fn select(&self, mut roles: impl Iterator<Item = UserRole>) -> Option<UserRole> {
        match self.role_precedence {
            RolePrecedence::First => roles.next(),
            RolePrecedence::Highest => roles.max(),
        }
    }

    /// The role of a user without a granted role.
    #[must_use]
    pub fn default_role(&self) -> UserRole {
        self.user_params.user_role.unwrap_or(UserRole::InternalUserViewer)
    }

    /// Whether a user with this sign-in address may sign in.
    ///
    /// If domains are listed, a user without an address is denied (LiteLLM allows them), and so is a guest with an
    /// ambiguous domain. The `email` claim does not count, because it is not verified.
    #[must_use]
    pub fn admits_email(&self, email: Option<&Email>) -> bool {
        let admits = |email: &Email| email.home_domain().is_some_and(|home| self.allowed_email_domains.contains(home));
        self.allowed_email_domains.is_empty() || email.is_some_and(admits)
    }
}

/// Valid roles among the values of the `roles` claim, in the claim's order.
fn valid_roles(app_roles: &[String]) -> impl Iterator<Item = UserRole> {
    app_roles.iter().filter_map(|value| UserRole::from_app_role(value))
}
