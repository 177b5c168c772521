//! View models of one organization, team or user: data of a page, and of the API as JSON, limited by the permissions of
//! the current user.

mod sync;

use serde::Serialize;

use super::error::WebError;
use super::extract::CurrentUser;
use super::state::App;
use crate::db::{
    Member, Organization, Page, PageRequest, SessionRow, Sort, SyncFilter, SyncRow, Team, UserOrganization, UserRow,
    UserTeam,
};
use crate::domain::{ObjectId, Redacted};
use crate::explain::{self, RoleReport, TeamOrigin, UserFacts};

pub(super) use sync::{SyncView, read_syncs};

/// A team, how it was created, and a page of its members.
pub(super) struct TeamDetails {
    pub(super) team: Team,
    pub(super) creation: Option<TeamOrigin>,
    pub(super) members: Page<Member>,
    /// Whether other members are shown.
    pub(super) sees_others: bool,
}

impl TeamDetails {
    pub(super) async fn read(
        app: &App,
        current: &CurrentUser,
        id: &str,
        members: &PageRequest,
    ) -> Result<Self, WebError> {
        let id = plain(id)?;
        let team = app.db.team(&current.permissions.scope, id).await?.ok_or(WebError::NotFound)?;
        let sees_others = current.permissions.administers(team.organization_id.as_deref());
        let only = (!sees_others).then_some(current.user.user_id.as_str());
        let members = app.db.team_members(id, only, members).await?;
        let creation = app.db.team_origin(id).await?;
        Ok(Self { team, creation, members, sees_others })
    }
}

/// An organization, its newest teams, and a page of its members.
pub(super) struct OrganizationDetails {
    pub(super) organization: Organization,
    pub(super) teams: Page<Team>,
    pub(super) members: Page<Member>,
    /// Whether other members are shown.
    pub(super) sees_others: bool,
}

impl OrganizationDetails {
    pub(super) async fn read(
        app: &App,
        current: &CurrentUser,
        id: &str,
        members: &PageRequest,
    ) -> Result<Self, WebError> {
        let id = plain(id)?;
        let scope = &current.permissions.scope;
        let organization = app.db.organization(scope, id).await?.ok_or(WebError::NotFound)?;
        let newest = PageRequest { sort: Sort::Newest, ..PageRequest::default() };
        let teams = app.db.teams_of_organization(scope, id, &newest).await?;
        let sees_others = current.permissions.administers(Some(id));
        let only = (!sees_others).then_some(current.user.user_id.as_str());
        let members = app.db.organization_members(id, only, members).await?;
        Ok(Self { organization, teams, members, sees_others })
    }
}

/// A user and their memberships, as far as the current user may see them.
#[derive(Serialize)]
pub(super) struct UserDetails {
    #[serde(flatten)]
    pub(super) user: UserRow,
    pub(super) organizations: Vec<UserOrganization>,
    pub(super) teams: Vec<UserTeam>,
}

/// Maximum number of sync records on the page of a user.
const MAX_SYNCS: usize = 5;
/// Maximum number of sessions on the page of a user. More than a user can have.
const MAX_SESSIONS: u32 = 1_000;

impl UserDetails {
    pub(super) async fn read(app: &App, current: &CurrentUser, user_id: &str) -> Result<Self, WebError> {
        let user_id = plain(user_id)?;
        let scope = &current.permissions.scope;
        let user = app.db.user(scope, user_id).await?.ok_or(WebError::NotFound)?;
        let organizations = app.db.organizations_of(user_id, scope).await?;
        let teams = app.db.teams_of(user_id, scope).await?;
        Ok(Self { user, organizations, teams })
    }

    /// The role, and which source gave it.
    pub(super) fn role(&self, app: &App) -> RoleReport {
        let user = &self.user;
        let facts = UserFacts {
            has_row: true,
            from_here: user.object_id.is_some(),
            user_id: Redacted::from(user.user_id.clone()),
            object_id: user.object_id.clone().map(Redacted::from),
            tenant_id: user.tenant_id.map(|id| id.to_string()),
            email: None,
            name: None,
            role: user.user_role.clone(),
            sso_role: user.sso_user_role.clone(),
            offered_roles: user.sso_user_roles.iter().cloned().collect(),
            withheld_role: user.withheld_role.clone(),
        };
        explain::role(&facts, &app.config.policy)
    }

    /// The newest sync records of the user.
    pub(super) async fn syncs(&self, app: &App, current: &CurrentUser) -> Result<Vec<SyncRow>, WebError> {
        let Some(object_id) = self.user.object_id.clone() else { return Ok(Vec::new()) };
        let filter = SyncFilter {
            object_id: Some(object_id),
            user_id: Some(self.user.user_id.clone()),
            ..SyncFilter::default()
        };
        let request = PageRequest { limit: MAX_SYNCS, ..PageRequest::default() };
        Ok(read_syncs(app, current, &filter, &request).await?.rows)
    }

    /// The live sessions of the user.
    pub(super) async fn sessions(&self, app: &App, current: &CurrentUser) -> Result<Vec<SessionRow>, WebError> {
        let Some(object_id) = self.object_id() else { return Ok(Vec::new()) };
        let whose = crate::db::SessionOwner::One(object_id);
        Ok(app.db.list_sessions(whose, current.now, app.idle_timeout(), MAX_SESSIONS).await?)
    }

    pub(super) fn object_id(&self) -> Option<ObjectId> {
        self.user.object_id.as_deref()?.parse().ok()
    }
}

/// Validates an ID from a path. Postgres does not store NUL, so no row has such an ID.
pub(super) fn plain(id: &str) -> Result<&str, WebError> {
    if id.contains('\0') { Err(WebError::NotFound) } else { Ok(id) }
}
