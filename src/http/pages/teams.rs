//! `GET /teams` and `GET /teams/{id}`: teams that the user may see, and one with its members.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Html;

use crate::db::Team;
use crate::explain::{self, Message};
use crate::http::error::WebError;
use crate::http::extract::{CurrentUser, Params};
use crate::http::layout::{Layout, html};
use crate::http::list_query::{ListQuery, Members, Pager, Sorted};
use crate::http::state::App;
use crate::http::view_model::TeamDetails;

#[derive(Template)]
#[template(path = "teams.html")]
struct TeamsPage {
    layout: Layout,
    query: ListQuery<Sorted>,
    teams: Vec<Team>,
    pager: Pager,
    sees_all: bool,
}

pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    current: CurrentUser,
    Params(query): Params<ListQuery<Sorted>>,
) -> Result<Html<String>, WebError> {
    let listed = app.db.teams(&current.permissions.scope, &query.request).await?;
    let layout = Layout::for_user(&app, &current, "/teams");
    let pager = query.pager(&listed);
    html(&TeamsPage { layout, query, teams: listed.rows, pager, sees_all: current.permissions.operator })
}

#[derive(Template)]
#[template(path = "team.html")]
struct TeamPage {
    layout: Layout,
    details: TeamDetails,
    /// Why the team has no organization; `None` if it has one.
    standalone: Option<Message>,
    /// Whether the user may open the page of the organization.
    sees_organization: bool,
    operator: bool,
    query: ListQuery<Members>,
    pager: Pager,
}

pub(in crate::http) async fn details(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    current: CurrentUser,
    Params(query): Params<ListQuery<Members>>,
) -> Result<Html<String>, WebError> {
    let details = TeamDetails::read(&app, &current, &id, &query.request).await?;
    let sees_organization = match &details.team.organization_id {
        Some(id) => app.db.organization(&current.permissions.scope, id).await?.is_some(),
        None => false,
    };
    let organizations_on = app.config.policy.also_create_orgs;
    let no_organization = details.team.organization_id.is_none();
    let operator = current.permissions.operator;
    let standalone =
        no_organization.then(|| explain::standalone(details.creation.as_ref(), organizations_on, operator).message());
    let layout = Layout::for_user(&app, &current, "/teams");
    let pager = query.pager(&details.members);
    html(&TeamPage { layout, details, standalone, sees_organization, operator, query, pager })
}
