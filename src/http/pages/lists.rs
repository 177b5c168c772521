//! `GET /teams`, `/organizations`, `/people`: what somebody sees of each, a page at a time.

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
use crate::http::layout::Frame;
use crate::http::list_query::{ListQuery, Pager, SORTED};

#[derive(Template)]
#[template(path = "teams.html")]
struct TeamsPage {
    frame: Frame,
    query: ListQuery,
    teams: Vec<Team>,
    pager: Pager,
    everything: bool,
}

pub(in crate::http) async fn teams(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let visit = CurrentUser::of(&app, &headers).await?;
    let query = ListQuery::read(query.as_deref(), SORTED)?;
    let listed = app.store.teams(&visit.rights.scope, &query.listing(query.sort)?).await?;
    let frame = Frame::of(&app, &visit, "/teams");
    let pager = query.pager(&listed);
    page(&TeamsPage { frame, query, teams: listed.rows, pager, everything: visit.rights.operator })
}

#[derive(Template)]
#[template(path = "organizations.html")]
struct OrganizationsPage {
    frame: Frame,
    query: ListQuery,
    organizations: Vec<Organization>,
    pager: Pager,
    everything: bool,
    /// Whether groups become organizations.
    organizations_on: bool,
}

pub(in crate::http) async fn organizations(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let visit = CurrentUser::of(&app, &headers).await?;
    let query = ListQuery::read(query.as_deref(), SORTED)?;
    let listed = app.store.organizations(&visit.rights.scope, &query.listing(query.sort)?).await?;
    let frame = Frame::of(&app, &visit, "/organizations");
    let pager = query.pager(&listed);
    let organizations_on = app.config.policy.also_create_orgs;
    let everything = visit.rights.operator;
    page(&OrganizationsPage { frame, query, organizations: listed.rows, pager, everything, organizations_on })
}

#[derive(Template)]
#[template(path = "people.html")]
struct PeoplePage {
    frame: Frame,
    query: ListQuery,
    people: Vec<UserRow>,
    pager: Pager,
    everything: bool,
}

pub(in crate::http) async fn people(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let visit = CurrentUser::of(&app, &headers).await?;
    let query = ListQuery::read(query.as_deref(), SORTED)?;
    let listed = app.store.users(&visit.rights.scope, &query.listing(query.sort)?).await?;
    let frame = Frame::of(&app, &visit, "/people");
    let pager = query.pager(&listed);
    page(&PeoplePage { frame, query, people: listed.rows, pager, everything: visit.rights.operator })
}
