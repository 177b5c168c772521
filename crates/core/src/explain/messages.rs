//! Texts about each situation, for pages, JSON and the terminal.

use chrono::{DateTime, Utc};

use super::facts::{Kind, ListFacts, ListState, Places, RemovalFacts};
use super::report::{MembershipWhy, Message, OrganizationVerdict, RoleWhy, SignIn, Standalone, Verdict};
use crate::domain::StoreKind;
use crate::policy::MembershipSync;
use crate::reconciliation::DisabledCause;
use crate::sync_run::Denial;

/// How to assign a group.
pub(super) const ASSIGN: &str =
    "In the Entra admin center: Enterprise apps → your app → Users and groups → Add user/group. Then sign in again.";
const NEXT: &str = "Sign in again.";
/// When memberships change.
const AT_SIGN_IN: &str = "Groups are read and memberships written only at sign-in.";
const ADDS_ONLY: &str = "sync.memberships is additive: memberships are added but not removed.";
const LOOK: &str =
    "Remove the cause in the database (a trigger, a constraint), then sign in again. Each sign-in retries.";

fn at(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn message(what: impl Into<String>, rule: &str, remedy: Option<&str>) -> Message {
    Message { what: what.into(), rule: rule.to_owned(), remedy: remedy.map(str::to_owned) }
}

/// The database's message, for readers who may see it.
fn said(why: Option<&String>) -> String {
    why.map_or_else(|| "an operator finds the reason in the sync record".to_owned(), |why| format!("“{why}”"))
}

/// Names of the missing places of a membership.
fn missing(places: Places) -> String {
    let all = [
        (places.roster, "the team's members_with_roles"),
        (places.person, "the user's own teams"),
        (places.membership, "LiteLLM_TeamMembership"),
    ];
    let missing: Vec<&str> = all.into_iter().filter(|(there, _)| !there).map(|(_, name)| name).collect();
    missing.join(" and ")
}

impl Message {
    /// Combines texts about one group. The first remedy counts.
    pub(super) fn join(parts: Vec<Self>) -> Self {
        let join = |text: fn(&Self) -> &str| {
            parts.iter().map(text).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
        };
        let (what, rule) = (join(|part| &part.what), join(|part| &part.rule));
        Self { what, rule, remedy: parts.into_iter().find_map(|part| part.remedy) }
    }

    /// The same, with a text in front of the situation.
    pub(super) fn after(self, text: &str) -> Self {
        Self { what: format!("{text}{}", self.what), ..self }
    }
}

/// When and why the user was removed.
pub(super) fn removal_message(removal: &RemovalFacts) -> Message {
    let kind = match removal.kind {
        Kind::Organization => "organization",
        Kind::Team => "team",
    };
    let add = Some("Add the user to the group in Entra. Then sign in again.");
    let (why, remedy) = match removal.cause.as_deref() {
        Some("left_group") => ("the user was no longer in the group that gave the membership", add),
        Some("last_team_left") => ("the user was no longer in any of its teams", add),
        Some("group_unassigned") => {
            ("the group that gave the membership was no longer assigned to the app", Some(ASSIGN))
        }
        Some("group_deleted") => ("the group that gave the membership was deleted in Entra", None),
        Some("account_deleted") => ("the user's account was deleted in Entra", None),
        _ => ("the sync removed the membership", add),
    };
    let by = if removal.is_by_run() { "by the reconciliation" } else { "at the sign-in" };
    message(
        format!("Removed from the {kind} {by} of {}: {why}.", at(removal.at)),
        "A membership that the sync added ends when the user leaves its group.",
        remedy,
    )
}

/// Since when the account is disabled, and what that means.
pub(super) fn disabled_message(cause: DisabledCause, since: DateTime<Utc>) -> Message {
    let (state, remedy) = match cause {
        DisabledCause::Disabled => ("disabled", "Enable the account in Entra."),
        DisabledCause::SoftDeleted => ("deleted, but can be restored,", "Restore the account in Entra within 30 days."),
        DisabledCause::Deleted => ("permanently deleted", "Create a new account in Entra. It is another user."),
    };
    message(
        format!("The account is {state} in Entra. First seen {}.", at(since)),
        "A disabled account has no sessions, its LiteLLM keys are rejected, and an operator role is lowered. Memberships \
         stay until the groups no longer list the user.",
        Some(remedy),
    )
}

pub(super) fn in_other_organization(name: &str) -> Message {
    let what = format!("Its team is in another organization, {name}.");
    message(what, "Existing rows are left as they are.", None)
}

impl Verdict {
    pub(super) fn message(&self) -> Message {
        let stays =
            |in_team: &bool| if *in_team { " The user is still in its team from an earlier sign-in." } else { "" };
        match self {
            Self::NotAssigned { in_team } => message(
                format!("The group is not assigned to the app, so it has no effect.{}", stays(in_team)),
                "Only groups that an administrator assigned to the enterprise app become teams.",
                Some(ASSIGN),
            ),
            Self::AssignmentUnknown { in_team } => message(
                format!(
                    "When the user signed in, it was unknown whether the group is assigned to the app, so no \
                     membership was added.{}",
                    stays(in_team)
                ),
                "If one of the two lists is unknown, nothing is created, added or removed.",
                Some("See under Readings why the list is unknown, then sign in again."),
            ),
            Self::NoServicePrincipal => message(
                "The group has no team, and none is created: no service principal is configured.",
                "Without entra.service_principal_id nothing is created; users are added to existing teams with the \
                 IDs of their groups.",
                Some("Set entra.service_principal_id, assign the group to the app, and sign in again."),
            ),
            Self::Joined => message(
                "The user is in its team.",
                "Members of a group that is assigned to the app are added to its team at sign-in. Without a service \
                 principal, every group with a team counts.",
                None,
            ),
            Self::PartialMembership { places } => message(
                format!("The user is only partially in its team: the membership is missing in {}.", missing(*places)),
                "LiteLLM stores a membership in three places. A partial membership does not count; the next sign-in \
                 completes it.",
                Some(NEXT),
            ),
            Self::NotInTeam => message(
                "Its team exists, but the user is not in it: since the last sign-in, the user was removed or the team \
                 was created.",
                "Members of a group that counts are added to its team at the next sign-in.",
                Some(NEXT),
            ),
            Self::TeamRefused { at: time, why } => message(
                format!("The database rejected the team at {}: {}.", at(*time), said(why.as_ref())),
                "A rejected row does not affect other groups.",
                Some(LOOK),
            ),
            Self::NoTeam => message(
                "The group has no team: it was deleted since the last sign-in, or that sign-in did not complete.",
                "Each assigned group gets a team at the next sign-in.",
                Some(NEXT),
            ),
            Self::UserDenied { at: time } => message(
                format!("The user was denied at {}, so nothing was written.", at(*time)),
                "Memberships are written only when a sign-in is allowed.",
                Some("See under Last sign-in why the user was denied."),
            ),
        }
    }
}

impl OrganizationVerdict {
    pub(super) fn message(&self) -> Message {
        match self {
            Self::Joined => message("The user is also in its organization.", "", None),
            Self::NotInIt => message(
                "The user is not in its organization.",
                "Members of a group that counts are added to its organization at the next sign-in.",
                Some(NEXT),
            ),
            Self::NotMade => message(
                "Its organization does not exist.",
                "entra_groups_also_create_orgs: each assigned group gets an organization at the next sign-in.",
                Some(NEXT),
            ),
            Self::Refused { at: time, why } => message(
                format!("The database rejected its organization at {}: {}.", at(*time), said(why.as_ref())),
                "If an organization is rejected, the team is standalone.",
                Some(LOOK),
            ),
        }
    }
}

impl Standalone {
    /// Why the team is standalone.
    #[must_use]
    pub fn message(&self) -> Message {
        let stays = "Existing rows are left as they are: a standalone team stays standalone.";
        let by_hand = Some("To put the team in an organization, change it in LiteLLM or in the database.");
        match self {
            Self::OrganizationsOff => message(
                "The team is standalone: groups do not become organizations (entra_groups_also_create_orgs is off).",
                "",
                None,
            ),
            Self::OrganizationsWereOff { at: time } => message(
                format!("The team is standalone: it was created at {}, when organizations were off.", at(*time)),
                stays,
                by_hand,
            ),
            Self::OrganizationRefused { at: time, why } => message(
                format!(
                    "The team is standalone: when it was created at {}, its organization could not be created: {}.",
                    at(*time),
                    said(why.as_ref())
                ),
                stays,
                by_hand,
            ),
            Self::NotOurs => message(
                "The team is standalone: it was created by hand, or by a version of Entraway that kept no record of \
                 it.",
                stays,
                by_hand,
            ),
            Self::TakenOut { at: time } => message(
                format!(
                    "The team is standalone: it was created at {} in an organization; since then, it was removed from \
                     the organization or the organization was deleted.",
                    at(*time)
                ),
                stays,
                by_hand,
            ),
        }
    }
}

impl MembershipWhy {
    pub(super) fn message(&self, kind: Kind, store: StoreKind, memberships: MembershipSync) -> Message {
        let added = "Added by Entraway at a sign-in";
        let remove = Some(match (kind, store) {
            (Kind::Team, StoreKind::LiteLlm) => "In LiteLLM, remove the user from the team.",
            (Kind::Organization, StoreKind::LiteLlm) => "In LiteLLM, remove the user from the organization.",
            (Kind::Team, StoreKind::Native) => "An operator can delete the row in entraway.team_members.",
            (Kind::Organization, StoreKind::Native) => {
                "An operator can delete the row in entraway.organization_members."
            }
        });
        match self {
            Self::FromEntra => message(
                format!("{added}: the user is in the group with this ID, and the group counts."),
                "Members of a group that counts are added to its team and, if there is one, its organization.",
                None,
            ),
            Self::GroupLeft => {
                let what = format!("{added}, for a group that the user is no longer in. It stays.");
                match memberships {
                    MembershipSync::Additive => message(what, ADDS_ONLY, remove),
                    MembershipSync::Follow => message(
                        what,
                        "A sign-in removes such a membership, unless it has to be kept, as that of the last administrator.",
                        Some("The sync record of the last sign-in shows why it was kept."),
                    ),
                }
            }
            Self::GroupNotAssigned => message(
                format!("{added}, for a group that is no longer assigned to the app. It stays."),
                match memberships {
                    MembershipSync::Additive => ADDS_ONLY,
                    MembershipSync::Follow => {
                        "A sign-in does not remove memberships of groups that are no longer assigned."
                    }
                },
                remove,
            ),
            Self::GroupUnknown => message(
                format!("{added}. It is currently unknown whether the group still counts."),
                "If a list of groups is unknown, nothing is removed.",
                None,
            ),
            Self::ByHand { of_their_group } => {
                let maker = match store {
                    StoreKind::Native => "Added by hand, not by Entraway.",
                    StoreKind::LiteLlm => "Added by hand or by LiteLLM itself, not by Entraway.",
                };
                let group = if *of_their_group { " The user is also in the group with this ID." } else { "" };
                message(format!("{maker}{group}"), "A membership added by hand is left as it is.", None)
            }
            Self::Partial { places } => message(
                format!("It does not count: it is missing in {}.", missing(*places)),
                "LiteLLM stores a membership in three places. A partial membership does not count. If its group \
                 counts, the next sign-in completes it.",
                Some("Sign in again, or remove the user from the team in LiteLLM and add them again."),
            ),
        }
    }
}

impl RoleWhy {
    pub(super) fn message(&self, role: Option<&str>) -> Message {
        let role = role.unwrap_or("none");
        match self {
            Self::NoRow => message(
                "No role: the store has no account of this user.",
                "An account is created at the first allowed sign-in.",
                Some("Sign in."),
            ),
            Self::NotFromHere => message(
                format!("{role}: from the account's row. The account has never been used to sign in here."),
                "Roles are read from Entra at sign-in.",
                None,
            ),
            Self::AppRole => message(
                format!("{role}: an app role from Entra."),
                "The app role from Entra is written at each sign-in, and removed when Entra no longer grants one.",
                Some(
                    "In the Entra admin center: Enterprise apps → your app → Users and groups, where roles are assigned.",
                ),
            ),
            Self::AdminUserIds => message(
                format!("{role}: access.admin_user_ids lists this user."),
                "Users listed there are always proxy_admin, whatever their role in Entra.",
                None,
            ),
            Self::AdminUserIdsPending => message(
                format!("{role}; access.admin_user_ids lists this user, who becomes proxy_admin at the next sign-in."),
                "Users listed there are always proxy_admin, whatever their role in Entra.",
                Some(NEXT),
            ),
            Self::OperatorRoleWithheld { withheld } => message(
                format!("{role}: the role {withheld} is withheld until an operator confirms this account."),
                "The account is older than the first sign-in here. Another program created it, and it may have keys of other users.",
                Some("Check the account and its keys in LiteLLM, then run: entraway users adopt --user <object id>"),
            ),
            Self::AlsoOffered { given } => message(
                format!("{role}: another app role from Entra; the sync granted {given}."),
                "LiteLLM's own sign-in writes the highest role of the token. It is removed when Entra no longer grants one.",
                Some("Set sync.role_precedence: highest, so that both sign-ins write the same role."),
            ),
            Self::ChangedByHand { given } => message(
                format!("{role}: changed by hand; the sync last granted {given}."),
                "A role set by hand stays as long as Entra grants none. An app role from Entra is written at each sign-in.",
                None,
            ),
            Self::Default { default } => message(
                format!("{role}: Entra grants this user no role, and {default} is the default of new users."),
                "default_internal_user_params.user_role: the role of users without an app role in Entra.",
                Some("Assign an app role in Entra, or change the role in the database."),
            ),
            Self::SetByHand { default } => message(
                format!(
                    "{role}: Entra grants this user no role, and the default of new users is {default}. So it was set by hand, or it was the default when the account was created."
                ),
                "A role set by hand stays as long as Entra grants none.",
                None,
            ),
        }
    }
}

impl SignIn {
    pub(super) fn message(&self, has_row: bool) -> Message {
        match self {
            Self::Never if has_row => message(
                "No sign-in through Entraway is recorded: the account was created by hand or by another program, or the records are older than 90 days and were deleted.",
                AT_SIGN_IN,
                Some("Sign in."),
            ),
            Self::Never => message("Never signed in.", AT_SIGN_IN, Some("Sign in.")),
            Self::SignedIn { at: time } => message(format!("Last signed in at {}.", at(*time)), AT_SIGN_IN, None),
            Self::Refused { at: time, outcome } => {
                let (what, rule, remedy) = denial_texts(*outcome);
                message(format!("Denied at {}: {what}.", at(*time)), rule, Some(remedy))
            }
        }
    }
}

/// What happened, the rule and the remedy.
fn denial_texts(denial: Denial) -> (&'static str, &'static str, &'static str) {
    match denial {
        Denial::NoGroup => (
            "the user is in no group that is assigned to the app",
            "access.require_group: only members of assigned groups may sign in. Nothing is written.",
            "Add the user directly to an assigned group, or assign one of the user's groups.",
        ),
        Denial::GroupsUnknown => (
            "it was unknown which groups the user is in, or which are assigned",
            "access.require_group: an unknown list does not allow a sign-in. Nothing is written.",
            "See under Readings why the list is unknown, then sign in again.",
        ),
        Denial::EmailDomain => (
            "the domain of the user's sign-in address is not allowed",
            "access.allowed_email_domains. Nothing is read or written.",
            "Sign in with an address of an allowed domain, or allow this one.",
        ),
        Denial::OtherTenant => (
            "the object ID belongs to a user of another tenant",
            "A user is identified by tenant and object ID. An account of one tenant is never given to another.",
            "Ask the operator of the database to check the existing account.",
        ),
    }
}

/// State of a list at the last sign-in. `list`: its name. `why`: why it is unknown.
pub(super) fn list_message(list: &str, state: ListState, times: &ListFacts, why: Option<&String>) -> Message {
    let rule = "A list counts only if it was read completely. If a list is unknown, nothing is added or removed.";
    let as_of = times.as_of.map(|time| format!("as of {}", at(time)));
    match (state, as_of) {
        (ListState::Known, None) => message(
            format!("{list} are not stored: an older version of Entraway read them last and did not store them."),
            rule,
            Some(NEXT),
        ),
        (ListState::Known, Some(as_of)) => message(format!("{list} are {as_of}."), "", None),
        (ListState::Unknown, as_of) => {
            let since = times.unknown_since.map(|time| format!(" since {}", at(time))).unwrap_or_default();
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            let shown = as_of.map_or("They were never known.".to_owned(), |as_of| format!("Those shown are {as_of}."));
            let what = format!("{list} are unknown{since}{why}. {shown}");
            message(what, rule, Some("Run entraway check to see the problem with Graph, then sign in again."))
        }
        (ListState::NotConfigured, _) => message(
            format!("{list} are not read: no service principal is configured."),
            "Without entra.service_principal_id nothing is created; users are added to existing teams with the IDs of their groups.",
            Some("Set entra.service_principal_id to the object id of the enterprise app."),
        ),
        (ListState::NotRead, Some(as_of)) => {
            message(format!("{list} were not read at the last sign-in, and are {as_of}."), rule, Some(NEXT))
        }
        (ListState::NotRead, None) => message(format!("{list} were never read."), rule, Some("Sign in.")),
    }
}
