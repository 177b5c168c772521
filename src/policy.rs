//! What the operator decided, checked: defaults, roles, who may enter. Pure; knows nobody but `domain`.

mod budget;

use std::collections::BTreeSet;

use crate::domain::{Email, ObjectId, UserRole};

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
    /// `access.admin_user_ids` (and `PROXY_ADMIN_ID`): user ids that are always `proxy_admin`; in lower case.
    pub admin_user_ids: BTreeSet<String>,
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
    /// The role that Entra's app roles (or the operator's list of administrators) give this person; `None` where
    /// neither does. Unknown values of the claim are passed over, as LiteLLM does.
    #[must_use]
    pub fn granted_role(&self, person: ObjectId, app_roles: &[String]) -> Option<UserRole> {
        if self.admin_user_ids.contains(&person.to_string()) {
            return Some(UserRole::ProxyAdmin);
        }
        let mut valid = app_roles.iter().filter_map(|role| UserRole::parse(role));
        match self.role_precedence {
            RolePrecedence::First => valid.next(),
            RolePrecedence::Highest => valid.max(),
        }
    }

    /// The role of a person whom nobody gave one.
    #[must_use]
    pub fn default_role(&self) -> UserRole {
        self.user_params.user_role.unwrap_or(UserRole::InternalUserViewer)
    }

    /// Whether a person who signs in with this address may enter. With a list of domains, a person without one may not
    /// (LiteLLM lets such a person pass), and the mail in the token does not help: nobody verified it.
    #[must_use]
    pub fn admits_email(&self, email: Option<&Email>) -> bool {
        self.allowed_email_domains.is_empty()
            || email.is_some_and(|email| self.allowed_email_domains.contains(email.domain()))
    }
}
