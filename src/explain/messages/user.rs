//! Texts about the user: role, last sign-in, state of the groups.

use super::{NEXT, at, words};
use crate::explain::facts::{ListState, Outcome};
use crate::explain::report::{ListReport, RoleWhy, SignIn, Words};

impl RoleWhy {
    pub(in crate::explain) fn words(&self, role: Option<&str>) -> Words {
        let role = role.unwrap_or("none");
        match self {
            Self::NoRow => words(
                "No role: the store has no account of this person.",
                "An account is made at the first sign-in that is let in.",
                Some("Sign in."),
            ),
            Self::NotFromHere => words(
                format!("{role}: as the account's row says. Nobody has signed in here with this account."),
                "Roles are taken from Entra at a sign-in.",
                None,
            ),
            Self::AppRole => words(
                format!("{role}: an app role that Entra gave."),
                "The role that Entra gives is written at each sign-in, and goes when Entra gives none any more.",
                Some(
                    "In the Entra admin center: Enterprise apps → your app → Users and groups, where roles are assigned.",
                ),
            ),
            Self::AdminUserIds => words(
                format!("{role}: access.admin_user_ids names this person."),
                "Whoever is named there is always proxy_admin, whatever Entra says.",
                None,
            ),
            Self::AdminUserIdsPending => words(
                format!(
                    "{role}; access.admin_user_ids names this person, which makes them proxy_admin at the next sign-in."
                ),
                "Whoever is named there is always proxy_admin, whatever Entra says.",
                Some(NEXT),
            ),
            Self::OperatorRoleWithheld { withheld } => words(
                format!("{role}: the role {withheld} waits until an operator confirms this account."),
                "The account is older than the first sign-in here. Another program made it, and it may hold keys of others.",
                Some("Check the account and its keys in LiteLLM, then run: entraway users adopt --user <object id>"),
            ),
            Self::AlsoOffered { given } => words(
                format!("{role}: an app role that Entra offers beside {given}, which the sync gave."),
                "LiteLLM's own sign-in writes the highest role of the token. It goes when Entra no longer gives one.",
                Some("Set sync.role_precedence: highest, so that both sign-ins write the same role."),
            ),
            Self::ChangedByHand { given } => words(
                format!("{role}: somebody changed it by hand; the sync last gave {given}."),
                "A role set by hand stays as long as Entra gives none. One that Entra gives is written at each sign-in.",
                None,
            ),
            Self::Default { default } => words(
                format!("{role}: Entra gives this person no role, and {default} is what new people get."),
                "default_internal_user_params.user_role, for whoever has no app role in Entra.",
                Some("Assign an app role in Entra, or change the role in the database."),
            ),
            Self::SetByHand { default } => words(
                format!(
                    "{role}: Entra gives this person no role. New people get {default}, so somebody set this one by \
                     hand, or new people got it when the account was made."
                ),
                "A role set by hand stays as long as Entra gives none.",
                None,
            ),
        }
    }
}

impl SignIn {
    pub(in crate::explain) fn words(&self, has_row: bool) -> Words {
        match self {
            Self::Never if has_row => words(
                "No sign-in through Entraway is on record: the account was made by hand or by another program, or the \
                 records were deleted, which happens after 90 days.",
                "Groups are read and memberships written at a sign-in, at no other time.",
                Some("Sign in."),
            ),
            Self::Never => {
                words("Never signed in.", "Groups are read and memberships written at a sign-in.", Some("Sign in."))
            }
            Self::SignedIn { at: time } => words(
                format!("Signed in last at {}.", at(*time)),
                "Groups are read and memberships written at each sign-in, at no other time.",
                None,
            ),
            Self::Refused { at: time, outcome } => {
                let (what, rule, remedy) = outcome.refusal();
                words(format!("Refused at {}: {what}.", at(*time)), rule, Some(remedy))
            }
        }
    }
}

impl Outcome {
    fn refusal(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::SignedIn => ("nothing was the matter", "", NEXT),
            Self::NoGroup => (
                "the person is in none of the groups that are assigned to the app",
                "access.require_group: nobody gets in who is in no assigned group. Nothing is written then.",
                "Put the person directly into an assigned group, or assign one of theirs.",
            ),
            Self::GroupsUnknown => (
                "Entra did not tell which groups they are in, or which are assigned",
                "access.require_group: unknown is not enough to get in. Nothing is written then.",
                "See under Readings why Entra did not tell; then sign in again.",
            ),
            Self::EmailDomain => (
                "they sign in with an address of a domain that is not allowed",
                "access.allowed_email_domains. Nothing is read or written then.",
                "Sign in with an address of an allowed domain, or allow this one.",
            ),
            Self::OtherTenant => (
                "their object id belongs to a person of another tenant",
                "A person is known by tenant and object id; an account of one tenant is not handed to another.",
                "Have the account that is there looked at by whoever runs the database.",
            ),
        }
    }
}

impl ListReport {
    pub(in crate::explain) fn words(&self, assigned: bool) -> Words {
        let list = if assigned { "The groups assigned to the app" } else { "The person's groups" };
        let known = self.as_of.map_or_else(|| "were never known".to_owned(), |time| format!("are as of {}", at(time)));
        let rule = "A list counts only when all of it was read. If one is unknown, nobody joins anything and nothing is \
                    taken away.";
        match self.state {
            ListState::Known if self.as_of.is_none() => words(
                format!(
                    "{list} are not on record: an older version of Entraway read them last, and kept nothing of them."
                ),
                rule,
                Some(NEXT),
            ),
            ListState::Known => words(format!("{list} {known}."), "", None),
            ListState::Unknown => {
                let since = self.unknown_since.map(|time| format!(" since {}", at(time))).unwrap_or_default();
                let why = self.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
                let what = format!("{list} are not known{since}{why}. What is shown of them: they {known}.");
                words(what, rule, Some("See what entraway check says of Graph; then sign in again."))
            }
            ListState::NotConfigured => words(
                format!("{list} are not read: no service principal is configured."),
                "Without entra.service_principal_id nothing is created; people join the teams that exist under the ids of \
                 their groups.",
                Some("Set entra.service_principal_id to the object id of the enterprise app."),
            ),
            ListState::NotRead if self.as_of.is_some() => {
                words(format!("{list} were not read at the last sign-in, and {known}."), rule, Some(NEXT))
            }
            ListState::NotRead => words(format!("{list} were never read."), rule, Some("Sign in.")),
        }
    }
}
