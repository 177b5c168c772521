//! `GET /organizations/{id}`: an organization, its teams, and who is in it.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Html;
use http::HeaderMap;

use crate::http::App;
use crate::http::current_user::CurrentUser;
use crate::http::error::WebError;
use crate::http::layout::Frame;
use crate::http::list_query::{ListQuery, MEMBERS, Pager};
use crate::http::view_model::OrganizationDetails;

#[derive(Template)]
#[template(path = "organization.html")]
struct OrganizationPage {
    frame: Frame,
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
    let visit = CurrentUser::of(&app, &headers).await?;
    let query = ListQuery::read(query.as_deref(), MEMBERS)?;
    let details = OrganizationDetails::read(&app, &visit, &id, &query).await?;
    let frame = Frame::of(&app, &visit, "/organizations");
    let pager = query.pager(&details.members);
    super::page(&OrganizationPage { frame, details, query, pager })
}
