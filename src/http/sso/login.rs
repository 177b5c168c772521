//! `GET /sso/login`: starts a sign-in and redirects the browser to Entra.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use super::login_state::LoginState;
use crate::http::error::WebError;
use crate::http::extract::SsoParams;
use crate::http::query::{Parameters, Query, QueryError};
use crate::http::return_to::ReturnTo;
use crate::http::state::App;

pub(in crate::http) struct LoginQuery {
    /// The destination after the sign-in.
    return_to: Option<String>,
    /// Whether the user can choose another account (`prompt=select_account`).
    select_account: bool,
}

impl Parameters for LoginQuery {
    const NAMES: &'static [&'static str] = &["return_to", "prompt"];

    fn read(query: &Query) -> Result<Self, QueryError> {
        Ok(Self { return_to: query.owned("return_to"), select_account: query.get("prompt") == Some("select_account") })
    }
}

pub(in crate::http) async fn start(
    State(app): State<Arc<App>>,
    SsoParams(query): SsoParams<LoginQuery>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let public_url = &app.config.server.public_url;
    let return_to = match query.return_to.as_deref() {
        None | Some("") => ReturnTo::home(public_url),
        Some(text) => ReturnTo::parse(text, public_url, &app.config.return_hosts).ok_or(WebError::ReturnTo)?,
    };
    let (login_state, cookies) = LoginState::start(&app, &headers, return_to, query.select_account);
    redirect_to_entra(&app, &login_state, cookies).await
}

/// Redirects the browser to Entra's authorization endpoint, with the cookies of `LoginState::start` or
/// `LoginState::restart`.
pub(super) async fn redirect_to_entra(
    app: &App,
    login_state: &LoginState,
    cookies: Vec<HeaderValue>,
) -> Result<Response, WebError> {
    let entra = app.entra.authorization_url(&login_state.secrets, login_state.select_account).await?;
    app.metrics.sign_ins_begun.add(());
    let mut response = Redirect::to(entra.as_str()).into_response();
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}
