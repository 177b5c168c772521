//! Input and output of planning. Maps and sets are ordered, so that the same input gives the same plan and the same
//! order of rows in SQL.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::{Email, GroupId, Redacted, TenantId, UserRole};
use crate::policy::Limits;

/// Groups by ID, with their names if known.
pub type Groups = BTreeMap<GroupId, Option<String>>;

/// A list of groups, either completely read or unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupList {
    Known(Groups),
    Unknown(Unknown),
}

/// Why a list is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// Stable error code, such as `graph_throttled`.
    pub code: String,
    /// Message for the sync record; without tokens, e-mail addresses or Entra's own text.
    pub message: String,
}

/// Directory snapshot: the groups in Entra at this sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Groups assigned to the enterprise app; `None` if no service principal is configured.
    pub assigned: Option<GroupList>,
    /// The user's groups.
    pub member_of: GroupList,
}

/// Current state of one user and a set of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Current {
    pub user: Option<CurrentUserRow>,
    /// Requested groups that are organizations.
    pub organizations: BTreeSet<GroupId>,
    /// Models of organizations whose group has no team yet. Unreadable lists are missing.
    pub organization_models: BTreeMap<GroupId, Vec<String>>,
    /// Requested groups that are teams, with the existing organization of each.
    pub teams: BTreeMap<GroupId, Option<String>>,
    /// Managed teams whose models differ from their organization's; always empty in the native store.
    pub team_models: BTreeMap<GroupId, CurrentTeamModels>,
    /// Teams that give each new member a budget of their own, with the `budget_duration` of the default member budget;
    /// always empty in the native store.
    pub member_budget_durations: BTreeMap<GroupId, Option<String>>,
    /// The user's managed team memberships that this sign-in could change, by team ID: those of groups that are not
    /// effective, and those that another installation gave. Empty if a list of groups is unknown.
    pub managed_teams: BTreeMap<String, ManagedTeam>,
    /// The user's managed organization memberships, by organization ID, except those of effective groups. Empty if
    /// a list of groups is unknown.
    pub managed_organizations: BTreeMap<String, ManagedOrganization>,
    /// Whether the database user has the privileges to remove memberships; read only if there are any to remove.
    pub can_remove: bool,
    /// Teams of effective groups in which the sync blocked keys of the user; always empty in the native store.
    pub blocked_keys: BTreeSet<GroupId>,
    /// Whether the database user has the privileges to restore them; read only if there are any.
    pub can_restore_keys: bool,
    /// Set if a reconciliation run found the account disabled: whether the database user has the privileges to restore it.
    pub can_restore_account: Option<bool>,
    /// A sign-in of this user that started later, at most a minute, has already decided about memberships. Beyond that
    /// the clocks of replicas differ.
    pub superseded: bool,
    /// All of the user's organizations by ID. An ID created by hand need not be a GUID.
    pub organization_members: BTreeMap<String, CurrentOrganizationMember>,
    /// Requested groups whose team the user is in; partial memberships do not count.
    pub team_members: BTreeSet<GroupId>,
    /// `user_id` of other rows with the user's e-mail address, at most five.
    pub same_email: BTreeSet<Redacted>,
    /// `user_id` of other rows whose `sso_user_id` is the user's object ID.
    pub same_sso_user_id: BTreeSet<Redacted>,
}

/// The user's row. Roles are text, because they may be set by hand.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CurrentUserRow {
    /// Key of the row. In a LiteLLM database it can differ from the object ID.
    pub user_id: Redacted,
    /// The owner's tenant; `None` if this service has never written to the row.
    pub tenant_id: Option<TenantId>,
    pub email: Option<Redacted>,
    pub alias: Option<String>,
    pub role: Option<String>,
    /// The role that the sync last granted because of Entra or `access.admin_user_ids`.
    pub sso_role: Option<String>,
    /// All valid roles of the last ID token. Older versions stored none.
    #[serde(default)]
    pub offered_roles: BTreeSet<String>,
    /// The row existed before the user's first sign-in here, and no operator has confirmed it. LiteLLM only: such an
    /// account may have keys, which this service cannot read.
    #[serde(default)]
    pub unconfirmed: bool,
    /// The operator role that is withheld until then.
    #[serde(default)]
    pub withheld_role: Option<String>,
}

/// Models of a managed team in an organization.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct CurrentTeamModels {
    /// The team's models.
    pub models: Vec<String>,
    /// What the sync last wrote; `None` if it wrote `all-org-models`.
    pub expanded: Option<Vec<String>>,
    /// The organization's models.
    pub organization: Vec<String>,
}

