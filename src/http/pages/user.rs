//! `GET /people/{id}`: a user, their organizations and teams; for operators and the user, also sessions and syncs.

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
use crate::http::layout::Layout;
use crate::http::view_model::UserDetails;

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage {
    layout: Layout,
    current: CurrentUser,
    details: UserDetails,
    role: RoleReport,
    /// `None` unless the current user is an operator or this user.
    activity: Option<Activity>,
    /// Number of sessions that the form on this page has just ended.
    ended: Option<u32>,
}

struct Activity {
    sessions: Vec<SessionRow>,
    syncs: Vec<SyncView>,
}

pub(in crate::http) async fn page(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let current = CurrentUser::of(&app, &headers).await?;
    let ended = super::sessions::ended(query.as_deref())?;
    let details = UserDetails::read(&app, &current, &id).await?;
    let activity = if current.permissions.operator || current.is_self(&id) {
        let sessions = details.sessions(&app, &current).await?;
        let syncs = SyncView::all(&app, &current, details.syncs(&app).await?).await?;
        Some(Activity { sessions, syncs })
    } else {
        None
    };
    let layout = Layout::for_user(&app, &current, "/people");
    let role = details.role(&app);
    super::page(&UserPage { layout, current, details, role, activity, ended })
}
