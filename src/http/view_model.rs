//! One organization, team or person with all that somebody may see of it: what a page shows, and `/api` as JSON.

use serde::Serialize;

use super::App;
use super::current_user::CurrentUser;
use super::error::WebError;
use super::list_query::ListQuery;
use crate::db::{
    Listed, Listing, Member, Organization, SessionRow, Sort, SyncFilter, SyncRow, Team, UserOrganization, UserRow,
    UserTeam,
};
use crate::domain::{ObjectId, Redacted};
use crate::explain::{self, RoleReport, TeamOrigin, UserFacts};

/// A team, how it came to be, and a page of its members.
pub(super) struct TeamDetails {
    pub(super) team: Team,
    pub(super) made: Option<TeamOrigin>,
    pub(super) members: Listed<Member>,
    /// Whether members other than oneself are shown.
    pub(super) sees_others: bool,
}

impl TeamDetails {
    pub(super) async fn read(app: &App, visit: &CurrentUser, id: &str, query: &ListQuery) -> Result<Self, WebError> {
        let id = plain(id)?;
        let team = app.store.team(&visit.rights.scope, id).await?.ok_or(WebError::NotFound)?;
        let sees_others = visit.rights.administers(team.organization_id.as_deref());
        let only = (!sees_others).then_some(visit.viewer.user_id.as_str());
        let members = app.store.team_members(id, only, &query.listing(Sort::Newest)?).await?;
        let made = app.store.team_origin(id).await?;
        Ok(Self { team, made, members, sees_others })
    }
}

/// An organization, its newest teams, and a page of its members.
pub(super) struct OrganizationDetails {
    pub(super) organization: Organization,
    pub(super) teams: Listed<Team>,
    pub(super) members: Listed<Member>,
    /// Whether members other than oneself are shown.
    pub(super) sees_others: bool,
}

impl OrganizationDetails {
    pub(super) async fn read(app: &App, visit: &CurrentUser, id: &str, query: &ListQuery) -> Result<Self, WebError> {
        let id = plain(id)?;
        let scope = &visit.rights.scope;
        let organization = app.store.organization(scope, id).await?.ok_or(WebError::NotFound)?;
        let newest = Listing { sort: Sort::Newest, ..Listing::default() };
        let teams = app.store.teams_of_organization(scope, id, &newest).await?;
        let sees_others = visit.rights.administers(Some(id));
        let only = (!sees_others).then_some(visit.viewer.user_id.as_str());
        let members = app.store.organization_members(id, only, &query.listing(Sort::Newest)?).await?;
        Ok(Self { organization, teams, members, sees_others })
    }
}

/// A person and their memberships, as far as somebody sees them.
#[derive(Serialize)]
pub(super) struct UserDetails {
    #[serde(flatten)]
    pub(super) person: UserRow,
    pub(super) organizations: Vec<UserOrganization>,
    pub(super) teams: Vec<UserTeam>,
}

/// So many sync records stand on a person's own page.
const LATEST: usize = 5;
/// More sessions than anybody may have.
const SESSIONS: u32 = 1_000;

impl UserDetails {
    pub(super) async fn read(app: &App, visit: &CurrentUser, user_id: &str) -> Result<Self, WebError> {
        let user_id = plain(user_id)?;
        let scope = &visit.rights.scope;
        let person = app.store.user(scope, user_id).await?.ok_or(WebError::NotFound)?;
        let organizations = app.store.organizations_of(user_id, scope).await?;
        let teams = app.store.teams_of(user_id, scope).await?;
        Ok(Self { person, organizations, teams })
    }

    /// Their role, and why it is theirs.
    pub(super) fn role(&self, app: &App) -> RoleReport {
        let person = &self.person;
        let facts = UserFacts {
            has_row: true,
            from_here: person.object_id.is_some(),
            user_id: Redacted::from(person.user_id.clone()),
            object_id: person.object_id.clone().map(Redacted::from),
            tenant_id: person.tenant_id.map(|id| id.to_string()),
            email: None,
            name: None,
            role: person.user_role.clone(),
            sso_role: person.sso_user_role.clone(),
            offered_roles: person.sso_user_roles.iter().cloned().collect(),
            withheld_role: person.withheld_role.clone(),
        };
        explain::role(&facts, &app.config.policy)
    }

    /// Their newest sync records.
    pub(super) async fn syncs(&self, app: &App) -> Result<Vec<SyncRow>, WebError> {
        let Some(object_id) = self.person.object_id.clone() else { return Ok(Vec::new()) };
        let filter = SyncFilter {
            object_id: Some(object_id),
            user_id: Some(self.person.user_id.clone()),
            ..SyncFilter::default()
        };
        Ok(app.store.syncs(&filter, &Listing { limit: LATEST, ..Listing::default() }).await?.rows)
    }

    /// Their sessions that are alive.
    pub(super) async fn sessions(&self, app: &App, visit: &CurrentUser) -> Result<Vec<SessionRow>, WebError> {
        let Some(person) = self.object_id() else { return Ok(Vec::new()) };
        let whose = crate::db::Whose::One(person);
        Ok(app.store.list_sessions(whose, visit.now, app.idle_timeout(), SESSIONS).await?)
    }

    pub(super) fn object_id(&self) -> Option<ObjectId> {
        self.person.object_id.as_deref()?.parse().ok()
    }
}

/// An id of a path. Postgres knows no text with a NUL in it, so nothing has such an id.
pub(super) fn plain(id: &str) -> Result<&str, WebError> {
    if id.contains('\0') { Err(WebError::NotFound) } else { Ok(id) }
}
