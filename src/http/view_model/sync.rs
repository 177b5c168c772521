//! Sync records as text.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::db::{DbError, FailedGroup, Page, PageRequest, RoleChange, SyncFilter, SyncRow};
use crate::http::extract::CurrentUser;
use crate::http::formatting;
use crate::http::state::App;

/// A sync record as text.
pub(in crate::http) struct SyncView {
    pub(in crate::http) row: SyncRow,
    pub(in crate::http) read: Vec<String>,
    pub(in crate::http) written: Vec<Change>,
    /// What was skipped, and why.
    pub(in crate::http) skipped: Vec<String>,
    pub(in crate::http) failed: Vec<String>,
}

/// One change: what was done, and for which groups.
pub(in crate::http) struct Change {
    pub(in crate::http) text: String,
    pub(in crate::http) names: Vec<String>,
}

impl SyncView {
    /// Formats records.
    pub(in crate::http) async fn all(app: &App, rows: Vec<SyncRow>) -> Result<Vec<Self>, DbError> {
        let ids: BTreeSet<String> = rows.iter().flat_map(group_ids).collect();
        let ids: Vec<String> = ids.into_iter().collect();
        let names = if ids.is_empty() { BTreeMap::new() } else { app.db.group_names(&ids).await? };
        Ok(rows.into_iter().map(|row| Self::new(row, &names)).collect())
    }

    fn new(row: SyncRow, names: &BTreeMap<String, String>) -> Self {
        let read = vec![
            list_line(
                ["assigned group", "assigned groups"],
                &row.assigned_groups,
                row.assigned_groups_read,
                row.assigned_groups_why.as_deref(),
            ),
            list_line(
                ["group of the user", "groups of the user"],
                &row.member_of,
                row.member_of_read,
                row.member_of_why.as_deref(),
            ),
        ];
        let failed = row.failures.iter().map(failure_line).collect();
        let skipped = row.notes.0.as_array().into_iter().flatten().map(|note| note_line(note, names)).collect();
        Self { read, written: written(&row, names), skipped, failed, row }
    }

    /// Memberships and blocked keys that the sync could not change, for the user.
    pub(in crate::http) fn kept(&self) -> Vec<&str> {
        let notes = self.row.notes.0.as_array().into_iter().flatten().zip(&self.skipped);
        let kept = notes.filter(|(note, _)| {
            matches!(note["note"].as_str(), Some("removal_kept" | "keys_stay_blocked" | "account_stays_blocked"))
        });
        kept.map(|(_, line)| line.as_str()).collect()
    }

    /// All changes on one line.
    pub(in crate::http) fn written_line(&self) -> String {
        let parts: Vec<String> = self.written.iter().map(ToString::to_string).collect();
        if parts.is_empty() { "no changes".to_owned() } else { parts.join("; ") }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)?;
        if self.names.is_empty() { Ok(()) } else { write!(f, " {}", self.names.join(", ")) }
    }
}

/// Reads sync records, as far as the current user may see them.
pub(in crate::http) async fn read_syncs(
    app: &App,
    current: &CurrentUser,
    filter: &SyncFilter,
    request: &PageRequest,
) -> Result<Page<SyncRow>, DbError> {
    let mut listed = app.db.syncs(filter, request).await?;
    if !current.permissions.operator {
        listed.rows.iter_mut().for_each(redact);
    }
    Ok(listed)
}

/// Removes what only operators may see. For their own records, users see what happened to themselves, but neither other users' groups, rows with the same address, nor database errors.
fn redact(row: &mut SyncRow) {
    row.organizations_created.retain(|id| row.organizations_joined.contains(id));
    row.teams_created.retain(|id| row.teams_joined.contains(id));
    row.team_models_updated.retain(|id| row.teams_joined.contains(id));
    for failure in &mut row.failures {
        (failure.id, failure.alias, failure.why) = (None, None, None);
    }
    if let Some(notes) = row.notes.0.as_array_mut() {
        notes.retain(|note| !matches!(note["note"].as_str(), Some("same_email" | "same_sso_user_id")));
    }
}

fn group_ids(row: &SyncRow) -> impl Iterator<Item = String> {
    let lists = [
        &row.organizations_created,
        &row.teams_created,
        &row.organizations_joined,
        &row.teams_joined,
        &row.removed_from_teams,
        &row.removed_from_organizations,
        &row.team_models_updated,
    ];
    let noted = row.notes.0.as_array().into_iter().flatten();
    let noted = noted.filter_map(|note| note["team"].as_str().or_else(|| note["id"].as_str()));
    let changed = row.role_changes.iter().map(|change| &change.scope).filter(|scope| *scope != "global");
    lists.into_iter().flatten().chain(changed).cloned().chain(noted.map(str::to_owned))
}

fn list_line([one, what]: [&str; 2], state: &str, read: Option<i32>, why: Option<&str>) -> String {
    match state {
        "known" if read == Some(1) => format!("1 {one}"),
        "known" => format!("{} {what}", read.unwrap_or_default()),
        "unknown" => format!("{what} unknown: {}", why.unwrap_or("Microsoft did not report them")),
        "not_configured" => format!("{what}: not configured (entra.service_principal_id)"),
        _ => format!("{what}: not read"),
    }
}

