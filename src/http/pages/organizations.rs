//! `GET /organizations` and `GET /organizations/{id}`: organizations that the user may see, and one with its teams and
//! members.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Html;

use crate::db::Organization;
use crate::http::error::WebError;
use crate::http::extract::{CurrentUser, Params};
use crate::http::layout::{Layout, html};
use crate::http::list_query::{ListQuery, Members, Pager, Sorted};
use crate::http::state::App;
use crate::http::view_model::OrganizationDetails;

#[derive(Template)]
#[template(path = "organizations.html")]
struct OrganizationsPage {
    layout: Layout,
    query: ListQuery<Sorted>,
    organizations: Vec<Organization>,
    pager: Pager,
    sees_all: bool,
    /// Whether Entra groups become organizations.
    organizations_on: bool,
}

pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    current: CurrentUser,
    Params(query): Params<ListQuery<Sorted>>,
) -> Result<Html<String>, WebError> {
    let listed = app.db.organizations(&current.permissions.scope, &query.request).await?;
    let layout = Layout::for_user(&app, &current, "/organizations");
    let pager = query.pager(&listed);
    let organizations_on = app.config.policy.also_create_orgs;
    let sees_all = current.permissions.operator;
    html(&OrganizationsPage { layout, query, organizations: listed.rows, pager, sees_all, organizations_on })
}

#[derive(Template)]
#[template(path = "organization.html")]
struct OrganizationPage {
    layout: Layout,
    details: OrganizationDetails,
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
    let details = OrganizationDetails::read(&app, &current, &id, &query.request).await?;
    let layout = Layout::for_user(&app, &current, "/organizations");
    let pager = query.pager(&details.members);
    let operator = current.permissions.operator;
    html(&OrganizationPage { layout, details, operator, query, pager })
}
