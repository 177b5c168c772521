//! The text of a plan.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use crate::domain::{GroupId, ObjectId};
use crate::policy::MembershipSync;
use crate::reconciliation::{
    AccountAction, Addition, Cause, Change, DisabledCause, Evidence, IncompleteGroup, Kept, KeptBecause,
    ReconciliationPlan, Target,
};
use crate::util::sanitize::pluralize;

/// The plan by teams and organizations, then what is kept, incomplete groups, and exceeded limits.
pub(super) fn text(plan: &ReconciliationPlan, memberships: MembershipSync) -> Result<String, fmt::Error> {
    let mut out = String::new();
    let without_team = match plan.compared_without_team {
        0 => String::new(),
        count => format!(", and {count} in organizations of users without a team there"),
    };
    writeln!(out, "{}{without_team} compared with Entra", pluralize(plan.compared, "managed team membership"))?;
    for additions in by_group(&plan.additions) {
        let Some(first) = additions.first() else { continue };
        let name = first.name.as_deref().map_or_else(String::new, |name| format!(" {}", one_line(name)));
        writeln!(out, "\nteam{name} ({}): {} to add", first.group, additions.len())?;
        for addition in additions {
            writeln!(out, "  {}", user(addition.user_name.as_deref(), addition.user))?;
        }
    }
    for changes in plan.changes.chunk_by(|one, next| one.target == next.target) {
        if let Some(first) = changes.first() {
            writeln!(out, "\n{}: {} to remove", title(&first.target), changes.len())?;
        }
        for change in changes {
            write_change(&mut out, change)?;
        }
    }
    if !plan.kept.is_empty() {
        writeln!(out, "\nKept: {}", plan.kept.len())?;
    }
    for kept in &plan.kept {
        write_kept(&mut out, kept)?;
    }
    write_accounts(&mut out, plan)?;
    write_incomplete(&mut out, &plan.incomplete)?;
    if !plan.tripped.is_empty() {
        writeln!(out, "\nExceeded limits: {}", plan.tripped.len())?;
    }
    for tripped in &plan.tripped {
        writeln!(out, "  {}", tripped.message(&plan.limits))?;
    }
    let held = plan.changes.iter().filter(|change| change.held).count();
    let held = if held == 0 { String::new() } else { format!(", {held} of them held by a limit") };
    let added = if plan.additions.is_empty() { String::new() } else { format!(", {} to add", plan.additions.len()) };
    writeln!(
        out,
        "\nResult: {} to remove{held}{added}. This command changes nothing.",
        pluralize(plan.changes.len(), "membership")
    )?;
    write_decision(&mut out, plan)?;
    if memberships == MembershipSync::Additive {
        writeln!(out, "sync.memberships is additive: memberships are only added.")?;
    }
    Ok(out)
}

/// Additions by group, which a plan has by user.
fn by_group(additions: &[Addition]) -> Vec<Vec<&Addition>> {
    let mut groups: BTreeMap<GroupId, Vec<&Addition>> = BTreeMap::new();
    for addition in additions {
        groups.entry(addition.group).or_default().push(addition);
    }
    groups.into_values().collect()
}

/// How to decide about held changes, or what was decided.
fn write_decision(out: &mut String, plan: &ReconciliationPlan) -> fmt::Result {
    if let Some(hash) = &plan.hash {
        writeln!(out, "\nA run with the same changes holds them as this plan, until an operator decides:")?;
        writeln!(out, "  entraway approve {hash}\n  entraway reject {hash}")?;
    }
    match &plan.approved {
        Some(hash) => writeln!(out, "\nPlan {hash} is approved: the next run removes these memberships."),
        None => Ok(()),
    }
}

fn write_change(out: &mut String, change: &Change) -> fmt::Result {
    let admin = if change.is_admin { ", administrator" } else { "" };
    let held = if change.held { " [held]" } else { "" };
    writeln!(out, "  {}{admin}{held}", user(change.user_name.as_deref(), change.user))?;
    writeln!(out, "    {}{}", cause(change.cause), evidence(change))
}

fn write_kept(out: &mut String, kept: &Kept) -> fmt::Result {
    writeln!(out, "  {} in {}", user(kept.user_name.as_deref(), kept.user), title(&kept.target))?;
    let cause = kept.cause.map(|ended| format!(" Otherwise it would end: {}", cause(ended))).unwrap_or_default();
    let (why, fix) = because(&kept.because);
    writeln!(out, "    {why}{cause}")?;
    match fix {
        Some(fix) => writeln!(out, "    → {fix}"),
        None => Ok(()),
    }
}

