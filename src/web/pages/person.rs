//! `GET /people/{id}`: a person, their organizations and teams; for operators also their sessions and syncs.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Html;
use http::HeaderMap;

use super::syncs::SyncView;
use crate::explain::RoleReport;
use crate::store::SessionRow;
use crate::web::App;
use crate::web::details::PersonDetails;
use crate::web::error::WebError;
use crate::web::frame::Frame;
use crate::web::visit::Visit;

#[derive(Template)]
#[template(path = "person.html")]
struct PersonPage {
    frame: Frame,
    visit: Visit,
    details: PersonDetails,
    role: RoleReport,
    /// For operators, and about oneself.
    more: Option<More>,
    /// How many sessions the form that leads here has ended.
    ended: Option<u32>,
}

struct More {
    sessions: Vec<SessionRow>,
    syncs: Vec<SyncView>,
}

pub(in crate::web) async fn page(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let visit = Visit::of(&app, &headers).await?;
    let ended = super::sessions::ended(query.as_deref())?;
    let details = PersonDetails::read(&app, &visit, &id).await?;
    let more = if visit.rights.operator || visit.is_self(&id) {
        let sessions = details.sessions(&app, &visit).await?;
        let syncs = SyncView::all(&app, &visit, details.syncs(&app).await?).await?;
        Some(More { sessions, syncs })
    } else {
        None
    };
    let frame = Frame::of(&app, &visit, "/people");
    let role = details.role(&app);
    super::page(&PersonPage { frame, visit, details, role, more, ended })
}
