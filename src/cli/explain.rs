//! `entraway explain`: prints the effect of a user's groups, and the reasons.

use std::fmt::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;

use super::output::{errln, outln};
use crate::config::Config;
use crate::db::Db;
use crate::domain::{Redacted, is_control_or_bidi};
use crate::explain::{self, Answer, Explanation, Kind, Message, Rules};

pub(super) async fn run(user: &str, team: Option<&str>, config: &Config) -> anyhow::Result<ExitCode> {
    let db = Db::new(config.store, &config.database.url, 1)?;
    let facts = db.explain_facts(user).await.context("failed to read the user's data")?;
    let Some(facts) = facts else {
        errln!(
            "entraway: unknown user: there is no account and no sign-in with this ID. Give the user's object ID in Entra \
             or the ID of their row"
        );
        db.close().await;
        return Ok(ExitCode::FAILURE);
    };
    let nested_groups = config.sync.nested_groups;
    let rules = Rules { policy: &config.policy, store: config.store, nested_groups, for_operator: true };
    let explanation = explain::explain(&facts, rules);
    let answer = match team {
        None => None,
        Some(team) => {
            let teams = db.teams_called(team).await.context("failed to look up the team")?;
            Some(explain::explain_team(&explanation, team, Some(&teams), nested_groups))
        }
    };
    db.close().await;
    let mut text = String::new();
    report(&mut text, &explanation, answer.as_ref())?;
    outln!("{}", printable(text.trim_end()))?;
    Ok(ExitCode::SUCCESS)
}

/// Removes control characters, because names could manipulate the terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !is_control_or_bidi(*c)).collect()
}

fn report(out: &mut String, explanation: &Explanation, answer: Option<&Answer>) -> fmt::Result {
    let user = &explanation.person;
    let email = user.email.as_ref().map(Redacted::as_str);
    let name = user.name.as_deref().or(email).unwrap_or(user.user_id.as_str());
    writeln!(out, "{name}")?;
    let facts = [
        ("user ID", Some(user.user_id.as_str())),
        ("object ID", user.object_id.as_ref().map(Redacted::as_str)),
        ("tenant", user.tenant_id.as_deref()),
        ("e-mail", email),
    ];
    for (label, value) in facts {
        if let Some(value) = value {
            writeln!(out, "  {label:<10} {value}")?;
        }
    }
    if let Some(answer) = answer {
        writeln!(out, "\n{}", answer.heading())?;
        for finding in &answer.findings {
            if let Some(id) = &finding.id {
                write_title(out, finding.name.as_deref(), id, "")?;
            }
            write_message(out, &finding.message)?;
        }
        for note in &answer.notes {
            writeln!(out, "    Note: {note}")?;
        }
    }
    let account = explanation.account.as_ref().map(|account| ("Account", &account.message));
    let role_and_sign_in = [("Role", &explanation.role.message), ("Last sign-in", &explanation.sign_in.message)];
    for (heading, message) in account.into_iter().chain(role_and_sign_in) {
        writeln!(out, "\n{heading}")?;
        write_message(out, message)?;
    }
    writeln!(out, "\nGroup lists from Entra")?;
    write_message(out, &explanation.readings.member_of.message)?;
    write_message(out, &explanation.readings.assigned_groups.message)?;

    writeln!(out, "\nGroups that Entra reports: {}", explanation.groups.len())?;
    for group in &explanation.groups {
        write_title(out, group.name.as_deref(), &group.id, "")?;
        write_message(out, &group.message)?;
    }
    writeln!(out, "\nMemberships: {}", explanation.memberships.len())?;
    for membership in &explanation.memberships {
        let kind = if membership.kind == Kind::Team { "team " } else { "organization " };
        write_title(out, membership.name.as_deref(), &membership.id, kind)?;
        write_message(out, &membership.message)?;
    }
    if !explanation.removals.is_empty() {
        writeln!(out, "\nRemoved memberships: {}", explanation.removals.len())?;
    }
    for removal in &explanation.removals {
        let kind = if removal.kind == Kind::Team { "team " } else { "organization " };
        write_title(out, removal.name.as_deref(), &removal.id, kind)?;
        write_message(out, &removal.message)?;
    }
    Ok(())
}

fn write_title(out: &mut String, name: Option<&str>, id: &str, kind: &str) -> fmt::Result {
    match name {
        Some(name) => writeln!(out, "  {kind}{} ({id})", name.replace('\n', " ")),
        None => writeln!(out, "  {kind}{id}"),
    }
}

fn write_message(out: &mut String, message: &Message) -> fmt::Result {
    writeln!(out, "    {}", message.what)?;
    if !message.rule.is_empty() {
        writeln!(out, "    Rule: {}", message.rule)?;
    }
    match &message.remedy {
        Some(remedy) => writeln!(out, "    To change it: {remedy}"),
        None => Ok(()),
    }
}