/// Accounts that a run disables or restores.
fn write_accounts(out: &mut String, plan: &ReconciliationPlan) -> fmt::Result {
    if !plan.accounts.is_empty() {
        writeln!(out, "\nAccounts: {}", plan.accounts.len())?;
    }
    for change in &plan.accounts {
        let what = match change.action {
            AccountAction::Disable { cause: DisabledCause::Disabled } => "Disabled in Entra: its access ends.",
            AccountAction::Disable { cause: DisabledCause::SoftDeleted } => "Deleted in Entra: its access ends.",
            AccountAction::Disable { cause: DisabledCause::Deleted } => {
                "Permanently deleted in Entra: its access ends."
            }
            AccountAction::Restore => "Enabled again: its access returns.",
        };
        writeln!(out, "  {}\n    {what}", user(change.user_name.as_deref(), change.user.object_id))?;
    }
    if !plan.account_privileges_missing.is_empty() {
        let missing = plan.account_privileges_missing.join(", ");
        writeln!(out, "\nLiteLLM keys of users whose accounts are disabled stay valid: missing {missing}")?;
        writeln!(out, "  → Run docs/litellm-grants-removal.sql in the proxy's database")?;
    }
    Ok(())
}

/// Groups with the same reason together, since a missing permission concerns all.
fn write_incomplete(out: &mut String, incomplete: &[IncompleteGroup]) -> fmt::Result {
    let mut reasons: BTreeMap<(String, &str), Vec<&IncompleteGroup>> = BTreeMap::new();
    for group in incomplete {
        reasons.entry((group.reason.message(), group.reason.fix())).or_default().push(group);
    }
    if !incomplete.is_empty() {
        writeln!(out, "\nIncomplete groups, from which nothing is removed: {}", incomplete.len())?;
    }
    for ((message, fix), groups) in reasons {
        for group in groups {
            match &group.name {
                Some(name) => writeln!(out, "  {} ({})", one_line(name), group.group)?,
                None => writeln!(out, "  {}", group.group)?,
            }
        }
        writeln!(out, "    {message}\n    → {fix}")?;
    }
    Ok(())
}

fn title(target: &Target) -> String {
    match &target.name {
        Some(name) => format!("{} {} ({})", target.kind, one_line(name), target.id),
        None => format!("{} {}", target.kind, target.id),
    }
}

fn user(name: Option<&str>, id: ObjectId) -> String {
    name.map_or_else(|| id.to_string(), |name| format!("{} ({id})", one_line(name)))
}

fn one_line(name: &str) -> String {
    name.replace('\n', " ")
}

fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::LeftGroup => "The user left the group.",
        Cause::GroupUnassigned => "The group is no longer assigned to the app.",
        Cause::GroupDeleted => "The group was deleted.",
        Cause::AccountDeleted => "The user's account was deleted.",
        Cause::LastTeamLeft => "The user has no other membership in the organization.",
    }
}

fn evidence(change: &Change) -> String {
    match change.evidence {
        Evidence::MemberList { members } => {
            format!(" Group {} has {}, without this one.", change.group, pluralize(members, "user"))
        }
        Evidence::Assignments { assigned } => {
            format!(" {} assigned, without {}.", pluralize(assigned, "group"), change.group)
        }
        Evidence::Organization => String::new(),
    }
}

/// Why a membership is kept, and how to fix it if that is not intended.
fn because(reason: &KeptBecause) -> (String, Option<&'static str>) {
    match reason {
        KeptBecause::LastAdmin => (
            "The user is its last administrator with an enabled account.".to_owned(),
            Some("Make another user administrator"),
        ),
        KeptBecause::ListedAdmin => ("access.admin_user_ids lists the user.".to_owned(), None),
        KeptBecause::MissingPrivileges => (
            "The database user lacks privileges to remove memberships.".to_owned(),
            Some("Run docs/litellm-grants-removal.sql in the proxy's database"),
        ),
        KeptBecause::OtherInstallation => ("Another installation of Entraway gives it, too.".to_owned(), None),
        KeptBecause::AccountSoftDeleted => {
            ("The account is among the deleted items. If it is restored, it is in its groups again.".to_owned(), None)
        }
        KeptBecause::AccountUnknown(unknown) => (
            format!("Not on the group's list, but the state of the account is unknown: {}.", unknown.message),
            Some("Add the application permission User.Read.All and grant admin consent, or run the plan again"),
        ),
    }
}
