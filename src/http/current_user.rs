//! The signed-in user of a page or API request, read from the database for each request.

use chrono::{DateTime, Utc};
use http::HeaderMap;

use super::App;
use super::error::WebError;
use super::session_cookie;
use crate::db::SessionUser;
use crate::permissions::Permissions;

/// A signed-in user with their permissions at this moment.
pub(super) struct CurrentUser {
    pub(super) user: SessionUser,
    pub(super) permissions: Permissions,
    pub(super) now: DateTime<Utc>,
}

impl CurrentUser {
    /// Loads the user of the session cookie.
    ///
    /// # Errors
    /// `NotSignedIn` without a valid session.
    pub(super) async fn of(app: &App, headers: &HeaderMap) -> Result<Self, WebError> {
        let user = session_cookie::session_user(app, headers).await?.ok_or(WebError::NotSignedIn)?;
        let permissions = Permissions::of(&user.user_id, user.user_role.as_deref(), &user.administers);
        Ok(Self { user, permissions, now: app.clock.now() })
    }

    /// Whether this is their own user ID.
    pub(super) fn is_self(&self, user_id: &str) -> bool {
        self.user.user_id == user_id
    }
}
