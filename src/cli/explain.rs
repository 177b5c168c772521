//! `entraway explain`: what came of a person's groups, and why, on a terminal.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use super::output::{errln, outln};
use crate::config::{self, Env};
use crate::db::Store;
use crate::domain::{Redacted, is_control_or_bidi};
use crate::explain::{self, Answer, Explanation, Kind, Rules, Words};

/// Works on the database alone.
pub(super) async fn run(user: &str, team: Option<&str>, file: Option<&Path>, env: &Env) -> anyhow::Result<ExitCode> {
    let config = config::load(file, env)?.config;
    let store = Store::new(config.store, &config.database.url, 1)?;
    let facts = store.explain_facts(user).await.context("what is known of the person could not be read")?;
    let Some(facts) = facts else {
        errln!(
            "entraway: nothing is known of this person: no account and no sign-in of this id. Give the object id that \
             Entra shows of them, or the key of their row"
        );
        store.close().await;
        return Ok(ExitCode::FAILURE);
    };
    let nested_groups = config.sync.nested_groups;
    let rules = Rules { policy: &config.policy, store: config.store, nested_groups, for_operator: true };
    let explanation = explain::explain(&facts, rules);
    let answer = match team {
        None => None,
        Some(team) => {
            let called = store.teams_called(team).await.context("the teams could not be looked up")?;
            Some(explain::explain_team(&explanation, team, Some(&called), nested_groups))
        }
    };
    store.close().await;
    let mut text = String::new();
    report(&mut text, &explanation, answer.as_ref())?;
    outln!("{}", printable(text.trim_end()))?;
    Ok(ExitCode::SUCCESS)
}

/// Names are anybody's text: none may steer the terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !is_control_or_bidi(*c)).collect()
}

fn report(to: &mut String, explanation: &Explanation, answer: Option<&Answer>) -> fmt::Result {
    let person = &explanation.person;
    let email = person.email.as_ref().map(Redacted::as_str);
    let name = person.name.as_deref().or(email).unwrap_or(person.user_id.as_str());
    writeln!(to, "{name}")?;
    let facts = [
        ("user id", Some(person.user_id.as_str())),
        ("object id", person.object_id.as_ref().map(Redacted::as_str)),
        ("tenant", person.tenant_id.as_deref()),
        ("e-mail", email),
    ];
    for (what, value) in facts {
        if let Some(value) = value {
            writeln!(to, "  {what:<10} {value}")?;
        }
    }
    if let Some(answer) = answer {
        writeln!(to, "\n{}", answer.heading())?;
        for finding in &answer.findings {
            if let Some(id) = &finding.id {
                title(to, finding.name.as_deref(), id, "")?;
            }
            words(to, &finding.words)?;
        }
        for note in &answer.notes {
            writeln!(to, "    Note: {note}")?;
        }
    }
    for (heading, about) in [("Role", &explanation.role.words), ("Last sign-in", &explanation.sign_in.words)] {
        writeln!(to, "\n{heading}")?;
        words(to, about)?;
    }
    writeln!(to, "\nReadings")?;
    words(to, &explanation.readings.member_of.words)?;
    words(to, &explanation.readings.assigned_groups.words)?;

    writeln!(to, "\nGroups that Entra reports: {}", explanation.groups.len())?;
    for group in &explanation.groups {
        title(to, group.name.as_deref(), &group.id, "")?;
        words(to, &group.words)?;
    }
    writeln!(to, "\nMemberships: {}", explanation.memberships.len())?;
    for one in &explanation.memberships {
        title(to, one.name.as_deref(), &one.id, if one.kind == Kind::Team { "team " } else { "organization " })?;
        words(to, &one.words)?;
    }
    Ok(())
}

fn title(to: &mut String, name: Option<&str>, id: &str, kind: &str) -> fmt::Result {
    match name {
        Some(name) => writeln!(to, "  {kind}{} ({id})", name.replace('\n', " ")),
        None => writeln!(to, "  {kind}{id}"),
    }
}

fn words(to: &mut String, words: &Words) -> fmt::Result {
    writeln!(to, "    {}", words.what)?;
    if !words.rule.is_empty() {
        writeln!(to, "    Rule: {}", words.rule)?;
    }
    match &words.remedy {
        Some(remedy) => writeln!(to, "    To change it: {remedy}"),
        None => Ok(()),
    }
}
