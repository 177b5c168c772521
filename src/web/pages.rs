//! The pages that people look at.

pub(super) mod settings;

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Html;
use http::HeaderMap;

use super::App;
use super::error::WebError;
use super::frame::Frame;
use super::session;
use crate::store::{LastSync, Me, TeamOfMe};

#[derive(Template)]
#[template(path = "me.html")]
struct MePage {
    frame: Frame,
    me: Me,
}

impl MePage {
    fn name(&self) -> &str {
        let user = &self.me.user;
        user.display_name.as_deref().or(user.email.as_deref()).unwrap_or(&user.user_id)
    }

    fn organization_of<'a>(&'a self, team: &'a TeamOfMe) -> &'a str {
        team.organization_id.as_deref().map_or("standalone", |id| self.organization_name(id))
    }

    fn organization_name<'a>(&'a self, id: &'a str) -> &'a str {
        let organization = self.me.organizations.iter().find(|organization| organization.organization_id == id);
        organization.map_or(id, |organization| &organization.organization_alias)
    }

    /// The last sync in words: what it made for this person.
    fn last_sync(&self, sync: &LastSync) -> String {
        let teams: Vec<&str> = sync.teams_joined.iter().map(|id| self.team_name(id)).collect();
        let mut parts = Vec::new();
        if sync.user_created {
            parts.push("made your account".to_owned());
        }
        if !teams.is_empty() {
            parts.push(format!("joined {}", teams.join(", ")));
        }
        let only = sync.organizations_joined.iter().filter(|id| !sync.teams_joined.contains(id));
        let organizations: Vec<&str> = only.map(|id| self.organization_name(id)).collect();
        if !organizations.is_empty() {
            parts.push(format!("joined the organization {}", organizations.join(", ")));
        }
        for (made, one, many) in
            [(sync.organizations_created, "organization", "organizations"), (sync.teams_created, "team", "teams")]
        {
            if made > 0 {
                parts.push(format!("created {made} {}", if made == 1 { one } else { many }));
            }
        }
        if sync.user_updated {
            parts.push("brought your details and roles up to date".to_owned());
        }
        if parts.is_empty() { "nothing had to be changed.".to_owned() } else { format!("{}.", parts.join("; ")) }
    }

    fn team_name<'a>(&'a self, id: &'a str) -> &'a str {
        self.me.teams.iter().find(|team| team.team_id == id).map_or(id, |team| &team.team_alias)
    }

    /// What the person should know of what the last sync could not do.
    fn warnings(sync: &LastSync) -> Vec<String> {
        let mut warnings = Vec::new();
        if sync.assigned_groups == "unknown" {
            warnings.push(
                "Microsoft did not tell which groups are assigned to this application. Nothing was created or joined; \
                 what you had before, you still have.",
            );
        }
        if sync.member_of == "unknown" {
            warnings.push(
                "Microsoft did not tell which groups you are in. You joined no team; what you had before, you still have.",
            );
        }
        if sync.failures > 0 {
            warnings.push("Some groups could not be set up completely. The sync record tells your administrator why.");
        }
        warnings.into_iter().map(ToOwned::to_owned).collect()
    }
}

#[derive(Template)]
#[template(path = "welcome.html")]
struct WelcomePage {
    frame: Frame,
    signed_out: bool,
}

/// `GET /`: who I am; or the way in.
pub(super) async fn home(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Html<String>, WebError> {
    let frame = Frame::new(&app);
    match session::find(&app, &headers).await? {
        Some(me) => page(&MePage { frame, me }),
        None => page(&WelcomePage { frame, signed_out: false }),
    }
}

/// `GET /signed-out`: where Entra's sign-out sends the browser.
pub(super) async fn signed_out(State(app): State<Arc<App>>) -> Result<Html<String>, WebError> {
    page(&WelcomePage { frame: Frame::new(&app), signed_out: true })
}

fn page(template: &impl Template) -> Result<Html<String>, WebError> {
    template.render().map(Html).map_err(|error| WebError::Internal(format!("a page could not be written: {error}")))
}
