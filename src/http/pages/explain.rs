//! `GET /people/{id}/explain`: the result of each group of a user, and the reason for each membership. For the user and
//! for operators.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Html;
use serde::Serialize;

use crate::domain::Redacted;
use crate::explain::{
    self, Answer, Case, Explanation, GroupReport, Kind, ListReport, ListState, Rules, Source, Verdict,
};
use crate::http::error::WebError;
use crate::http::extract::{CurrentUser, Params};
use crate::http::layout::{Layout, html};
use crate::http::query::{Parameters, Query, QueryError};
use crate::http::state::App;

/// The query: a name or an ID of a team to explain.
pub(in crate::http) struct ExplainQuery {
    team: Option<String>,
}

impl Parameters for ExplainQuery {
    const NAMES: &'static [&'static str] = &["team"];

    fn read(query: &Query) -> Result<Self, QueryError> {
        Ok(Self { team: query.text("team")?.map(ToOwned::to_owned) })
    }
}

/// The explanation, on the page and as JSON.
#[derive(Serialize)]
pub(in crate::http) struct Explained {
    #[serde(flatten)]
    explanation: Explanation,
    /// The answer for the team in `?team=`.
    answer: Option<Answer>,
}

impl Explained {
    /// Explains a user.
    ///
    /// # Errors
    /// `NotFound` if there is no such user or the current user may not see them. Users who are not operators learn
    /// nothing about teams that they are not in.
    pub(in crate::http) async fn read(
        app: &App,
        current: &CurrentUser,
        id: &str,
        query: &ExplainQuery,
    ) -> Result<Self, WebError> {
        let operator = current.permissions.operator;
        if !operator && !current.is_self(id) {
            return Err(WebError::NotFound);
        }
        let facts = app.db.explain_facts(id).await?.ok_or(WebError::NotFound)?;
        let nested_groups = app.config.sync.nested_groups;
        let rules =
            Rules { policy: &app.config.policy, store: app.config.store, nested_groups, for_operator: operator };
        let explanation = explain::explain(&facts, rules);
        let answer = match &query.team {
            None => None,
            Some(team) => {
                let called = if operator { Some(app.db.teams_called(team).await?) } else { None };
                Some(explain::explain_team(&explanation, team, called.as_deref(), nested_groups))
            }
        };
        Ok(Self { explanation, answer })
    }
}

#[derive(Template)]
#[template(path = "explain.html")]
struct ExplainPage {
    layout: Layout,
    current: CurrentUser,
    explained: Explained,
}

impl ExplainPage {
    fn name(&self) -> &str {
        let user = &self.explained.explanation.person;
        let name = user.name.as_deref().filter(|name| !name.trim().is_empty());
        name.or(user.email.as_ref().map(Redacted::as_str)).unwrap_or(user.user_id.as_str())
    }

    fn user_id(&self) -> &str {
        self.explained.explanation.person.user_id.as_str()
    }

    fn team_query(&self) -> &str {
        self.explained.answer.as_ref().map_or("", |answer| &answer.asked)
    }

    fn lists(&self) -> [(&'static str, &ListReport); 2] {
        let readings = &self.explained.explanation.readings;
        [("Their groups", &readings.member_of), ("Assigned groups", &readings.assigned_groups)]
    }

    /// The badge of a list: CSS class and text.
    fn list_badge(list: &ListReport) -> (&'static str, &'static str) {
        match list.state {
            ListState::Known if list.as_of.is_none() => ("warn", "not on record"),
            ListState::Known => ("good", "known"),
            ListState::Unknown => ("bad", "unknown"),
            ListState::NotConfigured => ("warn", "not configured"),
            ListState::NotRead => ("", "not read"),
        }
    }

    fn answer_badge(case: Case) -> (&'static str, &'static str) {
        match case {
            Case::InIt => ("good", "In it"),
            Case::NotAssigned => ("warn", "Not assigned"),
            Case::Blocked => ("warn", "Not in it"),
            Case::NotAmongGroups => ("warn", "Not among their groups"),
            Case::GroupsUnknown => ("bad", "Not known"),
            Case::NeverSignedIn => ("warn", "Never signed in"),
            Case::NotKnown => ("warn", "Not found"),
        }
    }

    fn group_badge(group: &GroupReport) -> (&'static str, &'static str) {
        match group.verdict {
            Verdict::Joined => ("good", "joined"),
            Verdict::NotAssigned { .. } => ("", "not assigned"),
            Verdict::AssignmentUnknown { .. } => ("warn", "unknown"),
            Verdict::NoServicePrincipal | Verdict::NoTeam => ("warn", "no team"),
            Verdict::PartialMembership { .. } => ("warn", "partial"),
            Verdict::NotInTeam => ("warn", "not in it"),
            Verdict::TeamRefused { .. } => ("bad", "team failed"),
            Verdict::UserDenied { .. } => ("bad", "membership failed"),
        }
    }

    fn kind(kind: Kind) -> &'static str {
        match kind {
            Kind::Organization => "organization",
            Kind::Team => "team",
        }
    }

    fn source(source: Source) -> (&'static str, &'static str) {
        match source {
            Source::Entra => ("note", "From Entra"),
            Source::Manual => ("", "Manual"),
        }
    }
}

pub(in crate::http) async fn page(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    current: CurrentUser,
    Params(query): Params<ExplainQuery>,
) -> Result<Html<String>, WebError> {
    let explained = Explained::read(&app, &current, &id, &query).await?;
    let layout = Layout::for_user(&app, &current, "/people");
    html(&ExplainPage { layout, current, explained })
}
