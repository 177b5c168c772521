//! `GET /people` and `GET /people/{id}`: users that the user may see, and one with their organizations and teams; for
//! operators and the user, also sessions and syncs.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Html;

use super::audit::Event;
use super::sessions::Ended;
use crate::db::{ActionFilter, AuditFilter, DisabledAccountRow, PageRequest, SessionRow, UserKeys, UserRow};
use crate::explain::RoleReport;
use crate::http::error::WebError;
use crate::http::extract::{CurrentUser, Params};
use crate::http::layout::{Layout, html};
use crate::http::list_query::{ListQuery, Pager, Sorted};
use crate::http::state::App;
use crate::http::view_model::{SyncView, UserDetails};

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    layout: Layout,
    query: ListQuery<Sorted>,
    users: Vec<UserRow>,
    pager: Pager,
    sees_all: bool,
}

pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    current: CurrentUser,
    Params(query): Params<ListQuery<Sorted>>,
) -> Result<Html<String>, WebError> {
    let listed = app.db.users(&current.permissions.scope, &query.request).await?;
    let layout = Layout::for_user(&app, &current, "/people");
    let pager = query.pager(&listed);
    html(&UsersPage { layout, query, users: listed.rows, pager, sees_all: current.permissions.operator })
}

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage {
    layout: Layout,
    current: CurrentUser,
    details: UserDetails,
    role: RoleReport,
    /// Set while the account is disabled in Entra.
    disabled: Option<DisabledAccountRow>,
    /// `None` unless the current user is an operator or this user.
    activity: Option<Activity>,
    /// Number of sessions that the form on this page has just ended.
    ended: Option<u32>,
}

struct Activity {
    sessions: Vec<SessionRow>,
    syncs: Vec<SyncView>,
    /// For operators: the newest events by which the user lost access.
    lost: Vec<Event>,
}

/// Maximum number of events on the page of a user.
const MAX_LOST: usize = 5;

/// The newest events by which a user lost access. A run removes users who do not sign in, so it is in no sync record.
async fn lost(app: &App, details: &UserDetails) -> Result<Vec<Event>, WebError> {
    let user = UserKeys::of(&details.user.user_id, details.user.object_id.as_deref());
    let filter = AuditFilter { user: Some(user), action: Some(ActionFilter::AccessLost), ..AuditFilter::default() };
    let request = PageRequest { limit: MAX_LOST, ..PageRequest::default() };
    Ok(app.db.audit_events(&filter, &request).await?.rows.into_iter().map(Event::new).collect())
}

pub(in crate::http) async fn details(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    current: CurrentUser,
    Params(Ended(ended)): Params<Ended>,
) -> Result<Html<String>, WebError> {
    let details = UserDetails::read(&app, &current, &id).await?;
    let activity = if current.permissions.operator || current.is_self(&id) {
        let sessions = details.sessions(&app, &current).await?;
        let syncs = SyncView::all(&app, details.syncs(&app, &current).await?).await?;
        let lost = if current.permissions.operator { lost(&app, &details).await? } else { Vec::new() };
        Some(Activity { sessions, syncs, lost })
    } else {
        None
    };
    let layout = Layout::for_user(&app, &current, "/people");
    let role = details.role(&app);
    let disabled = match (&details.user.object_id, details.user.tenant_id) {
        (Some(object_id), Some(tenant_id)) => app.db.disabled_account(object_id, tenant_id).await?,
        _ => None,
    };
    html(&UserPage { layout, current, details, role, disabled, activity, ended })
}

impl UserPage {
    fn account_state(disabled: &DisabledAccountRow) -> &'static str {
        match disabled.cause.as_str() {
            "soft_deleted" => "Deleted in Entra, can be restored",
            "deleted" => "Permanently deleted in Entra",
            _ => "Disabled in Entra",
        }
    }
}
