//! An audit event in words.

use serde_json::Value;

use crate::audit::AuditAction;
use crate::db::AuditRow;
use crate::http::formatting::{pluralize, segment};
use crate::sync_run::Denial;

/// An event with its description: `lead`, the team, organization or plan, `tail`.
pub(in crate::http::pages) struct Event {
    pub(in crate::http::pages) row: AuditRow,
    pub(in crate::http::pages) lead: String,
    pub(in crate::http::pages) target: Option<Link>,
    pub(in crate::http::pages) tail: &'static str,
}

/// A name, with the path of its page if it exists.
pub(in crate::http::pages) struct Link {
    pub(in crate::http::pages) name: String,
    pub(in crate::http::pages) path: Option<String>,
}

/// Name of an action in the filter.
pub(super) fn action_name(action: AuditAction) -> &'static str {
    match action {
        AuditAction::TeamMemberAdded => "Added to a team",
        AuditAction::TeamMemberRemoved => "Removed from a team",
        AuditAction::OrganizationMemberAdded => "Added to an organization",
        AuditAction::OrganizationMemberRemoved => "Removed from an organization",
        AuditAction::RoleChanged => "Role changed",
        AuditAction::AccountCreated => "Account created",
        AuditAction::AccountConfirmed => "Account confirmed",
        AuditAction::AccountDisabled => "Account disabled",
        AuditAction::AccountEnabled => "Account enabled",
        AuditAction::KeysBlocked => "Keys blocked",
        AuditAction::KeysRestored => "Keys restored",
        AuditAction::SessionsRevoked => "Sessions revoked",
        AuditAction::SignInDenied => "Sign-in denied",
        AuditAction::PlanHeld => "Plan held",
        AuditAction::PlanApproved => "Plan approved",
        AuditAction::PlanRejected => "Plan rejected",
        AuditAction::TeamRenamed => "Team renamed",
        AuditAction::OrganizationRenamed => "Organization renamed",
    }
}

impl Event {
    pub(in crate::http::pages) fn new(row: AuditRow) -> Self {
        let target = target(&row);
        let kept = row.result == "kept";
        let (lead, tail) = match row.action.parse() {
            Ok(AuditAction::TeamMemberAdded | AuditAction::OrganizationMemberAdded) => {
                (format!("added to {}", row.target_kind), "")
            }
            Ok(AuditAction::TeamMemberRemoved | AuditAction::OrganizationMemberRemoved) if kept => {
                (format!("kept in {}", row.target_kind), "")
            }
            Ok(AuditAction::TeamMemberRemoved | AuditAction::OrganizationMemberRemoved) => {
                (format!("removed from {}", row.target_kind), "")
            }
            Ok(AuditAction::RoleChanged) => {
                let place = if target.is_some() { " in organization" } else { "" };
                (role(row.before.as_ref(), row.after.as_ref()) + place, "")
            }
            Ok(AuditAction::KeysBlocked) if target.is_some() => ("keys of team".to_owned(), "blocked"),
            Ok(AuditAction::KeysRestored) if target.is_some() => ("keys of team".to_owned(), "restored"),
            Ok(AuditAction::SessionsRevoked) => (sessions(row.before.as_ref()), ""),
            Ok(action) => (action_name(action).to_lowercase(), ""),
            // An event of a newer version.
            Err(_) => (row.action.replace('_', " "), ""),
        };
        Self { row, lead, target, tail }
    }

    /// Whether a guard prevented the change.
    pub(in crate::http::pages) fn is_kept(&self) -> bool {
        self.row.result == "kept"
    }

    /// The page of what caused the event: the events of a sign-in, or a reconciliation run.
    pub(in crate::http::pages) fn run(&self) -> Option<Link> {
        let run_id = self.row.run_id?;
        Some(if self.row.actor == "sign_in" {
            Link { name: "this sync".to_owned(), path: Some(format!("/audit?run={run_id}")) }
        } else {
            Link { name: "this run".to_owned(), path: Some(format!("/changes/{run_id}")) }
        })
    }

