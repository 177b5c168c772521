//! What a statement that removes memberships returns, and how it begins at a sign-in. The run of a reconciliation begins it
//! differently, see [`reconciliation`](super::reconciliation).

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use super::DbError;
use crate::domain::Redacted;
use crate::plan::Applied;

/// The memberships of one user, for a statement that both stores complete. It names `parameters(at, run)`,
/// `leaving(user_id, object_id, team_id)` and `leaving_organizations(user_id, object_id, organization_id)`.
///
/// $1 key of the user's row, $2 teams, $3 organizations, $4 object ID, $5 time, $6 run.
macro_rules! of_sign_in {
    () => {
        "with parameters as (
            select $5::timestamptz as at, $6::uuid as run
        ), leaving as materialized (
            select $1::text as user_id, $4::text as object_id, team_id from unnest($2::text[]) as team_id
        ), leaving_organizations as materialized (
            select $1::text as user_id, $4::text as object_id, organization_id from unnest($3::text[]) as organization_id
        )"
    };
}
pub(super) use of_sign_in;

/// Memberships that a statement removed, and keys that it blocked.
#[derive(Debug, Default)]
pub(super) struct Removed {
    /// Object ID, key of the user's row, team, and its name.
    pub(super) teams: Vec<(String, Redacted, String, Option<String>)>,
    /// Object ID, key of the user's row, and organization.
    pub(super) organizations: Vec<(String, Redacted, String)>,
    /// Object ID, key of the user's row, team, and hashes of keys.
    pub(super) keys: Vec<(String, Redacted, String, Vec<Redacted>)>,
}

impl Removed {
    /// Reads the columns `teams`, `organizations` and `keys`.
    pub(super) fn read(row: &PgRow) -> Result<Self, DbError> {
        let Json(teams) = row.try_get("teams")?;
        let Json(organizations) = row.try_get("organizations")?;
        let Json(keys) = row.try_get("keys")?;
        Ok(Self { teams, organizations, keys })
    }

    /// Adds what was removed at a sign-in.
    pub(super) fn add_to(self, applied: &mut Applied) {
        applied.removed_from_teams = self.teams.into_iter().map(|(_, _, team, name)| (team, name)).collect();
        applied.removed_from_organizations = self.organizations.into_iter().map(|(_, _, id)| id).collect();
        applied.keys_blocked =
            self.keys.into_iter().map(|(_, _, team, tokens)| (team, tokens.into_iter().collect())).collect();
    }
}
