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
    pub(super) user: SessionUser,
    pub(super) permissions: Permissions,
    pub(super) now: DateTime<Utc>,
}

impl CurrentUser {
    /// Whoever a request comes from; an error where nobody is signed in.
    pub(super) async fn of(app: &App, headers: &HeaderMap) -> Result<Self, WebError> {
        let user = session_cookie::session_user(app, headers).await?.ok_or(WebError::NotSignedIn)?;
        let permissions = Permissions::of(&user.user_id, user.user_role.as_deref(), &user.administers);
        Ok(Self { user, permissions, now: app.clock.now() })
    }

    /// Whether this is a page about themselves.
    pub(super) fn is_self(&self, user_id: &str) -> bool {
        self.user.user_id == user_id
    }
}
