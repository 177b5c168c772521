//! The data that planning takes and gives. Maps and sets are ordered, so that the same input gives the same plan, the
//! same text, and the same order of rows in SQL.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::{Email, GroupId, Redacted, TenantId, UserRole};
use crate::policy::Limits;

/// Groups by id, each with its name where Entra told it.
pub type Groups = BTreeMap<GroupId, Option<String>>;

/// One list of groups: completely read, or not known at all. There is no third state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    Known(Groups),
    Unknown(Unknown),
}

/// Why a list is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// A stable word for it, such as `graph_throttled`.
    pub code: String,
    /// A sentence for the sync record; without tokens, addresses or Entra's own text.
    pub said: String,
}

/// What Entra says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The groups assigned to the enterprise app; `None` where no service principal is configured.
    pub assigned: Option<Reading>,
    /// The groups that the person is in.
    pub member_of: Reading,
}

/// What the store holds now for one person and a set of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Current {
    pub user: Option<CurrentUserRow>,
    /// Those of the asked groups that are organizations.
    pub organizations: BTreeSet<GroupId>,
    /// The models of those organizations whose group has no team yet. One that is missing here cannot be read as a list.
    pub organization_models: BTreeMap<GroupId, Vec<String>>,
    /// Those of the asked groups that are teams, each with the organization it belongs to, which exists.
    pub teams: BTreeMap<GroupId, Option<String>>,
    /// Those of the teams that the sync made and whose models are not their organization's; always empty in the native
    /// store.
    pub team_models: BTreeMap<GroupId, CurrentTeamModels>,
    /// Those of the teams that give each new member a budget of their own, with the `budget_duration` of the team's default
    /// member budget; always empty in the native store.
    pub member_budget_durations: BTreeMap<GroupId, Option<String>>,
    /// All organizations that the person is in, by id: an id made by hand need not be a GUID.
    pub organization_members: BTreeMap<String, CurrentOrganizationMember>,
    /// Those of the asked groups whose team the person is in, wholly: half a membership is none.
    pub team_members: BTreeSet<GroupId>,
    /// Rows of others with this person's e-mail, by `user_id`; at most five of them.
    pub same_email: BTreeSet<Redacted>,
    /// Rows of others whose `sso_user_id` is this person's object id.
    pub same_sso_user_id: BTreeSet<Redacted>,
}

/// The person's row. Roles are text: somebody may have written anything by hand.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CurrentUserRow {
    /// The row's key. In a database that others write to it need not be the object id.
    pub user_id: Redacted,
    /// Whose row it is; `None` for one that this service has never written to.
    pub tenant_id: Option<TenantId>,
    pub email: Option<Redacted>,
    pub alias: Option<String>,
    pub role: Option<String>,
    /// The role that the sync last gave because Entra (or the list of administrators) said so.
    pub sso_role: Option<String>,
    /// Every valid role that the last ID token offered. Older versions remember none.
    #[serde(default)]
    pub offered_roles: BTreeSet<String>,
    /// The row was there before the user's first sign-in here, and no operator has confirmed it. Only in a LiteLLM
    /// database: what others made may hold more than can be read, such as keys.
    #[serde(default)]
    pub unconfirmed: bool,
    /// The operator role that waits for that.
    #[serde(default)]
    pub withheld_role: Option<String>,
}

/// The models of a team that the sync made in an organization.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct CurrentTeamModels {
    /// What the team has.
    pub models: Vec<String>,
    /// What the sync last wrote; `None` where it wrote `all-org-models`.
    pub expanded: Option<Vec<String>>,
    /// What the team's organization has.
    pub organization: Vec<String>,
}

/// The person's membership of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentOrganizationMember {
    pub user_role: Option<String>,
    /// The role that the sync gave; `None` on a membership made by hand.
    pub sso_user_role: Option<String>,
}

/// All that is to be written for one sign-in, so concretely that writing it decides nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The key of the person's row: the one that is there, else the object id.
    pub user_id: Redacted,
    pub organizations: BTreeMap<GroupId, NewOrganization>,
    pub teams: BTreeMap<GroupId, NewTeam>,
    pub user: Option<UserChange>,
    /// Teams whose models are brought in step with their organization's.
    pub team_models: BTreeMap<GroupId, ModelsChange>,
    /// By the organization's id: a team may belong to one that was made by hand.
    pub join_organizations: BTreeMap<String, UserRole>,
    /// Memberships of organizations that the sync made and whose role changes.
    pub organization_roles: BTreeMap<String, UserRole>,
    pub join_teams: BTreeSet<GroupId>,
    /// The reset periods of the budgets that new members of these teams get for themselves.
    pub member_budgets: BTreeMap<GroupId, BudgetReset>,
    /// The roles that change, for the record: what is written is in `user` and `organization_roles`.
    pub role_changes: Vec<RoleChange>,
    /// What was left alone, and why.
    pub notes: Vec<Note>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct NewOrganization {
    pub alias: String,
    pub models: Vec<String>,
    pub limits: Limits,
    pub budget_reset_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct NewTeam {
    pub alias: String,
    /// The organization it belongs to: its own, of the same id, or the operator's default one.
    pub organization_id: Option<String>,
    pub models: Vec<String>,
    /// `models` are the organization's, and follow it from now on.
    pub follows_organization: bool,
    pub limits: Limits,
    pub budget_reset_at: Option<DateTime<Utc>>,
    pub access_group_ids: Vec<String>,
    pub team_member_permissions: Option<Vec<String>>,
    /// What each member may spend.
    pub member_budget: Option<Budget>,
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// Limits, and when they start anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    pub limits: Limits,
    pub reset_at: Option<DateTime<Utc>>,
}

/// New models of a team, written only if it still has the old ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelsChange {
    pub from: Vec<String>,
    pub to: Vec<String>,
}

