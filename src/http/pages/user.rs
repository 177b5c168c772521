//! `GET /people/{id}`: a person, their organizations and teams; for operators also their sessions and syncs.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Html;
use http::HeaderMap;

use super::syncs::SyncView;
use crate::db::SessionRow;
use crate::explain::RoleReport;
use crate::http::App;
use crate::http::current_user::CurrentUser;
use crate::http::error::WebError;
use crate::http::layout::Frame;
use crate::http::view_model::UserDetails;

#[derive(Template)]
#[template(path = "person.html")]
struct PersonPage {
    frame: Frame,
    visit: CurrentUser,
    details: UserDetails,
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

pub(in crate::http) async fn page(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let visit = CurrentUser::of(&app, &headers).await?;
    let ended = super::sessions::ended(query.as_deref())?;
    let details = UserDetails::read(&app, &visit, &id).await?;
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