/// The user's membership of an organization.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentOrganizationMember {
    pub user_role: Option<String>,
    /// The role that the sync granted; `None` for a manual membership.
    pub sso_user_role: Option<String>,
}

/// A team membership that the sync gave.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ManagedTeam {
    pub team_alias: Option<String>,
    pub organization_id: Option<String>,
    /// What gave the membership, as [`source`] writes it. Empty if a version without sources gave it.
    pub sources: BTreeSet<String>,
    /// `admin` or `user`.
    pub role: String,
    /// The user is an administrator of the team, and no other user who has signed in is.
    pub last_admin: bool,
    /// Whether the user is still a member, in LiteLLM's tables at least by one of the three places.
    pub present: bool,
}

/// An organization membership that the sync gave.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ManagedOrganization {
    pub organization_alias: Option<String>,
    /// All teams of the organization in which the user is, managed or manual.
    pub teams: BTreeSet<String>,
    /// The user is `org_admin` there, and no other user who has signed in is.
    pub last_admin: bool,
}

/// The source of a membership: the group, and the installation whose enterprise app it is assigned to. The tenant is the
/// user's.
#[must_use]
pub fn source(client_id: &str, group: GroupId) -> String {
    format!("{client_id}:{group}")
}

/// Everything to write for one sign-in. Writing it decides nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Key of the user's row: the existing one, else the object ID.
    pub user_id: Redacted,
    pub organizations: BTreeMap<GroupId, NewOrganization>,
    pub teams: BTreeMap<GroupId, NewTeam>,
    pub user: Option<UserChange>,
    /// Teams whose models are updated to their organization's.
    pub team_models: BTreeMap<GroupId, ModelsChange>,
    /// By organization ID, which need not be a group's: a team may belong to an organization created by hand.
    pub add_to_organizations: BTreeMap<String, UserRole>,
    /// Managed organization memberships whose role changes.
    pub organization_roles: BTreeMap<String, UserRole>,
    pub add_to_teams: BTreeSet<GroupId>,
    /// Team memberships that end, by team ID.
    pub remove_from_teams: BTreeMap<String, Removal>,
    /// Organization memberships that end, by organization ID.
    pub remove_from_organizations: BTreeMap<String, Removal>,
    /// New sources of managed team memberships that stay, by team ID.
    pub sources: BTreeMap<String, BTreeSet<String>>,
    /// Managed team memberships that no longer exist. If they are added again by hand, they are manual.
    pub forget_teams: BTreeSet<String>,
    /// Teams that the user returns to, and in which the sync blocked keys of the user.
    pub restore_keys: BTreeSet<GroupId>,
    /// The account was disabled. The sign-in shows that it is enabled again.
    pub restore_account: bool,
    /// Budget resets of new members who get a budget of their own.
    pub member_budgets: BTreeMap<GroupId, BudgetReset>,
    /// Changed roles, for the sync record. The plan writes `user` and `organization_roles`.
    pub role_changes: Vec<RoleChange>,
    /// What was left alone, and why.
    pub notes: Vec<Note>,
}

/// A membership that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    pub cause: RemovalCause,
    /// Name of the team or organization.
    pub name: Option<String>,
    /// The user's role in it until now.
    pub role: Option<String>,
}

/// Why a membership ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalCause {
    /// The user's completely read groups do not contain this one, which gave the membership.
    LeftGroup(GroupId),
    /// The user has no other membership in the organization (rule 14).
    LastTeamLeft,
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
    /// Its own organization with the same ID, or the operator's default one.
    pub organization_id: Option<String>,
    pub models: Vec<String>,
    /// Whether `models` are the organization's and follow it from now on.
    pub follows_organization: bool,
    pub limits: Limits,
    pub budget_reset_at: Option<DateTime<Utc>>,
    pub access_group_ids: Vec<String>,
    pub team_member_permissions: Option<Vec<String>>,
    /// Budget of each member.
    pub member_budget: Option<Budget>,
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// Limits with the time of the next reset.
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

/// Period and next reset of a budget. `None` if the duration is unreadable: LiteLLM's reset job treats such a row as
/// due and sets the time itself.
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
    /// Role in the row; never `org_admin` in a LiteLLM database.
    pub role: UserRole,
    pub granted: GrantedRoles,
    pub models: Vec<String>,
    pub limits: Limits,
    pub budget_reset_at: Option<DateTime<Utc>>,
}

