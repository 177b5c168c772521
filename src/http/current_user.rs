//! Who asks for a page or for JSON, and what they may see: read from the database each time.

use chrono::{DateTime, Utc};
use http::HeaderMap;

use super::App;
use super::error::WebError;
use super::session_cookie;
use crate::db::SessionUser;
use crate::permissions::Permissions;

/// Somebody who is signed in, at one moment.
pub(super) struct CurrentUser {
    pub(super) viewer: SessionUser,
    pub(super) rights: Permissions,
    pub(super) now: DateTime<Utc>,
}

impl CurrentUser {
    /// Whoever a request comes from; an error where nobody is signed in.
    pub(super) async fn of(app: &App, headers: &HeaderMap) -> Result<Self, WebError> {
        let viewer = session_cookie::viewer(app, headers).await?.ok_or(WebError::NotSignedIn)?;
        let rights = Permissions::of(&viewer.user_id, viewer.user_role.as_deref(), &viewer.administers);
        Ok(Self { viewer, rights, now: app.clock.now() })
    }

    /// Whether this is a page about themselves.
    pub(super) fn is_self(&self, user_id: &str) -> bool {
        self.viewer.user_id == user_id
    }
}
