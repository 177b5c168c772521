//! `GET /teams/{id}`: a team and its members.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Html;
use http::HeaderMap;

use crate::explain::{self, Message};
use crate::http::App;
use crate::http::current_user::CurrentUser;
use crate::http::error::WebError;
use crate::http::layout::Layout;
use crate::http::list_query::{ListQuery, MEMBERS, Pager};
use crate::http::view_model::TeamDetails;

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
    query: ListQuery,
    pager: Pager,
}

pub(in crate::http) async fn page(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let current = CurrentUser::of(&app, &headers).await?;
    let query = ListQuery::read(query.as_deref(), MEMBERS)?;
    let details = TeamDetails::read(&app, &current, &id, &query).await?;
    let sees_organization = match &details.team.organization_id {
        Some(id) => app.db.organization(&current.permissions.scope, id).await?.is_some(),
        None => false,
    };
    let organizations_on = app.config.policy.also_create_orgs;
    let no_organization = details.team.organization_id.is_none();
    let operator = current.permissions.operator;
    let standalone =
        no_organization.then(|| explain::standalone(details.creation.as_ref(), organizations_on, operator).words());
    let layout = Layout::for_user(&app, &current, "/teams");
    let pager = query.pager(&details.members);
    super::page(&TeamPage { layout, details, standalone, sees_organization, operator, query, pager })
}
