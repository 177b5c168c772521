//! Pages: one file and one template for each.

pub(super) mod explain;
pub(super) mod failed_sign_ins;
pub(super) mod formatting;
mod lists;
mod me;
mod organization;
mod sessions;
pub(super) mod syncs;
mod team;
mod user;

pub(super) mod settings;

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::{Html, IntoResponse as _, Response};
use http::HeaderMap;

use super::App;
use super::current_user::CurrentUser;
use super::error::WebError;
use super::layout::Layout;

pub(super) use lists::{organizations, teams, users};
pub(super) use organization::page as organization;
pub(super) use sessions::{confirm_end_all, end_all_of_user, end_of_user, end_own};
pub(super) use team::page as team;
pub(super) use user::page as user;

#[derive(Template)]
#[template(path = "welcome.html")]
struct WelcomePage {
    layout: Layout,
    signed_out: bool,
}

/// `GET /`: the user's own page, or the sign-in page.
pub(super) async fn home(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let ended = sessions::ended(query.as_deref())?;
    match CurrentUser::of(&app, &headers).await {
        Ok(current) => Ok(me::page(&app, &headers, current, ended).await?.into_response()),
        Err(WebError::NotSignedIn) => {
            Ok(page(&WelcomePage { layout: Layout::new(&app), signed_out: false })?.into_response())
        }
        Err(error) => Err(error),
    }
}

/// `GET /signed-out`: where Entra's sign-out sends the browser. Parameters that Entra may add are ignored.
pub(super) async fn signed_out(State(app): State<Arc<App>>) -> Result<Html<String>, WebError> {
    page(&WelcomePage { layout: Layout::new(&app), signed_out: true })
}

fn page(template: &impl Template) -> Result<Html<String>, WebError> {
    template.render().map(Html).map_err(|error| WebError::Internal(format!("failed to render a page: {error}")))
}
