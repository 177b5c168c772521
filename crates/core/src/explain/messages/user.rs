//! Texts about the user: role, last sign-in, state of the groups.

use super::{NEXT, at, words};
use crate::explain::facts::{ListState, Outcome};
use crate::explain::report::{ListReport, Message, RoleWhy, SignIn};

/// When memberships change.
const AT_SIGN_IN: &str = "Groups are read and memberships written only at sign-in.";

impl RoleWhy {
    pub(in crate::explain) fn words(&self, role: Option<&str>) -> Message {
        let role = role.unwrap_or("none");
        match self {
            Self::NoRow => words(
                "No role: the store has no account of this user.",
                "An account is created at the first allowed sign-in.",
                Some("Sign in."),
            ),
            Self::NotFromHere => words(
                format!("{role}: from the account's row. The account has never been used to sign in here."),
                "Roles are read from Entra at sign-in.",
                None,
            ),
            Self::AppRole => words(
                format!("{role}: an app role from Entra."),
                "The app role from Entra is written at each sign-in, and removed when Entra no longer grants one.",
                Some(
                    "In the Entra admin center: Enterprise apps → your app → Users and groups, where roles are assigned.",
                ),
            ),
            Self::AdminUserIds => words(
                format!("{role}: access.admin_user_ids lists this user."),
                "Users listed there are always proxy_admin, whatever their role in Entra.",
                None,
            ),
            Self::AdminUserIdsPending => words(
                format!("{role}; access.admin_user_ids lists this user, who becomes proxy_admin at the next sign-in."),
                "Users listed there are always proxy_admin, whatever their role in Entra.",
                Some(NEXT),
            ),
            Self::OperatorRoleWithheld { withheld } => words(
                format!("{role}: the role {withheld} is withheld until an operator confirms this account."),
                "The account is older than the first sign-in here. Another program created it, and it may have keys of other users.",
                Some("Check the account and its keys in LiteLLM, then run: entraway users adopt --user <object id>"),
            ),
            Self::AlsoOffered { given } => words(
                format!("{role}: another app role from Entra; the sync granted {given}."),
                "LiteLLM's own sign-in writes the highest role of the token. It is removed when Entra no longer grants one.",
                Some("Set sync.role_precedence: highest, so that both sign-ins write the same role."),
            ),
            Self::ChangedByHand { given } => words(
                format!("{role}: changed by hand; the sync last granted {given}."),
                "A role set by hand stays as long as Entra grants none. An app role from Entra is written at each sign-in.",
                None,
            ),
            Self::Default { default } => words(
                format!("{role}: Entra grants this user no role, and {default} is the default of new users."),
                "default_internal_user_params.user_role: the role of users without an app role in Entra.",
                Some("Assign an app role in Entra, or change the role in the database."),
            ),
            Self::SetByHand { default } => words(
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
    pub(in crate::explain) fn words(&self, has_row: bool) -> Message {
        match self {
            Self::Never if has_row => words(
                "No sign-in through Entraway is recorded: the account was created by hand or by another program, or the records are older than 90 days and were deleted.",
                AT_SIGN_IN,
                Some("Sign in."),
            ),
            Self::Never => words("Never signed in.", AT_SIGN_IN, Some("Sign in.")),
            Self::SignedIn { at: time } => words(format!("Last signed in at {}.", at(*time)), AT_SIGN_IN, None),
            Self::Refused { at: time, outcome } => {
                let (what, rule, remedy) = outcome.refusal();
                words(format!("Denied at {}: {what}.", at(*time)), rule, Some(remedy))
            }
        }
    }
}

impl Outcome {
    fn refusal(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::SignedIn => ("no problem", "", NEXT),
            Self::NoGroup => (
                "the user is in no group that is assigned to the app",
                "access.require_group: only members of assigned groups may sign in. Nothing is written.",
                "Add the user directly to an assigned group, or assign one of the user's groups.",
            ),
            Self::GroupsUnknown => (
                "it was unknown which groups the user is in, or which are assigned",
                "access.require_group: an unknown list does not allow a sign-in. Nothing is written.",
                "See under Readings why the list is unknown, then sign in again.",
            ),
            Self::EmailDomain => (
                "the domain of the user's sign-in address is not allowed",
                "access.allowed_email_domains. Nothing is read or written.",
                "Sign in with an address of an allowed domain, or allow this one.",
            ),
            Self::OtherTenant => (
                "the object ID belongs to a user of another tenant",
                "A user is identified by tenant and object ID. An account of one tenant is never given to another.",
                "Ask the operator of the database to check the existing account.",
            ),
        }
    }
}

impl ListReport {
    pub(in crate::explain) fn words(&self, assigned: bool) -> Message {
        let list = if assigned { "The groups assigned to the app" } else { "The user's groups" };
        let known = self.as_of.map_or_else(|| "were never known".to_owned(), |time| format!("are as of {}", at(time)));
        let rule = "A list counts only if it was read completely. If a list is unknown, nothing is added or removed.";
        match self.state {
            ListState::Known if self.as_of.is_none() => words(
                format!("{list} are not stored: an older version of Entraway read them last and did not store them."),
                rule,
                Some(NEXT),
            ),
            ListState::Known => words(format!("{list} {known}."), "", None),
            ListState::Unknown => {
                let since = self.unknown_since.map(|time| format!(" since {}", at(time))).unwrap_or_default();
                let why = self.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
                let shown = self.as_of.map_or_else(
                    || "They were never known.".to_owned(),
                    |time| format!("Those shown are as of {}.", at(time)),
                );
                let what = format!("{list} are unknown{since}{why}. {shown}");
                words(what, rule, Some("Run entraway check to see the problem with Graph, then sign in again."))
            }
            ListState::NotConfigured => words(
                format!("{list} are not read: no service principal is configured."),
                "Without entra.service_principal_id nothing is created; users are added to existing teams with the IDs of their groups.",
                Some("Set entra.service_principal_id to the object id of the enterprise app."),
            ),
            ListState::NotRead if self.as_of.is_some() => {
                words(format!("{list} were not read at the last sign-in, and {known}."), rule, Some(NEXT))
            }
            ListState::NotRead => words(format!("{list} were never read."), rule, Some("Sign in.")),
        }
    }
}
