//! `GET /organizations/{id}`: an organization, its teams and members.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Html;
use http::HeaderMap;

use crate::http::App;
use crate::http::current_user::CurrentUser;
use crate::http::error::WebError;
use crate::http::layout::Layout;
use crate::http::list_query::{ListQuery, MEMBERS, Pager};
use crate::http::view_model::OrganizationDetails;

#[derive(Template)]
#[template(path = "organization.html")]
struct OrganizationPage {
    layout: Layout,
    details: OrganizationDetails,
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
    let details = OrganizationDetails::read(&app, &current, &id, &query).await?;
    let layout = Layout::for_user(&app, &current, "/organizations");
    let pager = query.pager(&details.members);
    super::page(&OrganizationPage { layout, details, query, pager })
}
