//! `GET /people/{id}/explain`: what came of each group of a person's, and why they are in each team. For themselves, and for
//! operators.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Html;
use http::HeaderMap;
use serde::Serialize;

use crate::domain::Redacted;
use crate::explain::{
    self, Answer, Case, Explanation, GroupReport, Kind, ListReport, ListState, Rules, Source, Verdict,
};
use crate::http::App;
use crate::http::current_user::CurrentUser;
use crate::http::error::WebError;
use crate::http::layout::Frame;
use crate::http::query::Query;

/// All that is told of a person, on the page and as JSON.
#[derive(Serialize)]
pub(in crate::http) struct Explained {
    #[serde(flatten)]
    explanation: Explanation,
    /// Of the team in `?team=`.
    answer: Option<Answer>,
}

impl Explained {
    /// Not found where the person is not known, or not to be known. Whoever is no operator learns nothing of teams that are
    /// not theirs.
    pub(in crate::http) async fn read(
        app: &App,
        visit: &CurrentUser,
        id: &str,
        query: Option<&str>,
    ) -> Result<Self, WebError> {
        let query = Query::parse_strict(query, &["team"])?;
        let operator = visit.rights.operator;
        if !operator && !visit.is_self(id) {
            return Err(WebError::NotFound);
        }
        let facts = app.store.explain_facts(id).await?.ok_or(WebError::NotFound)?;
        let nested_groups = app.config.sync.nested_groups;
        let rules =
            Rules { policy: &app.config.policy, store: app.config.store, nested_groups, for_operator: operator };
        let explanation = explain::explain(&facts, rules);
        let answer = match query.text("team")? {
            None => None,
            Some(team) => {
                let called = if operator { Some(app.store.teams_called(team).await?) } else { None };
                Some(explain::explain_team(&explanation, team, called.as_deref(), nested_groups))
            }
        };
        Ok(Self { explanation, answer })
    }
}

#[derive(Template)]
#[template(path = "explain.html")]
struct ExplainPage {
    frame: Frame,
    visit: CurrentUser,
    explained: Explained,
}

impl ExplainPage {
    fn name(&self) -> &str {
        let person = &self.explained.explanation.person;
        let name = person.name.as_deref().filter(|name| !name.trim().is_empty());
        name.or(person.email.as_ref().map(Redacted::as_str)).unwrap_or(person.user_id.as_str())
    }

    fn user_id(&self) -> &str {
        self.explained.explanation.person.user_id.as_str()
    }

    fn asked(&self) -> &str {
        self.explained.answer.as_ref().map_or("", |answer| &answer.asked)
    }

    fn lists(&self) -> [(&'static str, &ListReport); 2] {
        let readings = &self.explained.explanation.readings;
        [("Their groups", &readings.member_of), ("Assigned groups", &readings.assigned_groups)]
    }

    /// A badge for a list: its class, and its word.
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
            Verdict::PartialMembership { .. } => ("warn", "half"),
            Verdict::NotInTeam => ("warn", "not in it"),
            Verdict::TeamRefused { .. } => ("bad", "team refused"),
            Verdict::UserDenied { .. } => ("bad", "person refused"),
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
            Source::Entra => ("note", "from Entra"),
            Source::Manual => ("", "by hand"),
        }
    }
}

pub(in crate::http) async fn page(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let visit = CurrentUser::of(&app, &headers).await?;
    let explained = Explained::read(&app, &visit, &id, query.as_deref()).await?;
    let frame = Frame::of(&app, &visit, "/people");
    super::page(&ExplainPage { frame, visit, explained })
}
