//! Extractors: what handlers take from a request.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use chrono::{DateTime, Utc};
use http::request::Parts;

use super::error::WebError;
use super::query::{Parameters, Query, QueryError};
use super::session_cookie;
use super::state::App;
use crate::db::{Me, SessionUser};
use crate::permissions::Permissions;

/// The signed-in user of a page or API request with their permissions at this moment, read from the database for each
/// request. Rejects requests without a valid session with `NotSignedIn`.
pub(super) struct CurrentUser {
    pub(super) user: SessionUser,
    pub(super) permissions: Permissions,
    pub(super) now: DateTime<Utc>,
}

impl CurrentUser {
    /// Whether this is their own user ID.
    pub(super) fn is_self(&self, user_id: &str) -> bool {
        self.user.user_id == user_id
    }
}

impl FromRequestParts<Arc<App>> for CurrentUser {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, WebError> {
        let user = session_cookie::session_user(app, &parts.headers).await?.ok_or(WebError::NotSignedIn)?;
        let permissions = Permissions::of(&user.user_id, user.user_role.as_deref(), &user.administers);
        Ok(Self { user, permissions, now: app.clock.now() })
    }
}

/// The session of a request with its user. Rejects requests without a valid session with `NotSignedIn`.
pub(super) struct CurrentSession(pub(super) Me);

impl FromRequestParts<Arc<App>> for CurrentSession {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, WebError> {
        Ok(Self(session_cookie::find(app, &parts.headers).await?.ok_or(WebError::NotSignedIn)?))
    }
}

/// A signed-in operator. Other users get `NotFound`, so that the page is not revealed.
pub(super) struct Operator(pub(super) CurrentUser);

impl FromRequestParts<Arc<App>> for Operator {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, WebError> {
        let current = CurrentUser::from_request_parts(parts, app).await?;
        if current.permissions.operator { Ok(Self(current)) } else { Err(WebError::NotFound) }
    }
}

/// A signed-in administrator, who may change other users' sessions. Other users get `NotFound`.
pub(super) struct Administrator(pub(super) CurrentUser);

impl FromRequestParts<Arc<App>> for Administrator {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, WebError> {
        let current = CurrentUser::from_request_parts(parts, app).await?;
        if current.permissions.administrator { Ok(Self(current)) } else { Err(WebError::NotFound) }
    }
}

/// The query of a page or API route. An unknown parameter is an error, since a misspelled filter must not return
/// unfiltered results.
pub(super) struct Params<T>(pub(super) T);

impl<S: Sync, T: Parameters> FromRequestParts<S> for Params<T> {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, WebError> {
        Ok(Self(T::read(&Query::parse_strict(parts.uri.query(), T::NAMES)?)?))
    }
}

/// The query of a route below `/sso/`. Unknown parameters, which LiteLLM's clients and Entra may send, are ignored.
pub(super) struct SsoParams<T>(pub(super) T);

impl<S: Sync, T: Parameters> FromRequestParts<S> for SsoParams<T> {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, WebError> {
        match Query::parse(parts.uri.query(), T::NAMES) {
            Ok(query) => Ok(Self(T::read(&query)?)),
            Err(QueryError::Duplicate { name }) => Err(WebError::DuplicateParameter(name)),
            Err(error) => Err(error.into()),
        }
    }
}
