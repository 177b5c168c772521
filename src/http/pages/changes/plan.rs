//! A stored plan in words. Reads it tolerantly: another version may have written it, with other fields and other names.

mod limits;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::db::{HeldPlanRow, RunWithPlan};
use crate::http::error::WebError;
use crate::http::formatting::{pluralize, segment};
use crate::http::pages::audit::Link;
use crate::http::state::App;

use limits::{StoredLimit, StoredLimits};

/// Maximum number of entries of each list of a plan on a page. The API has all.
pub(super) const MAX_ENTRIES: u32 = 200;

/// The plan of a run, or the held part of one.
#[derive(Default)]
pub(super) struct Plan {
    /// Memberships to remove, by team and organization.
    pub(super) targets: Vec<TargetChanges>,
    pub(super) changes: usize,
    pub(super) more_changes: usize,
    pub(super) kept: Vec<Kept>,
    pub(super) more_kept: usize,
    /// Groups that could not be compared, by reason.
    pub(super) reasons: Vec<Reason>,
    pub(super) incomplete: usize,
    pub(super) more_incomplete: usize,
    /// The exceeded limits.
    pub(super) limits: Vec<String>,
    /// Accounts that are disabled or restored.
    pub(super) accounts: Vec<AccountChange>,
    pub(super) more_accounts: usize,
    /// `sync.memberships` was `additive`, so nothing was removed.
    pub(super) additive: bool,
    /// Why changes were made although they exceed limits.
    pub(super) approval: Option<String>,
}

/// The memberships of one team or organization.
pub(super) struct TargetChanges {
    pub(super) kind: String,
    pub(super) target: Link,
    pub(super) changes: Vec<Change>,
}

/// A membership to remove.
pub(super) struct Change {
    pub(super) user: Link,
    pub(super) is_admin: bool,
    pub(super) cause: String,
    pub(super) group: Option<Link>,
    pub(super) evidence: String,
    pub(super) held: bool,
}

/// A membership that stays.
pub(super) struct Kept {
    pub(super) user: Link,
    pub(super) kind: String,
    pub(super) target: Link,
    pub(super) reason: String,
    /// Why the membership would end.
    pub(super) cause: Option<String>,
}

/// An account that is disabled or restored.
pub(super) struct AccountChange {
    pub(super) user: Link,
    pub(super) action: String,
    /// What Entra says about it.
    pub(super) cause: String,
}

