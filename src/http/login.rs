//! `GET /sso/login`: starts a sign-in and redirects the browser to Entra.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use super::App;
use super::error::WebError;
use super::login_state::LoginState;
use super::query::Query;
use super::return_to::ReturnTo;

/// Query: `return_to` is the destination after the sign-in; with `prompt=select_account`, the user can choose another
/// account. Other parameters, which LiteLLM's clients may send, are ignored.
pub(super) async fn start(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let public_url = &app.config.server.public_url;
    let query = Query::parse(query.as_deref(), &["return_to", "prompt"])?;
    let return_to = match query.get("return_to") {
        None | Some("") => ReturnTo::home(public_url),
        Some(text) => ReturnTo::parse(text, public_url, &app.config.return_hosts).ok_or(WebError::ReturnTo)?,
    };
    let select_account = query.get("prompt") == Some("select_account");
    let (login_state, cookies) = LoginState::start(&app, &headers, return_to, select_account);
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
