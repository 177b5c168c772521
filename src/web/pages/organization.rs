//! `GET /organizations/{id}`: an organization, its teams, and who is in it.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Html;
use http::HeaderMap;

use crate::web::App;
use crate::web::details::OrganizationDetails;
use crate::web::error::WebError;
use crate::web::frame::Frame;
use crate::web::list::{ListQuery, MEMBERS, Pager};
use crate::web::visit::Visit;

#[derive(Template)]
#[template(path = "organization.html")]
struct OrganizationPage {
    frame: Frame,
    details: OrganizationDetails,
    query: ListQuery,
    pager: Pager,
}

pub(in crate::web) async fn page(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let visit = Visit::of(&app, &headers).await?;
    let query = ListQuery::read(query.as_deref(), MEMBERS)?;
    let details = OrganizationDetails::read(&app, &visit, &id, &query).await?;
    let frame = Frame::of(&app, &visit, "/organizations");
    let pager = query.pager(&details.members);
    super::page(&OrganizationPage { frame, details, query, pager })
}
