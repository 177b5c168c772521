//! `GET /teams/{id}`: a team, why it stands alone if it does, and who is in it.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Html;
use http::HeaderMap;

use crate::explain::{self, Standalone, Words};
use crate::http::App;
use crate::http::current_user::CurrentUser;
use crate::http::error::WebError;
use crate::http::layout::Frame;
use crate::http::list_query::{ListQuery, MEMBERS, Pager};
use crate::http::view_model::TeamDetails;

#[derive(Template)]
#[template(path = "team.html")]
struct TeamPage {
    frame: Frame,
    details: TeamDetails,
    /// Why it belongs to no organization, where it does not.
    alone: Option<Words>,
    /// Whether the person may open the organization's own page.
    sees_organization: bool,
    operator: bool,
    query: ListQuery,
    pager: Pager,
}

pub(in crate::http) async fn page(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let visit = CurrentUser::of(&app, &headers).await?;
    let query = ListQuery::read(query.as_deref(), MEMBERS)?;
    let details = TeamDetails::read(&app, &visit, &id, &query).await?;
    let sees_organization = match &details.team.organization_id {
        Some(id) => app.store.organization(&visit.rights.scope, id).await?.is_some(),
        None => false,
    };
    let organizations_on = app.config.policy.also_create_orgs;
    let standalone = details.team.organization_id.is_none();
    let alone = standalone.then(|| match explain::standalone(details.made.as_ref(), organizations_on) {
        // What the database said is for operators.
        Standalone::OrganizationRefused { at, .. } if !visit.rights.operator => {
            Standalone::OrganizationRefused { at, why: None }
        }
        known => known,
    });
    let alone = alone.as_ref().map(Standalone::words);
    let frame = Frame::of(&app, &visit, "/teams");
    let pager = query.pager(&details.members);
    let operator = visit.rights.operator;
    super::page(&TeamPage { frame, details, alone, sees_organization, operator, query, pager })
}
