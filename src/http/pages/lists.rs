//! `GET /teams`, `/organizations` and `/people`: lists of what the user may see.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Html;
use http::HeaderMap;

use super::page;
use crate::db::{Organization, Team, UserRow};
use crate::http::App;
use crate::http::current_user::CurrentUser;
use crate::http::error::WebError;
use crate::http::layout::Layout;
use crate::http::list_query::{ListQuery, Pager, SORTED};

#[derive(Template)]
#[template(path = "teams.html")]
struct TeamsPage {
    layout: Layout,
    query: ListQuery,
    teams: Vec<Team>,
    pager: Pager,
    sees_all: bool,
}

pub(in crate::http) async fn teams(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let current = CurrentUser::of(&app, &headers).await?;
    let query = ListQuery::read(query.as_deref(), SORTED)?;
    let listed = app.db.teams(&current.permissions.scope, &query.page_request(query.sort)?).await?;
    let layout = Layout::for_user(&app, &current, "/teams");
    let pager = query.pager(&listed);
    page(&TeamsPage { layout, query, teams: listed.rows, pager, sees_all: current.permissions.operator })
}

#[derive(Template)]
#[template(path = "organizations.html")]
struct OrganizationsPage {
    layout: Layout,
    query: ListQuery,
    organizations: Vec<Organization>,
    pager: Pager,
    sees_all: bool,
    /// Whether Entra groups become organizations.
    organizations_on: bool,
}

pub(in crate::http) async fn organizations(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let current = CurrentUser::of(&app, &headers).await?;
    let query = ListQuery::read(query.as_deref(), SORTED)?;
    let listed = app.db.organizations(&current.permissions.scope, &query.page_request(query.sort)?).await?;
    let layout = Layout::for_user(&app, &current, "/organizations");
    let pager = query.pager(&listed);
    let organizations_on = app.config.policy.also_create_orgs;
    let sees_all = current.permissions.operator;
    page(&OrganizationsPage { layout, query, organizations: listed.rows, pager, sees_all, organizations_on })
}

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    layout: Layout,
    query: ListQuery,
    users: Vec<UserRow>,
    pager: Pager,
    sees_all: bool,
}

pub(in crate::http) async fn users(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let current = CurrentUser::of(&app, &headers).await?;
    let query = ListQuery::read(query.as_deref(), SORTED)?;
    let listed = app.db.users(&current.permissions.scope, &query.page_request(query.sort)?).await?;
    let layout = Layout::for_user(&app, &current, "/people");
    let pager = query.pager(&listed);
    page(&UsersPage { layout, query, users: listed.rows, pager, sees_all: current.permissions.operator })
}