    /// The user, or the ID of one without a row.
    pub(in crate::http::pages) fn user(&self) -> Option<Link> {
        let AuditRow { user_id, user_name, object_id, .. } = &self.row;
        match (user_id, user_name) {
            (Some(id), Some(name)) => Some(Link { name: name.clone(), path: Some(format!("/people/{}", segment(id))) }),
            _ => object_id.clone().or(user_id.clone()).map(|name| Link { name, path: None }),
        }
    }

    pub(in crate::http::pages) fn cause(&self) -> Option<String> {
        self.row.cause.as_deref().map(cause)
    }

    pub(in crate::http::pages) fn group(&self) -> Option<Link> {
        let id = self.row.group_id.as_ref()?;
        let path = self.row.group_name.as_ref().map(|_| format!("/teams/{}", segment(id)));
        Some(Link { name: self.row.group_name.clone().unwrap_or_else(|| id.clone()), path })
    }

    /// Who acted.
    pub(in crate::http::pages) fn actor(&self) -> String {
        let name = || self.row.actor_name.clone().or(self.row.actor_id.clone());
        match self.row.actor.as_str() {
            "sign_in" => "sign-in".to_owned(),
            "operator" => name().unwrap_or_else(|| "operator".to_owned()),
            "user" => "the user".to_owned(),
            "command" => "command line".to_owned(),
            "job" => "background job".to_owned(),
            other => other.replace('_', " "),
        }
    }
}

/// The team, organization or held plan of an event.
fn target(row: &AuditRow) -> Option<Link> {
    let place = match row.target_kind.as_str() {
        // The beginning of the hash is enough to tell plans apart.
        "plan" => {
            let name = row.target_id.as_deref()?.chars().take(12).collect();
            return Some(Link { name, path: Some("/changes".to_owned()) });
        }
        "team" => "teams",
        "organization" => "organizations",
        _ => return None,
    };
    let id = row.target_id.as_ref()?;
    let path = row.target_exists.then(|| format!("/{place}/{}", segment(id)));
    Some(Link { name: row.target_name.clone().unwrap_or_else(|| id.clone()), path })
}

fn role(before: Option<&Value>, after: Option<&Value>) -> String {
    let name = |role: Option<&Value>| match role {
        None | Some(Value::Null) => None,
        Some(Value::String(role)) => Some(role.clone()),
        Some(other) => Some(other.to_string()),
    };
    match (name(before), name(after)) {
        (Some(before), Some(after)) => format!("role changed from {before} to {after}"),
        (None, Some(after)) => format!("role set to {after}"),
        (Some(before), None) => format!("role {before} removed"),
        (None, None) => "role changed".to_owned(),
    }
}

fn sessions(before: Option<&Value>) -> String {
    match before.and_then(|before| before["sessions"].as_u64()).and_then(|count| usize::try_from(count).ok()) {
        Some(count) => format!("{} revoked", pluralize(count, "session")),
        None => "sessions revoked".to_owned(),
    }
}

fn cause(cause: &str) -> String {
    let denials = [Denial::NoGroup, Denial::GroupsUnknown, Denial::EmailDomain, Denial::OtherTenant];
    match denials.into_iter().find(|denial| denial.as_str() == cause) {
        Some(Denial::NoGroup) => "in no assigned group".to_owned(),
        Some(Denial::GroupsUnknown) => "a group is required, but the groups are unknown".to_owned(),
        Some(Denial::EmailDomain) => "e-mail domain not allowed".to_owned(),
        Some(Denial::OtherTenant) => "the object ID belongs to a user of another tenant".to_owned(),
        None if cause == "not_assigned" => "not assigned to the app in Entra".to_owned(),
        None => cause.replace('_', " "),
    }
}
