//! `GET /teams/{id}`: a team, why it stands alone if it does, and who is in it.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Html;
use http::HeaderMap;

use super::words;
use crate::store::MadeTeam;
use crate::web::App;
use crate::web::details::TeamDetails;
use crate::web::error::WebError;
use crate::web::frame::Frame;
use crate::web::list::{ListQuery, Pager};
use crate::web::visit::Visit;

#[derive(Template)]
#[template(path = "team.html")]
struct TeamPage {
    frame: Frame,
    details: TeamDetails,
    /// Why it belongs to no organization, where it does not.
    alone: Option<String>,
    /// Whether the person may open the organization's own page.
    sees_organization: bool,
    query: ListQuery,
    pager: Pager,
}

pub(in crate::web) async fn page(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let visit = Visit::of(&app, &headers).await?;
    let query = ListQuery::read(query.as_deref(), &[])?;
    let details = TeamDetails::read(&app, &visit, &id, &query).await?;
    let sees_organization = match &details.team.organization_id {
        Some(id) => app.store.organization(&visit.rights.scope, id).await?.is_some(),
        None => false,
    };
    let organizations_on = app.config.policy.also_create_orgs;
    let standalone = details.team.organization_id.is_none();
    let alone = standalone.then(|| why_alone(details.made.as_ref(), organizations_on));
    let frame = Frame::of(&app, &visit, "/teams");
    let pager = query.pager(&details.members);
    super::page(&TeamPage { frame, details, alone, sees_organization, query, pager })
}

/// Why a team belongs to no organization.
fn why_alone(made: Option<&MadeTeam>, organizations_on: bool) -> String {
    match made {
        Some(MadeTeam { made_at, organization_refused: Some(why), .. }) => format!(
            "Its organization could not be created at {}: {why}. A team that exists is left as it is, so it stays \
             standalone; the organization itself is tried again at each sign-in.",
            words::full(made_at)
        ),
        Some(MadeTeam { made_at, organizations_on: false, .. }) if organizations_on => format!(
            "It was made at {}, and so existed before organizations were switched on (entra_groups_also_create_orgs). \
             What exists is left as it is.",
            words::full(made_at)
        ),
        Some(MadeTeam { organizations_on: false, .. }) => {
            "Organizations are switched off (entra_groups_also_create_orgs).".to_owned()
        }
        Some(MadeTeam { made_at, .. }) => format!(
            "Entraway made it in an organization at {}; somebody has taken it out since, or deleted the organization.",
            words::full(made_at)
        ),
        None if organizations_on => "It existed before organizations were switched on, or somebody made it by hand: \
                                     there is no record of Entraway making it. What exists is left as it is."
            .to_owned(),
        None => {
            "Organizations are switched off (entra_groups_also_create_orgs), and there is no record of Entraway making \
                 this team."
                .to_owned()
        }
    }
}