/// Groups that could not be compared for the same reason.
pub(super) struct Reason {
    pub(super) message: String,
    pub(super) fix: String,
    pub(super) groups: Vec<Link>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredChange {
    kind: String,
    id: String,
    name: Option<String>,
    user: String,
    user_name: Option<String>,
    is_admin: bool,
    cause: Option<String>,
    group: Option<String>,
    evidence: StoredEvidence,
    held: bool,
    /// Of a kept membership: why it stays.
    reason: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredEvidence {
    what: String,
    members: usize,
    assigned: usize,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredGroup {
    group: String,
    name: Option<String>,
    message: String,
    fix: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredAccount {
    object_id: String,
    user_name: Option<String>,
    /// `disable` or `restore`.
    action: String,
    cause: Option<String>,
}

/// Parts of a plan that are no lists.
#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredSettings {
    /// `follow` or `additive`.
    memberships: Option<String>,
    /// Hash of the approved plan whose changes were not held.
    approved: Option<String>,
    /// `--max-removals`, if changes were not held because of it.
    max_removals: Option<usize>,
}

/// Entries of the lists of a plan that are shown.
#[derive(Default)]
struct Entries {
    changes: Vec<StoredChange>,
    kept: Vec<StoredChange>,
    incomplete: Vec<StoredGroup>,
    tripped: Vec<StoredLimit>,
    limits: Option<StoredLimits>,
    accounts: Vec<StoredAccount>,
}

/// Names and rows of the moment.
struct Names {
    /// Keys of users' rows by object ID.
    users: BTreeMap<String, String>,
    /// Names of teams and organizations by ID.
    groups: BTreeMap<String, String>,
}

impl Plan {
    /// The plan of a run.
    pub(super) async fn of_run(app: &App, details: &RunWithPlan) -> Result<Self, WebError> {
        let list = |name| details.plan.as_ref().and_then(|plan| plan.get(name));
        let entries = Entries {
            changes: read(list("changes")),
            kept: read(list("kept")),
            incomplete: read(list("incomplete")),
            tripped: read(list("tripped")),
            limits: list("limits").and_then(|limits| StoredLimits::deserialize(limits).ok()),
            accounts: read(list("accounts")),
        };
        let settings =
            details.plan.as_ref().and_then(|plan| StoredSettings::deserialize(plan).ok()).unwrap_or_default();
        let lengths = details.lengths.as_ref();
        let length = |name| lengths.and_then(|lengths| lengths.get(name)).copied().unwrap_or_default();
        let names = entries.names(app).await?;
        Ok(Self {
            changes: length("changes"),
            more_changes: length("changes").saturating_sub(entries.changes.len()),
            more_kept: length("kept").saturating_sub(entries.kept.len()),
            incomplete: length("incomplete"),
            more_incomplete: length("incomplete").saturating_sub(entries.incomplete.len()),
            more_accounts: length("accounts").saturating_sub(entries.accounts.len()),
            additive: settings.memberships.as_deref() == Some("additive"),
            approval: settings.approval(),
            ..entries.in_words(&names)
        })
    }

    /// The held changes of a plan.
    pub(super) async fn held(app: &App, row: &HeldPlanRow) -> Result<Self, WebError> {
        let entries = Entries {
            changes: read(row.changes.as_ref()),
            tripped: read(row.tripped.as_ref()),
            limits: row.limits.as_ref().and_then(|limits| StoredLimits::deserialize(limits).ok()),
            ..Entries::default()
        };
        let changes = usize::try_from(row.change_count).unwrap_or_default();
        let more_changes = changes.saturating_sub(entries.changes.len());
        let names = entries.names(app).await?;
        Ok(Self { changes, more_changes, ..entries.in_words(&names) })
    }

    /// Number of changes.
    pub(super) fn removals(&self) -> String {
        pluralize(self.changes, "removal")
    }

    /// Number of groups that could not be compared.
    pub(super) fn incomplete_groups(&self) -> String {
        pluralize(self.incomplete, "group")
    }
}

/// The entries of a list that can be read.
fn read<T: DeserializeOwned>(list: Option<&Value>) -> Vec<T> {
    let entries = list.and_then(Value::as_array).into_iter().flatten();
    entries.filter_map(|entry| T::deserialize(entry).ok()).collect()
}

impl Entries {
    async fn names(&self, app: &App) -> Result<Names, WebError> {
        let memberships = || self.changes.iter().chain(&self.kept);
        let mut users: BTreeSet<&str> = memberships().map(|change| change.user.as_str()).collect();
        users.extend(self.accounts.iter().map(|account| account.object_id.as_str()));
        let mut groups: BTreeSet<&str> = BTreeSet::new();
        groups.extend(memberships().flat_map(|change| [Some(change.id.as_str()), change.group.as_deref()]).flatten());
        groups.extend(self.incomplete.iter().map(|group| group.group.as_str()));
        let of_limits = self.tripped.iter().flat_map(|limit| [&limit.group, &limit.organization]);
        groups.extend(of_limits.flatten().map(String::as_str));
        let owned = |ids: BTreeSet<&str>| ids.into_iter().map(str::to_owned).collect::<Vec<_>>();
        Ok(Names { users: app.db.user_ids(&owned(users)).await?, groups: app.db.group_names(&owned(groups)).await? })
    }

    fn in_words(&self, names: &Names) -> Plan {
        let targets = self.changes.chunk_by(|one, next| (&one.kind, &one.id) == (&next.kind, &next.id));
        let targets = targets.filter_map(|changes| {
            let first = changes.first()?;
            let changes = changes.iter().map(|change| Change {
                user: names.user(&change.user, change.user_name.as_deref()),
                is_admin: change.is_admin,
                cause: change.cause.as_deref().map(cause).unwrap_or_default(),
                group: change.group.as_deref().map(|group| names.group(group, None)),
                evidence: change.evidence.in_words(),
                held: change.held,
            });
            Some(TargetChanges { kind: first.kind.clone(), target: names.target(first), changes: changes.collect() })
        });
        let kept = self.kept.iter().map(|kept| Kept {
            user: names.user(&kept.user, kept.user_name.as_deref()),
            kind: kept.kind.clone(),
            target: names.target(kept),
            reason: kept_because(&kept.reason),
            cause: kept.cause.as_deref().map(cause),
        });
        Plan {
            targets: targets.collect(),
            kept: kept.collect(),
            reasons: self.reasons(names),
            limits: self.tripped.iter().map(|limit| limit.in_words(names, self.limits.as_ref())).collect(),
            accounts: self.accounts.iter().map(|account| account.in_words(names)).collect(),
            ..Plan::default()
        }
    }

    /// Groups with the same reason together, since a missing permission concerns all.
    fn reasons(&self, names: &Names) -> Vec<Reason> {
        let mut reasons: BTreeMap<(&str, &str), Vec<Link>> = BTreeMap::new();
        for group in &self.incomplete {
            let link = names.group(&group.group, group.name.as_deref());
            reasons.entry((&group.message, &group.fix)).or_default().push(link);
        }
        let reason = |((message, fix), groups): ((&str, &str), _)| Reason {
            message: message.to_owned(),
            fix: fix.to_owned(),
            groups,
        };
        reasons.into_iter().map(reason).collect()
    }
}

impl Names {
    /// A user by display name, else by object ID.
    fn user(&self, object_id: &str, name: Option<&str>) -> Link {
        let path = self.users.get(object_id).map(|id| format!("/people/{}", segment(id)));
        let name = name.filter(|name| !name.trim().is_empty()).unwrap_or(object_id);
        Link { name: name.to_owned(), path }
    }

    fn target(&self, change: &StoredChange) -> Link {
        let current = self.groups.get(&change.id);
        let name = change.name.clone().or_else(|| current.cloned()).unwrap_or_else(|| change.id.clone());
        let place = if change.kind == "organization" { "organizations" } else { "teams" };
        Link { name, path: current.map(|_| format!("/{place}/{}", segment(&change.id))) }
    }

    /// A group by the name of its team.
    fn group(&self, id: &str, name: Option<&str>) -> Link {
        let current = self.groups.get(id);
        let name = name.or(current.map(String::as_str)).unwrap_or(id).to_owned();
        Link { name, path: current.map(|_| format!("/teams/{}", segment(id))) }
    }
}

impl StoredSettings {
    fn approval(&self) -> Option<String> {
        match (&self.approved, self.max_removals) {
            (Some(hash), _) => Some(format!("An administrator approved them as plan {hash}.")),
            (None, Some(max)) => Some(format!("The command line allowed up to {max} with --max-removals.")),
            (None, None) => None,
        }
    }
}

impl StoredEvidence {
    /// What Entra's answers showed.
    fn in_words(&self) -> String {
        match self.what.as_str() {
            "member_list" => format!("complete list of {}, without this one", pluralize(self.members, "member")),
            "assignments" => {
                format!("complete list of {}, without this one", pluralize(self.assigned, "assigned group"))
            }
            "organization" => "the user's teams in the organization".to_owned(),
            other => other.replace('_', " "),
        }
    }
}

impl StoredAccount {
    fn in_words(&self, names: &Names) -> AccountChange {
        let cause = match self.cause.as_deref() {
            Some("disabled") => "disabled in Entra".to_owned(),
            Some("soft_deleted") => "among the deleted items in Entra".to_owned(),
            Some("deleted") => "deleted in Entra".to_owned(),
            Some(other) => other.replace('_', " "),
            None => "enabled in Entra".to_owned(),
        };
        let user = names.user(&self.object_id, self.user_name.as_deref());
        AccountChange { user, action: self.action.replace('_', " "), cause }
    }
}

/// Why a membership ends.
fn cause(cause: &str) -> String {
    match cause {
        "left_group" => "left the group".to_owned(),
        "group_unassigned" => "the group is no longer assigned to the app".to_owned(),
        "group_deleted" => "the group was deleted".to_owned(),
        "account_deleted" => "the account was deleted".to_owned(),
        "last_team_left" => "in no other team of the organization".to_owned(),
        other => other.replace('_', " "),
    }
}

/// Why a membership stays.
fn kept_because(reason: &str) -> String {
    match reason {
        "last_admin" => "its last administrator with an enabled account. Make another user administrator".to_owned(),
        "listed_admin" => "access.admin_user_ids lists the user".to_owned(),
        "missing_privileges" => {
            "the database user lacks privileges. Run litellm-grants-removal.sql in the proxy's database".to_owned()
        }
        "other_installation" => "another installation of Entraway gives it, too".to_owned(),
        "account_soft_deleted" => "the account is among the deleted items, and a restore gives it back".to_owned(),
        "account_unknown" => {
            "the state of the account is unknown. Grant User.Read.All, or wait for the next run".to_owned()
        }
        other => other.replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn in_words(plan: &Value) -> Plan {
        let entries = Entries {
            changes: read(plan.get("changes")),
            kept: read(plan.get("kept")),
            incomplete: read(plan.get("incomplete")),
            tripped: read(plan.get("tripped")),
            limits: plan.get("limits").and_then(|limits| StoredLimits::deserialize(limits).ok()),
            accounts: read(plan.get("accounts")),
        };
        entries.in_words(&Names { users: BTreeMap::new(), groups: BTreeMap::new() })
    }

    #[test]
    fn plan_of_newer_version_is_shown_by_its_names() {
        let plan = in_words(&json!({
            "tripped": [{ "limit": "full_moon", "removals": 3, "new": 1 }, { "limit": "tide", "removals": 4, "memberships": 9 }],
            "limits": { "group_percent": 1 },
            "accounts": [{ "object_id": "u", "action": "set_aside", "cause": "on_leave" }],
            "changes": [{ "kind": "team", "id": "t", "user": "u", "cause": "bored_of_it", "evidence": { "what": "new_list" } },
                        7, { "user": 1 }, {}],
            "kept": [{ "user": "u", "reason": "new_guard" }],
            "incomplete": [{ "group": "g" }, { "group": "h", "message": null }],
        }));
        assert_eq!(
            plan.limits,
            ["Limit full moon: 3 memberships would end.", "Limit tide: 4 of 9 memberships would end."]
        );
        let change = &plan.targets[0].changes[0];
        assert_eq!((change.cause.as_str(), change.evidence.as_str(), change.held), ("bored of it", "new list", false));
        assert_eq!((plan.targets.len(), plan.kept[0].reason.as_str()), (2, "new guard"));
        let account = &plan.accounts[0];
        assert_eq!((account.action.as_str(), account.cause.as_str()), ("set aside", "on leave"));
        assert_eq!(plan.reasons[0].groups.len(), 1, "entries that cannot be read are left out");
        assert!(in_words(&json!([])).targets.is_empty() && in_words(&json!({ "changes": {} })).targets.is_empty());
    }

    #[test]
    fn plan_of_this_version_is_read_completely() {
        use crate::reconciliation::{Cause, Evidence, Tripped};
        let words = |value: &Value| cause(value.as_str().unwrap());
        for known in
            [Cause::LeftGroup, Cause::GroupUnassigned, Cause::GroupDeleted, Cause::AccountDeleted, Cause::LastTeamLeft]
        {
            let name = serde_json::to_value(known).unwrap();
            assert_ne!(words(&name), name.as_str().unwrap().replace('_', " "), "{known:?}");
        }
        let evidence = serde_json::to_value(Evidence::MemberList { members: 4 }).unwrap();
        let evidence: StoredEvidence = serde_json::from_value(evidence).unwrap();
        assert_eq!(evidence.in_words(), "complete list of 4 members, without this one");
        let limit = serde_json::to_value(Tripped::NothingAssigned { tenant: uuid::Uuid::nil().into() }).unwrap();
        let limits = json!({ "group_percent": 50, "group_minimum": 5, "emptied_minimum": 3, "run_percent": 20,
                             "run_minimum": 10, "day_percent": 30 });
        let of = |limit: &str| json!({ "limit": limit, "group": "g", "organization": "o", "removals": 12, "memberships": 40 });
        let mut day = of("day");
        (day["removed"], day["unknown"]) = (json!(1), json!(2));
        let names =
            ["run", "group", "organization", "group_emptied", "organization_emptied", "first_run", "settings_changed"];
        let mut tripped: Vec<Value> = names.into_iter().map(of).collect();
        tripped.extend([day, limit]);
        let plan = in_words(&json!({ "tripped": tripped, "limits": limits }));
        assert_eq!(
            plan.limits,
            [
                "All groups: 12 of 40 memberships would end. The limit is 20 %, from 10 on.",
                "Group g: 12 of 40 memberships would end. The limit is 50 %, from 5 on.",
                "Organization o: 12 of 40 memberships would end. The limit is 50 %, from 5 on.",
                "Group g: it would lose all of its memberships. 12 of 40 memberships would end.",
                "Organization o: it would lose all of its memberships. 12 of 40 memberships would end.",
                "No run has removed memberships with these settings yet. Check the removals.",
                "Settings that decide about removals have changed since the last run. Check the removals.",
                "Last 24 hours: 1 membership removed already, and 12 of 40 memberships would end, and 2 more with an unknown \
                 account. The limit is 30 %, from 10 on.",
                "Tenant 00000000-0000-0000-0000-000000000000: no group is assigned to the app. Check the assignments in Entra.",
            ]
        );
    }
}
