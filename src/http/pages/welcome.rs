//! `GET /` and `GET /signed-out`.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Html;
use http::HeaderMap;

use super::me;
use super::sessions::Ended;
use crate::http::error::WebError;
use crate::http::extract::{CurrentUser, Params};
use crate::http::layout::{Layout, html};
use crate::http::state::App;

#[derive(Template)]
#[template(path = "welcome.html")]
struct WelcomePage {
    layout: Layout,
    signed_out: bool,
}

/// `GET /`: the user's own page, or the sign-in page.
pub(in crate::http) async fn home(
    State(app): State<Arc<App>>,
    Params(Ended(ended)): Params<Ended>,
    current: Result<CurrentUser, WebError>,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    match current {
        Ok(current) => me::page(&app, &headers, current, ended).await,
        Err(WebError::NotSignedIn) => html(&WelcomePage { layout: Layout::new(&app), signed_out: false }),
        Err(error) => Err(error),
    }
}

/// `GET /signed-out`: where Entra's sign-out sends the browser. Parameters that Entra may add are ignored.
pub(in crate::http) async fn signed_out(State(app): State<Arc<App>>) -> Result<Html<String>, WebError> {
    html(&WelcomePage { layout: Layout::new(&app), signed_out: true })
}
