//! `entraway plan`: prints the managed memberships that Entra no longer gives, with the reasons. Changes nothing.

mod report;

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use super::output::{errln, outln};
use crate::config::Config;
use crate::db::{Db, DbError};
use crate::domain::{ObjectId, is_control_or_bidi};
use crate::graph::{self, Graph};
use crate::oidc::Entra;
use crate::reconcile::{self, ReconcileError};
use crate::reconciliation::{Kept, KeptBecause, ReconciliationPlan};
use crate::util::clock::Clock;
use crate::util::http_client::HttpClient;

/// Exit status if memberships would end.
const CHANGES: u8 = 2;
/// Exit status if the circuit breaker holds some of them.
const HELD: u8 = 3;

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Output {
    /// For reading.
    Text,
    /// One JSON object.
    Json,
}

/// Which part of the plan to show. Limits apply to the whole plan.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) user: Option<ObjectId>,
    /// ID of a team or organization.
    pub(super) team: Option<String>,
}

impl Filter {
    fn apply(&self, plan: &mut ReconciliationPlan) {
        let user = |user: ObjectId| self.user.is_none_or(|wanted| wanted == user);
        let team = |id: &str| self.team.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(id));
        plan.accounts.retain(|change| user(change.user.object_id) && self.team.is_none());
        plan.additions.retain(|addition| user(addition.user) && team(&addition.group.to_string()));
        plan.changes.retain(|change| user(change.user) && team(&change.target.id));
        plan.kept.retain(|kept| user(kept.user) && team(&kept.target.id));
        plan.incomplete.retain(|group| {
            group.users.iter().any(|member| user(*member)) && group.targets.iter().any(|target| team(target))
        });
    }

    /// What the database does not know.
    async fn unknown(&self, db: &Db) -> Result<Option<String>, DbError> {
        if let Some(user) = self.user
            && !db.has_user(user).await?
        {
            return Ok(Some(format!("user {user}: has never signed in. Give the user's object ID in Entra")));
        }
        if let Some(team) = &self.team
            && !db.has_team_or_organization(team).await?
        {
            let problem = "there is no team or organization with this ID. Give the group's object ID, or another ID that the \
                           page Teams shows";
            return Ok(Some(format!("team {team}: {problem}")));
        }
        Ok(None)
    }

    /// Whether the part of the plan is unknown: it shows no removal, but one may be hidden by what could not be read.
    fn is_unknown(&self, plan: &ReconciliationPlan) -> bool {
        let limited = self.user.is_some() || self.team.is_some();
        let unknown = |kept: &Kept| matches!(kept.because, KeptBecause::AccountUnknown(_));
        limited && plan.changes.is_empty() && (!plan.incomplete.is_empty() || plan.kept.iter().any(unknown))
    }
}

pub(super) async fn run(filter: &Filter, output: Output, config: &Config) -> anyhow::Result<ExitCode> {
    let db = Db::new(config.store, &config.database.url, 1)?;
    if let Some(problem) = filter.unknown(&db).await.context("failed to look up the user or team")? {
        db.close().await;
        errln!("entraway: {}", printable(&problem));
        return Ok(ExitCode::FAILURE);
    }
    let http = HttpClient::for_host(&config.entra.authority_url)?;
    let redirect_uri = config.server.public_url.join("/sso/callback");
    let clock = Clock::system();
    let entra = Entra::new(http.clone(), clock.clone(), config.entra.clone(), redirect_uri);
    let graph = Graph::new(http, config.entra.graph_url.clone(), graph::TOTAL_BUDGET).in_background();
    let read_at = clock.now();
    let planned = reconcile::plan(config, &db, &entra, &graph, read_at).await;
    db.close().await;
    let mut plan = match planned {
        Ok(plan) => plan,
        Err(ReconcileError::Db(error)) => return Err(error).context("failed to read the managed memberships"),
        Err(error) => return Err(error.into()),
    };
    let unknown = plan.is_unknown();
    filter.apply(&mut plan);
    match output {
        Output::Text => outln!("{}", printable(report::text(&plan, config.policy.memberships)?.trim_end()))?,
        Output::Json => {
            let mut json = json!(plan);
            json["read_at"] = json!(read_at);
            outln!("{json:#}")?;
        }
    }
    if unknown {
        errln!("entraway: no group could be read completely, so there is nothing to compare");
        return Ok(ExitCode::FAILURE);
    }
    if filter.is_unknown(&plan) {
        errln!("entraway: some of these memberships could not be compared with Entra");
        return Ok(ExitCode::FAILURE);
    }
    Ok(if plan.is_held() {
        ExitCode::from(HELD)
    } else if plan.changes.is_empty() && plan.accounts.is_empty() && plan.additions.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(CHANGES)
    })
}

/// Removes control characters, because names could manipulate the terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !is_control_or_bidi(*c)).collect()
}