/// How often a budget starts anew, and when next; `None` where this service cannot read the duration: LiteLLM's reset job
/// treats such a row as due and sets the time itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BudgetReset {
    pub budget_duration: String,
    pub budget_reset_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum UserChange {
    Create(NewUser),
    Update(UserUpdate),
}

#[derive(Clone, Debug, PartialEq)]
pub struct NewUser {
    pub email: Option<Email>,
    pub alias: Option<String>,
    /// What the row says: in a LiteLLM database never `org_admin`.
    pub role: UserRole,
    pub given: GivenRoles,
    pub models: Vec<String>,
    pub limits: Limits,
    pub budget_reset_at: Option<DateTime<Utc>>,
}

/// What changes in an existing person's row; `None` leaves a column as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserUpdate {
    pub email: Option<Email>,
    pub alias: Option<String>,
    /// The row's role.
    pub role: Option<String>,
    /// What is remembered of the roles in the token.
    pub given: Option<GivenRoles>,
    /// Another program made the row: from now on it is remembered whose it is.
    pub adopted: bool,
}

/// What is remembered of the roles that Entra gave at a sign-in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenRoles {
    /// The role that counts, if Entra (or the list of administrators) gave one.
    pub role: Option<UserRole>,
    /// Every valid role that the token offered, and `role`.
    pub offered: BTreeSet<UserRole>,
    /// The operator role that is not given until an operator confirms the row.
    pub withheld: Option<UserRole>,
}

/// A role that a sign-in changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoleChange {
    pub scope: RoleScope,
    /// `None`: there was no role, or no account.
    pub before: Option<String>,
    pub after: String,
}

/// Where a role counts: in JSON `global` or the organization's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleScope {
    Global,
    #[serde(untagged)]
    Organization(String),
}

/// Something that the plan left alone on purpose; kept in the sync record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// A team of the person's was there before organizations were switched on (or its organization could not be made).
    TeamStaysStandalone {
        team: GroupId,
    },
    RoleSetByHandStays,
    /// The user's row was there before their first sign-in: an operator role waits until an operator confirms the row.
    OperatorRoleWithheld {
        role: UserRole,
    },
    /// Rows of others have this person's e-mail. They are left alone: an address is no proof of being somebody.
    SameEmail {
        own: Redacted,
        user_ids: BTreeSet<Redacted>,
    },
    /// Rows of others name this person's object id as their `sso_user_id`, and are left alone: they are remembered as
    /// others', or the person has a row under the object id itself.
    SameSsoUserId {
        own: Redacted,
        user_ids: BTreeSet<Redacted>,
    },
    AssignedGroupsUnknown {
        code: String,
    },
    MemberOfUnknown {
        code: String,
    },
}

/// What was really written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The key of the person's row.
    pub user_id: Redacted,
    pub organizations_created: BTreeSet<GroupId>,
    pub teams_created: BTreeSet<GroupId>,
    pub organizations_joined: BTreeSet<String>,
    pub teams_joined: BTreeSet<GroupId>,
    /// The teams whose models were brought in step with their organization's, each with its name.
    pub team_models_updated: BTreeMap<GroupId, Option<String>>,
    /// The names of those teams, as a LiteLLM database has them: its proxies cache teams by name, too.
    pub aliases_joined: BTreeMap<GroupId, Option<String>>,
    pub user_created: bool,
    pub user_updated: bool,
    /// The roles that were changed, the first one of a new account among them. Roles of new memberships are not.
    pub role_changes: Vec<RoleChange>,
    pub failures: Vec<Failure>,
    /// What was left alone, and why: the notes of the plan that was written.
    pub notes: Vec<Note>,
    /// How often the transaction lost a race (a deadlock, say) and was tried again.
    pub retries: u32,
}

/// A row that the database refused, while all others were written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// `organization` or `team`.
    pub kind: &'static str,
    pub id: GroupId,
    pub alias: String,
    /// The database's SQLSTATE and message.
    pub why: String,
}