fn written(row: &SyncRow, names: &BTreeMap<String, String>) -> Vec<Change> {
    let name = |id: &String| names.get(id).unwrap_or(id).clone();
    let mut parts = Vec::new();
    let mut add = |text: String, names: Vec<String>| parts.push(Change { text, names });
    if row.user_created {
        add("account created".to_owned(), Vec::new());
    }
    if !row.teams_joined.is_empty() {
        add("added to".to_owned(), row.teams_joined.iter().map(name).collect());
    }
    // The organization of a group has the same ID and name as its team, which is listed already.
    let only: Vec<_> = row.organizations_joined.iter().filter(|id| !row.teams_joined.contains(id)).map(name).collect();
    if !only.is_empty() {
        add("added to the organization".to_owned(), only);
    }
    if !row.removed_from_teams.is_empty() {
        add("removed from".to_owned(), row.removed_from_teams.iter().map(name).collect());
    }
    let only: Vec<_> =
        row.removed_from_organizations.iter().filter(|id| !row.removed_from_teams.contains(id)).map(name).collect();
    if !only.is_empty() {
        add("removed from the organization".to_owned(), only);
    }
    if let Some(count) = usize::try_from(row.keys_blocked).ok().filter(|count| *count > 0) {
        add(format!("{} blocked", formatting::pluralize(count, "key")), Vec::new());
    }
    for (made, one) in [(&row.organizations_created, "organization"), (&row.teams_created, "team")] {
        if !made.is_empty() {
            add(format!("{} created", formatting::pluralize(made.len(), one)), Vec::new());
        }
    }
    // The first role of a new account is not a change: the page shows the role.
    let changed = row.role_changes.iter().filter(|change| !(row.user_created && change.scope == "global"));
    for RoleChange { scope, before, after } in changed {
        let scope = if scope == "global" { String::new() } else { format!(" in {}", name(scope)) };
        let before = before.as_deref().filter(|before| !before.is_empty()).unwrap_or("none");
        add(format!("role{scope}: {before} → {after}"), Vec::new());
    }
    if !row.team_models_updated.is_empty() {
        add("updated models of".to_owned(), row.team_models_updated.iter().map(name).collect());
    }
    if row.user_updated {
        add("details and roles updated".to_owned(), Vec::new());
    }
    parts
}

fn failure_line(FailedGroup { kind, alias, why, .. }: &FailedGroup) -> String {
    let article = if kind == "organization" { "an" } else { "a" };
    match (alias, why) {
        (Some(alias), Some(why)) => format!("failed to create the {kind} {alias}: {why}"),
        _ => format!("failed to create {article} {kind}; your administrator sees why"),
    }
}

/// A note of the plan: something that it skipped on purpose.
fn note_line(note: &Value, names: &BTreeMap<String, String>) -> String {
    let text = |key: &str| note[key].as_str().unwrap_or_default().to_owned();
    let others = || {
        let ids: Vec<&str> = note["user_ids"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if ids.is_empty() { String::new() } else { format!(": {}", ids.join(", ")) }
    };
    match note["note"].as_str().unwrap_or_default() {
        "team_stays_standalone" => {
            let id = text("team");
            format!("{} stays standalone: existing teams are not changed", names.get(&id).unwrap_or(&id))
        }
        "removal_kept" => {
            let id = text("id");
            let why = match note["reason"].as_str().unwrap_or_default() {
                "last_admin" => "the user is its last administrator",
                "listed_admin" => "access.admin_user_ids lists the user",
                "missing_privileges" => "the database user may not remove members (docs/litellm-grants-removal.sql)",
                "other_installation" => "another installation of Entraway gave the membership",
                other => other,
            };
            format!("not removed from {} although the user left the group: {why}", names.get(&id).unwrap_or(&id))
        }
        "keys_stay_blocked" => {
            let id = text("team");
            let name = names.get(&id).unwrap_or(&id);
            format!(
                "keys of {name} stay blocked: the database user may not change keys (docs/litellm-grants-removal.sql)"
            )
        }
        "account_stays_blocked" => "the account stays blocked in LiteLLM: the database user may not change it \
                                    (docs/litellm-grants-removal.sql)"
            .to_owned(),
        "superseded" => {
            "memberships and roles not changed: a sign-in that started later has decided about them".to_owned()
        }
        "role_set_by_hand_stays" => "manual role kept: Entra gives none".to_owned(),
        "operator_role_withheld" => format!(
            "the role {} was withheld: the account is older than the first sign-in here. An operator has to confirm it with \
             entraway users adopt",
            text("role")
        ),
        "same_email" => format!("other rows with the same address were not changed{}", others()),
        "same_sso_user_id" => format!("other rows with this user's object ID were not changed{}", others()),
        "assigned_groups_unknown" => {
            format!("nothing was created or added: the assigned groups are unknown ({})", text("code"))
        }
        "member_of_unknown" => format!("nothing was added: the user's groups are unknown ({})", text("code")),
        other => other.replace('_', " "),
    }
}