/// Changes of an existing user's row; `None` leaves a column as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserUpdate {
    pub email: Option<Email>,
    pub alias: Option<String>,
    /// The row's role.
    pub role: Option<String>,
    /// Stored roles of the token.
    pub granted: Option<GrantedRoles>,
    /// Another program created the row; from now on its owner is stored.
    pub adopted: bool,
}

/// Stored roles of a sign-in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantedRoles {
    /// The role that counts, if Entra or `access.admin_user_ids` granted one.
    pub role: Option<UserRole>,
    /// All valid roles of the token, and `role`.
    pub offered: BTreeSet<UserRole>,
    /// The operator role that is withheld until an operator confirms the row.
    pub withheld: Option<UserRole>,
}

/// A role that a sign-in changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoleChange {
    pub scope: RoleScope,
    /// `None` if there was no role or no account.
    pub before: Option<String>,
    pub after: String,
}

/// Where a role applies: in JSON `global` or the organization's ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleScope {
    Global,
    #[serde(untagged)]
    Organization(String),
}

/// What the plan left alone on purpose; stored in the sync record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// The user's team existed before organizations were switched on, or its organization could not be created.
    TeamStaysStandalone {
        team: GroupId,
    },
    RoleSetByHandStays,
    /// The row existed before the user's first sign-in, so an operator role is withheld until an operator confirms it.
    OperatorRoleWithheld {
        role: UserRole,
    },
    /// Other rows have the user's e-mail address. They are left alone, because an address proves no identity.
    SameEmail {
        own: Redacted,
        user_ids: BTreeSet<Redacted>,
    },
    /// Other rows have the user's object ID as `sso_user_id`. They are left alone: they belong to other users, or the
    /// user has a row with the object ID as its key.
    SameSsoUserId {
        own: Redacted,
        user_ids: BTreeSet<Redacted>,
    },
    /// The user left the group, but the membership stays.
    RemovalKept {
        /// `team` or `organization`.
        kind: &'static str,
        id: String,
        reason: KeptReason,
    },
    /// The user is in the team again, but the database user lacks the privileges to restore the user's keys.
    KeysStayBlocked {
        team: GroupId,
    },
    /// The account is enabled again, but the database user lacks the privileges to restore it in LiteLLM.
    AccountStaysBlocked,
    /// A sign-in of the user that started later has decided about memberships and roles, so this one does not.
    Superseded,
    AssignedGroupsUnknown {
        code: String,
    },
    MemberOfUnknown {
        code: String,
    },
}

/// Why a membership stays although the user left the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptReason {
    /// The user is its last administrator (rule 16).
    LastAdmin,
    /// `access.admin_user_ids` lists the user (rule 16).
    ListedAdmin,
    /// The database user lacks the privileges (rule 15).
    MissingPrivileges,
    /// Only another installation gave the membership (rule 11).
    OtherInstallation,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Key of the user's row.
    pub user_id: Redacted,
    pub organizations_created: BTreeSet<GroupId>,
    pub teams_created: BTreeSet<GroupId>,
    pub organizations_joined: BTreeSet<String>,
    pub teams_joined: BTreeSet<GroupId>,
    /// Teams that the user was removed from, with their names.
    pub removed_from_teams: BTreeMap<String, Option<String>>,
    pub removed_from_organizations: BTreeSet<String>,
    /// Keys that were blocked and restored in a LiteLLM database, by team: the hashes under which proxies cache them.
    pub keys_blocked: BTreeMap<String, BTreeSet<Redacted>>,
    pub keys_restored: BTreeMap<String, BTreeSet<Redacted>>,
    /// What a run blocked when the account was disabled was restored.
    pub account_restored: bool,
    /// Names of teams whose models were updated to their organization's.
    pub team_models_updated: BTreeMap<GroupId, Option<String>>,
    /// Names of teams that the user was added to, in a LiteLLM database: its proxies also cache teams by name.
    pub aliases_joined: BTreeMap<GroupId, Option<String>>,
    pub user_created: bool,
    pub user_updated: bool,
    /// Changed roles, including the first one of a new account, but not those of new memberships.
    pub role_changes: Vec<RoleChange>,
    pub failures: Vec<Failure>,
    /// Notes of the plan that was written.
    pub notes: Vec<Note>,
    /// How often the transaction lost a race, such as a deadlock, and was retried.
    pub retries: u32,
}

/// A row that the database rejected while the others were written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// `organization` or `team`.
    pub kind: &'static str,
    pub id: GroupId,
    pub alias: String,
    /// SQLSTATE and message of the database.
    pub why: String,
}
