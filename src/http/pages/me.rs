//! `GET /` for signed-in users: their account, memberships, last sync and sessions.

use askama::Template;
use axum::response::Html;
use http::HeaderMap;

use crate::db::SessionRow;
use crate::explain::RoleReport;
use crate::http::error::WebError;
use crate::http::extract::CurrentUser;
use crate::http::layout::{Layout, html};
use crate::http::state::App;
use crate::http::view_model::{SyncView, UserDetails};
use crate::http::{formatting, session_cookie};

#[derive(Template)]
#[template(path = "me.html")]
struct MePage {
    layout: Layout,
    current: CurrentUser,
    details: UserDetails,
    role: RoleReport,
    last_sync: Option<SyncView>,
    /// When Microsoft last returned all groups, if the last sync could not read them.
    as_of: Option<String>,
    sessions: Vec<SessionRow>,
    /// The name of this browser's session.
    this_session: Option<String>,
    ended: Option<u32>,
}

/// `ended`: number of sessions that the form on this page has just ended.
pub(super) async fn page(
    app: &App,
    headers: &HeaderMap,
    current: CurrentUser,
    ended: Option<u32>,
) -> Result<Html<String>, WebError> {
    let details = UserDetails::read(app, &current, &current.user.user_id).await?;
    let sessions = details.sessions(app, &current).await?;
    let mut syncs = details.syncs(app, &current).await?;
    syncs.truncate(1);
    let last_sync = SyncView::all(app, syncs).await?.pop();
    let as_of = match &last_sync {
        Some(sync) if sync.row.assigned_groups == "unknown" || sync.row.member_of == "unknown" => {
            let known = app.db.last_known_sync(&sync.row.object_id, sync.row.tenant_id).await?;
            known.map(|at| formatting::ago(&current.now, &at))
        }
        _ => None,
    };
    let layout = Layout::for_user(app, &current, "/");
    let this_session = session_cookie::name(app, headers).await?;
    let role = details.role(app);
    html(&MePage { layout, current, details, role, last_sync, as_of, sessions, this_session, ended })
}

impl MePage {
    /// Describes what the last sync did for the user, or why it was denied.
    fn last_sync(&self, sync: &SyncView) -> String {
        if sync.row.outcome != "signed_in" {
            return formatting::outcome(&sync.row.outcome).to_owned();
        }
        let mut line = sync.written_line();
        let unchanged = self.details.teams.iter().filter(|team| !sync.row.teams_joined.contains(&team.team_id)).count();
        if unchanged > 0 {
            line = format!("{line}, {} unchanged", formatting::pluralize(unchanged, "team"));
        }
        line
    }

    /// What the last sync could not do.
    fn warnings(&self, sync: &SyncView) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut unknown = Vec::new();
        if sync.row.assigned_groups == "unknown" {
            unknown.push("which groups are assigned to this application");
        }
        if sync.row.member_of == "unknown" {
            unknown.push("which groups you are in");
        }
        if !unknown.is_empty() {
            let as_of = self.as_of.as_ref().map(|at| format!(" Your teams are as of {at}.")).unwrap_or_default();
            warnings.push(format!(
                "Microsoft did not report {}.{as_of} You were not added to new teams. You keep the teams that you had.",
                unknown.join(", or ")
            ));
        }
        warnings.extend(sync.kept().into_iter().map(|line| format!("The last sync left something as it was: {line}.")));
        if !sync.row.failures.is_empty() {
            let who = if self.current.permissions.operator {
                "The syncs show the reason."
            } else {
                "Your administrator sees why."
            };
            warnings.push(format!("Some groups could not be set up completely. {who}"));
        }
        warnings
    }
}
